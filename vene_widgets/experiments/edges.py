"""What a slot on attention weights may say. An edge is one weight: from a query to a key."""

from __future__ import annotations

from vene_widgets.errors import RequestError, listed
from vene_widgets.experiments.components import ATTENTION_WEIGHT
from vene_widgets.experiments.operators import BUILT_IN

EDGE_OPERATORS = ("vanilla", "addition", "subtraction", "zero", "mean", "collect")
"""Built-in interventions that may act on attention weights; registered ones may, too.

Noise would let tokens attend to later ones, and a trained basis or mask needs vectors of one width.
"""


def check_edges(component: str, intervention: str, *, has_subspace: bool) -> None:
    """Refuse what has no meaning for attention weights; slots of other components pass.

    Args:
        component, intervention: of the slot, in our names.
        has_subspace: whether it has a subspace or a partition.

    Raises:
        RequestError: an intervention that cannot act on weights, or a subspace.
    """
    if component != ATTENTION_WEIGHT:
        return
    if intervention in BUILT_IN and intervention not in EDGE_OPERATORS:
        reason = (
            "it would let tokens attend to later ones"
            if intervention == "noise"
            else "its weights are for vectors of one width, and a row is as wide as the prompt"
        )
        raise RequestError(
            f"intervention {intervention!r} cannot act on {ATTENTION_WEIGHT!r}: {reason}. Choose "
            f"one of {listed(EDGE_OPERATORS)}, or one that is registered."
        )
    if has_subspace:
        raise RequestError(
            f"subspace and partition cannot be used on {ATTENTION_WEIGHT!r}: name the keys by "
            "source_position instead."
        )
