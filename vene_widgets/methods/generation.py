"""Generation: a text that a model wrote with an experiment's slots in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from vene_widgets.engine.slot_reports import PLANNED_COLUMNS, planned_row
from vene_widgets.errors import RequestError
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.tables.generated import GeneratedToken, generation_frame

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.methods.decoding import Decoding
    from vene_widgets.models import LanguageModel

BASE, PATCHED = "base", "patched"
"""Names of the two runs."""

_WORDS = {"prompt": "the prompt", "every": "the prompt and every new token"}


@dataclass(frozen=True, eq=False)
class Generation(PickledWithoutWeights):
    """A text that a model generated with an experiment's slots in place, and one without them.

    A pickle of it holds the numbers and the tokenizer, not the model's weights.

    Attributes:
        model: the model that ran.
        plan: the experiment, its positions as ints.
        on: `"prompt"`, `"every"`, or the positions at which the slots acted.
        decoding: how tokens were chosen.
        tokens: ids of the new tokens; an end of text is one of them.
        base_tokens: the same without the slots; None if `baseline` was False.
        acted_at: per slot, the positions of the whole text that it changed.
        steps: every new token with its probability, of the base run first.
        milliseconds: wall time of all passes.
    """

    model: LanguageModel = field(repr=False)
    plan: Plan
    on: Literal["prompt", "every"] | tuple[int, ...]
    decoding: Decoding
    tokens: tuple[int, ...]
    base_tokens: tuple[int, ...] | None
    acted_at: tuple[tuple[int, ...], ...]
    steps: tuple[GeneratedToken, ...] = field(repr=False)
    milliseconds: float
    _logits: Mapping[str, Tensor | None] = field(repr=False)
    _keep_bytes: int = field(repr=False)

    @property
    def experiment(self) -> Experiment:
        """The request."""
        return self.plan.experiment

    @cached_property
    def text(self) -> str:
        """The new text, without the prompt and without special tokens."""
        return self._decoded(self.tokens)

    @cached_property
    def base_text(self) -> str | None:
        """The text without the slots; None if `baseline` was False."""
        return None if self.base_tokens is None else self._decoded(self.base_tokens)

    @property
    def agreement(self) -> int | None:
        """The first step at which both texts differ; None if they do not.

        Raises:
            RequestError: there is no base text.
        """
        if self.base_tokens is None:
            raise RequestError(
                "this generation has no base text to compare with: call generate(..., "
                "baseline=True)."
            )
        if self.tokens == self.base_tokens:
            return None
        pairs = zip(self.tokens, self.base_tokens, strict=False)
        shorter = min(len(self.tokens), len(self.base_tokens))
        return next((n for n, (one, other) in enumerate(pairs) if one != other), shorter)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per new token and run (`tables.generated.generation_frame`).

        Columns: run (`base`, `patched`), step, position (in the whole text), token, token_id,
        label, probability (of the chosen token), rank (its rank), best, best_id, best_probability
        (of the most likely token), entropy (in nats). Probabilities are the model's own, before
        temperature, top-p and other rules of decoding.
        """
        return generation_frame(self.steps)

    @property
    def receipts(self) -> pd.DataFrame:
        """One row per slot: what it was meant to do, and the positions where it acted.

        Columns: slot, layer, component, head, source, base_positions, source_positions, skipped,
        fired, acted_at (positions in the whole text).
        """
        import pandas as pd

        rows = [
            {
                **planned_row(planned),
                "skipped": planned.slot.skip,
                "fired": bool(positions),
                "acted_at": positions,
            }
            for planned, positions in zip(self.plan.slots, self.acted_at, strict=True)
        ]
        return pd.DataFrame(rows, columns=[*PLANNED_COLUMNS, "skipped", "fired", "acted_at"])

    @property
    def logits(self) -> Tensor:
        """Logits `(new tokens, vocabulary)` that the tokens were chosen from, on the CPU.

        Raises:
            RequestError: they were larger than `keep_bytes`.
        """
        return self._kept(PATCHED)

    @property
    def base_logits(self) -> Tensor:
        """The same of the base text.

        Raises:
            RequestError: they were larger than `keep_bytes`, or there is no base text.
        """
        return self._kept(BASE)

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """Both texts side by side, a tile per token, coloured by its probability.

        Drawn by plotnine (`figures.generation_plot`).
        """
        from vene_widgets import figures

        return figures.generation_plot(self.frame, setup=self._setup, title=title, style=style)

    @property
    def _setup(self) -> str:
        """What was run, in a line for the figure."""
        from vene_widgets import figures

        line = figures.runs_setup(self.plan, self.model.name)
        where = _WORDS[self.on] if isinstance(self.on, str) else f"positions {_listed(self.on)}"
        where = f"slots act on {where}"
        return " · ".join([line, *([where] if self.plan.live else []), self.decoding.words])

    def _decoded(self, tokens: tuple[int, ...]) -> str:
        """The text of new tokens, spaces between it and the prompt included."""
        tokenizer: Any = self.model.tokenizer
        prompt = [token.id for token in self.plan.base]

        def decode(ids: list[int]) -> str:
            return tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )

        before, whole = decode(prompt), decode([*prompt, *tokens])
        # Some tokenizers drop the space of a text's first token.
        return whole.removeprefix(before) if whole.startswith(before) else decode(list(tokens))

    def _kept(self, run: str) -> Tensor:
        if run not in self._logits:
            raise RequestError(
                "this generation has no base text: call generate(..., baseline=True)."
            )
        found = self._logits[run]
        if found is None:
            raise RequestError(
                f"logits of this generation were not kept (limit {self._keep_bytes / 2**20:.3g} "
                "MB). Ask for them with generate(..., keep_bytes=...), or use .frame."
            )
        return found

    def __repr__(self) -> str:
        base = "" if self.base_text is None else f"; base {self.base_text!r}"
        live = len(self.experiment.live)
        slots = f"{live} live slot{'' if live == 1 else 's'}"
        return (
            f"<Generation after {self.experiment.base!r}: {self.text!r}, {len(self.tokens)} "
            f"tokens, {slots} on {self.on!r}{base}>"
        )


def _listed(positions: tuple[int, ...]) -> str:
    """Positions in words: the first three and the last."""
    if len(positions) < 5:
        return ", ".join(map(str, positions))
    return f"{', '.join(map(str, positions[:3]))}, … {positions[-1]}"
