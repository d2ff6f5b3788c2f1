"""held_slots(): the slots of an experiment that its map has in every tile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.explorer.session.history_records import normal_slot

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.experiments.slot import Slot


def held_slots(plan: Plan) -> tuple[Slot, ...]:
    """The live held slots, in their order, with integers in place of texts.

    What changes no number is left out, so that the map is swept anew only for what does: a group,
    and `hold` itself.
    """
    return tuple(
        normal_slot(planned).model_copy(update={"group": None, "hold": False})
        for planned in plan.live
        if planned.slot.hold
    )


def by_slot(error: RequestError, experiment: Experiment) -> RequestError:
    """A sweep's error that calls its fixed slots by their numbers in the experiment."""
    held = [index for index in experiment.live if experiment.slots[index].hold]
    text = re.sub(r"\bfixed\[(\d+)\]", lambda found: f"slots[{held[int(found[1])]}]", str(error))
    return RequestError(text)
