"""Experiments on the wire, where a browser must not change them.

Their sources are a list, as browsers do not keep an object's order: names that are whole numbers
come first there, and in serial mode the order of the sources is the chain. Seeds beyond 2**53 - 1
are texts, as a browser's numbers are doubles.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer up to which a double holds every one; `Number.MAX_SAFE_INTEGER`."""


def _seed_to_wire(seed: int) -> int | str:
    return seed if seed <= MAX_SAFE_INTEGER else str(seed)


class WireSlot(Slot):
    """A slot as JSON: the fields of `experiments.slot.Slot`, a large seed as text."""

    seed: Annotated[int, PlainSerializer(_seed_to_wire)] = 0


class OrderedExperiment(BaseModel):
    """An experiment as JSON: `sources` are pairs of a name and a prompt, in order."""

    base: str
    sources: list[tuple[str, str]] = []
    slots: list[WireSlot] = []
    mode: Literal["parallel", "serial"] = "parallel"


def _from_wire(value: Any) -> Any:
    """A JSON object with its sources by name and its seeds as ints.

    Anything else is left to the experiment's checks.
    """
    if not isinstance(value, dict):
        return value
    fields = {**cast("dict[str, Any]", value)}
    pairs, slots = fields.get("sources"), fields.get("slots")
    if isinstance(pairs, list):
        fields["sources"] = _by_name(cast("list[Any]", pairs))
    if isinstance(slots, list):
        fields["slots"] = [_with_seed(slot) for slot in cast("list[Any]", slots)]
    return fields


def _with_seed(slot: Any) -> Any:
    """A slot whose seed is an int if it was a text of digits."""
    if not isinstance(slot, dict):
        return slot
    fields = cast("dict[str, Any]", slot)
    seed = fields.get("seed")
    if not isinstance(seed, str) or not re.fullmatch("[0-9]{1,20}", seed):
        return fields
    return {**fields, "seed": int(seed)}


def _by_name(pairs: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(cast("list[Any]", pair)) != 2:
            raise ValueError("sources must be pairs of a name and a prompt")
        name, prompt = cast("list[Any]", pair)
        if not isinstance(name, str) or name in found:
            raise ValueError("sources must have names that are texts and differ")
        found[name] = prompt
    return found


def wire_slot(slot: Slot) -> WireSlot:
    """A slot as it goes onto the wire."""
    return WireSlot.model_construct(slot.model_fields_set, **dict(slot))


def _to_wire(experiment: Experiment) -> OrderedExperiment:
    return OrderedExperiment.model_construct(
        base=experiment.base,
        sources=list(experiment.sources.items()),
        slots=[wire_slot(slot) for slot in experiment.slots],
        mode=experiment.mode,
    )


WireExperiment = Annotated[
    Experiment,
    BeforeValidator(_from_wire),
    PlainSerializer(_to_wire, return_type=OrderedExperiment),
]
"""An `Experiment` in Python, an `OrderedExperiment` as JSON."""
