"""SlotReport: proof of what one slot did, and its row in a table of receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vene_widgets.engine.hooks import EditStats
    from vene_widgets.engine.planning import PlannedSlot

PLANNED_COLUMNS = (
    *("slot", "layer", "component", "head", "source"),
    *("base_positions", "source_positions", "keys"),
)
"""Columns that say what a slot was meant to do."""

MEASURED_COLUMNS = ("skipped", "fired", "shape", "rows", "size", "others_equal")
"""Columns that say what it did."""

RECEIPT_COLUMNS = (*PLANNED_COLUMNS, *MEASURED_COLUMNS)
"""Columns of `Run.receipts`."""


@dataclass(frozen=True)
class SlotReport:
    """Proof of what one slot did.

    Attributes:
        planned: the slot, its site and its positions as ints.
        stats: measured by its hook; None if the hook did not fire.
    """

    planned: PlannedSlot
    stats: EditStats | None

    @property
    def fired(self) -> bool:
        """Whether the slot's hook ran."""
        return self.stats is not None

    @property
    def idle(self) -> bool:
        """Whether the slot should have changed something and did not."""
        slot = self.planned.slot
        quiet = slot.skip or slot.intervention == "collect" or slot.strength == 0
        return not quiet and (self.stats is None or self.stats.size == 0)

    @property
    def row(self) -> dict[str, object]:
        """One row of `RECEIPT_COLUMNS`."""
        stats = self.stats
        return {
            **planned_row(self.planned),
            "skipped": self.planned.slot.skip,
            "fired": self.fired,
            "shape": stats.shape if stats else None,
            "rows": stats.rows if stats else 0,
            "size": stats.size if stats else 0.0,
            "others_equal": stats.others_equal if stats else True,
        }


def require_fired(reports: Iterable[SlotReport], name: str) -> None:
    """Check that every live slot on the base acted, where a result has no receipts.

    Args:
        reports: `Run.record`.
        name: of the model, for the message.

    Raises:
        RequestError: a slot's hook did not fire.
    """
    for report in reports:
        planned = report.planned
        if not (report.fired or planned.slot.skip or planned.target is not None):
            raise RequestError(
                f"slots[{planned.index}] never acted: a run of {name} does not come by "
                f"{planned.site}. Choose another component."
            )


def planned_row(planned: PlannedSlot) -> dict[str, object]:
    """What a slot was meant to do: one row of `PLANNED_COLUMNS`."""
    return {
        "slot": planned.index,
        "layer": planned.site.layer,
        "component": planned.site.component,
        "head": planned.site.head,
        "source": planned.source,
        "base_positions": planned.base_positions,
        "source_positions": planned.source_positions,
        "keys": planned.keys,
    }
