"""Stories: experiments that a lecturer walks through step by step, all computed beforehand.

`Explorer.story` checks all steps against the model before anything changes, queues their
computation and sends them as one `messages.Story`. The browser then shows a step without a request
to the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.explorer.exact_runs import ExactRuns, run_exactly
from vene_widgets.explorer.session.map_builder import MapBuilder
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.sweeps.cells import sweep_rows
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.sweeps.preparing import prepare_sweep

if TYPE_CHECKING:
    from vene_widgets.engine.cache import ActivationCache
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint

MAX_CHOICES = 9
"""Choices of one step: each is picked by a digit key."""


class Step(BaseModel):
    """One step of a story: an experiment, a text about it and a question to the audience.

        vw.Step("Early", [vw.Slot(layer=0, position=" Spain")], question="What comes next?",
                choices=["Madrid", "Rome"], answer="Rome")

    Attributes:
        title: the step's heading.
        experiment: an `Experiment`, or only its slots: the prompts are then those of the step
            before, and at the first step those on the screen. Without slots the base runs
            unchanged.
        text: a few sentences below the title.
        question: shown before the answer is revealed.
        choices: up to nine answers to choose from, by digit or click; they require a question.
        answer: the correct choice, marked at the reveal; None if there is none.

    Raises:
        RequestError: an invalid field, or both `experiment` and `slots` are given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[str, Field(min_length=1)]
    experiment: Experiment | tuple[Slot, ...] = ()
    text: str = ""
    question: Annotated[str, Field(min_length=1)] | None = None
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    answer: str | None = None

    def __init__(
        self,
        title: str,
        experiment: Experiment | Slot | Iterable[Slot] | Mapping[str, Any] = (),
        **fields: Any,
    ) -> None:
        if "slots" in fields:
            if experiment != ():
                raise RequestError("a step takes an experiment or slots, not both")
            experiment = fields.pop("slots")
        try:
            super().__init__(title=title, experiment=_experiment_or_slots(experiment), **fields)
        except ValidationError as error:
            raise RequestError(_rule_text(error)) from None

    @model_validator(mode="after")
    def _check_choices(self) -> Step:
        """Refuse choices without a question, too many or repeated ones, and a foreign answer."""
        if self.choices and self.question is None:
            raise ValueError(f"choices {list(self.choices)} require a question; pass question=...")
        if len(self.choices) > MAX_CHOICES or len(set(self.choices)) < len(self.choices):
            raise ValueError(
                f"choices {list(self.choices)} must be at most {MAX_CHOICES} and all different"
            )
        if self.answer is not None:
            choose(self.answer, self.choices, "answer", "It must be one of the step's choices.")
        return self


@dataclass(frozen=True, eq=False)
class PlannedStory:
    """Steps checked against a model: `plans[i]` is the plan of `steps[i]`."""

    steps: tuple[Step, ...]
    plans: tuple[Plan, ...]


@dataclass(frozen=True, eq=False)
class ComputedStory:
    """A story with its results.

    Attributes:
        planned: its steps.
        message: for the browser.
        runs: exact results by their experiment as JSON.
        state: the state of the model that they are of.
    """

    planned: PlannedStory = PlannedStory((), ())
    message: wire.Story = field(default_factory=lambda: wire.Story(steps=[], maps=[]))
    runs: Mapping[str, ExactRuns] = field(default_factory=dict[str, ExactRuns])
    state: Fingerprint | None = None

    def known(self, experiment: Experiment) -> list[ExactRuns]:
        """The exact result of one of the story's experiments; empty for any other experiment."""
        result = self.runs.get(experiment.model_dump_json())
        return [] if result is None else [result]

    def experiment(self, step: int) -> Experiment:
        """The experiment of a step, by its index from 0.

        Raises:
            RequestError: no such step.
        """
        count = len(self.planned.plans)
        if not 0 <= step < count:
            rule = f"the story has steps 0 to {count - 1}" if count else "there is no story"
            raise RequestError(f"step {step!r} does not exist: {rule}")
        return self.planned.plans[step].experiment


def plan_story(
    model: LanguageModel, now: Experiment, steps: Iterable[Step | Mapping[str, Any]]
) -> PlannedStory:
    """Check all steps against a model.

    Args:
        model: the model that will run them.
        now: the experiment on the screen; its prompts serve first steps that are only slots.
        steps: `Step` values, or dicts of their fields.

    Raises:
        RequestError: there is no step, or an invalid one; the message names the step and the rule.
    """
    valid: list[Step] = []
    plans: list[Plan] = []
    for index, given in enumerate(steps):
        try:
            step = given if isinstance(given, Step) else _step_from(given)
            now = (
                step.experiment
                if isinstance(step.experiment, Experiment)
                else now.replace(slots=step.experiment)
            )
            plans.append(plan_experiment(model, now))
        except (ValueError, TypeError) as error:
            title: object = given.title if isinstance(given, Step) else None
            if isinstance(given, Mapping):
                title = given.get("title")
            name = f" ({title!r})" if title else ""
            raise RequestError(f"steps[{index}]{name}: {_rule_text(error)}") from None
        valid.append(step)
    if not valid:
        raise RequestError("a story must have at least one step, got no steps: pass vw.Step(...).")
    return PlannedStory(tuple(valid), tuple(plans))


