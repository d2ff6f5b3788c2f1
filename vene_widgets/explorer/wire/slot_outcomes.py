"""The outcome of each slot: what it did, or why it did nothing. Engine reports -> messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vene_widgets import sentences
from vene_widgets.engine.slot_reports import SlotReport
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.explorer.wire import messages as wire

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.explorer.exact_runs import ExactRuns
    from vene_widgets.models.sites import Sites


def receipts(result: ExactRuns, plan: Plan) -> list[wire.ReceiptInfo]:
    """One receipt per slot, including skipped ones, even if no slot is live and none has run."""
    found = {report.planned.index: report for report in result.final.record}
    reports = [found.get(planned.index) or SlotReport(planned, None) for planned in plan.slots]
    sites = result.final.model.sites
    return [_receipt(report, reports, plan, sites) for report in reports]


def _receipt(
    report: SlotReport, reports: Sequence[SlotReport], plan: Plan, sites: Sites
) -> wire.ReceiptInfo:
    """One slot's receipt; `reports` are those of all slots."""
    planned, stats = report.planned, report.stats
    replaced_by = _replaced_by(report, reports)
    prefix_end = _common_prefix_end(planned, plan)
    reason = _reason(report, replaced_by, prefix_end, _is_unread(planned, plan, sites))
    rows, size = (stats.rows, stats.size) if stats else (0, 0.0)
    acts_on = "base" if planned.target is None else sentences.quoted(planned.target)
    return wire.ReceiptInfo(
        index=planned.index,
        fired=report.fired,
        skipped=planned.slot.skip,
        idle=report.idle,
        reason=reason,
        rows=rows,
        size=size,
        shape=list(stats.shape) if stats else None,
        others_equal=stats.others_equal if stats else True,
        words=sentences.receipt(reason, rows, size, prefix_end or "", replaced_by, acts_on),
    )


def _reason(
    report: SlotReport, replaced_by: int | None, prefix_end: str | None, is_unread: bool
) -> wire.ReceiptReason:
    """The outcome of a slot. The order matters: the first reason that applies explains the rest."""
    slot, stats = report.planned.slot, report.stats
    if slot.skip:
        return "skipped"
    if stats is None:
        return "unreached"
    if slot.intervention == "collect":
        return "collected"
    if stats.size == 0:
        if slot.strength == 0:
            return "weak"
        return "same" if prefix_end is None else "prefix"
    if replaced_by is not None:
        return "replaced"
    return "unread" if is_unread else "changed"


def _replaced_by(report: SlotReport, reports: Sequence[SlotReport]) -> int | None:
    """Index of a later slot that overwrites all of this one's changes at the same site."""
    mine = report.planned
    for other in reports[mine.index + 1 :]:
        p = other.planned
        if (
            other.fired
            and (p.site, p.target) == (mine.site, mine.target)
            and OPERATORS[p.slot.intervention].overwrites
            and p.slot.strength == 1
            and p.dims is None
            and set(mine.base_positions) <= set(p.base_positions)
        ):
            return p.index
    return None


def _common_prefix_end(planned: PlannedSlot, plan: Plan) -> str | None:
    """The last token of the prompts' common prefix, if the slot copies only within it."""
    if planned.source is None or planned.base_positions != planned.source_positions:
        return None
    if planned.read_site != planned.site:  # a state of another layer differs
        return None
    acts_on = plan.base if planned.target is None else plan.sources[planned.target]
    end = max(planned.base_positions) + 1
    pairs = zip(acts_on[:end], plan.sources[planned.source][:end], strict=True)
    return acts_on[end - 1].text if all(a.id == b.id for a, b in pairs) else None


def _is_unread(planned: PlannedSlot, plan: Plan, sites: Sites) -> bool:
    """Whether the next token cannot depend on the slot: its change stays at earlier positions."""
    components = sites.architecture.components
    is_weight = planned.keys is not None  # it acts at its query
    return (
        planned.target is None
        and planned.site.layer == sites.layers - 1
        and (is_weight or not components[planned.site.component].reaches_later_positions)
        and len(plan.base) - 1 not in planned.base_positions
    )
