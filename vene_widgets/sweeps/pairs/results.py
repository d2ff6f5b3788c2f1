"""PairSweep: what a sweep over a data set gave, as tables and as experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.slot import Slot
from vene_widgets.sweeps.pairs.controls import CONTROLS
from vene_widgets.sweeps.pairs.effects import PAIR_METRICS, contrast_missing, effects, own_scales
from vene_widgets.sweeps.pairs.pair_frame import pair_frame
from vene_widgets.sweeps.pairs.summary import summarize

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot

    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.sweeps.pairs.chunks import PairAnswers
    from vene_widgets.sweeps.pairs.planning import PairPlan

KEEP = {
    "all": "every pair",
    "preferred": "pairs in which each plain run prefers its own answer to the other's",
    "top": "pairs in which each plain run's likeliest token is its own answer",
}
"""Which pairs count, by name."""


@dataclass(frozen=True, eq=False)
class PairSweep:
    """The maps of a data set of pairs, and their statistics.

    `.frame` and `.summary` are made when they are first read.

    Attributes:
        plan: what was run.
        pairs: the data set as a table, one row per pair, those that were left out too.
        metric: what `.summary` and `.plot()` average; one of `PAIR_METRICS`.
        keep: which pairs count; one of `KEEP`.
        cluster: column of `pairs`; pairs with the same value there are not independent. None if
            all are.
        seed: of everything random.
        state: the state of the model that the maps are of; None of one that was pickled.
    """

    plan: PairPlan
    pairs: pd.DataFrame = field(repr=False)
    metric: str
    keep: str
    cluster: str | None
    seed: int
    state: Fingerprint | None = field(repr=False)
    _answers: PairAnswers = field(repr=False)
    _controls: Mapping[str, PairAnswers] = field(repr=False)

    open_explorer: ClassVar[Callable[[PairSweep], Any] | None] = None
    """How `explore` opens one; set by `explorer.data_sets`, which knows the explorer."""

    @cached_property
    def kept(self) -> np.ndarray:
        """Whether each pair counts, `(pairs,)`, bool."""
        return kept_pairs(self._answers, self.keep, self.plan)

    @property
    def left_out(self) -> int:
        """How many pairs do not count."""
        return int((~self.kept).sum())

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that ran."""
        return tuple(self._controls)

    @cached_property
    def answers(self) -> PairAnswers:
        """The numbers of the pairs that count, as arrays."""
        return self._answers.take(self.kept)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per pair, cell and token followed (`COLUMNS` of `tables.columns`)."""
        return pair_frame(self.plan, self.answers)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per cell and token followed: mean, interval, p, q, and the closest control.

        `summarize` takes other metrics, intervals and corrections.
        """
        return self.summarize()

    def summarize(
        self,
        metric: str | None = None,
        *,
        confidence: float = 0.95,
        bootstraps: int = 1999,
        permutations: int = 9999,
    ) -> pd.DataFrame:
        """The table of means over the pairs.

        Args:
            metric: one of `PAIR_METRICS`; None for the sweep's own.
            confidence: of the intervals, between 0 and 1.
            bootstraps: resamples of the intervals.
            permutations: sign flips of p.

        Returns:
            The columns `FRAMES["pair_summary"]` of `tables.columns`. `.attrs` says how it was made:
            `metric`, `confidence`, `pairs`, `left_out`, `units`, `cluster`, `controls`,
            `control_words`, `correction`, `intervention`, `model`.

        Raises:
            RequestError: an unknown metric, or one that the pairs' targets do not allow.
        """
        answers = self.answers
        if not len(answers.pairs):
            raise RequestError(
                f"no pair is left of {len(self.pairs)}: keep={self.keep!r} counts "
                f"{KEEP[self.keep]}. keep='all' counts every pair."
            )
        found = summarize(
            self.plan,
            answers,
            self._controls,
            metric or self.metric,
            self._clusters(),
            confidence=confidence,
            bootstraps=bootstraps,
            permutations=permutations,
            seed=self.seed,
        )
        found.attrs.update(
            metric=metric or self.metric,
            confidence=confidence,
            pairs=len(answers.pairs),
            left_out=self.left_out,
            units=int(found["units"].iloc[0]),
            cluster=self.cluster,
            controls=self.controls,
            control_words={name: CONTROLS[name] for name in self.controls},
            correction="Benjamini-Hochberg",
            intervention=self.plan.request.intervention,
            model=self.plan.model.name,
        )
        return found

    def counting(self, keep: str) -> PairSweep:
        """The same maps with other pairs counting: nothing runs again.

        Args:
            keep: one of `KEEP`.
        """
        return replace(self, keep=choose(keep, KEEP, "keep"))

    def values(self, layer: int, place: str | int, head: int | None = None) -> pd.Series[float]:
        """The metric of every pair that counts in one cell, by the pair's row, largest first.

        The metric of a single pair is its own: `recovery` is a ratio here.

        Raises:
            RequestError: no such cell.
        """
        import pandas as pd

        found = effects(self.answers, self.metric)
        values = found.values[:, self._cell(layer, place, head)]
        if found.scales is not None:
            values = (values - found.reference[:, 0]) / own_scales(found.scales)
        return pd.Series(values, index=self.answers.pairs, name=self.metric).sort_values(
            ascending=False
        )

    def pair(
        self,
        number: int,
        layer: int | None = None,
        place: str | int | None = None,
        head: int | None = None,
    ) -> Experiment:
        """One pair as an ordinary experiment, for `run`, `sweep` and `explore`.

        Args:
            number: row of the pair, as in `.frame`.
            layer, place, head: a cell of the map, whose slot the experiment then has.

        Raises:
            RequestError: no such pair or cell, or a layer without a place.
        """
        number = as_int(number)
        if not 0 <= number < len(self.plan.rows):
            raise RequestError(
                f"pair {number} is out of range: pairs go from 0 to {len(self.plan.rows) - 1}."
            )
        pair, row = self.plan.pairs[number], self.plan.rows[number]
        slots: list[Slot] = []
        if (layer is None) != (place is None):
            raise RequestError(
                f"a cell needs a layer and a place, got layer={layer!r} and place={place!r}."
            )
        if layer is not None and place is not None:
            self._cell(layer, place, head)
            column = self.plan.places.index(str(place))
            slots.append(
                self._slot(row.positions[column], row.source_positions[column], layer, head)
            )
        return Experiment(
            base=pair.base, sources={} if pair.source is None else pair.source, slots=slots
        )

    def _slot(self, position: int, partner: int, layer: int, head: int | None) -> Slot:
        request = self.plan.request
        more: dict[str, Any] = {"prompts": request.prompts} if request.prompts else {}
        if self.plan.reads_source:
            more["source_position"] = partner
        return Slot(
            layer=layer,
            position=position,
            component=request.component,
            head=head,
            intervention=request.intervention,
            **more,
        )

    def _cell(self, layer: int, place: str | int, head: int | None) -> int:
        """Index of a cell in arrays `(heads · layers · places)`.

        Raises:
            RequestError: no such cell.
        """
        plan = self.plan
        named = choose(str(place), plan.places, "place")
        if layer not in plan.layers:
            raise RequestError(f"layer {shown(layer)} was not swept: layers {shown(plan.layers)}.")
        if head not in plan.heads:
            raise RequestError(f"head {shown(head)} was not swept: heads {shown(plan.heads)}.")
        row = plan.heads.index(head) * len(plan.layers) + plan.layers.index(layer)
        return row * len(plan.places) + plan.places.index(named)

    def _clusters(self) -> list[object] | None:
        if self.cluster is None:
            return None
        return self.pairs[self.cluster].iloc[self.answers.pairs].tolist()

    def explore(self) -> Any:
        """Open the explorer on this data set: a click on a tile shows its pairs, and runs none.

        Returns:
            The widget, an `Explorer`: a click on a pair opens it as an ordinary experiment.
        """
        if PairSweep.open_explorer is None:
            # By name: the explorer knows sweeps, and sweeps know nothing of the explorer.
            import_module("vene_widgets.explorer.data_sets")
        assert PairSweep.open_explorer is not None  # noqa: S101  # the import has set it
        return PairSweep.open_explorer(self)

    def plot(
        self, metric: str | None = None, title: str | None = None, *, style: str = "light"
    ) -> ggplot:
        """The map of means with their uncertainty, drawn by plotnine (`figures.pair_map`)."""
        from vene_widgets import figures

        return figures.pair_map(self.summarize(metric) if metric else self.summary, title=title,
                                style=style)  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        # A state names tensors and functions of this process.
        return {**self.__dict__, "state": None}

    def __repr__(self) -> str:
        plan = self.plan
        heads = "" if plan.heads == (None,) else f"{len(plan.heads)} heads x "
        out = f", {self.left_out} left out" if self.left_out else ""
        control = f", controls: {', '.join(self.controls)}" if self.controls else ""
        return (
            f"<PairSweep of {plan.request.component}: {len(self.pairs)} pairs{out}, {heads}"
            f"{len(plan.layers)} layers x {len(plan.places)} positions{control}>"
        )


