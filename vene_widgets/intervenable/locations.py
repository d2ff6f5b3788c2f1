"""Where slots act: from every way in which pyvene's `unit_locations` may be written to plain ints.

The outermost list counts slots, the next one examples, the innermost positions. A tuple is a pair
(source, base); a list never is one when it holds ints. `None` in a slot's place skips the slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vene_widgets.errors import RequestError, choose

EVERYWHERE = "everywhere"
"""Stands for locations that were left out as a whole: every token of the prompt."""

Spots = list[list[tuple["int | None", int]]]
"""Per example, the (head, position) pairs; the head is None for whole vectors."""

FORMS = (
    "Valid: an int; a list of positions; a tuple (source, base) of either; or nested lists, "
    "slots > examples > positions (for h.pos: slots > [heads, positions] > examples > indices), "
    "with None for a slot to skip."
)


def plain(value: Any, what: str) -> Any:
    """Numpy and torch integers as ints, arrays as lists; lists and tuples stay what they are."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, range):
        value = list(value)
    if isinstance(value, (list, tuple)):
        return type(value)([plain(item, what) for item in value])
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise RequestError(f"{what} holds {value!r}, a {type(value).__name__}. {FORMS}")


def depth(value: Any) -> int:
    """How deep lists and tuples are nested."""
    if not isinstance(value, (list, tuple)):
        return 0
    return 1 + max(map(depth, value), default=0)


def sides(value: Any, by_head: bool, what: str) -> tuple[Any, Any]:
    """The source's and the base's locations out of one value; None where a side is left out."""
    value = plain(value, what)
    if isinstance(value, tuple):
        if len(value) != 2:
            raise RequestError(f"{what} {value!r} is a tuple of {len(value)}. {FORMS}")
        return value
    if isinstance(value, list) and len(value) == 2 and depth(value) == (5 if by_head else 4):
        return value[0], value[1]  # a pair that came through JSON
    return value, value


def per_slot(side: Any, count: int, what: str) -> list[Any]:
    """One side's locations, one entry per slot: None skips."""
    if side is None:
        return [EVERYWHERE] * count
    if isinstance(side, int):
        return [side] * count
    items = list(side)
    if items and all(isinstance(item, int) for item in items):
        return [items] * count
    if len(items) != count:
        raise RequestError(
            f"{what} {side!r} has {len(items)} entries for {count} slots: the outermost list "
            f"counts slots. {FORMS}"
        )
    return items


def read(
    given: Mapping[str, Any] | None,
    mode: str,
    groups: Sequence[Sequence[int]],
    units: Sequence[str],
) -> tuple[list[Any], list[Any]]:
    """Source and base locations, one entry per slot each.

    Args:
        given: the caller's `unit_locations`; None is everywhere.
        mode: `parallel` has the keys `sources->base` and `base`; `serial` has one key per group,
            `source_0->source_1` and so on to `source_n->base`.
        groups: slot indices per group.
        units: per slot, `pos` or `h.pos`.

    Raises:
        RequestError: a key or form that is not known, or lists of the wrong length.
    """
    count = len(units)
    sources: list[Any] = [EVERYWHERE] * count
    bases: list[Any] = [EVERYWHERE] * count
    if given is None:
        return sources, bases
    if not isinstance(given, Mapping):
        raise RequestError(
            f"unit_locations is a {type(given).__name__}; a dict such as "
            "{'sources->base': (3, 4)} is needed."
        )
    serial = [f"source_{i}->source_{i + 1}" for i in range(len(groups) - 1)]
    serial.append(f"source_{len(groups) - 1}->base")
    if mode == "serial":
        valid = dict(zip(serial, groups, strict=True))
        left = [key for key in serial if key not in given]
        for key in left:  # a link of the chain that is not spoken of does nothing
            for index in valid[key]:
                bases[index] = None
    else:
        valid = {"sources->base": range(count), "base": range(count)}
        if len(given) > 1:
            raise RequestError("unit_locations has both 'sources->base' and 'base'; one is needed.")
    for key, value in given.items():
        indices = valid[choose(key, valid, f"key of unit_locations ({mode} mode)")]
        what = f"unit_locations[{key!r}]"
        by_head = any(units[index] == "h.pos" for index in indices)
        source, base = sides(value, by_head, what)
        if key == "base":
            source = None
        for index, s, b in zip(
            indices,
            per_slot(source, len(indices), what),
            per_slot(base, len(indices), what),
            strict=True,
        ):
            # Where the source's side is left out, the positions are the base's.
            sources[index], bases[index] = (b if s is EVERYWHERE else s), b
    return sources, bases


