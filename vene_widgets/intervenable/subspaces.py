"""Which coordinates a call may change: partitions, and subspaces per slot and per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.intervenable.locations import plain

FORMS = "Valid: None, an int, a list of ints, or nested lists, slots > examples > subspaces."


def partition(given: Any, size: int, what: str) -> tuple[tuple[int, ...], ...] | None:
    """The dims of each subspace.

    Args:
        given: one entry per subspace. A list or tuple of two ints is a half-open range; a set, a
            `range`, an array, or a list of another length names the dims one by one.
        size: how many dims there are.
        what: whose it is, for messages.

    Raises:
        RequestError: an empty range, or a dim out of range.
    """
    if given is None:
        return None
    result = []
    for entry in given:
        if isinstance(entry, (list, tuple)) and len(entry) == 2:
            dims = list(range(int(entry[0]), int(entry[1])))
        else:
            listed: Any = getattr(entry, "tolist", lambda entry=entry: entry)()
            dims = [int(dim) for dim in (sorted(listed) if isinstance(listed, set) else listed)]
        if not dims or min(dims) < 0 or max(dims) >= size or len(set(dims)) != len(dims):
            raise RequestError(
                f"{what}: subspace {entry!r} does not fit. A list of two ints is a half-open range "
                f"within 0 to {size}; a set such as {{0, 2}} names dims from 0 to {size - 1}."
            )
        result.append(tuple(dims))
    return tuple(result)


def per_slot(given: Any, count: int, batch: int) -> list[list[list[int]] | None]:
    """Per slot, its subspaces per example; None is all of them.

    Raises:
        RequestError: lists of the wrong length or of another form.
    """
    given = plain(given, "subspaces")
    if given is None:
        return [None] * count
    if isinstance(given, int):
        given = [given]
    if all(isinstance(item, int) for item in given):
        given = [list(given)] * count
    if len(given) != count:
        raise RequestError(
            f"subspaces {given!r} has {len(given)} entries for {count} slots. {FORMS}"
        )
    return [_rows(entry, batch, index) for index, entry in enumerate(given)]


def _rows(entry: Any, batch: int, index: int) -> list[list[int]] | None:
    if entry is None:
        return None
    rows = [entry] if isinstance(entry, int) else list(entry)
    if all(isinstance(item, int) for item in rows):
        return [rows] * batch
    rows = [[row] if isinstance(row, int) else row for row in rows]
    if len(rows) not in (1, batch) or not all(isinstance(row, (list, tuple)) for row in rows):
        raise RequestError(
            f"subspaces[{index}] {entry!r} does not fit a batch of {batch} examples. {FORMS}"
        )
    return [list(row) for row in rows] * (batch if len(rows) == 1 else 1)


def mask(
    rows: list[list[int]] | None,
    parts: Sequence[Sequence[int]] | None,
    size: int,
    examples: Sequence[int],
    what: str,
) -> Tensor | None:
    """The coordinates that may change, `(n, size)` of bools, each example's its own.

    Args:
        rows: subspaces per example, by index into the partition; dims where there is none.
        parts: the partition.
        size: how many coordinates there are.
        examples: to which example each of the n vectors belongs.
        what: whose it is, for messages.
    """
    if rows is None:
        return None
    limit = size if parts is None else len(parts)
    allowed = torch.zeros(len(rows), size, dtype=torch.bool)
    for example, row in enumerate(rows):
        for item in row:
            if not 0 <= item < limit:
                raise RequestError(
                    f"{what}: subspace {item} of example {example} is out of range: 0 to "
                    f"{limit - 1}."
                )
            allowed[example, [item] if parts is None else list(parts[item])] = True
    return allowed[list(examples)]
