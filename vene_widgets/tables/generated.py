"""Generated texts -> one row per new token and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from vene_widgets.tables.frames import table
from vene_widgets.tables.statistics import checked_distribution
from vene_widgets.tables.token_text import TokenText, visible

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GeneratedToken:
    """One new token of a generated text, and the distribution that it was chosen from.

    The distribution is the model's own, the softmax of its logits: before temperature, top-p and
    other rules of decoding.

    Attributes:
        run: name of the run, `base` or `patched`.
        step: which new token, from 0.
        position: in the whole text, from 0; the prompt comes first.
        token_id: its id.
        token: its text, exact.
        probability: P(token), 0 to 1.
        rank: over the whole vocabulary; 1 = most likely.
        best_id, best, best_probability: the most likely token, its text and its probability.
        entropy: of the distribution, in nats.
    """

    run: str
    step: int
    position: int
    token_id: int
    token: str
    probability: float
    rank: int
    best_id: int
    best: str
    best_probability: float
    entropy: float


def generated_token(
    logits: Tensor, token_id: int, token_text: TokenText, run: str, step: int, position: int
) -> GeneratedToken:
    """Measure one new token, in float64.

    Args:
        logits: `(vocabulary,)` that it was chosen from.
        token_id: which token was chosen.
        token_text: exact text of a token id.
        run, step, position: of the token.

    Raises:
        RequestError: logits with NaN or infinity.
    """
    values = checked_distribution(logits, f"logits of new token {step} of the {run} run")
    log_p = values.log_softmax(-1)
    weights = log_p.exp()
    best = int(values.argmax())
    own = values[token_id]
    # Equal logits rank by token id, lower first.
    above = int((values > own).sum()) + int((values[:token_id] == own).sum())
    # 0 · ln 0 is 0.
    entropy = -float((weights * log_p).nansum())
    return GeneratedToken(
        run=run,
        step=step,
        position=position,
        token_id=token_id,
        token=token_text(token_id),
        probability=float(weights[token_id]),
        rank=above + 1,
        best_id=best,
        best=token_text(best),
        best_probability=float(weights[best]),
        entropy=max(entropy, 0.0),
    )


def generation_frame(tokens: Sequence[GeneratedToken]) -> pd.DataFrame:
    """The new tokens of one or several generated texts.

    Args:
        tokens: of every run, in any order.

    Returns:
        One row per new token and run: `run`, `step`, `position`, `token`, `token_id`, `label`,
        `probability` (of the chosen token), `rank` (its rank), `best`, `best_id`,
        `best_probability` (of the most likely token), `entropy`.
    """
    runs = list(dict.fromkeys(token.run for token in tokens))
    return table(
        "generation_frame",
        run=pd.Categorical([t.run for t in tokens], categories=runs, ordered=True),
        step=[t.step for t in tokens],
        position=[t.position for t in tokens],
        token=[t.token for t in tokens],
        token_id=[t.token_id for t in tokens],
        label=[visible(t.token) for t in tokens],
        probability=[t.probability for t in tokens],
        rank=[t.rank for t in tokens],
        best=[t.best for t in tokens],
        best_id=[t.best_id for t in tokens],
        best_probability=[t.best_probability for t in tokens],
        entropy=[t.entropy for t in tokens],
    )
