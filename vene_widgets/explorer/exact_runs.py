"""The exact runs that the screen shows side by side: base, sources, and the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.comparing import Comparison, compare
from vene_widgets.engine.planning import Plan
from vene_widgets.engine.running import Run, run, run_plan
from vene_widgets.tables import frames

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.fingerprint import Fingerprint

TOP = 10
"""Most likely next tokens listed per run and per cell."""

Role = Literal["base", "source", "intervened", "ungrouped", "grouped"]
ROLES = frozenset({"base", "intervened", "ungrouped", "grouped"})
"""Names of the columns that are no source's."""


@dataclass(frozen=True, eq=False)
class RunColumn:
    """One run with its role on the screen; a source's column has the source's name."""

    role: Role
    name: str
    run: Run


@dataclass(frozen=True, eq=False)
class ExactRuns:
    """Everything exact about one experiment.

    Attributes:
        plan: what was run.
        columns: the runs in the order of the screen; the last one is the result.
        comparison: grouped against ungrouped, if the experiment has groups.
    """

    plan: Plan
    columns: tuple[RunColumn, ...]
    comparison: Comparison | None

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """The name of every column, as tables and figures have it, each once.

        That of a source is its own, or `source NAME` if its own is the role of another run.
        """
        found: list[str] = []
        for column in self.columns:
            title = column.name
            if title in ROLES and column.role == "source":
                title = f"source {title}"
                while title in self.experiment.sources:
                    title = f"source {title}"
            found.append(title)
        return tuple(found)

    @property
    def experiment(self) -> Experiment:
        """The request."""
        return self.plan.experiment

    @property
    def base(self) -> Run:
        """The base's plain run."""
        return self.columns[0].run

    @property
    def final(self) -> Run:
        """The result; the base's own run if no slot is live."""
        return self.columns[-1].run if self.experiment.live else self.base

    @property
    def source(self) -> Run | None:
        """The plain run of the first source that a live slot reads; None if they read none.

        Without live slots it is the first source there is.
        """
        slots = [(i, self.experiment.slots[i]) for i in self.experiment.live]
        names = [self.experiment.source_of(slot, i) for i, slot in slots if slot.reads_run]
        if not slots:
            names = list(self.experiment.sources)
        for column in self.columns:
            if column.role == "source" and column.name in names[:1]:
                return column.run
        return None

    @property
    def compared_with_base(self) -> RunColumn:
        """The column that the difference panel compares with the base: result, else source."""
        after = self.final if self.experiment.live else (self.source or self.columns[-1].run)
        return next(column for column in self.columns if column.run is after)

    @property
    def _last_logits(self) -> dict[str, Tensor]:
        runs = zip(self.titles, self.columns, strict=True)
        return {title: column.run.logits[-1] for title, column in runs}

    @cached_property
    def token_frame(self) -> pd.DataFrame:
        """The likely next tokens of every run (`frames.token_frame`)."""
        return frames.token_frame(self._last_logits, self.base.model.token_text, k=TOP)

    @property
    def compared_title(self) -> str:
        """The title of `compared_with_base`."""
        return self.titles[self.columns.index(self.compared_with_base)]

    @cached_property
    def difference_frame(self) -> pd.DataFrame:
        """What moved most from the base to `compared_with_base` (`frames.difference_frame`)."""
        after = self.compared_with_base.run
        return frames.difference_frame(
            self.base.logits[-1], after.logits[-1], self.base.model.token_text, k=TOP
        )

    @cached_property
    def panels_frame(self) -> pd.DataFrame:
        """`token_frame` with every token of `difference_frame`, for a figure with both."""
        also = self.difference_frame["token_id"].tolist()
        return frames.token_frame(self._last_logits, self.base.model.token_text, k=1, also=also)

    @cached_property
    def kl(self) -> float:
        """KL(result || base) at the last position, in nats."""
        return frames.kl_divergence(self.base.logits[-1], self.final.logits[-1])

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        """Every run by its title, with the logits of all positions; run on first use."""
        runs = zip(self.titles, self.columns, strict=True)
        return {title: _with_all_logits(column.run) for title, column in runs}

    @property
    def milliseconds(self) -> float:
        """Wall time of the result's forward passes."""
        return sum(c.run.milliseconds for c in self.columns if c.role not in ("base", "source"))


def _with_all_logits(last_only: Run) -> Run:
    """Repeat a run whose logits are the last position's only; any other is returned unchanged."""
    is_complete = len(last_only.logits) == len(last_only.tokens)
    return last_only if is_complete else run(last_only.model, last_only.experiment)


def run_exactly(
    model: LanguageModel,
    plan: Plan,
    cache: ActivationCache,
    state: Fingerprint | None = None,
) -> Iterator[ExactRuns | None]:
    """Run an experiment and its prompts; yields None between the runs, then the result.

    Grouped and ungrouped are separate runs: the ungrouped one runs every slot's source prompt anew,
    the grouped one once per group. Plain runs, and the result if nothing is grouped, use the cache,
    which gives the same numbers bit for bit. The screen shows the last position, so the output head
    runs there alone; grouped and ungrouped runs are compared at every position, so theirs runs at
    all of them.

    Args:
        model: the model to run.
        plan: the experiment, planned.
        cache: plain runs by prompt.
        state: the state of the model that all runs must be of; None for the present one.

    Raises:
        ModelChanged: a run found the model in another state.
    """
    experiment, state = plan.experiment, state or model.fingerprint

    def plain(prompt: str, tokens: tuple[Token, ...]) -> Run:
        alone = Plan.of_prompt(prompt, tokens)
        return run_plan(model, alone, cache=cache, logits_to_keep=1, state=state)

    columns = [RunColumn("base", "base", plain(experiment.base, plan.base))]
    for name, prompt in experiment.sources.items():
        columns.append(RunColumn("source", name, plain(prompt, plan.sources[name])))
    yield None
    comparison = None
    if experiment.live and not experiment.has_groups:
        result = run_plan(model, plan, cache=cache, logits_to_keep=1, state=state)
        columns.append(RunColumn("intervened", "intervened", result))
    elif experiment.live:
        ungrouped = run_plan(model, plan.ungrouped(), share_sources=False, state=state)
        columns.append(RunColumn("ungrouped", "ungrouped", ungrouped))
        yield None
        grouped = run_plan(model, plan, share_sources=False, state=state)
        columns.append(RunColumn("grouped", "grouped", grouped))
        comparison = compare(grouped, ungrouped)
    yield ExactRuns(plan, tuple(columns), comparison)
