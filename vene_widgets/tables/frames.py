"""Logits -> tidy pandas DataFrames; `COLUMNS` describes their columns.

Statistics are computed in float64 with natural logarithms; equal logits rank by token id. Tokens
are identified by id, not by text: different ids may share a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import torch

from vene_widgets.errors import RequestError, choose
from vene_widgets.tables.columns import COLUMNS as COLUMNS
from vene_widgets.tables.columns import FRAMES as FRAMES
from vene_widgets.tables.followed import Followed, follow_tokens
from vene_widgets.tables.metrics import METRICS as METRICS
from vene_widgets.tables.metrics import Metric as Metric
from vene_widgets.tables.statistics import (
    CellStatistics,
    argsort_descending,
    cell_statistics,
    checked_count,
    checked_distribution,
    kl_parts,
    ranks,
    require_one_vocabulary,
)
from vene_widgets.tables.token_text import TokenText as TokenText
from vene_widgets.tables.token_text import visible as visible

if TYPE_CHECKING:
    from torch import Tensor


RECOVERED = {
    "logit_difference": "logit difference of target and contrast",
    "probability": "probability of the target",
    "log_probability": "ln P of the target",
}
"""What recovery may be of."""

LEAST = 1e-6
"""Smaller differences between the plain runs have no recovery."""


class PromptToken(Protocol):
    """One token of a prompt: its position from 0, its id and its exact text."""

    @property
    def index(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def text(self) -> str: ...


def top_frame(logits: Tensor, token_text: TokenText, k: int = 10) -> pd.DataFrame:
    """The most likely tokens of one distribution.

    Args:
        logits: `(vocabulary,)`.
        token_text: exact text of a token id.
        k: number of tokens; at most the whole vocabulary.

    Returns:
        Columns `rank`, `token`, `token_id`, `probability`, `logit`; most likely first.

    Raises:
        RequestError: logits of another shape or with NaN, or `k` below 1.
    """
    values = checked_distribution(logits)
    ids = argsort_descending(values)[: checked_count(k, len(values))]
    return table(
        "top_frame",
        rank=range(1, len(ids) + 1),
        token=[token_text(i) for i in _ints(ids)],
        token_id=ids,
        probability=values.log_softmax(-1)[ids].exp(),
        logit=values[ids],
    )


def token_frame(
    runs: Mapping[str, Tensor],
    token_text: TokenText,
    k: int = 10,
    also: Iterable[int] = (),
) -> pd.DataFrame:
    """The union of several runs' most likely tokens, in every run.

    Args:
        runs: name of the run -> logits `(vocabulary,)`.
        token_text: exact text of a token id.
        k: number of most likely tokens that each run contributes.
        also: ids of more tokens, such as those of a `difference_frame`.

    Returns:
        One row per token and run: `run` (ordered as given), `token_id`, `token`, `label`,
        `probability`, `log_probability`, `logit`, `rank` (over the whole vocabulary). Tokens are
        ordered by their largest probability in any run, runs as given.

    Raises:
        RequestError: no run, unequal vocabularies, NaN, `k` below 1, or a token outside the
            vocabulary.
    """
    if not runs:
        raise RequestError("runs must hold at least one run, got none.")
    names = list(runs)
    values = [
        checked_distribution(logits, f"logits of run {name!r}") for name, logits in runs.items()
    ]
    require_one_vocabulary(dict(zip(names, values, strict=True)))
    places = torch.stack([ranks(v) for v in values])
    stacked = torch.stack(values)
    log_p = stacked.log_softmax(-1)
    count = checked_count(k, stacked.shape[1])
    # The union is ascending by id, so equally likely tokens stay in that order.
    taken = (places <= count).any(0)
    for token in also:
        if not 0 <= int(token) < stacked.shape[1]:
            raise RequestError(
                f"token {token} of `also` is out of range: token ids go from 0 to "
                f"{stacked.shape[1] - 1}."
            )
        taken[int(token)] = True
    union = taken.nonzero()[:, 0]
    ids = union[argsort_descending(log_p[:, union].amax(0))]
    token_ids = ids.repeat_interleave(len(names))
    texts = [token_text(i) for i in _ints(token_ids)]
    return table(
        "token_frame",
        run=pd.Categorical(names * len(ids), categories=names, ordered=True),
        token_id=token_ids,
        token=texts,
        label=[visible(text) for text in texts],
        probability=log_p[:, ids].T.flatten().exp(),
        log_probability=log_p[:, ids].T.flatten(),
        logit=stacked[:, ids].T.flatten(),
        rank=places[:, ids].T.flatten(),
    )


def difference_frame(
    before: Tensor, after: Tensor, token_text: TokenText, k: int | None = 20
) -> pd.DataFrame:
    """The tokens whose probabilities changed most between two distributions.

    Args:
        before, after: logits `(vocabulary,)`.
        token_text: exact text of a token id.
        k: number of tokens; None for the whole vocabulary.

    Returns:
        One row per token: `token_id`, `token`, `label`, `before`, `after`, `delta`, `log_ratio`
        and `kl` (nats; `kl` is the token's own part, P after · ln (P after / P before), whose sum
        over the vocabulary is `kl_divergence`), `rank_before`, `rank_after`. Largest |delta| first;
        equal changes by token id, tokens that did not change at all by probability.
        `.attrs["kl_divergence"]` is the sum over all tokens.

    Raises:
        RequestError: unequal vocabularies, NaN, or `k` below 1.
    """
    one, other = checked_distribution(before, "before"), checked_distribution(after, "after")
    require_one_vocabulary({"before": one, "after": other})
    log_before, log_after = one.log_softmax(-1), other.log_softmax(-1)
    p_before, p_after = log_before.exp(), log_after.exp()
    parts = kl_parts(log_before, log_after)
    count = len(one) if k is None else checked_count(k, len(one))
    delta = p_after - p_before
    # Two stable sorts: the first decides between equal changes.
    ties = argsort_descending(torch.where(delta == 0, p_before, torch.inf))
    ids = ties[argsort_descending(delta[ties].abs())][:count]
    texts = [token_text(i) for i in _ints(ids)]
    frame = table(
        "difference_frame",
        token_id=ids,
        token=texts,
        label=[visible(text) for text in texts],
        before=p_before[ids],
        after=p_after[ids],
        delta=delta[ids],
        log_ratio=(log_after - log_before)[ids],
        kl=parts[ids],
        rank_before=ranks(one)[ids],
        rank_after=ranks(other)[ids],
    )
    # Rounding may make the sum of equal distributions a tiny negative number.
    frame.attrs["kl_divergence"] = max(0.0, parts.sum().item())
    return frame


def kl_divergence(before: Tensor, after: Tensor) -> float:
    """Compute KL(after ‖ before) of two next-token distributions, in nats.

    Args:
        before, after: logits `(vocabulary,)`.

    Raises:
        RequestError: unequal vocabularies or NaN.
    """
    one, other = checked_distribution(before, "before"), checked_distribution(after, "after")
    require_one_vocabulary({"before": one, "after": other})
    return max(0.0, kl_parts(one.log_softmax(-1), other.log_softmax(-1)).sum().item())


def sweep_frame(
    logits: Tensor,
    base_logits: Tensor,
    layers: Sequence[int],
    tokens: Sequence[PromptToken],
    source_positions: Sequence[int],
    targets: Iterable[int],
    token_text: TokenText,
    component: str = "block_output",
    head: int | None = None,
    source_logits: Tensor | None = None,
    recovery: str = "logit_difference",
) -> pd.DataFrame:
    """The cells of a sweep at some target tokens.

    Args:
        logits: `(layers, positions, vocabulary)`, each cell's at the last position; NaN marks a
            cell that was not run.
        base_logits: `(vocabulary,)`, the unchanged base run at its last position.
        layers: index of each row's block.
        tokens: the base token at each swept position.
        source_positions: the source position paired with each of them.
        targets: ids of the target tokens.
        token_text: exact text of a token id.
        component, head: the tensor that was changed.
        source_logits: `(vocabulary,)`, the source run at its last position; None if there is none.
        recovery: the metric of `recovery`, one of `RECOVERED`.

    Returns:
        One row per layer, position and target: `component`, `head`, `layer`, `position`, `token`,
        `token_id`, `label` (of the base token there), `source_position`, `target_id`, `target`,
        `target_label`, `probability`, `base_probability`, `source_probability`, `delta`,
        `log_ratio`, `contrast_id`, `logit_difference`, `recovery`, `rank`, `kl`, `kl_source` (of
        the whole distribution), `effect_possible`, `best_id`, `best`, `best_probability`. Cells
        that were not run have NaN, <NA> or None, and so has what needs a source or a second target.

    Raises:
        RequestError: inconsistent sizes, or a target outside the vocabulary.
    """
    base = checked_distribution(base_logits, "base_logits")
    wanted = [int(target) for target in targets]
    shape = (len(layers), len(tokens), len(base))
    if not (layers and tokens and wanted):
        raise RequestError(
            "a sweep must have at least one layer, token and target, got "
            f"{len(layers)} layers, {len(tokens)} tokens and {len(wanted)} targets."
        )
    if tuple(logits.shape) != shape or len(source_positions) != len(tokens):
        raise RequestError(
            f"logits must have shape {shape} (layers, tokens, vocabulary) with one source position "
            f"per token, got shape {tuple(logits.shape)} and {len(source_positions)} source "
            "positions."
        )
    if outside := [target for target in wanted if not 0 <= target < len(base)]:
        raise RequestError(
            f"target {outside[0]} is out of range: token ids go from 0 to {len(base) - 1}."
        )
    log_base = base.log_softmax(-1)
    log_source = None
    if source_logits is not None:
        log_source = checked_distribution(source_logits, "source_logits").log_softmax(-1)
    cells = cell_statistics(logits.flatten(0, 1), log_base, wanted, log_source=log_source)
    return cells_frame(
        cells,
        log_base,
        layers,
        tokens,
        source_positions,
        follow_tokens(wanted),
        token_text,
        component=component,
        head=head,
        log_source=log_source,
        recovery=recovery,
    )


def target_first(frame: pd.DataFrame, target: int) -> pd.DataFrame:
    """The same rows of a `sweep_frame`, those of one target (by id) before the others."""
    later = (frame["target_id"] != target).to_numpy()
    return frame.iloc[later.argsort(kind="stable")]


def cells_frame(
    cells: CellStatistics,
    log_base: Tensor,
    layers: Sequence[int],
    tokens: Sequence[PromptToken],
    source_positions: Sequence[int],
    followed: Followed,
    token_text: TokenText,
    component: str = "block_output",
    head: int | None = None,
    effect_possible: Sequence[bool] | None = None,
    log_source: Tensor | None = None,
    recovery: str = "logit_difference",
) -> pd.DataFrame:
    """Build `sweep_frame` from statistics of the cells.

    Args:
        cells: statistics of every cell, layer by layer, with `followed.ids` as tracked tokens.
        log_base: ln P in the base run, `(vocabulary,)`, float64, on any device.
        layers, tokens, source_positions, token_text, component, head: as in `sweep_frame`.
        followed: the targets.
        effect_possible: of every cell, whether its change can reach the answer; None for yes.
        log_source: ln P in the source run, as `log_base`; None if there is none.
        recovery: the metric of `recovery`, one of `RECOVERED`.
    """
    cells, targets, ids = followed.combine(cells), followed.keys, list(followed.ids)
    each, grid, may = len(targets), len(layers) * len(tokens), effect_possible
    target_log_p = cells.log_p.masked_fill(~cells.ran[:, None], torch.nan)
    base_log_p = followed.log_p(log_base.cpu()[ids])
    log_p, log_b = target_log_p.flatten(), base_log_p.repeat(grid)
    best_p = cells.top_log_p[:, 0].exp().masked_fill(~cells.ran, torch.nan)
    best, missing = cells.top[:, 0].numpy(), ~cells.ran.numpy()
    # The contrast token of a target is the first other target. ln P and logits differ by a constant
    # per cell, so a difference of ln P is a difference of logits. NaN without a contrast.
    contrasts = [next((n for n, u in enumerate(targets) if u != t), None) for t in targets]
    columns = [n if contrast is None else contrast for n, contrast in enumerate(contrasts)]
    logit_difference = target_log_p - target_log_p[:, columns]
    without = [n for n, contrast in enumerate(contrasts) if contrast is None]
    logit_difference[:, without] = torch.nan
    source_log_p = torch.full_like(base_log_p, torch.nan)
    if log_source is not None:
        source_log_p = followed.log_p(log_source.cpu()[ids])
    recovered = recoveries(recovery, target_log_p, base_log_p, source_log_p, columns)

    # Rows are ordered by layer, then position, then target.

    def by_target(values: Sequence[Any]) -> np.ndarray:
        return np.tile(_array(values), grid)

    def by_cell(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, each)

    def by_position(values: Sequence[Any]) -> np.ndarray:
        return by_cell(np.tile(_array(values), len(layers)))

    target_texts = [followed.text(target, token_text) for target in targets]
    found = table(
        "sweep_frame",
        component=np.full(grid * each, component, dtype=object),
        head=pd.array([head], dtype="Int64").repeat(grid * each),
        layer=np.repeat([int(layer) for layer in layers], len(tokens) * each),
        position=by_position([token.index for token in tokens]),
        token=by_position([token.text for token in tokens]),
        token_id=by_position([token.id for token in tokens]),
        label=by_position([visible(token.text) for token in tokens]),
        source_position=by_position([int(position) for position in source_positions]),
        target_id=by_target(targets),
        target=by_target(target_texts),
        target_label=by_target(followed.labels(target_texts)),
        probability=log_p.exp(),
        base_probability=log_b.exp(),
        source_probability=source_log_p.repeat(grid).exp(),
        delta=log_p.exp() - log_b.exp(),
        log_ratio=log_p - log_b,
        contrast_id=pd.arrays.IntegerArray(
            by_target([targets[n] for n in columns]), by_target([n is None for n in contrasts])
        ),
        logit_difference=logit_difference.flatten(),
        recovery=recovered.flatten(),
        rank=pd.arrays.IntegerArray(cells.ranks.flatten().numpy(), by_cell(missing), copy=True),
        kl=cells.kl.masked_fill(~cells.ran, torch.nan).repeat_interleave(each),
        kl_source=cells.kl_source.masked_fill(~cells.ran, torch.nan).repeat_interleave(each),
        effect_possible=by_cell(np.array([True] * grid if may is None else [*may], dtype=bool)),
        best_id=pd.arrays.IntegerArray(by_cell(best), by_cell(missing)),
        best=by_cell(_texts(best, missing, token_text)),
        best_probability=best_p.repeat_interleave(each),
    )
    found.attrs["recovery"] = recovery
    return found


def recoveries(
    metric: str, cells: Tensor, base: Tensor, source: Tensor, contrasts: Sequence[int]
) -> Tensor:
    """(metric of the cell − of the base) / (of the source − of the base).

    Zhang & Nanda 2024, "Towards Best Practices of Activation Patching in Language Models".

    Args:
        metric: one of `RECOVERED`.
        cells: ln P of the targets, `(cells, targets)`.
        base, source: ln P of the targets in the plain runs, `(targets,)`.
        contrasts: of each target, the index of its contrast; its own if it has none.

    Returns:
        `(cells, targets)`; NaN where the plain runs do not differ, or a contrast is missing.
    """
    choose(metric, RECOVERED, "recovery metric")

    def value(log_p: Tensor) -> Tensor:
        if metric == "probability":
            return log_p.exp()
        return log_p if metric == "log_probability" else log_p - log_p[..., list(contrasts)]

    whole = value(source) - value(base)
    # The plain runs' numbers come from other passes than the cells': less is rounding.
    whole = whole.masked_fill(whole.abs() < LEAST, torch.nan)
    return (value(cells) - value(base)) / whole + 0.0  # no -0


def _array(values: Sequence[Any]) -> np.ndarray:
    """Numbers as an array of their own dtype, texts as an array of objects."""
    return np.array(values, dtype=object if isinstance(values[0], str) else None)


def _texts(ids: np.ndarray, missing: np.ndarray, token_text: TokenText) -> np.ndarray:
    """The text of each id, read once per id; None where it is missing."""
    texts = np.full(len(ids), None, dtype=object)
    distinct, places = np.unique(ids[~missing], return_inverse=True)
    listed = np.array([token_text(i) for i in distinct.tolist()], dtype=object)
    texts[~missing] = listed[places]
    return texts


def table(name: str, **columns: Any) -> pd.DataFrame:
    """Build a frame with the columns of `FRAMES[name]` and the dtypes of `COLUMNS`."""
    values = {
        column: data.numpy() if isinstance(data, torch.Tensor) else data
        for column, data in columns.items()
    }
    series = {c: pd.Series(values[c], dtype=COLUMNS[c].dtype) for c in FRAMES[name]}
    return pd.DataFrame(series)


def _ints(values: Tensor) -> list[int]:
    """The entries of an integer or boolean tensor `(n,)` on the CPU."""
    # Through numpy: the element type of torch's own tolist is unknown to type checkers.
    return values.numpy().tolist()
