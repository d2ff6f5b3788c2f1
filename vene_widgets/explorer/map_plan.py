"""plan_map(): the sweeps of an experiment's map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.engine.planning import plan_experiment
from vene_widgets.errors import choose
from vene_widgets.experiments.fields import ALL
from vene_widgets.explorer.held import held_slots
from vene_widgets.sweeps.planning import SweepPlan, plan_sweeps

if TYPE_CHECKING:
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.models import LanguageModel


def plan_map(
    model: LanguageModel, experiment: Experiment, request: SweepRequest
) -> tuple[SweepPlan, ...]:
    """Complete a request for a map by the experiment's prompts, and plan its sweeps.

    The experiment's held slots are the fixed ones of the sweeps, whatever the request says.

    Without a source there is nothing to copy and nothing to take a mean of: such maps zero each
    cell. A mean is over base and sources. A component with heads is swept over all of them unless
    the request names one: in one layer, or else in all layers at one position, by default the last.

    Args:
        model: the model to run.
        experiment: whose prompts and held slots.
        request: what was asked; None as its source stands for the first one.

    Returns:
        One plan, or one per head; their `request` is the completed one.

    Raises:
        RequestError: an unknown source, or a sweep that is invalid for the model.
    """
    base, sources = experiment.base, experiment.sources
    is_held = any(slot.hold for slot in experiment.slots)
    fixed = held_slots(plan_experiment(model, experiment)) if is_held else ()
    request = request.replace(fixed=fixed)
    sites, component = model.sites, request.component
    if request.head is None and component in sites.components and sites.head_count(component):
        request = request.replace(head=ALL)
    if request.head == ALL and request.layers is None and request.positions is None:
        request = request.replace(positions=-1)
    if not sources:
        operator = request.intervention
        alone = request.replace(
            source=None,
            source_positions=None,
            intervention="zero" if operator in ("vanilla", "mean") else operator,
        )
        return plan_sweeps(model, base, base, alone)
    name = choose(request.source or next(iter(sources)), sources, "source")
    request = request.replace(source=name)
    if request.intervention == "mean":
        request = request.replace(prompts=(base, *sources.values()), source_positions=None)
    return plan_sweeps(model, base, sources[name], request, sources)
