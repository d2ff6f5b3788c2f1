"""require_shown(): refuse a plan with slots that the screen cannot show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import ATTENTION_WEIGHT

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan


def require_shown(plan: Plan) -> Plan:
    """Return a plan if the screen can show it.

    Raises:
        RequestError: a slot on attention weights, or a held one that does not act on the base.
    """
    for planned in plan.slots:
        if planned.site.component == ATTENTION_WEIGHT:
            raise RequestError(
                f"slots[{planned.index}] is on {ATTENTION_WEIGHT!r}, and the explorer has no place "
                "for keys: run the experiment with vw.run, and see its patterns with vw.attention."
            )
        if planned.slot.hold and planned.target is not None:
            raise RequestError(
                f"slots[{planned.index}] cannot be held in the map: it acts on the run of the "
                f"source {planned.target!r}, and a map holds only slots that act on the base."
            )
    return plan
