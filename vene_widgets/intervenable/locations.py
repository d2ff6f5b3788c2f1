"""Where slots act: pyvene's `unit_locations`, in every accepted form, as plain ints.

The outermost list has one entry per slot, the next one per example, the innermost one per position.
A tuple is a pair (source, base); a list of ints never is. `None` in a slot's place skips the slot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.experiments import limits

UNITS = ("pos", "h.pos", "h", "t")
"""What locations count: positions; heads and positions; heads, at every position; or nothing, for
every token of the prompt."""

EVERYWHERE: Final = "everywhere"
"""Every token of the prompt: what locations mean if the caller leaves them out altogether."""

PlainInts: TypeAlias = "int | list[PlainInts] | tuple[PlainInts, ...] | None"
"""Nested lists and tuples of ints, with None for whatever is skipped."""

SlotLocations: TypeAlias = "PlainInts | Literal['everywhere']"
"""One slot's locations on one side, as the caller nested them; None skips the slot."""

_MOST_DEPTH = 8
_MOST_INTS = 2**22

FORMS = (
    "Valid: an int; a list of positions; a tuple (source, base) of either; or nested lists, "
    "slots > examples > positions (for h.pos: slots > [heads, positions] > examples > indices), "
    "with None for a slot to skip."
)


def to_plain_ints(value: object, what: str) -> PlainInts:
    """Convert numpy and torch integers to ints, arrays and ranges to lists; keep the nesting.

    Args:
        value: ints, arrays, lists and tuples, nested in any way.
        what: the argument's name, for messages.

    Raises:
        RequestError: anything else, bools included; or more ints, or deeper nesting, than any
            model has use for.
    """
    return _to_plain_ints(value, what, 0, [0])


def _to_plain_ints(value: object, what: str, depth: int, count: list[int]) -> PlainInts:
    """`to_plain_ints` at one depth; `count[0]` ints were seen before."""
    value = _to_list(value, what)
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        if depth >= _MOST_DEPTH or count[0] + len(items) > _MOST_INTS:
            raise RequestError(
                f"{what} {shown(items)} is too large: expected at most {_MOST_DEPTH} levels of "
                f"lists and {_MOST_INTS} ints. {FORMS}"
            )
        plain = [_to_plain_ints(item, what, depth + 1, count) for item in items]
        return tuple(plain) if isinstance(value, tuple) else plain
    if isinstance(value, int) and not isinstance(value, bool):
        count[0] += 1
        if abs(value) >= limits.INT:
            raise RequestError(f"{what} holds {shown(value)}; expected ints of less than 2**63.")
        return value
    if value is None:
        return None
    raise RequestError(f"{what} holds {shown(value)}, a {type(value).__name__}. {FORMS}")


def _to_list(value: object, what: str) -> object:
    """An array or a range as a list, once its size is known; anything else as it is."""
    if isinstance(value, range):
        limits.check_size(value, _MOST_INTS, f"ints in {what}")
        return list(value)
    to_list = getattr(value, "tolist", None)
    if to_list is None:
        return value
    size = math.prod(getattr(value, "shape", ()))
    if size > _MOST_INTS:
        raise RequestError(f"expected at most {_MOST_INTS} ints in {what}, got {size}.")
    try:
        return to_list()
    except Exception:  # a tensor without values
        raise RequestError(f"{what} holds {shown(value)}, which has no values. {FORMS}") from None


def nesting_depth(value: PlainInts) -> int:
    """How deep lists and tuples are nested; 0 for an int."""
    if not isinstance(value, (list, tuple)):
        return 0
    return 1 + max(map(nesting_depth, value), default=0)


def split_sides(value: object, by_head: bool, what: str) -> tuple[PlainInts, PlainInts]:
    """Split one value of `unit_locations` into the source's and the base's locations.

    Either is None if the caller left it out; a value without sides stands for both.
    """
    locations = to_plain_ints(value, what)
    if isinstance(locations, tuple):
        if len(locations) != 2:
            raise RequestError(
                f"{what} {shown(locations)} is a tuple of {len(locations)}; a tuple must be a pair "
                f"(source, base). {FORMS}"
            )
        return locations[0], locations[1]
    # JSON turns the pair into a list. It is one level deeper than one side's full nesting.
    pair_depth = 5 if by_head else 4
    if (
        isinstance(locations, list)
        and len(locations) == 2
        and nesting_depth(locations) == pair_depth
    ):
        return locations[0], locations[1]
    return locations, locations


