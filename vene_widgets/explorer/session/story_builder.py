"""Plan and compute a story: all steps run beforehand, and are sent as one `messages.Story`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.exact_runs import ExactRuns, run_exactly
from vene_widgets.explorer.held import held_slots
from vene_widgets.explorer.map_plan import plan_map
from vene_widgets.explorer.session.map_builder import MapBuilder, base_without_held
from vene_widgets.explorer.session.step import Step, rule_text
from vene_widgets.explorer.shown_slots import require_shown
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.sweeps.cells import sweep_steps
from vene_widgets.sweeps.preparing import prepare_sweeps

if TYPE_CHECKING:
    from vene_widgets.engine.cache import ActivationCache
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.models import LanguageModel
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.tables.metrics import MetricName


@dataclass(frozen=True, eq=False)
class PlannedStory:
    """Steps checked against a model: `plans[i]` is the plan of `steps[i]`, and so on.

    `targets` are ids of tokens; None for the map's own choice.
    """

    steps: tuple[Step, ...]
    plans: tuple[Plan, ...]
    targets: tuple[int | None, ...] = ()


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
    targets: list[int | None] = []
    for index, given in enumerate(steps):
        try:
            step = given if isinstance(given, Step) else _step_from(given)
            now = (
                step.experiment
                if isinstance(step.experiment, Experiment)
                else now.replace(slots=step.experiment)
            )
            plans.append(require_shown(plan_experiment(model, now)))
            targets.append(None if step.target is None else model.resolve_token(step.target))
            _check_pins(model, step, plans[-1])
        except (ValueError, TypeError) as error:
            title: object = given.title if isinstance(given, Step) else None
            if isinstance(given, Mapping):
                title = given.get("title")
            name = f" ({title!r})" if title else ""
            raise RequestError(f"steps[{index}]{name}: {rule_text(error)}") from None
        valid.append(step)
    if not valid:
        raise RequestError("a story must have at least one step, got no steps: pass vw.Step(...).")
    return PlannedStory(tuple(valid), tuple(plans), tuple(targets))


def compute(
    model: LanguageModel,
    planned: PlannedStory,
    cache: ActivationCache,
    sweep: SweepRequest,
    on_progress: Callable[[float], None],
) -> Generator[None, None, ComputedStory]:
    """Run every step; fill one map per set of prompts and held slots; yields between passes.

    Args:
        model: the model to run.
        planned: the steps.
        cache: plain runs by prompt.
        sweep: the maps' component, head and operator; they copy from each step's first source.
        on_progress: called with the finished share of the work, 0 to 1.

    Returns:
        The story, as the generator's value.
    """
    swept = {_map_key(plan): plan for plan in planned.plans}
    total = len(swept) + len(planned.plans)
    maps: list[wire.Map] = []
    map_index: dict[str, int] = {}
    on_progress(0.0)
    for done, (key, plan) in enumerate(swept.items()):
        if plan.experiment.sources:
            map_index[key] = len(maps)
            targets = [
                target
                for other, target in zip(planned.plans, planned.targets, strict=True)
                if target is not None and _map_key(other) == key
            ]
            maps.append((yield from _fill_map(model, plan, cache, sweep, targets)))
        on_progress((done + 1) / total)
    steps: list[wire.StoryStep] = []
    runs: dict[str, ExactRuns] = {}
    for step, plan, target in zip(planned.steps, planned.plans, planned.targets, strict=True):
        key = plan.experiment.model_dump_json()
        # A step that repeats an experiment shows the same result.
        for result in () if key in runs else run_exactly(model, plan, cache):
            if result is not None:
                runs[key] = result
            yield
        where = map_index.get(_map_key(plan))
        steps.append(_to_wire(model, step, plan, runs[key], where, target))
        on_progress((len(swept) + len(steps)) / total)
    return ComputedStory(planned, wire.Story(steps=steps, maps=maps), runs)


def _fill_map(
    model: LanguageModel,
    plan: Plan,
    cache: ActivationCache,
    sweep: SweepRequest,
    targets: Iterable[int],
) -> Generator[None, None, wire.Map]:
    """Fill the map of a step's prompts, copying from the first source; it carries these tokens."""
    request = sweep.replace(source=None, source_positions=None)
    plans = plan_map(model, plan.experiment, request)
    yield
    prepared = prepare_sweeps(plans, cache)
    plain = base_without_held(plans[0], cache)
    builder = MapBuilder(prepared, 0, dict.fromkeys(targets, "story"), plain)
    for row in sweep_steps(*prepared):
        if row is not None:
            builder.add_row(row)
        yield
    return builder.map()


def _to_wire(
    model: LanguageModel,
    step: Step,
    plan: Plan,
    result: ExactRuns,
    map_index: int | None,
    target: int | None,
) -> wire.StoryStep:
    """A step with its result; `map_index` is of its map, None without sources."""
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
        target=target,
        metric=cast("MetricName | None", step.metric),
        pins=[wire.Pin(layer=layer, position=position) for layer, position in step.pins],
    )


def _check_pins(model: LanguageModel, step: Step, plan: Plan) -> None:
    """Refuse pins that are not on the map.

    Raises:
        RequestError: the message names the pin and the valid layers and positions.
    """
    layers, positions = model.sites.layers, len(plan.base)
    for layer, position in step.pins:
        is_on = (layer is None or 0 <= layer < layers) and (
            position is None or 0 <= position < positions
        )
        if not is_on or (layer is None and position is None):
            raise RequestError(
                f"pins: {(layer, position)} is not on the map: layers are 0 to {layers - 1}, "
                f"positions 0 to {positions - 1}, and one of the two may be None."
            )


def _step_from(given: object) -> Step:
    """Build a step from a dict of its fields."""
    if not isinstance(given, Mapping):
        raise RequestError(f"expected a vw.Step or a dict of its fields, got {given!r}")
    fields = cast("Mapping[str, Any]", given)
    if "title" not in fields:
        raise RequestError(f"title is missing; given: {', '.join(map(str, fields)) or 'nothing'}")
    return Step(**fields)


def _map_key(plan: Plan) -> str:
    """A key that is equal for plans of one map: the same prompts in order, and held slots."""
    alone = plan.experiment.replace(slots=held_slots(plan), mode="parallel")
    return alone.model_dump_json()
