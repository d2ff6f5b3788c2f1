"""Which coordinates a call may change: partitions, and subspaces per slot and per example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.intervenable.locations import PlainInts, to_plain_ints

FORMS = "Valid: None, an int, a list of ints, or nested lists, slots > examples > subspaces."


def read_partition(given: object, size: int, what: str) -> tuple[tuple[int, ...], ...] | None:
    """The dims of each subspace of a partition.

    Args:
        given: one entry per subspace. A list or tuple of two ints is a half-open range; a set, a
            `range`, an array, or a list of another length names the dims one by one. None is no
            partition.
        size: how many dims there are.
        what: the slot, for messages.

    Raises:
        RequestError: an empty range, or a dim that is out of range or repeated.
    """
    if given is None:
        return None
    parts: list[tuple[int, ...]] = []
    for entry in cast("Iterable[object]", given):
        bounds = as_range(entry)
        dims = list_dims(entry) if bounds is None else list(range(*bounds))
        if not dims or min(dims) < 0 or max(dims) >= size or len(set(dims)) != len(dims):
            raise RequestError(
                f"{what}: subspace {entry!r} is invalid. A list of two ints is a half-open range "
                f"within 0 to {size}; a set such as {{0, 2}} names dims from 0 to {size - 1}."
            )
        parts.append(tuple(dims))
    return tuple(parts)


def as_range(entry: object) -> tuple[int, int] | None:
    """Start and stop of a partition's entry if it is a list or tuple of two; None otherwise."""
    if not isinstance(entry, (list, tuple)):
        return None
    bounds = cast("Sequence[int]", entry)
    return (int(bounds[0]), int(bounds[1])) if len(bounds) == 2 else None


def list_dims(entry: object) -> list[int]:
    """The dims of a partition's entry that names them one by one; those of a set ascending."""
    to_list = getattr(entry, "tolist", None)
    dims = cast("Iterable[int]", entry if to_list is None else to_list())
    return [int(dim) for dim in (sorted(dims) if isinstance(dims, set) else dims)]


def expand_to_slots(given: object, count: int, batch: int) -> list[list[list[int]] | None]:
    """Per slot, its subspaces per example; None is all of them.

    Args:
        given: the caller's `subspaces`.
        count: how many slots there are.
        batch: how many examples there are.

    Raises:
        RequestError: an unknown form, or a list of the wrong length.
    """
    subspaces = to_plain_ints(given, "subspaces")
    if subspaces is None:
        return [None] * count
    if isinstance(subspaces, int):
        subspaces = [subspaces]
    if all(isinstance(item, int) for item in subspaces):
        subspaces = [list(subspaces)] * count
    if len(subspaces) != count:
        raise RequestError(
            f"subspaces {subspaces!r} has {len(subspaces)} entries for {count} slots. {FORMS}"
        )
    return [_expand_to_examples(entry, batch, index) for index, entry in enumerate(subspaces)]


def _expand_to_examples(entry: PlainInts, batch: int, index: int) -> list[list[int]] | None:
    """One slot's subspaces per example; a single example's are repeated for the whole batch."""
    if entry is None:
        return None
    whole = _to_ints(entry)
    if whole is not None:
        return [whole] * batch
    items = [entry] if isinstance(entry, int) else list(entry)
    rows = [row for row in map(_to_ints, items) if row is not None]
    if len(items) not in (1, batch) or len(rows) != len(items):
        raise RequestError(
            f"subspaces[{index}] {entry!r} is invalid for a batch of {batch} examples. {FORMS}"
        )
    return rows * (batch if len(rows) == 1 else 1)


def _to_ints(entry: PlainInts) -> list[int] | None:
    """An int, or a list of ints, as a list; None for any other nesting."""
    if entry is None:
        return None
    items = [entry] if isinstance(entry, int) else entry
    ints = [item for item in items if isinstance(item, int)]
    return ints if len(ints) == len(items) else None


def build_mask(
    rows: list[list[int]] | None,
    parts: Sequence[Sequence[int]] | None,
    size: int,
    examples: Sequence[int],
    what: str,
) -> Tensor | None:
    """The coordinates that may change, `(n, size)` of bools, by the example of each vector.

    Args:
        rows: subspaces per example, as indices into the partition, or as dims if there is none.
            None allows every coordinate.
        parts: the partition.
        size: how many coordinates there are.
        examples: to which example each of the n vectors belongs.
        what: the slot, for messages.

    Raises:
        RequestError: a subspace that is out of range.
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