def expand_to_slots(side: PlainInts, count: int, what: str) -> list[SlotLocations]:
    """One side's locations with one entry per slot; None skips a slot."""
    if side is None:
        return [EVERYWHERE] * count
    if isinstance(side, int):
        return [side] * count
    items: list[SlotLocations] = list(side)
    if items and all(isinstance(item, int) for item in items):
        return [list(side)] * count
    if len(items) != count:
        raise RequestError(
            f"{what} {shown(side)} has {len(items)} entries for {count} slots: the outermost list "
            f"must have one entry per slot. {FORMS}"
        )
    return items


def newest_token(positions: SlotLocations, what: str) -> SlotLocations:
    """Positions of one slot that acts on new tokens: -1 for 0, the newest one.

    A prompt's last token stands in for new ones: it is always there.

    Args:
        positions: from the caller; everywhere is the newest one.
        what: the slot and side, for messages.

    Raises:
        RequestError: another position.
    """
    if positions == EVERYWHERE:
        return -1
    if isinstance(positions, (list, tuple)):
        return [cast("PlainInts", newest_token(item, what)) for item in positions]
    if positions not in (0, None):
        raise RequestError(
            f"{what}: position {shown(positions)} is invalid on new tokens, where it must be 0, "
            "the newest one. For places in the prompt, pass intervene_on_prompt=True."
        )
    return None if positions is None else -1


def read_locations(
    given: object, mode: str, groups: Sequence[Sequence[int]], units: Sequence[str]
) -> tuple[list[SlotLocations], list[SlotLocations]]:
    """Source and base locations of every slot.

    Args:
        given: the caller's `unit_locations`; None is everywhere.
        mode: `parallel` has the keys `sources->base` and `base`; `serial` has one key per group,
            `source_0->source_1` and so on to `source_n->base`.
        groups: slot indices per group.
        units: per slot, one of `UNITS`.

    Returns:
        Two lists with one entry per slot: where it reads, everywhere if the caller does not say,
        and where it acts.

    Raises:
        RequestError: an unknown key or form, or a list of the wrong length.
    """
    count = len(units)
    sources: list[SlotLocations] = [EVERYWHERE] * count
    bases: list[SlotLocations] = [EVERYWHERE] * count
    if given is None:
        return sources, bases
    if not isinstance(given, Mapping):
        raise RequestError(
            f"unit_locations is a {type(given).__name__}; expected a dict such as "
            "{'sources->base': (3, 4)}."
        )
    by_key = cast("Mapping[str, object]", given)
    valid: dict[str, Sequence[int]]
    if mode == "serial":
        chain = [f"source_{i}->source_{i + 1}" for i in range(len(groups) - 1)]
        chain.append(f"source_{len(groups) - 1}->base")
        valid = dict(zip(chain, groups, strict=True))
        # A link of the chain that the caller leaves out is skipped.
        for key in chain:
            if key not in by_key:
                for index in valid[key]:
                    bases[index] = None
    else:
        valid = {"sources->base": range(count), "base": range(count)}
        if len(by_key) > 1:
            raise RequestError(
                "unit_locations has both 'sources->base' and 'base'; expected one of them."
            )
    for key, value in by_key.items():
        indices = valid[choose(key, valid, f"key of unit_locations ({mode} mode)")]
        what = f"unit_locations[{key!r}]"
        by_head = any(units[index] == "h.pos" for index in indices)
        source, base = split_sides(value, by_head, what)
        if key == "base":
            source = None
        for index, s, b in zip(
            indices,
            expand_to_slots(source, len(indices), what),
            expand_to_slots(base, len(indices), what),
            strict=True,
        ):
            sources[index], bases[index] = s, b
    return sources, bases
