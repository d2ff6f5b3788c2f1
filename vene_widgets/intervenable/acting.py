"""What every live slot does in one call: the caller's arguments, checked, as plain ints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import locations, subspaces
from vene_widgets.intervenable.inputs import Encoding, token_mask
from vene_widgets.intervenable.slots import Slot

Place = tuple[int, "int | None", int]
"""Example, head (None for whole vectors) and position."""


@dataclass(frozen=True, eq=False)
class Act:
    """What one live slot does in one call.

    Attributes:
        slot: the slot.
        base: the places that it changes.
        source: as many places that it reads in its source's run; None without one.
        constant: `(n, width)` or broadcastable to it, in place of a source run.
        subspaces: per example, as the caller wrote them.
        mask: `(n, size)`, the coordinates that may change; None for all.
    """

    slot: Slot
    base: list[Place]
    source: list[Place] | None
    constant: Tensor | None
    subspaces: list[list[int]] | None
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Request:
    """One call's arguments.

    Attributes:
        mode: `parallel` or `serial`.
        base: the base's encoding.
        runs: one source encoding per group; None skips.
        has_sources: whether the caller gave any.
        unit_locations, representations, subspaces: as the caller wrote them.
    """

    mode: str
    base: Encoding
    runs: Sequence[Encoding | None]
    has_sources: bool
    unit_locations: Mapping[str, Any] | None
    representations: Any
    subspaces: Any


def acts(slots: Sequence[Slot], groups: Sequence[Sequence[int]], request: Request) -> list[Act]:
    """What the live slots do, in list order. A None for what a slot needs skips it.

    Raises:
        RequestError: an argument does not fit; the message names the slot.
    """
    units = [slot.unit for slot in slots]
    left, right = locations.read(request.unit_locations, request.mode, groups, units)
    constants = _constants(slots, request.representations)
    batch = token_mask(request.base).shape[0]
    rows = subspaces.per_slot(request.subspaces, len(slots), batch)
    result = []
    for slot, where, other in zip(slots, right, left, strict=True):
        operator, run, constant = slot.operator, request.runs[slot.group], constants[slot.index]
        # A function may read a source, and does where the call has any.
        reads = operator.needs_source or (not operator.is_module and request.has_sources)
        reads = reads and constant is None
        if where is None or (reads and request.has_sources and (run is None or other is None)):
            continue
        if reads and run is None:
            raise RequestError(
                f"{slot}: {operator.name} reads a source, and the call has none. Give sources or "
                "source_representations; a None in its place in either list skips it."
            )
        target = _target(slot, request)
        places = locations.spots(
            where, slot.unit, slot.heads, token_mask(target), f"{slot}, base locations"
        )
        base = [(example, head, p) for example, row in enumerate(places) for head, p in row]
        source = _paired(slot, places, other, run) if reads and run is not None else None
        if constant is not None:
            constant = _spread(constant, places, f"{slot}: source representation")
        allowed = subspaces.mask(
            rows[slot.index], slot.parts, slot.operator.size, [p[0] for p in base], str(slot)
        )
        result.append(Act(slot, base, source, constant, rows[slot.index], allowed))
    return result


def _target(slot: Slot, request: Request) -> Encoding:
    """The encoding in whose run a slot acts."""
    if request.mode == "parallel" or slot.group + 1 == len(request.runs):
        return request.base
    after = request.runs[slot.group + 1]
    if after is None:
        raise RequestError(
            f"{slot} acts on the run of source {slot.group + 1}, which is None: skip the slot as "
            "well, or give that source."
        )
    return after


def _paired(slot: Slot, places: locations.Spots, other: Any, run: Encoding) -> list[Place]:
    """The source's places, one for each of the base's."""
    found = locations.spots(
        other, slot.unit, slot.heads, token_mask(run), f"{slot}, source locations", writes=False
    )
    if len(found) not in (1, len(places)):
        raise RequestError(
            f"{slot}: the source has {len(found)} examples, what it acts on {len(places)}; "
            "equally many, or one, are needed."
        )
    source: list[Place] = []
    for example, row in enumerate(places):
        giving = 0 if len(found) == 1 else example
        if len(found[giving]) != len(row):
            raise RequestError(
                f"{slot}, example {example}: {len(found[giving])} source places for {len(row)} "
                "base places; source place i goes to base place i."
            )
        source.extend((giving, head, position) for head, position in found[giving])
    return source


def _constants(slots: Sequence[Slot], given: Any) -> list[Any]:
    """Per slot, the constant that stands for its source; None where there is none."""
    own = [slot.constant for slot in slots]
    if given is None:
        return own
    if isinstance(given, Tensor):
        return [given] * len(own)
    if isinstance(given, Mapping):
        by_key: dict[Any, int] = {slot.key: slot.index for slot in slots}
        by_key.update({slot.index: slot.index for slot in slots})
        for key, value in given.items():
            if key not in by_key:
                raise RequestError(
                    f"source_representations has key {key!r}. Valid: a slot's index or its key, "
                    f"{', '.join(slot.key for slot in slots)}."
                )
            own[by_key[key]] = value
        return own
    if len(given) != len(own):
        raise RequestError(
            f"{len(given)} source_representations for {len(own)} slots; one per slot, one for all, "
            "or a dict by key, is needed."
        )
    return [old if new is None else new for old, new in zip(own, given, strict=True)]


def _spread(constant: Tensor, places: locations.Spots, what: str) -> Tensor:
    """A constant as one vector per place, `(n, width)`."""
    total, sizes = sum(map(len, places)), {len(row) for row in places}
    if constant.ndim == 1:
        return constant.expand(total, -1)
    if constant.ndim == 2 and constant.shape[0] in (1, len(places)):
        constant = constant[:, None]
    if constant.ndim >= 3 and len(sizes) == 1:
        rows = constant.reshape(constant.shape[0], -1, constant.shape[-1])
        if rows.shape[0] in (1, len(places)) and rows.shape[1] in (1, *sizes):
            return rows.expand(len(places), *sizes, -1).reshape(total, -1)
    raise RequestError(
        f"{what} of shape {tuple(constant.shape)} does not fit {len(places)} examples of "
        f"{sorted(sizes)} places: (width,), (examples, width) or (examples, places, width) does."
    )
