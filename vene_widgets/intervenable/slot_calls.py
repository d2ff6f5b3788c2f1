"""SlotCall: what one live slot does in one call, its arguments checked and as plain ints."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import subspaces
from vene_widgets.intervenable.built_in import ANY_WIDTH
from vene_widgets.intervenable.inputs import Encoding, token_mask
from vene_widgets.intervenable.locations import (
    EVERYWHERE,
    SlotLocations,
    read_locations,
)
from vene_widgets.intervenable.places import Places, resolve_places
from vene_widgets.intervenable.slots import Slot

BatchPlace: TypeAlias = "tuple[int, int | None, int]"
"""Example, head (None for whole vectors) and position."""


@dataclass(frozen=True, eq=False)
class SlotCall:
    """What one live slot does in one call.

    Attributes:
        slot: the slot.
        base: the places that it changes.
        source: the places that it reads in its source's run, one per place of `base`; None if it
            reads no source run.
        constant: `(n, width)` or broadcastable to it, in place of a source run; None without one.
        subspaces: per example, as the caller passed them; None for all.
        mask: `(n, size)`, the coordinates that may change; None for all.
    """

    slot: Slot
    base: list[BatchPlace]
    source: list[BatchPlace] | None
    constant: Tensor | None
    subspaces: subspaces.Subspaces
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Request:
    """The arguments of one call.

    Attributes:
        mode: `parallel` or `serial`.
        base: the base's encoding.
        runs: one source encoding per group; None skips the group.
        has_sources: whether the caller passed any.
        unit_locations, representations, subspaces: as the caller passed them.
        on_new_tokens: whether the slots of the base act on the tokens that it generates.
        keywords: more arguments of user-defined operators.
        passes_inputs: whether they get what the hooked module gets, too.
    """

    mode: str
    base: Encoding
    runs: Sequence[Encoding | None]
    has_sources: bool
    unit_locations: object
    representations: object
    subspaces: object
    on_new_tokens: bool = False
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])
    passes_inputs: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether the caller passed the base alone."""
        given = self.unit_locations, self.representations
        return not self.has_sources and given == (None, None)


def plan_slot_calls(
    slots: Sequence[Slot], groups: Sequence[Sequence[int]], request: Request
) -> list[SlotCall]:
    """Plan what each live slot does, in list order; skipped slots are left out.

    A slot is skipped if its base location is None, or a source or source location that it reads.
    One that reads a source is skipped with a warning in a call of the base alone.

    Args:
        slots: the slots of the model.
        groups: slot indices per group.
        request: the call's arguments.

    Raises:
        RequestError: an invalid argument; the message names the slot.
    """
    units = [slot.place_unit for slot in slots]
    source_locations, base_locations = read_locations(
        request.unit_locations, request.mode, groups, units
    )
    constants = _constants_per_slot(slots, request.representations)
    batch = token_mask(request.base).shape[0]
    all_subspaces = subspaces.expand_to_slots(request.subspaces, len(slots), batch)
    calls: list[SlotCall] = []
    sourceless: list[str] = []
    for slot, at, reads_at in zip(slots, base_locations, source_locations, strict=True):
        operator, run, constant = slot.operator, request.runs[slot.group], constants[slot.index]
        newest = request.on_new_tokens and _acts_on_base(slot, request)
        # Without locations of its own, a source is read at the base's positions.
        reads_newest, reads_at = (newest, at) if reads_at == EVERYWHERE else (False, reads_at)
        # A source is optional for a plain function: it reads one if the call has sources.
        reads = operator.needs_source or (operator.module is None and request.has_sources)
        reads = reads and constant is None
        if at is None or (reads and request.has_sources and (run is None or reads_at is None)):
            continue
        if reads and run is None and request.is_bare:
            sourceless.append(str(slot))
            continue
        if reads and run is None:
            raise RequestError(
                f"{slot}: {operator.name} reads a source, but the call has none. Pass sources or "
                "source_representations, or skip the slot with None in its place in either list."
            )
        target = _target_run(slot, request)
        places = resolve_places(
            at,
            slot.place_unit,
            slot.heads,
            token_mask(target),
            f"{slot}, base locations",
            newest=newest,
        )
        base = [(example, head, p) for example, row in enumerate(places) for head, p in row]
        source = None
        if reads and run is not None:
            source = _pair_with_source(slot, places, reads_at, run, newest=reads_newest)
        if constant is not None:
            constant = _spread(constant, places, f"{slot}: source representation")
        own_subspaces = all_subspaces[slot.index]
        mask = None
        if operator.size == ANY_WIDTH:
            if operator.takes_mask and own_subspaces is not None:
                raise RequestError(
                    f"{slot}: its subspaces are invalid: the width of its vectors is not known "
                    "before a run."
                )
        elif not isinstance(own_subspaces, Mapping):
            mask = subspaces.build_mask(
                own_subspaces, slot.parts, operator.size, [place[0] for place in base], str(slot)
            )
        elif operator.takes_mask:
            raise RequestError(
                f"{slot}: its subspaces are a dict, which {operator.name} cannot read. "
                f"{subspaces.FORMS}"
            )
        calls.append(SlotCall(slot, base, source, constant, own_subspaces, mask))
    if sourceless:
        warnings.warn(
            f"the call has the base alone, so {', '.join(sourceless)} changes nothing: it reads a "
            "source.",
            stacklevel=5,
        )
    return calls


