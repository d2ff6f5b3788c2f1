"""Attribution: estimated effects of every cell of a sweep, as tensors, a table and a map."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.methods.attribution_check import AttributionCheck, check_attribution
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.results import HeadSweep, Sweep
from vene_widgets.tables.attribution import (
    ANSWER_METRICS,
    KEPT,
    SHARE,
    answer_value,
    attribution_frame,
)
from vene_widgets.tables.statistics import log_probabilities
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Attribution:
    """The estimated effect of changing one state, of every cell of a sweep.

    `.frame` is made when it is first read. Tensors are on the CPU.

    Attributes:
        plans: the sweep that was estimated, one plan per head: layers, positions, tokens.
        metric: whose change is estimated, a key of `tables.attribution.ANSWER_METRICS`.
        target, contrast: ids of the metric's tokens; the contrast is None where it has none.
        steps: passes over which the gradient was averaged; 1 for the base's own.
        base_logits, source_logits: `(vocabulary,)` at the last position of the plain runs.
        changes: new state − base state, float32: `(layers, positions, width)`; of several heads
            `(layers, heads, positions, width)`.
        gradients: of the metric to the states, float32, shaped like `changes`. In units of the
            metric per unit of the state.
    """

    plans: tuple[SweepPlan, ...]
    metric: str
    target: int
    contrast: int | None
    steps: int
    base_logits: Tensor
    source_logits: Tensor
    changes: Tensor = field(repr=False)
    gradients: Tensor = field(repr=False)

    @property
    def plan(self) -> SweepPlan:
        """The first head's plan, or the only one."""
        return self.plans[0]

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads, in their order; empty for a component with one vector per position."""
        return tuple(plan.head for plan in self.plans if plan.head is not None)

    @cached_property
    def estimates(self) -> Tensor:
        """Predicted changes of the metric, float64: `changes` times `gradients`, without width."""
        return (self.changes.double() * self.gradients.double()).sum(-1)

    @property
    def base_value(self) -> float:
        """The metric in the base run."""
        return self._value(self.base_logits)

    @property
    def source_value(self) -> float:
        """The metric in the source run."""
        return self._value(self.source_logits)

    @property
    def _has_source(self) -> bool:
        return self.plan.source != self.plan.base

    def _value(self, logits: Tensor) -> float:
        return answer_value(self.metric, log_probabilities(logits), self.target, self.contrast)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per head, layer and position (`tables.attribution.attribution_frame`).

        `.attrs` holds `metric`, `unit`, `contrast_label`, `steps`, and the metric's `base_value`
        and `source_value` (None without a source).
        """
        import pandas as pd

        several = self.estimates.ndim > 2
        parts: list[pd.DataFrame] = []
        for n, plan in enumerate(self.plans):
            here = (slice(None), n) if several else (slice(None),)
            parts.append(
                attribution_frame(
                    self.estimates[here],
                    self.changes[here].ne(0).any(-1),
                    plan.layers,
                    [plan.base[position] for position in plan.positions],
                    plan.source_positions,
                    _source_texts(plan),
                    self.target,
                    self.contrast,
                    plan.model.token_text,
                    plan.component,
                    plan.head,
                )
            )
        frame, text = pd.concat(parts, ignore_index=True), self.plan.model.token_text
        frame.attrs = {
            "metric": self.metric,
            "unit": ANSWER_METRICS[self.metric].unit,
            "contrast_label": None if self.contrast is None else visible(text(self.contrast)),
            "steps": self.steps,
            "base_value": self.base_value,
            "source_value": self.source_value if self._has_source else None,
        }
        return frame

    def against(
        self, sweep: Sweep | HeadSweep, *, share: float = SHARE, kept: float = KEPT
    ) -> AttributionCheck:
        """Set the estimates beside the exact effects of a sweep over the same cells.

        A false negative is a cell whose exact effect is large and whose estimate shows too little
        of it (Kramár et al. 2024, "AtP*", names the two causes: saturated attention, and effects
        that cancel). Here: |exact| is at least `share` of the map's largest, and the estimate, in
        the same direction, is below `kept` of it.

        Args:
            sweep: from `sweep`, of the same request; its targets must hold the metric's tokens.
            share: from 0 to 1.
            kept: from 0 to 1.

        Raises:
            RequestError: a sweep of another request, or a share out of its range.
        """
        return check_attribution(self, self.frame, sweep, share, kept)

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """The layer × token map of the estimates, or layer × head per token.

        Drawn by `figures.attribution_map`.
        """
        from vene_widgets import figures

        return figures.attribution_map(self.frame, title, setup=self.setup(), style=style)

    def setup(self) -> str:
        """What was done, in the line that figures have below their title."""
        from vene_widgets import figures

        return figures.attribution_setup(
            self.plan, "all" if len(self.plans) > 1 else None, self.steps
        )

    def __repr__(self) -> str:
        p = self.plan
        heads = f"{len(self.plans)} heads x " if len(self.plans) > 1 else ""
        prompts = repr(p.base_prompt)
        if OPERATORS[p.intervention].needs_source:
            prompts += f" <- {p.source_prompt!r}"
        source = f"{self.source_value:+.3g} in the source, " if self._has_source else ""
        return (
            f"<Attribution of {p.component}: {heads}{len(p.layers)} layers x {len(p.positions)} "
            f"positions, {prompts}; {self.metric} {self.base_value:+.3g} in the base, "
            f"{source}steps={self.steps}>"
        )


def _source_texts(plan: SweepPlan) -> list[str | None]:
    """The source's token at each position; None where no source prompt is read."""
    if not OPERATORS[plan.intervention].needs_source:
        return [None] * len(plan.positions)
    return [plan.source[position].text for position in plan.source_positions]