def compute(
    model: LanguageModel,
    planned: PlannedStory,
    cache: ActivationCache,
    sweep: SweepRequest,
    on_progress: Callable[[float], None],
) -> Generator[None, None, ComputedStory]:
    """Run every step, and fill one map per set of prompts; yields between the forward passes.

    Args:
        model: the model to run.
        planned: the steps.
        cache: plain runs by prompt.
        sweep: the maps' component and head; they copy from each step's first source.
        on_progress: called with the finished share of the work, 0 to 1.

    Returns:
        The story, as the generator's value.
    """
    prompts = {_prompts_key(plan): plan for plan in planned.plans}
    total = len(prompts) + len(planned.plans)
    maps: list[wire.Map] = []
    map_index: dict[str, int] = {}
    on_progress(0.0)
    for done, (key, plan) in enumerate(prompts.items()):
        if plan.experiment.sources:
            map_index[key] = len(maps)
            maps.append((yield from _fill_map(model, plan, cache, sweep)))
        on_progress((done + 1) / total)
    steps: list[wire.StoryStep] = []
    runs: dict[str, ExactRuns] = {}
    for step, plan in zip(planned.steps, planned.plans, strict=True):
        key = plan.experiment.model_dump_json()
        # A step that repeats an experiment shows the same result.
        for result in () if key in runs else run_exactly(model, plan, cache):
            if result is not None:
                runs[key] = result
            yield
        steps.append(_to_wire(model, step, plan, runs[key], map_index.get(_prompts_key(plan))))
        on_progress((len(prompts) + len(steps)) / total)
    return ComputedStory(planned, wire.Story(steps=steps, maps=maps), runs)


def _fill_map(
    model: LanguageModel, plan: Plan, cache: ActivationCache, sweep: SweepRequest
) -> Generator[None, None, wire.Map]:
    """Fill the map of a step's prompts, copying from the first source."""
    name, source = next(iter(plan.experiment.sources.items()))
    request = SweepRequest(component=sweep.component, head=sweep.head)
    sweep_plan = plan_sweep(model, plan.experiment.base, source, request)
    yield
    prepared = prepare_sweep(sweep_plan, cache)
    builder = MapBuilder(prepared, name, 0, {})
    for row in sweep_rows(prepared):
        builder.add_row(row)
        yield
    return builder.map()


def _to_wire(
    model: LanguageModel, step: Step, plan: Plan, result: ExactRuns, map_index: int | None
) -> wire.StoryStep:
    """A step with its result; `map_index` is of its prompts' map, None without sources."""
    scene = views.scene(model, plan, 0, None)
    return wire.StoryStep(
        title=step.title,
        text=step.text,
        question=step.question,
        choices=list(step.choices),
        answer=None if step.answer is None else step.choices.index(step.answer),
        base=scene.base,
        sources=scene.sources,
        experiment=scene.experiment,
        slots=scene.slots,
        result=views.answer(model, result, plan, 0),
        map=map_index,
    )


def _step_from(given: object) -> Step:
    """Build a step from a dict of its fields."""
    if not isinstance(given, Mapping):
        raise RequestError(f"expected a vw.Step or a dict of its fields, got {given!r}")
    fields = cast("Mapping[str, Any]", given)
    if "title" not in fields:
        raise RequestError(f"title is missing; given: {', '.join(map(str, fields)) or 'nothing'}")
    return Step(**fields)


def _experiment_or_slots(given: object) -> object:
    """Turn a slot or an iterable of slots into a tuple; anything else is left to validation."""
    if isinstance(given, Slot):
        return (given,)
    if isinstance(given, (Experiment, Mapping, str)) or not isinstance(given, Iterable):
        return cast("object", given)
    return tuple(cast("Iterable[object]", given))


def _rule_text(error: Exception) -> str:
    """The rule that a step breaks, after the field that breaks it."""
    if not isinstance(error, ValidationError):
        return str(error)
    # `experiment` is a union, so pydantic reports problems with both of its branches. The branch
    # that was validated to the greater depth is the one that was meant.
    problem = max(error.errors(), key=lambda problem: len(problem["loc"]))
    branches = ("Experiment", "tuple[Slot, ...]")
    where = ".".join(str(part) for part in problem["loc"] if part not in branches)
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text


def _prompts_key(plan: Plan) -> str:
    """A key that is equal for plans with the same prompts in the same order."""
    experiment = plan.experiment
    return experiment.replace(slots=(), mode="parallel").model_dump_json()