def _acts_on_base(slot: Slot, request: Request) -> bool:
    """Whether a slot changes the base's run, not another source's."""
    return request.mode == "parallel" or slot.group + 1 == len(request.runs)


def _target_run(slot: Slot, request: Request) -> Encoding:
    """The encoding whose run a slot changes: the base, or in serial mode the next group's source.

    Raises:
        RequestError: that source is None.
    """
    if _acts_on_base(slot, request):
        return request.base
    target = request.runs[slot.group + 1]
    if target is None:
        raise RequestError(
            f"{slot} acts on the run of source {slot.group + 1}, which is None. Pass that source, "
            "or skip the slot as well."
        )
    return target


def _pair_with_source(
    slot: Slot, base: Places, entry: SlotLocations, run: Encoding, *, newest: bool
) -> list[BatchPlace]:
    """The places that a slot reads, one for each of its base places.

    Args:
        slot: the slot.
        base: its base places per example.
        entry: its source locations.
        run: the source's encoding; a single example serves the whole batch.
        newest: whether they are the base's, for new tokens.

    Raises:
        RequestError: another number of examples or places than in the base.
    """
    source_places = resolve_places(
        entry,
        slot.place_unit,
        slot.heads,
        token_mask(run),
        f"{slot}, source locations",
        writes=False,
        newest=newest,
    )
    if len(source_places) not in (1, len(base)):
        raise RequestError(
            f"{slot}: the source has {len(source_places)} examples, the run that it acts on "
            f"{len(base)}; expected equally many, or one source example."
        )
    source: list[BatchPlace] = []
    for example, row in enumerate(base):
        source_example = 0 if len(source_places) == 1 else example
        source_row = source_places[source_example]
        if len(source_row) != len(row):
            raise RequestError(
                f"{slot}, example {example}: {len(source_row)} source places for {len(row)} "
                "base places; expected equally many, since source place i goes to base place i."
            )
        source.extend((source_example, head, position) for head, position in source_row)
    return source


def _constants_per_slot(slots: Sequence[Slot], given: object) -> list[Tensor | None]:
    """Per slot, the constant in place of its source; None without one.

    Args:
        slots: the slots; their own constants hold unless the call passes others.
        given: the call's `source_representations`: one tensor for all slots, a dict by key or
            index, or a list with one entry per slot.

    Raises:
        RequestError: an unknown key, or a list of the wrong length.
    """
    constants = [slot.constant for slot in slots]
    if given is None:
        return constants
    if isinstance(given, Tensor):
        return [given] * len(constants)
    if isinstance(given, Mapping):
        index_of: dict[object, int] = {slot.key: slot.index for slot in slots}
        index_of.update({slot.index: slot.index for slot in slots})
        for key, value in cast("Mapping[object, Tensor | None]", given).items():
            if key not in index_of:
                raise RequestError(
                    f"source_representations has key {key!r}. Valid: a slot's index or its key, "
                    f"{', '.join(slot.key for slot in slots)}."
                )
            constants[index_of[key]] = value
        return constants
    values = cast("Sequence[Tensor | None]", given)
    if len(values) != len(constants):
        raise RequestError(
            f"{len(values)} source_representations for {len(constants)} slots; expected one per "
            "slot, one for all, or a dict by key."
        )
    return [old if new is None else new for old, new in zip(constants, values, strict=True)]


def _spread(constant: Tensor, places: Places, what: str) -> Tensor:
    """A constant as one vector per place, `(n, width)`.

    Args:
        constant: `(width,)`, `(examples, width)` or `(examples, places, width)`; one example, or
            one place, is broadcast.
        places: the slot's base places per example.
        what: the slot, for messages.

    Raises:
        RequestError: another shape.
    """
    total, sizes = sum(map(len, places)), {len(row) for row in places}
    if constant.ndim == 1:
        return constant.expand(total, -1)
    if constant.ndim == 2 and constant.shape[0] in (1, len(places)):
        constant = constant[:, None]
    # A ragged batch has no one number of places to expand to.
    if constant.ndim >= 3 and len(sizes) == 1:
        rows = constant.reshape(constant.shape[0], -1, constant.shape[-1])
        if rows.shape[0] in (1, len(places)) and rows.shape[1] in (1, *sizes):
            return rows.expand(len(places), *sizes, -1).reshape(total, -1)
    raise RequestError(
        f"{what} has shape {tuple(constant.shape)}, which is invalid for {len(places)} examples "
        f"of {sorted(sizes)} places: expected (width,), (examples, width) or "
        "(examples, places, width)."
    )
