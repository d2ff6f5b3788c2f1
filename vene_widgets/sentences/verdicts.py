"""Verdicts: how the logits of two runs compare."""

from __future__ import annotations

from vene_widgets.tables.number_text import significant


def verdict(
    name: str, max_abs: float, tolerance: float, first_divergence: int | None, scope: str
) -> str:
    """State how the logits of two runs compare.

    Args:
        name: `bit-equal`, `allclose` or `different`.
        max_abs: largest absolute difference of a logit.
        tolerance: absolute and relative tolerance of `allclose`, in logits.
        first_divergence: first layer whose output differs; None if no layer's does.
        scope: the compared positions, `all positions` or `last position`.
    """
    if name == "bit-equal":
        return f"Bit-equal: every logit is identical ({scope})."
    where = (
        "identical after every block"
        if first_divergence is None
        else f"first differs at layer {first_divergence}"
    )
    kind = f"Equal within {significant(tolerance)}" if name == "allclose" else "Different"
    return f"{kind}: max abs logit difference {significant(max_abs)}; {where} ({scope})."
