"""require_shown(): refuse a plan with slots that the screen cannot show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import ATTENTION_WEIGHT

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot


def require_shown(plan: Plan) -> Plan:
    """Return a plan if the screen can show it.

    The screen names queries and keys by integers, which are the same in every prompt.

    Raises:
        RequestError: a slot on attention weights whose queries or keys are others in a prompt that
            it reads, or a held slot that does not act on the base.
    """
    for planned in plan.slots:
        if planned.site.component == ATTENTION_WEIGHT and not _has_same_edges(planned):
            raise RequestError(
                f"slots[{planned.index}] is on {ATTENTION_WEIGHT!r} and reads other positions of "
                "its source than of the base, for which the explorer has no place: name queries "
                "and keys by integers from 0, or run the experiment with vw.run."
            )
        if planned.slot.hold and planned.target is not None:
            raise RequestError(
                f"slots[{planned.index}] cannot be held in the map: it acts on the run of the "
                f"source {planned.target!r}, and a map holds only slots that act on the base."
            )
    return plan


def _has_same_edges(planned: PlannedSlot) -> bool:
    """Whether queries and keys are at the same positions in all prompts of a slot on weights."""
    queries = [planned.source_positions] if planned.source is not None else []
    sites = [planned.read_site, *planned.mean_sites]
    return all(one == planned.base_positions for one in (*queries, *planned.mean_positions)) and (
        all(site == planned.site for site in sites)
    )
