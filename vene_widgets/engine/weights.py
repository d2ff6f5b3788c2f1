"""make_weights(): the interventions of an experiment's slots, by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.planning import Plan, PlannedSlot, plan_experiment
from vene_widgets.errors import RequestError, choose
from vene_widgets.interventions import INTERVENTIONS, Intervention, make

if TYPE_CHECKING:
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.models import LanguageModel


def make_weights(
    model: LanguageModel,
    experiment: Experiment,
    *,
    given: Mapping[str, Intervention] | None = None,
) -> dict[str, Intervention]:
    """Build the interventions of an experiment's slots, by key; linked slots share one.

    Equal experiments give equal weights: they start from the slot's seed. Train them with any
    optimiser over their parameters, and pass them to `run(..., weights=...)`.

    Args:
        model: whose sites and device they are for.
        experiment: whose slots they are for.
        given: interventions to use as they are, by key.

    Raises:
        RequestError: a given key that no slot has, or an intervention of another kind, width or
            rank, or on another device.
    """
    return planned_weights(model, plan_experiment(model, experiment), given)


def planned_weights(
    model: LanguageModel, plan: Plan, given: Mapping[str, Intervention] | None
) -> dict[str, Intervention]:
    """`make_weights` of an experiment that is planned already."""
    first_with = {planned.weights_key: planned for planned in plan.slots}
    for key in given or {}:
        choose(key, first_with, "key of weights")
    made: dict[str, Intervention] = {}
    for key, planned in first_with.items():
        module = (given or {}).get(key)
        if module is None:
            made[key] = make(planned.slot.intervention, planned.options).to(model.device)
        else:
            _check_matches(key, module, planned)
            _check_device(key, module, model.device)
            made[key] = module
    return made


def _check_matches(key: str, module: object, planned: PlannedSlot) -> None:
    """Refuse an intervention that its slot cannot use."""
    wanted = INTERVENTIONS[planned.slot.intervention]
    if not isinstance(module, Intervention):
        raise RequestError(
            f"weights {key!r} are a {type(module).__name__}; slots[{planned.index}] needs a "
            f"{wanted.__name__}, as vw.make_weights(model, experiment) gives."
        )
    have, need = module.options, planned.options
    if (
        type(module) is not wanted
        or have.width != need.width
        or wanted.size(have) != wanted.size(need)
    ):
        raise RequestError(
            f"weights {key!r} are a {type(module).__name__} of width {have.width} and rank "
            f"{have.rank}; slots[{planned.index}] needs a {wanted.__name__} of width "
            f"{need.width} and rank {need.rank}."
        )


def _check_device(key: str, module: Intervention, device: torch.device) -> None:
    """Refuse an intervention that is not where the model is."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device != device:
            raise RequestError(
                f"weights {key!r} are on {tensor.device} and the model is on {device}: move them "
                f"with weights[{key!r}].to(model.device)."
            )