def kept_pairs(answers: PairAnswers, keep: str, plan: PairPlan) -> np.ndarray:
    """Whether each pair counts.

    Args:
        answers: of all pairs.
        keep: one of `KEEP`.
        plan: what was run. If the intervention reads no source, the target is the base's own
            answer; else it is the source's, and the contrast the base's.

    Raises:
        RequestError: `keep` needs a contrast, and pairs have one target.
    """
    choose(keep, KEEP, "keep")
    if keep == "all":
        return np.ones(len(answers.pairs), dtype=bool)
    if answers.targets.shape[1] < 2:
        raise contrast_missing(f"keep={keep!r}")
    base, source = (run[:, 0] - run[:, 1] for run in (answers.base_log_p, answers.source_log_p))
    if not plan.reads_source:
        return base > 0 if keep == "preferred" else _is_in(answers.base_best, answers, 0, plan)
    if keep == "preferred":
        return (base < 0) & (source > 0)
    return _is_in(answers.base_best, answers, 1, plan) & _is_in(
        answers.source_best, answers, 0, plan
    )


def _is_in(tokens: np.ndarray, answers: PairAnswers, target: int, plan: PairPlan) -> np.ndarray:
    """Whether a token of each pair is its n-th target, or in that set."""
    found = tokens == answers.targets[:, target]
    for n in np.flatnonzero(answers.targets[:, target] < 0):
        own = plan.rows[int(answers.pairs[n])].targets[target]
        found[n] = isinstance(own, tuple) and int(tokens[n]) in own
    return found


def default_metric(answers: PairAnswers, reads_source: bool) -> str:
    """What is averaged if nothing is named: recovery if it is defined, else ΔP."""
    two = answers.targets.shape[1] > 1
    return next(iter(PAIR_METRICS)) if two and reads_source else "delta"
