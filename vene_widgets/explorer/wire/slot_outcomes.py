"""What became of each slot: the engine's receipts -> the reasons that the screen gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vene_widgets.engine.running import Receipt
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import sentences as words

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.explorer.exact_runs import Result

# Attention carries what stands here to later positions of the same layer.
_CARRIED = (
    *("block_input", "attention_input", "key_output", "value_output", "attention_weight"),
    *("head_key_output", "head_value_output"),
)

# These leave nothing of what stood there before.
_OVERWRITING = ("vanilla", "zero", "mean")


def receipts(result: Result, checked: Plan) -> list[wire.ReceiptInfo]:
    """One receipt per slot, skipped ones too, also when no slot is live and nothing ran."""
    found = {receipt.planned.index: receipt for receipt in result.final.record}
    record = [found.get(planned.index) or Receipt(planned, None) for planned in checked.slots]
    layers = result.final.model.sites.layers
    return [_receipt(receipt, record, checked, layers) for receipt in record]


def _receipt(
    receipt: Receipt, record: Sequence[Receipt], checked: Plan, layers: int
) -> wire.ReceiptInfo:
    planned, touch = receipt.planned, receipt.touch
    by = _replaced_by(receipt, record)
    token = _same_up_to(planned, checked)
    reason = _reason(receipt, by, token, _is_unread(planned, checked, layers))
    rows, size = (touch.rows, touch.size) if touch else (0, 0.0)
    acts_on = "base" if planned.target is None else words.quoted(planned.target)
    return wire.ReceiptInfo(
        index=planned.index,
        fired=receipt.fired,
        skipped=planned.slot.skip,
        idle=receipt.idle,
        reason=reason,
        rows=rows,
        size=size,
        shape=list(touch.shape) if touch else None,
        others_equal=touch.others_equal if touch else True,
        words=words.receipt(reason, rows, size, token or "", by, acts_on),
    )


def _reason(
    receipt: Receipt, by: int | None, token: str | None, is_unread: bool
) -> wire.ReceiptReason:
    slot, touch = receipt.planned.slot, receipt.touch
    if slot.skip:
        return "skipped"
    if touch is None:
        return "unreached"
    if slot.intervention == "collect":
        return "collected"
    if touch.size == 0:
        if slot.strength == 0:
            return "weak"
        return "same" if token is None else "prefix"
    if by is not None:
        return "replaced"
    return "unread" if is_unread else "changed"


def _replaced_by(receipt: Receipt, record: Sequence[Receipt]) -> int | None:
    """Index of a later slot at the same site that leaves nothing of what this one put there."""
    mine = receipt.planned
    for other in record[mine.index + 1 :]:
        p = other.planned
        if (
            other.fired
            and (p.site, p.target) == (mine.site, mine.target)
            and p.slot.intervention in _OVERWRITING
            and p.slot.strength == 1
            and p.dims is None
            and set(mine.base_positions) <= set(p.base_positions)
        ):
            return p.index
    return None


def _same_up_to(planned: PlannedSlot, checked: Plan) -> str | None:
    """The last token up to which both prompts agree, when the slot copies within that beginning."""
    if planned.source is None or planned.base_positions != planned.source_positions:
        return None
    acts_on = checked.base if planned.target is None else checked.sources[planned.target]
    end = max(planned.base_positions) + 1
    pairs = zip(acts_on[:end], checked.sources[planned.source][:end], strict=True)
    return acts_on[end - 1].text if all(a.id == b.id for a, b in pairs) else None


def _is_unread(planned: PlannedSlot, checked: Plan, layers: int) -> bool:
    """Whether the next token cannot depend on the slot: its change stays at an earlier position."""
    return (
        planned.target is None
        and planned.site.layer == layers - 1
        and planned.site.component not in _CARRIED
        and len(checked.base) - 1 not in planned.base_positions
    )
