"""Receipts: what one slot did, or why it had no effect."""

from __future__ import annotations

from vene_widgets.sentences.words import quoted
from vene_widgets.tables.number_text import significant

_RECEIPTS = {
    "changed": "Replaced {vectors} (‖Δ‖ = {size}).",
    "collected": "Collected {vectors}; changed nothing.",
    "skipped": "Skipped.",
    "unreached": "No effect: the forward pass does not reach this site.",
    "weak": "No effect: the strength is 0.",
    "prefix": "No effect: {acts_on} and source are identical up to {token}.",
    "same": "No effect: the state is already this one.",
    "replaced": "Replaced {vectors} (‖Δ‖ = {size}), but slot {by} overwrites this state.",
    "unread": (
        "Replaced {vectors} (‖Δ‖ = {size}), but nothing after this block reads this position."
    ),
}


def receipt(
    reason: str,
    rows: int = 0,
    size: float = 0.0,
    token: str = "",
    by: int | None = None,
    acts_on: str = "base",
) -> str:
    """State what one slot did, or why it had no effect.

    Args:
        reason: a key of `_RECEIPTS` (`explorer.wire.messages.ReceiptReason`).
        rows: number of replaced vectors.
        size: Euclidean norm of the change, in the site's own units.
        token: for `prefix`, the last token up to which the prompts agree.
        by: for `replaced`, index of the later slot.
        acts_on: the run that the slot changes.
    """
    return _RECEIPTS[reason].format(
        vectors="1 vector" if rows == 1 else f"{rows} vectors",
        size=significant(size),
        token=quoted(token),
        by=by,
        acts_on=acts_on,
    )
