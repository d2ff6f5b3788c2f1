"""Stories: steps that a lecturer walks through, every answer computed before the walk.

`Explorer.story` checks all steps against the model before anything changes, has the worker compute
them, and sends them as one `messages.Story`. The browser then shows a known step without asking.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vene_widgets.engine.planning import Plan, plan
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment, Slot
from vene_widgets.explorer.exact_runs import Result, results
from vene_widgets.explorer.session.map_builder import Filling
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.sweeps.cells import prepare, sweep_layers
from vene_widgets.sweeps.planning import plan_sweep

if TYPE_CHECKING:
    from vene_widgets.engine.cache import Memory
    from vene_widgets.models import LanguageModel

MOST_CHOICES = 9
"""A digit of the keyboard picks a choice."""


class Step(BaseModel):
    """One step of a story: an experiment, what is said about it, and what the audience is asked.

        vw.Step("Early", [vw.Slot(layer=0, position=" Spain")], question="What comes next?",
                choices=["Madrid", "Rome"], answer="Rome")

    Attributes:
        title: the step's heading.
        experiment: an `Experiment`; or only its slots, and the prompts are those of the step
            before, at the first step those on the screen. No slots: the base runs as it is.
        text: a few sentences below the title.
        question: asked before the answer is revealed.
        choices: up to nine answers to choose from, by digit or by click; they need a question.
        answer: the right one of the choices, marked at the reveal; None where none is right.
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
        super().__init__(title=title, experiment=_plain(experiment), **fields)

    @model_validator(mode="after")
    def _question_and_choices_fit(self) -> Step:
        if self.choices and self.question is None:
            raise ValueError(f"choices {list(self.choices)} answer no question; give question=...")
        if len(self.choices) > MOST_CHOICES or len(set(self.choices)) < len(self.choices):
            raise ValueError(
                f"choices {list(self.choices)} must be at most {MOST_CHOICES}, each a different one"
            )
        if self.answer is not None:
            choose(self.answer, self.choices, "answer", "It must be one of the step's choices.")
        return self


@dataclass(frozen=True, eq=False)
class Checked:
    """Steps that fit the model: `plans[i]` is of `steps[i]`."""

    steps: tuple[Step, ...]
    plans: tuple[Plan, ...]


@dataclass(frozen=True, eq=False)
class Told:
    """A story whose answers are known: what was sent, and the runs behind it by experiment."""

    checked: Checked = Checked((), ())
    sent: wire.Story = field(default_factory=lambda: wire.Story(steps=[], maps=[]))
    runs: Mapping[str, Result] = field(default_factory=dict)

    def known(self, experiment: Experiment) -> list[Result]:
        """The exact result of an experiment of the story, as a list; empty for any other."""
        found = self.runs.get(experiment.model_dump_json())
        return [] if found is None else [found]

    def experiment(self, step: int) -> Experiment:
        """The experiment of a step, by its number from 0.

        Raises:
            RequestError: no such step.
        """
        count = len(self.checked.plans)
        if not 0 <= step < count:
            rule = f"the story has steps 0 to {count - 1}" if count else "no story was told"
            raise RequestError(f"step {step!r} does not exist: {rule}")
        return self.checked.plans[step].experiment


def check(
    model: LanguageModel, now: Experiment, steps: Iterable[Step | Mapping[str, Any]]
) -> Checked:
    """Check all steps against a model; `now` lends its prompts to first steps that give only slots.

    Raises:
        RequestError: there is no step, or one that does not fit; it names the step and the rule.
    """
    found: list[Step] = []
    plans: list[Plan] = []
    for index, given in enumerate(steps):
        try:
            step = given if isinstance(given, Step) else _step(given)
            now = (
                step.experiment
                if isinstance(step.experiment, Experiment)
                else now.replace(slots=step.experiment)
            )
            plans.append(plan(model, now))
        except (ValueError, TypeError) as error:
            title = given.title if isinstance(given, Step) else None
            if isinstance(given, Mapping):
                title = given.get("title")
            name = f" ({title!r})" if title else ""
            raise RequestError(f"steps[{index}]{name}: {_rule(error)}") from None
        found.append(step)
    if not found:
        raise RequestError("a story of no steps was given; one or more vw.Step(...) are needed")
    return Checked(tuple(found), tuple(plans))


def compute(
    model: LanguageModel,
    checked: Checked,
    memory: Memory,
    component: str,
    head: int | None,
    say: Callable[[float], None],
) -> Generator[None, None, Told]:
    """Run every step and fill a map for each pair of prompts; yields between the forward passes.

    Args:
        component, head: what the maps sweep.
        say: told the finished part of the work, 0..1.
    """
    prompts = {_prompts(planned): planned for planned in checked.plans}
    total = len(prompts) + len(checked.plans)
    maps: list[wire.Map] = []
    place: dict[str, int] = {}
    say(0.0)
    for done, (key, planned) in enumerate(prompts.items()):
        if planned.experiment.sources:
            place[key] = len(maps)
            maps.append((yield from _map(model, planned, memory, component, head)))
        say((done + 1) / total)
    sent: list[wire.StoryStep] = []
    runs: dict[str, Result] = {}
    for step, planned in zip(checked.steps, checked.plans, strict=True):
        key = planned.experiment.model_dump_json()
        for result in () if key in runs else results(model, planned.experiment, memory):
            if result is not None:
                runs[key] = result
            yield
        sent.append(_sent(model, step, planned, runs[key], place.get(_prompts(planned))))
        say((len(prompts) + len(sent)) / total)
    return Told(checked, wire.Story(steps=sent, maps=maps), runs)


def _map(
    model: LanguageModel, planned: Plan, memory: Memory, component: str, head: int | None
) -> Generator[None, None, wire.Map]:
    """The whole map of a step's prompts, copying from the first source."""
    name, source = next(iter(planned.experiment.sources.items()))
    checked = plan_sweep(model, planned.experiment.base, source, component, head=head)
    yield
    prepared = prepare(checked, memory)
    filling = Filling(prepared, name, 0, {})
    for row in sweep_layers(prepared):
        filling.add(row)
        yield
    return filling.map()


def _sent(
    model: LanguageModel, step: Step, planned: Plan, result: Result, place: int | None
) -> wire.StoryStep:
    scene = views.scene(model, planned, 0, None)
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
        result=views.answer(model, result, planned, 0),
        map=place,
    )


def _step(given: object) -> Step:
    if not isinstance(given, Mapping):
        raise RequestError(f"{given!r} is no step; a vw.Step or a dict of its fields is needed")
    if "title" not in given:
        raise RequestError(f"title is missing; given: {', '.join(map(str, given)) or 'nothing'}")
    return Step(**given)


def _plain(given: object) -> object:
    """An experiment or a dict of one as it is, anything iterable as a tuple of slots."""
    if isinstance(given, Slot):
        return (given,)
    if isinstance(given, (Experiment, Mapping, str)) or not isinstance(given, Iterable):
        return given
    return tuple(given)


def _rule(error: Exception) -> str:
    """What is wrong with a step: the first problem, without the names of unions' branches."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors()
    # Of the two things that `experiment` may be, the one whose check went deeper was meant.
    problem: Mapping[str, Any] = max(problems, key=lambda problem: len(problem["loc"]))
    names: Sequence[Any] = [
        part for part in problem["loc"] if part not in ("Experiment", "tuple[Slot, ...]")
    ]
    where = ".".join(map(str, names))
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text


def _prompts(planned: Plan) -> str:
    """Equal for plans with the same prompts, in the same order."""
    experiment = planned.experiment
    return experiment.replace(slots=(), mode="parallel").model_dump_json()
