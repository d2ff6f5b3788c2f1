"""Where the slots of an experiment act on a text that is being generated."""

from __future__ import annotations

import sys
from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from vene_widgets.engine.generating import TextEdit
from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments.fields import as_ints, position_slice
from vene_widgets.experiments.slot import require_distinct

if TYPE_CHECKING:
    from vene_widgets.engine.hooks import Edit
    from vene_widgets.engine.planning import Plan, PlannedSlot
    from vene_widgets.engine.running import SlotEdits

PLACES = ("prompt", "every")
"""Names of where slots act; positions are the third possibility."""


def read_places(
    plan: Plan, on: object, length: int, count: int
) -> Literal["prompt", "every"] | tuple[int, ...]:
    """Check where the slots act.

    Args:
        plan: the experiment.
        on: the user's input: one of `PLACES`, or absolute positions.
        length: tokens of the prompt.
        count: new tokens at most.

    Returns:
        The name, or the positions in ascending order.

    Raises:
        RequestError: another name, a position that is named twice or that never runs, a slot that
            collects, or one that has no meaning at a single position.
    """
    for planned in plan.live:
        if planned.slot.intervention == "collect":
            raise RequestError(
                f"slots[{planned.index}] collects, which returns nothing while a text is "
                "generated: collect in a run, vw.run(model, experiment)."
            )
    if isinstance(on, str):
        where = cast("Literal['prompt', 'every']", choose(on, PLACES, "on"))
        if where == "prompt":
            return where
    else:
        where = _positions(on, length + count - 1)
    for planned in plan.live:
        if planned.target is None:
            _require_one_state(planned, where)
            _require_keys(planned, where)
    return where


def _positions(on: Any, end: int) -> tuple[int, ...]:
    """Absolute positions, ascending.

    Raises:
        RequestError: none, one twice, or one that never runs.
    """
    try:
        found = as_ints(on)
    except RequestError as error:
        raise RequestError(f"on: {error}; or use 'prompt' or 'every'.") from None
    several = (found,) if isinstance(found, int) else found
    if not several or isinstance(several, str):
        raise RequestError(
            f"on must be 'prompt', 'every' or positions of the text, got {shown(on)}."
        )
    try:
        require_distinct(several)
    except RequestError as error:
        raise RequestError(f"on: {error}.") from None
    for position in several:
        if not 0 <= position < end:
            raise RequestError(
                f"on: position {shown(position)} is out of range: positions 0 to {end - 1} run, "
                "the prompt's and those of all new tokens but the last."
            )
    return tuple(sorted(several))


def _require_one_state(planned: PlannedSlot, where: str | tuple[int, ...]) -> None:
    """Check that a slot means something at one position by itself.

    Raises:
        RequestError: its states are different ones for its several positions.
    """
    slot, count = planned.slot, len(planned.base_positions)
    read = [planned.source_positions, *planned.mean_positions, *planned.minus_positions]
    is_noise = slot.intervention == "noise" and count > 1
    if not is_noise and all(len(set(positions)) <= 1 for positions in read):
        return
    places = "every new token" if where == "every" else "positions of the text"
    differ = "noise vectors" if is_noise else "source states"
    raise RequestError(
        f"slots[{planned.index}] ({slot.intervention}) has {count} {differ}, one for each of its "
        f"positions {shown(list(planned.base_positions))}, so on={shown(where)} leaves open which "
        f"of them goes to {places}: give it one "
        f"{'position' if is_noise else 'source_position, or the same one for all'}."
    )


def _require_keys(planned: PlannedSlot, where: str | tuple[int, ...]) -> None:
    """Check that a slot on attention weights names keys that every text's queries have.

    Raises:
        RequestError: whole rows, which grow with the text, or weights that would be written to
            keys after their query.
    """
    if planned.keys is None:
        return
    keys = planned.slot.source_position
    if keys is None or (isinstance(keys, str) and position_slice(keys) is not None):
        raise RequestError(
            f"slots[{planned.index}] is on whole rows of attention weights, which grow with the "
            f"text, so on={shown(where)} leaves open what new keys get: name keys of the prompt by "
            "source_position."
        )
    if isinstance(where, tuple) and planned.slot.intervention != "zero":
        early, late = min(where), max(planned.keys)
        if early < late:
            raise RequestError(
                f"slots[{planned.index}] would write the weight of key {late} to query {early}, "
                f"but a token never attends to later ones: expected positions from {late} on, got "
                f"on={shown(where)}."
            )


def text_edits(
    slots: SlotEdits,
    where: Literal["prompt", "every"] | tuple[int, ...],
    length: int,
    acted: dict[int, set[int]],
) -> list[TextEdit]:
    """The changes that the base's slots make to a text, in list order.

    Args:
        slots: the experiment's slots, their sources read.
        where: from `read_places`.
        length: tokens of the prompt.
        acted: filled with the positions that each slot changes, by its index.
    """
    edits: list[TextEdit] = []
    for planned in slots.plan.live:
        if planned.target is not None:
            continue
        note = acted.setdefault(planned.index, set()).update
        edit = replace(slots.of(planned), on_applied=None)
        if not isinstance(where, tuple):
            edits.append(TextEdit(edit, None, note))
        if where == "prompt":
            continue
        after: Container[int] = range(length, sys.maxsize) if where == "every" else set(where)
        edits.append(TextEdit(_at_one_position(slots, planned), after, note))
    return edits


def _at_one_position(slots: SlotEdits, planned: PlannedSlot) -> Edit:
    """A slot's change as if it had one position; its states are the same at all of them."""
    index = planned.index
    one = replace(
        planned,
        base_positions=planned.base_positions[:1],
        source_positions=planned.source_positions[:1],
        mean_positions=tuple(positions[:1] for positions in planned.mean_positions),
        minus_positions=tuple(positions[:1] for positions in planned.minus_positions),
    )
    values = slots.values.get(index)
    single = replace(slots, values={} if values is None else {index: values[:1]})
    return replace(single.of(one), on_applied=None)
