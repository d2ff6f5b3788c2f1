"""Edits of an experiment's slots, as the controls make them."""

from __future__ import annotations

from typing import Any

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.slot import Slot
from vene_widgets.explorer.wire.views import intervention_info
from vene_widgets.interventions import INTERVENTIONS


def edit_slot(now: Experiment, index: int, changes: dict[str, Any]) -> Experiment:
    """Change some fields of one slot; the slot is validated again."""
    slot = now.slots[index]
    fields = {name: getattr(slot, name) for name in Slot.model_fields}
    slots = (*now.slots[:index], Slot(**{**fields, **changes}), *now.slots[index + 1 :])
    return now.replace(slots=slots)


def remove_slot(now: Experiment, index: int) -> Experiment:
    """Remove one slot; later ones move up."""
    return now.replace(slots=now.slots[:index] + now.slots[index + 1 :])


def add_slot(now: Experiment) -> Experiment:
    """Add a slot: a copy of the last one, else one at the last token of layer 0."""
    if now.slots:
        new = now.slots[-1]
    elif now.sources:
        new = Slot(layer=0, position=-1, source=next(iter(now.sources)))
    else:
        new = Slot(layer=0, position=-1, intervention="zero")
    return now.replace(slots=(*now.slots, new))


def intervention_fields(value: str, now: Experiment, slot: Slot) -> dict[str, Any]:
    """The slot's fields with another operator: those that it requires are set to a default.

    Its link is removed. So is its subspace if either operator has its own basis.
    """
    kind = intervention_info(value, INTERVENTIONS[value])
    is_other_basis = INTERVENTIONS[slot.intervention].rotated or kind.rotated
    keeps = OPERATORS[slot.intervention].needs_source and kind.needs_source and not slot.reads_run
    rank = slot.rank or (2 if kind.needs_rank else None)
    return {
        "intervention": value,
        "source": slot.source
        or (next(iter(now.sources), None) if kind.needs_source and not keeps else None),
        "minus": slot.minus if keeps else (),
        "vector": slot.vector if keeps else None,
        "source_layer": slot.source_layer if kind.needs_source else None,
        "prompts": _prompts(now, slot) if value == "mean" else slot.prompts if keeps else (),
        "rank": rank if kind.takes_rank else None,
        "scale": 1.0 if OPERATORS[value].ignores("scale") else slot.scale,
        "link": None,
        "subspace": None if is_other_basis else slot.subspace,
        "partition": None if is_other_basis else slot.partition,
    }


def _prompts(now: Experiment, slot: Slot) -> tuple[str, ...]:
    """What the first mean is over: the slot's source, else the base."""
    return (now.sources.get(slot.source or "", now.base),)


def parse_subspace(text: str) -> str | tuple[int, ...] | None:
    """Read a subspace: `0, 3, 5` are dims, empty is all; `0:2` and names stay text.

    The experiment validates it.
    """
    parts = text.replace(",", " ").split()
    if not parts:
        return None
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else text.strip()


def joined_subspace(names: tuple[str, ...], slot: Slot) -> str | tuple[int, ...] | None:
    """The subspace of some names of the slot's partition together; no name is all coordinates."""
    if len(names) < 2:
        return names[0] if names else None
    ranges = [slot.partition[name] for name in names] if slot.partition else []
    return tuple(sorted({dim for start, stop in ranges for dim in range(start, stop)}))
