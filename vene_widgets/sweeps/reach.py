"""Which cells of a sweep can affect the output at all; the others need no run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.engine.held_slots import acts_by_position

if TYPE_CHECKING:
    from vene_widgets.models.behaviour import Behaviour
    from vene_widgets.sweeps.planning import SweepPlan


def can_affect_output(plan: SweepPlan, behaviour: Behaviour, layer: int, column: int) -> bool:
    """Whether a cell's change can affect the logits at the last position.

    Copying cannot where base and source hold equal states. Nothing can in the last block once its
    keys and values are computed, unless at the last position itself. Both rest on what was measured
    of the model; a cell that may matter for all that is known is run.

    Args:
        plan: the sweep.
        behaviour: of the model.
        layer: the cell's block.
        column: its index into `plan.positions`.
    """
    if plan.intervention == "vanilla" and states_are_equal(plan, behaviour, layer, column):
        return False
    ends_here = (
        plan.window_of(layer)[0] == plan.model.sites.layers - 1
        and behaviour.is_causal
        and behaviour.ends_alone
        # What other code does with the last block's output, a few probes cannot tell.
        and behaviour.resume_blocker is None
        and not plan.component_facts.reaches_later_positions
        and all(acts_by_position(slot) for slot in (plan.fixed.live if plan.fixed else ()))
    )
    return not ends_here or plan.positions[column] == len(plan.base) - 1


def states_are_equal(plan: SweepPlan, behaviour: Behaviour, layer: int, column: int) -> bool:
    """Whether base and source have equal states at a cell's site, whatever the weights are.

    They do where the prompts agree up to that position, and before the first attention where just
    the tokens agree and stand at the same position; with fixed slots only before the first of them.
    """
    position, partner = plan.positions[column], plan.source_positions[column]
    if position != partner:
        return False
    if plan.first_fixed is not None and (not behaviour.is_causal or position >= plan.first_fixed):
        return False
    if position < plan.first_difference and behaviour.is_causal:
        return True
    own_token_only = (
        plan.window_of(layer) == range(1)
        and behaviour.embeds_alone
        and _is_known(plan, behaviour, "block_input")
        and plan.component_facts.before_attention
    )
    return own_token_only and plan.base[position].id == plan.source[partner].id


def _is_known(plan: SweepPlan, behaviour: Behaviour, measured: str) -> bool:
    """Whether the family's facts about a component hold: its code was read, or it was measured."""
    return behaviour.resume_blocker is None or plan.component == measured
