"""Sweep, HeadSweep: what a sweep gave, as logits, tables and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.tables import frames
from vene_widgets.tables.followed import Followed
from vene_widgets.tables.metrics import METRICS
from vene_widgets.tables.statistics import CellStatistics, cell_statistics, log_probabilities

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor


@dataclass(eq=False)
class Answers:
    """What the cells of one sweep gave, as compactly as it can be kept.

    Attributes:
        index: of every cell, layer by layer, its row in the other attributes. Row 0 is the base
            run, which is the answer of every cell that cannot change anything.
        logits: `(1 + cells that ran, vocabulary)`, on the model's device until they are read; None
            if they were not kept.
        count: cells of all sweeps that ran together.
        statistics: of the same rows; None until a table is asked for.
    """

    index: tuple[int, ...]
    logits: Tensor | None
    count: int
    statistics: CellStatistics | None = None

    def __getstate__(self) -> dict[str, Any]:
        logits = None if self.logits is None else self.logits.cpu()
        return {**self.__dict__, "logits": logits}


@dataclass(frozen=True, eq=False)
class Sweep:
    """One single-slot answer per layer and position.

    `.frame` and `.logits` are made when they are first read.

    Attributes:
        plan: what was run: layers, positions, tokens.
        base_logits, source_logits: `(vocabulary,)` at the last position of the plain runs.
        followed: the tokens that `.frame` and `.plot()` follow, or named sets of them.
        target: the one that a figure of one token shows: the first that was named, else the one
            that the source raises most, or of an ablation the base's answer.
        keep_bytes: up to which size `.logits` were kept, in bytes.
        recovery: what the column `recovery` is of, one of `frames.RECOVERED`.
    """

    plan: SweepPlan
    base_logits: Tensor
    source_logits: Tensor
    followed: Followed
    target: int
    keep_bytes: int
    recovery: str
    _answers: Answers = field(repr=False)

    @property
    def targets(self) -> tuple[int, ...]:
        """Ids of the tokens that `.frame` and `.plot()` follow; of named sets, -1 and below."""
        return self.followed.keys

    @cached_property
    def _log_source(self) -> Tensor:
        return log_probabilities(self.source_logits)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per cell and target (`tables.frames.sweep_frame`)."""
        return self.frame_beside(self)

    def frame_beside(self, other: Sweep, *, of_base: bool = False) -> pd.DataFrame:
        """`frame`, with every difference taken from the plain runs of another sweep.

        Args:
            other: whose base and source run.
            of_base: have the numbers of this sweep's own base run in every cell.
        """
        answers = self._answers
        index = [0] * len(answers.index) if of_base else answers.index
        return plan_frame(
            self.plan,
            self._statistics.take(index),
            log_probabilities(other.base_logits),
            self.followed,
            [row > 0 for row in answers.index],
            other._log_source,
            other.recovery,
        )

    @property
    def _statistics(self) -> CellStatistics:
        """Of the base run, then of the cells that ran."""
        answers = self._answers
        if answers.statistics is None:
            assert answers.logits is not None  # noqa: S101  # one of the two is kept
            log_base = log_probabilities(self.base_logits)
            answers.statistics = cell_statistics(
                answers.logits, log_base, self.followed.ids, log_source=self._log_source
            )
        return answers.statistics

    @cached_property
    def logits(self) -> Tensor:
        """`(layers, positions, vocabulary)` at the last position, on the CPU.

        Raises:
            RequestError: the sweep was larger than `keep_bytes`; the message says how to ask.
        """
        if self._answers.logits is None:
            base = self.base_logits
            need = self._answers.count * base.numel() * base.element_size()
            raise RequestError(
                f"logits of this sweep take {need / 2**20:.3g} MB and were not kept (limit "
                f"{self.keep_bytes / 2**20:.3g} MB). Ask with sweep(..., keep_bytes={need}), or "
                "use .frame, which follows the targets."
            )
        rows = self._answers.logits.cpu()[list(self._answers.index)]
        return rows.view(len(self.plan.layers), len(self.plan.positions), -1)

    def plot(
        self, metric: str = "probability", title: str | None = None, *, style: str = "light"
    ) -> ggplot:
        """The layer × token map of every target, drawn by plotnine (`figures.sweep_map`).

        A map of `logit_difference` or `recovery` is of `target` against the other one.
        """
        from vene_widgets import figures

        setup, frame = figures.sweep_setup(self.plan), self.frame
        if METRICS[choose(metric, METRICS, "metric")].of_pair:
            frame = frames.target_first(frame, self.target)
        return figures.sweep_map(frame, metric=metric, title=title, setup=setup, style=style)

    def __repr__(self) -> str:
        p = self.plan
        return (
            f"<Sweep of {p.component}: {len(p.layers)} layers x {len(p.positions)} positions, "
            f"{_prompts(p)}>"
        )


