"""Places: the heads and positions at which one slot reads or acts, example by example."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from torch import Tensor

from vene_widgets.errors import RequestError, shown
from vene_widgets.intervenable.locations import (
    EVERYWHERE,
    FORMS,
    PlainInts,
    SlotLocations,
    newest_token,
)

Places: TypeAlias = "list[list[tuple[int | None, int]]]"
"""Per example, the (head, position) pairs; the head is None for whole vectors."""

_MOST_PLACES = 2**22


def resolve_places(
    entry: SlotLocations,
    unit: str,
    heads: int,
    mask: Tensor,
    what: str,
    *,
    writes: bool = True,
    newest: bool = False,
) -> Places:
    """One slot's (head, position) pairs per example, counted from the start of the row.

    Args:
        entry: the slot's locations from `read_locations`, not None.
        unit: one of `UNITS`.
        heads: how many heads the component has.
        mask: `(batch, tokens)`, zero on padding.
        what: the slot and side, for messages.
        writes: whether the places are written to. A place may be read several times, but written
            only once.
        newest: whether positions count from the newest token of a text that grows.

    Raises:
        RequestError: a place that is out of range, on padding, or written twice in one example; or
            an unknown form.
    """
    rows: list[list[int]] = cast("Any", mask).tolist()
    real = [[i for i, flag in enumerate(row) if flag] for row in rows]
    batch, length = len(real), mask.shape[1]
    head_rows: list[list[int]] | None = None
    positions_entry = entry
    if unit == "t" and entry != EVERYWHERE:
        raise RequestError(
            f"{what} {shown(entry)} is invalid for unit 't', which is every token of the prompt: "
            "leave the locations out, or take unit 'pos' for some of them."
        )
    if unit in ("h", "h.pos"):
        heads_entry, positions_entry = _split_heads(entry, unit, heads, what)
        head_rows = _expand_to_examples(heads_entry, batch, real, what)
    if newest:
        positions_entry = newest_token(positions_entry, what)
    position_rows = _expand_to_examples(positions_entry, batch, real, what)
    result: Places = []
    for example, positions in enumerate(position_rows):
        here = f"{what}, example {example}:"
        tokens = set(real[example])
        row_positions = [_check_position(p, real[example], tokens, length, here) for p in positions]
        row_heads: list[int | None] = [None]
        if head_rows is not None:
            row_heads = [_check_head(h, heads, here) for h in head_rows[example]]
        # Before the pairs are made: their number is the product.
        if writes and any(len(set(row)) != len(row) for row in (row_positions, row_heads)):
            raise RequestError(
                f"{here} positions {shown(positions)} name a place twice; each may be written once."
            )
        if len(row_positions) * len(row_heads) > _MOST_PLACES:
            raise RequestError(
                f"{here} expected at most {_MOST_PLACES} places, got {len(row_positions)} "
                f"positions for each of {len(row_heads)} heads."
            )
        pairs = [(h, p) for h in row_heads for p in row_positions]
        result.append(pairs)
    return result


def _split_heads(
    entry: SlotLocations, unit: str, heads: int, what: str
) -> tuple[SlotLocations, SlotLocations]:
    """The heads' part and the positions' part of a location for unit `h` or `h.pos`."""
    if entry == EVERYWHERE:
        return list(range(heads)), EVERYWHERE
    if unit == "h":
        return entry, EVERYWHERE
    if not isinstance(entry, (list, tuple)) or len(entry) != 2:
        raise RequestError(
            f"{what} {shown(entry)} is invalid for unit 'h.pos': expected heads and positions, as "
            "in [[[head]], [[position]]] or GET_LOC((head, position))."
        )
    return entry[0], entry[1]


def _expand_to_examples(
    entry: SlotLocations, batch: int, real: list[list[int]], what: str
) -> list[list[int]]:
    """Indices per example; those of a single example are repeated for the whole batch."""
    if entry == EVERYWHERE:
        return [list(row) for row in real]
    if isinstance(entry, int):
        return [[entry]] * batch
    if not isinstance(entry, (list, tuple)) or not entry:
        raise RequestError(f"{what} {shown(entry)} has no indices. {FORMS}")
    whole = _to_index_row(entry)
    if whole is not None:
        return [whole] * batch
    rows: list[list[int]] = []
    for item in entry:
        row = _to_index_row(item)
        if row is None:
            raise RequestError(f"{what} {shown(entry)} has an invalid nesting. {FORMS}")
        rows.append(row)
    if len(rows) not in (1, batch):
        raise RequestError(
            f"{what} {shown(entry)} has {len(rows)} examples; the batch has {batch}."
        )
    return rows * (batch if len(rows) == 1 else 1)


def _to_index_row(entry: PlainInts) -> list[int] | None:
    """An int, or a non-empty list of ints, as a list; None for any other nesting."""
    items = [entry] if isinstance(entry, int) else entry
    if not items:
        return None
    row = [item for item in items if isinstance(item, int)]
    return row if len(row) == len(items) else None


def _check_position(
    position: int, real: list[int], tokens: set[int], length: int, here: str
) -> int:
    """A position counted from the start of the row; negative ones count from its last real token.

    Args:
        position: as the caller wrote it.
        real: the row's positions that are not padding, in ascending order.
        tokens: the same positions.
        length: tokens of the row, padding included.
        here: slot and example, for messages.
    """
    if not -len(real) <= position < length:
        raise RequestError(
            f"{here} position {position} is out of range: there are {len(real)} tokens, "
            f"-{len(real)} to {length - 1}."
        )
    if position < 0:
        return real[position]
    if position not in tokens:
        raise RequestError(
            f"{here} position {position} is padding: the attention mask has tokens at "
            f"{real[0]} to {real[-1]}."
        )
    return position


def _check_head(head: int, heads: int, here: str) -> int:
    """A head counted from 0; negative ones count from the last."""
    if not -heads <= head < heads:
        raise RequestError(f"{here} head {head} is out of range: 0 to {heads - 1}.")
    return head % heads
