"""AttributionCheck: estimates of attribution patching beside the exact effects of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch

from vene_widgets.engine.behaviour import TOLERANCE, distance
from vene_widgets.errors import RequestError, shown
from vene_widgets.sweeps.results import HeadSweep, Sweep
from vene_widgets.tables.attribution import attribution_check_frame, correlations

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.sweeps.planning import SweepPlan


class Estimated(Protocol):
    """What is read of an `Attribution`."""

    @property
    def plans(self) -> tuple[SweepPlan, ...]: ...
    @property
    def metric(self) -> str: ...
    @property
    def target(self) -> int: ...
    @property
    def contrast(self) -> int | None: ...
    @property
    def base_logits(self) -> Tensor: ...
    def setup(self) -> str: ...


@dataclass(frozen=True, eq=False)
class AttributionCheck:
    """Estimates beside exact effects, cell by cell.

    Attributes:
        frame: one row per cell, in the order of `Attribution.frame`
            (`tables.attribution.attribution_check_frame`).
        share: of the largest exact |effect| from which on an effect counts as large.
        kept: of a large effect below which an estimate has missed it.
        setup: what was done, in the line that figures have below their title.
    """

    frame: pd.DataFrame
    share: float
    kept: float
    setup: str = field(repr=False)

    @property
    def correlation(self) -> float:
        """Pearson's r of estimate and exact effect, over the cells where an effect is possible.

        The others are 0 on both sides and would raise it. NaN for fewer than two cells, or if
        nothing varies.
        """
        return self._correlations[0]

    @property
    def rank_correlation(self) -> float:
        """Spearman's rho over the same cells."""
        return self._correlations[1]

    @property
    def cells(self) -> int:
        """How many cells the correlations are over."""
        return self._correlations[2]

    @cached_property
    def _correlations(self) -> tuple[float, float, int]:
        return correlations(self.frame)

    @property
    def false_negatives(self) -> pd.DataFrame:
        """Rows of `frame` whose large effect the estimate misses, the largest first."""
        missed = self.frame[self.frame["false_negative"]]
        order = missed["exact"].abs().sort_values(ascending=False, kind="stable").index
        return missed.loc[order].reset_index(drop=True)

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """Tiles split in two: exact effect left, estimate right, false negatives ringed.

        Drawn by `figures.attribution_check_map`.
        """
        from vene_widgets import figures

        return figures.attribution_check_map(self.frame, title, setup=self.setup, style=style)

    def __repr__(self) -> str:
        return (
            f"<AttributionCheck of {self.cells} cells: r = {self.correlation:.3f}, "
            f"rho = {self.rank_correlation:.3f}, {len(self.false_negatives)} false negatives "
            f"(share={self.share:g}, kept={self.kept:g})>"
        )


def check_attribution(
    estimated: Estimated,
    frame: pd.DataFrame,
    sweep: Sweep | HeadSweep,
    share: float,
    kept: float,
) -> AttributionCheck:
    """Set estimates beside a sweep; arguments as `Attribution.against`.

    Args:
        estimated: the attribution.
        frame: its frame.
        sweep, share, kept: as there.

    Raises:
        RequestError: a sweep of another request, or a share out of its range.
    """
    for name, value in (("share", share), ("kept", kept)):
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
            raise RequestError(f"{name} must be a number from 0 to 1, got {value!r}.")
    if not isinstance(sweep, (Sweep, HeadSweep)):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
        raise RequestError(f"against() takes the result of vw.sweep, got a {type(sweep).__name__}.")
    sweeps = sweep.sweeps if isinstance(sweep, HeadSweep) else (sweep,)
    _require_same(estimated, sweeps)
    check = attribution_check_frame(frame, sweep.frame, estimated.metric, share, kept)
    return AttributionCheck(check, float(share), float(kept), estimated.setup())


def _require_same(estimated: Estimated, sweeps: tuple[Sweep, ...]) -> None:
    """Check that a sweep has the cells, tokens and model that were estimated.

    Raises:
        RequestError: it has not; the message names the first difference.
    """
    heads = [plan.head for plan in estimated.plans], [sweep.plan.head for sweep in sweeps]
    first = sweeps[0]
    pairs = [("head", *heads)]
    pairs += [
        (name, *values)
        for name, *values in zip(
            _NAMES, _request(estimated.plans[0]), _request(first.plan), strict=True
        )
    ]
    for name, own, other in pairs:
        if own != other:
            raise RequestError(
                f"the sweep is of another request: its {name} is {shown(other)}, that of the "
                f"attribution {shown(own)}. Run vw.sweep with the arguments of vw.attribute."
            )
    wanted = [token for token in (estimated.target, estimated.contrast) if token is not None]
    if missing := [token for token in wanted if token not in first.targets]:
        text = estimated.plans[0].model.token_text
        named = ", ".join(shown(text(token)) for token in wanted)
        raise RequestError(
            f"the sweep did not follow {shown(text(missing[0]))}, which the metric "
            f"{estimated.metric!r} reads: run vw.sweep with targets=[{named}]."
        )
    if base_differs(estimated.base_logits, first.base_logits):
        raise RequestError(
            "the sweep's base run gave other logits than the attribution's: the model has changed "
            "between them. Run both again."
        )


_NAMES = (
    *("component", "intervention", "base prompt", "source prompt", "layers", "positions"),
    *("source positions", "prompts of the mean", "window", "number of fixed slots"),
    "seed of matched noise",
)


def _request(plan: SweepPlan) -> tuple[object, ...]:
    """What must be equal, in the order of `_NAMES`."""
    return (
        plan.component,
        plan.intervention,
        plan.base_prompt,
        plan.source_prompt,
        plan.layers,
        plan.positions,
        plan.mean_positions or plan.source_positions,
        plan.request.prompts,
        plan.request.window,
        len(plan.request.fixed),
        plan.noise_seed,
    )


def base_differs(one: Tensor, other: Tensor) -> bool:
    """Whether two base runs differ by more than rounding."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return True
    return not distance(one, other, one) <= max(TOLERANCE, 4 * torch.finfo(one.dtype).eps)