@dataclass(frozen=True, eq=False)
class HeadSweep:
    """The sweeps of several heads, each over layers and positions.

    Attributes:
        sweeps: one per head.
    """

    sweeps: tuple[Sweep, ...]

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads, in the order of `sweeps`."""
        return tuple(-1 if s.plan.head is None else s.plan.head for s in self.sweeps)

    @property
    def targets(self) -> tuple[int, ...]:
        """Ids of the tokens that `.frame` and `.plot()` follow."""
        return self.sweeps[0].targets

    @cached_property
    def frame(self) -> pd.DataFrame:
        """`frames.sweep_frame` of every head, one below the other, `head` filled."""
        import pandas as pd

        return pd.concat([sweep.frame for sweep in self.sweeps], ignore_index=True)

    @property
    def logits(self) -> Tensor:
        """`(layers, heads, positions, vocabulary)` at the last position, on the CPU.

        Raises:
            RequestError: they were larger than `keep_bytes`.
        """
        return torch.stack([sweep.logits for sweep in self.sweeps], dim=1)

    def plot(
        self, metric: str = "delta", title: str | None = None, *, style: str = "light"
    ) -> ggplot:
        """A layer × head map per position, of `Sweep.target` (`figures.head_map`)."""
        from vene_widgets import figures

        setup = figures.sweep_setup(self.sweeps[0].plan, "all")
        frame = frames.target_first(self.frame, self.sweeps[0].target)
        return figures.head_map(frame, metric=metric, title=title, setup=setup, style=style)

    @cached_property
    def totals(self) -> pd.DataFrame:
        """The effects of all heads of a layer, added: one row per component, layer and target.

        Columns: `component`, `layer`, `target_id`, `target`, `target_label`, and the sums of
        `delta`, `log_ratio` and `recovery` over heads and positions. What heads do together is
        another number: they may repair each other. Sweep the whole component for that.
        """
        keys = ["component", "layer", "target_id", "target", "target_label"]
        added = ["delta", "log_ratio", "recovery"]
        grouped = self.frame.groupby(keys, sort=False)[added]
        # A sum over some of the cells would look like one over all.
        is_whole = grouped.count().eq(grouped.size(), axis=0)
        return grouped.sum().where(is_whole).reset_index()

    def __repr__(self) -> str:
        p = self.sweeps[0].plan
        return (
            f"<HeadSweep of {p.component}: {len(self.sweeps)} heads x {len(p.layers)} layers x "
            f"{len(p.positions)} positions, {_prompts(p)}>"
        )


def _prompts(plan: SweepPlan) -> str:
    """The base and, if it is read, the source; of another operator than a patch also its name."""
    name = plan.intervention
    text = repr(plan.base_prompt)
    if OPERATORS[name].needs_source:
        text += f" <- {plan.source_prompt!r}"
    if name != "vanilla":
        text += f", {name}"
    if plan.request.window > 1:
        text += f", windows of {plan.request.window} layers"
    held = len(plan.fixed.live) if plan.fixed else 0
    if held:
        text += f", {held} fixed slot{'' if held == 1 else 's'}"
    return f"{text}, mean over {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else text


def plan_frame(
    plan: SweepPlan,
    cells: CellStatistics,
    log_base: Tensor,
    followed: Followed,
    effect_possible: Sequence[bool],
    log_source: Tensor,
    recovery: str = "logit_difference",
) -> pd.DataFrame:
    """The tidy frame of a sweep's cells (`frames.sweep_frame`).

    Args:
        plan: the sweep.
        cells: of every cell, layer by layer, followed at `followed.ids`.
        log_base, log_source: ln P in the plain runs, `(vocabulary,)`, float64.
        followed: the targets.
        effect_possible: of every cell; the others have the base run's numbers.
        recovery: what the column `recovery` is of.
    """
    return frames.cells_frame(
        cells,
        log_base,
        plan.layers,
        [plan.base[position] for position in plan.positions],
        plan.source_positions,
        followed,
        plan.model.token_text,
        component=plan.component,
        head=plan.head,
        effect_possible=effect_possible,
        log_source=log_source,
        recovery=recovery,
    )
