"""Which coordinates a call may change: partitions, and subspaces per slot and per example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import as_int
from vene_widgets.intervenable.locations import PlainInts, to_plain_ints

Subspaces: TypeAlias = "list[list[int]] | Mapping[str, Any] | None"
"""Subspaces per example; a dict, which only a user-defined class reads; None for all."""

FORMS = (
    "Valid: None, an int, a list of ints, or nested lists, slots > examples > subspaces; for a "
    "class of your own a dict in a slot's place."
)


def read_partition(given: object, size: int, what: str) -> tuple[Sequence[int], ...] | None:
    """The dims of each subspace of a partition.

    Args:
        given: one entry per subspace. A list or tuple of two ints is a half-open range; a set, a
            `range`, an array, or a list of another length names the dims one by one. None is no
            partition.
        size: how many dims there are.
        what: the slot, for messages.

    Raises:
        RequestError: an empty range, or a dim that is out of range or repeated; or another form.
    """
    if given is None:
        return None
    if not isinstance(given, Iterable):
        raise RequestError(
            f"{what}: partition {shown(given)} is a {type(given).__name__}; expected a list of "
            "subspaces such as [[0, 2], {2, 5}]."
        )
    parts: list[Sequence[int]] = []
    for entry in limits.bounded(cast("Iterable[object]", given), limits.DIMS, "subspaces"):
        bounds = as_range(entry)
        # A range stays one: it takes no memory before it is checked, nor after.
        dims = list_dims(entry) if bounds is None else range(*bounds)
        if isinstance(dims, range):
            is_valid = 0 <= dims.start < dims.stop <= size
        else:
            is_distinct = len(set(dims)) == len(dims)
            is_valid = bool(dims) and is_distinct and min(dims) >= 0 and max(dims) < size
        if not is_valid:
            raise RequestError(
                f"{what}: subspace {shown(entry)} is invalid. A list of two ints is a half-open "
                f"range within 0 to {size}; a set such as {{0, 2}} names dims from 0 to {size - 1}."
            )
        parts.append(dims)
    return tuple(parts)


def as_range(entry: object) -> tuple[int, int] | None:
    """Start and stop of a partition's entry if it is a list or tuple of two; None otherwise."""
    if not isinstance(entry, (list, tuple)):
        return None
    bounds = cast("Sequence[object]", entry)
    return (as_int(bounds[0]), as_int(bounds[1])) if len(bounds) == 2 else None


def list_dims(entry: object) -> list[int]:
    """The dims of a partition's entry that names them one by one; those of a set ascending."""
    is_set = isinstance(entry, (set, frozenset))
    dims = to_plain_ints(list(cast("set[object]", entry)) if is_set else entry, "subspace")
    items = [as_int(dim) for dim in ([dims] if isinstance(dims, int) or dims is None else dims)]
    return sorted(items) if is_set else items


def expand_to_slots(given: object, count: int, batch: int) -> list[Subspaces]:
    """Per slot, its subspaces per example; None is all of them. A dict stays as it is.

    Args:
        given: the caller's `subspaces`.
        count: how many slots there are.
        batch: how many examples there are.

    Raises:
        RequestError: an unknown form, or a list of the wrong length.
    """
    as_given: Any = given
    if isinstance(as_given, (list, tuple)):
        entries = cast("Sequence[object]", as_given)
        if len(entries) == count and any(isinstance(entry, Mapping) for entry in entries):
            return [
                cast("Mapping[str, Any]", entry)
                if isinstance(entry, Mapping)
                else _expand_to_examples(to_plain_ints(entry, "subspaces"), batch, index)
                for index, entry in enumerate(entries)
            ]
    subspaces = to_plain_ints(given, "subspaces")
    if subspaces is None:
        return [None] * count
    if isinstance(subspaces, int):
        subspaces = [subspaces]
    if all(isinstance(item, int) for item in subspaces):
        subspaces = [list(subspaces)] * count
    if len(subspaces) != count:
        raise RequestError(
            f"subspaces {shown(subspaces)} has {len(subspaces)} entries for {count} slots. {FORMS}"
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
            f"subspaces[{index}] {shown(entry)} is invalid for a batch of {batch} examples. {FORMS}"
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
    allowed = torch.zeros(len(rows), size, dtype=torch.bool, device="cpu")
    for example, row in enumerate(rows):
        for item in dict.fromkeys(row):
            if not 0 <= item < limit:
                raise RequestError(
                    f"{what}: subspace {item} of example {example} is out of range: 0 to "
                    f"{limit - 1}."
                )
            allowed[example, [item] if parts is None else list(parts[item])] = True
    return allowed[list(examples)]
