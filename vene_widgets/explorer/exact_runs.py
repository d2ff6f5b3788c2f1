"""Exact results of an experiment: the runs that the screen shows side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vene_widgets.engine.cache import Memory
from vene_widgets.engine.comparing import Comparison, compare
from vene_widgets.engine.running import Run, run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import OPERATORS

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, eq=False)
class Column:
    """One run on the screen. `role` is base, source, intervened, ungrouped or grouped."""

    role: str
    name: str
    run: Run


@dataclass(frozen=True, eq=False)
class Result:
    """Everything exact about one experiment.

    Attributes:
        experiment: what was run.
        columns: the runs in the order of the screen; the last one is the result.
        comparison: grouped against ungrouped, when the experiment has groups.
        milliseconds: forward passes of all columns together.
    """

    experiment: Experiment
    columns: tuple[Column, ...]
    comparison: Comparison | None

    @property
    def final(self) -> Run:
        """The run that the sentence is about; the base's own run when no slot is live."""
        return self.columns[-1].run if self.experiment.live else self.columns[0].run

    @property
    def source(self) -> Run | None:
        """The plain run of the first source that a live slot reads; None when they read none.

        Without live slots it is the first source there is.
        """
        slots = [(i, self.experiment.slots[i]) for i in self.experiment.live]
        names = [
            self.experiment.source_of(slot, i)
            for i, slot in slots
            if OPERATORS[slot.intervention].needs_source
        ]
        if not slots:
            names = list(self.experiment.sources)
        for column in self.columns:
            if column.role == "source" and column.name in names[:1]:
                return column.run
        return None

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        """Every run by its column's name, with the logits of all positions, made when asked for."""
        return {column.name: _whole(column.run) for column in self.columns}

    @property
    def milliseconds(self) -> float:
        return sum(c.run.milliseconds for c in self.columns if c.role not in ("base", "source"))


def _whole(shown: Run) -> Run:
    """The run itself where it kept every position's logits; else it is made anew."""
    kept_all = len(shown.logits) == len(shown.tokens)
    return shown if kept_all else run(shown.model, shown.experiment)


def results(
    model: LanguageModel, experiment: Experiment, memory: Memory
) -> Iterator[Result | None]:
    """Run an experiment as the screen shows it; yields None between its runs, the result last.

    Grouped and ungrouped are separate runs: in the ungrouped one every slot's source prompt runs
    anew, in the grouped one once per group. Plain runs, and the answer where nothing is grouped,
    use what `memory` keeps, which gives the same numbers, bit for bit. The screen shows the last
    position, so the output head runs there alone; a verdict is about every position.
    """

    def plain(prompt: str) -> Run:
        return run(model, Experiment(base=prompt), memory=memory, logits_to_keep=1)

    columns = [Column("base", "base", plain(experiment.base))]
    for name, prompt in experiment.sources.items():
        columns.append(Column("source", name, plain(prompt)))
    yield None
    comparison = None
    if experiment.live and not experiment.has_groups:
        answer = run(model, experiment, memory=memory, logits_to_keep=1)
        columns.append(Column("intervened", "intervened", answer))
    elif experiment.live:
        apart = run(model, experiment.ungrouped(), share_sources=False)
        columns.append(Column("ungrouped", "ungrouped", apart))
        yield None
        together = run(model, experiment, share_sources=False)
        columns.append(Column("grouped", "grouped", together))
        comparison = compare(together, apart)
    yield Result(experiment, tuple(columns), comparison)