def spots(
    entry: Any, unit: str, heads: int, mask: Tensor, what: str, *, writes: bool = True
) -> Spots:
    """One slot's (head, position) pairs per example.

    Args:
        entry: what `read` gave for the slot, not None.
        unit: `pos` or `h.pos`.
        heads: how many heads the component has.
        mask: `(batch, tokens)`, nonzero where a token is no padding.
        what: whose it is, for messages.
        writes: whether the places are written to. One may be read for several, never written twice.

    Raises:
        RequestError: out of range, on padding, written twice in one example, or a wrong form.
    """
    real = [[i for i, flag in enumerate(row) if flag] for row in mask.tolist()]
    batch, length = len(real), mask.shape[1]
    if unit == "h.pos":
        if entry == EVERYWHERE:
            entry = [list(range(heads)), EVERYWHERE]
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            raise RequestError(
                f"{what} {entry!r} does not fit unit 'h.pos': heads and positions are needed, as "
                "in [[[head]], [[position]]] or GET_LOC((head, position))."
            )
        head_rows, position_rows = (_rows(part, batch, real, what) for part in entry)
    else:
        head_rows, position_rows = [[None]] * batch, _rows(entry, batch, real, what)
    result: Spots = []
    for example, (some_heads, positions) in enumerate(zip(head_rows, position_rows, strict=True)):
        here = f"{what}, example {example}:"
        found = [_position(p, real[example], length, here) for p in positions]
        chosen = [None if h is None else _head(h, heads, here) for h in some_heads]
        pairs = [(h, p) for h in chosen for p in found]
        if writes and len(set(pairs)) != len(pairs):
            raise RequestError(f"{here} {positions} names a place twice.")
        result.append(pairs)
    return result


def _rows(entry: Any, batch: int, real: list[list[int]], what: str) -> list[list[Any]]:
    """Per example, its indices; one example's stand for all."""
    if entry == EVERYWHERE:
        return [list(row) for row in real]
    if isinstance(entry, int):
        return [[entry]] * batch
    if not isinstance(entry, (list, tuple)) or not entry:
        raise RequestError(f"{what} {entry!r} names no place. {FORMS}")
    if all(isinstance(item, int) for item in entry):
        return [list(entry)] * batch
    rows = [[item] if isinstance(item, int) else item for item in entry]
    if not all(isinstance(row, (list, tuple)) and all(isinstance(i, int) for i in row) and row
               for row in rows):  # fmt: skip
        raise RequestError(f"{what} {entry!r} is nested in another way. {FORMS}")
    if len(rows) not in (1, batch):
        raise RequestError(
            f"{what} {entry!r} speaks of {len(rows)} examples; the batch has {batch}."
        )
    return [list(row) for row in rows] * (batch if len(rows) == 1 else 1)


def _position(position: int, real: list[int], length: int, here: str) -> int:
    if not -len(real) <= position < length:
        raise RequestError(
            f"{here} position {position} is out of range: there are {len(real)} tokens, "
            f"-{len(real)} to {length - 1}."
        )
    if position < 0:
        return real[position]
    if position not in real:
        raise RequestError(
            f"{here} position {position} is padding: the attention mask has tokens at "
            f"{real[0]} to {real[-1]}."
        )
    return position


def _head(head: int, heads: int, here: str) -> int:
    if not -heads <= head < heads:
        raise RequestError(f"{here} head {head} is out of range: 0 to {heads - 1}.")
    return head % heads
