"""PairRun: a sweep over a data set that is checked and cut into chunks, ready to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vene_widgets.sweeps.pairs.results import PairSweep, default_metric

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairChunk
    from vene_widgets.sweeps.pairs.planning import PairPlan
    from vene_widgets.sweeps.pairs.running import Runner, Store


@dataclass(frozen=True, eq=False)
class PairRun:
    """What `prepare_pairs` makes of the arguments of `sweep_pairs`.

    Attributes:
        plan, pairs, keep, cluster, seed: as in `PairSweep`.
        metric: what is averaged; None for `default_metric`.
        chunks: by the name of their control, the sweep's own (`""`) first.
        store: where answers are kept.
        runner: runs the chunks.
    """

    plan: PairPlan
    pairs: pd.DataFrame = field(repr=False)
    metric: str | None
    keep: str
    cluster: str | None
    seed: int
    chunks: Mapping[str, Sequence[PairChunk]] = field(repr=False)
    store: Store = field(repr=False)
    runner: Runner = field(repr=False)

    @property
    def model(self) -> LanguageModel:
        """The model that runs."""
        return self.plan.model

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that run."""
        return tuple(name for name in self.chunks if name)

    @property
    def all_chunks(self) -> list[PairChunk]:
        """The chunks in the order in which they run."""
        return [chunk for several in self.chunks.values() for chunk in several]

    def steps(self) -> Iterator[tuple[PairChunk, PairAnswers]]:
        """Run one chunk after the other; those that a folder holds are only read."""
        yield from self.runner.steps(self.all_chunks)

    def result(self) -> PairSweep:
        """The results, once every chunk has run; in memory they are given away."""
        found = {
            name: self.store.read(several, self.runner.run_one)
            for name, several in self.chunks.items()
        }
        return self.of(found.pop(""), found)

    def of(self, answers: PairAnswers, controls: Mapping[str, PairAnswers]) -> PairSweep:
        """The results as far as there are any."""
        return PairSweep(
            plan=self.plan,
            pairs=self.pairs,
            metric=self.metric or default_metric(answers, self.plan.reads_source),
            keep=self.keep,
            cluster=self.cluster,
            seed=self.seed,
            state=self.runner.state,
            _answers=answers,
            _controls=controls,
        )
