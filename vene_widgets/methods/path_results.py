"""Paths: direct effects of senders on receivers, as a table and as figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.fields import as_int
from vene_widgets.methods.path_ends import LOGITS, name_of, receiver_name
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.tables.columns import COLUMNS, FRAMES

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot

    from vene_widgets.methods.answer_metric import AnswerMetric
    from vene_widgets.methods.path_effects import Edge
    from vene_widgets.methods.path_ends import Writer
    from vene_widgets.models import LanguageModel, Token


class PathTable(PickledWithoutWeights):
    """A table of paths, its strongest rows and its figures."""

    norms: str

    if TYPE_CHECKING:

        @cached_property
        def frame(self) -> pd.DataFrame: ...
        @property
        def setup(self) -> str: ...

    @property
    def ranked_by(self) -> str:
        """The column by which paths are compared: `effect` or `effect_frozen`."""
        return "effect_frozen" if self.norms == "frozen" else "effect"

    def strongest(self, n: int = 10) -> pd.DataFrame:
        """The n paths with the largest effects, of either sign; columns as in `frame`.

        Raises:
            RequestError: `n` is no number of paths.
        """
        count = _count(n)
        column: Any = self.frame[self.ranked_by]
        order: Any = column.abs().sort_values(ascending=False, kind="stable").index[:count]
        return self.frame.reindex(order).reset_index(drop=True)

    def plot(
        self, title: str | None = None, *, strongest: int | None = None, style: str = "light"
    ) -> ggplot:
        """A layer × head map of effects, or the strongest paths as bars, drawn by plotnine.

        Args:
            title: above the figure.
            strongest: how many paths to draw as bars; None for the map.
            style: `light` or `dark`.
        """
        from vene_widgets import figures

        setup = self.setup
        if strongest is not None:
            data = self.strongest(strongest)
            return figures.path_bars(data, self.ranked_by, title=title, setup=setup, style=style)
        return figures.path_map(self.frame, self.ranked_by, title=title, setup=setup, style=style)


@dataclass(frozen=True, eq=False)
class Paths(PathTable):
    """Direct effects of senders on receivers, or on the logits.

    Attributes:
        model: the model that ran.
        base, source: the prompts.
        tokens: the base prompt's tokens.
        positions: at which senders got the source's values.
        metric: what was measured.
        base_metric, source_metric: of the plain runs.
        norms, mlps: as in `paths`.
        edges: one per sender and receiver, in network order.
        bias: what biases alone contribute to `base_metric` with norms held; NaN where that is not
            computed. With `senders="all"`, it and the frame's `contribution` add up to
            `base_metric`.
        frozen_blocker: why numbers with norms held are missing; None if they are there.
    """

    model: LanguageModel = field(repr=False)
    base: str
    source: str
    tokens: tuple[Token, ...]
    positions: tuple[int, ...]
    metric: AnswerMetric
    base_metric: float
    source_metric: float
    norms: str
    mlps: str
    edges: tuple[Edge, ...] = field(repr=False)
    bias: float
    frozen_blocker: str | None

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per sender and receiver, in network order (`tables.columns`).

        Columns: `sender_name`, `sender` (`head`, `mlp` or `embedding`), `sender_layer`,
        `sender_head`, `receiver` (`logits`, `9.9 q`, `mlp10`, …), `effect` (metric with the path
        patched − metric of the base), `effect_frozen` (the same with norms held; NaN where that
        was not computed), `share` (of what
        the two plain runs differ by), `contribution` (the sender's own part of the base's metric).
        """
        import pandas as pd

        whole = self.source_metric - self.base_metric
        rows: list[tuple[Any, ...]] = []
        for edge in self.edges:
            writer = edge.sender
            chosen = edge.frozen if self.norms == "frozen" else edge.effect
            rows.append(
                (
                    name_of(writer),
                    _kind(writer),
                    None if writer.layer < 0 else writer.layer,
                    writer.head,
                    receiver_name(edge.receivers),
                    edge.effect,
                    edge.frozen,
                    chosen / whole if whole else float("nan"),
                    edge.contribution,
                )
            )
        frame = pd.DataFrame(rows, columns=list(FRAMES["path_frame"]))
        return frame.astype({name: COLUMNS[name].dtype for name in frame.columns})

    @property
    def setup(self) -> str:
        """What was done, in one line: prompts, positions, what was held, what was measured."""
        return (
            f"{self.prompts} · senders patched at {self.places}, {self.held} · "
            f"effect on {self.metric.words(self.model)} · base {signed(self.base_metric)}, "
            f"source {signed(self.source_metric)} · {self.model.name}"
        )

    @property
    def prompts(self) -> str:
        """Both prompts, in words."""
        return f"base “{self.base}” · source “{self.source}”"

    @property
    def places(self) -> str:
        """Where senders were patched, in words."""
        count = len(self.positions)
        if count == len(self.tokens):
            return "all tokens"
        return f"token{'s' if count > 1 else ''} {', '.join(map(str, self.positions))}"

    @property
    def held(self) -> str:
        """What was held between sender and receiver, in words."""
        held = "other heads held, MLPs recomputed" if self.mlps == "recomputed" else "all else held"
        if receiver_name(self.edges[0].receivers) == LOGITS:
            norms = "final norm's scale held" if self.norms == "frozen" else "final norm recomputed"
            return f"{held}, {norms}"
        return f"{held}, scale of the receiver's norm too" if self.norms == "frozen" else held

    def __repr__(self) -> str:
        best = self.strongest(1).iloc[0]
        return (
            f"<Paths {self.base!r} <- {self.source!r}: {len(self.edges)} paths, "
            f"{self.metric.name} {self.base_metric:.3g} -> {self.source_metric:.3g}; strongest "
            f"{best.sender_name} -> {best.receiver} {best[self.ranked_by]:+.3g}>"
        )


def _count(n: object) -> int:
    """A number of paths as a plain int.

    Raises:
        RequestError: no int from 1 on.
    """
    try:
        found = as_int(n)
    except RequestError:
        found = 0
    if found < 1:
        raise RequestError(f"n must be a number of paths, 1 or more, got {shown(n)}.")
    return found


def _kind(writer: Writer) -> str:
    if writer.layer < 0:
        return "embedding"
    return "mlp" if writer.head is None else "head"


def signed(value: float) -> str:
    """A number with a typographic minus sign."""
    return f"{value:.3g}".replace("-", "−")
