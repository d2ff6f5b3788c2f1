"""Absurd locations, subspaces and sizes are refused in one short sentence, at no cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from vene_widgets.errors import RequestError
from vene_widgets.intervenable.config import IntervenableConfig, RepresentationConfig
from vene_widgets.intervenable.inputs import to_encoding, to_source_list, token_mask
from vene_widgets.intervenable.locations import read_locations
from vene_widgets.intervenable.places import resolve_places
from vene_widgets.intervenable.subspaces import build_mask, expand_to_slots, read_partition

HUGE = 10**300
MASK = torch.ones(2, 6, dtype=torch.long)
CPU = torch.device("cpu")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def own_loop() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


ABSURD: dict[str, Any] = {
    "huge": HUGE,
    "negative and huge": -HUGE,
    "list of huge": [[[HUGE]]],
    "too long for a list": range(10**18),
    "too long for an index": range(10**30),
    "range of ranges": [[range(10**15)]],
    "deep": deep(900),
    "very deep": deep(50_000),
    "contains itself": own_loop(),
    "large array": np.broadcast_to(np.int64(1), (10**6, 10**6)),
    "large tensor": torch.ones(1, dtype=torch.long).expand(10**12),
    "tensor without values": torch.ones(3, dtype=torch.long, device="meta"),
    "floats": [0.5],
    "bools": np.array([True]),
    "texts": ["x" * 10**6],
    "a million texts": ["x"] * 10**6,
    "object": object(),
    "NaN": float("nan"),
}


def refused(call: Callable[[], Any]) -> str:
    """The error of a call, which must be short, quick and small."""
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as caught:
            call()
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 2
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_locations_are_refused(name: str) -> None:
    value = ABSURD[name]

    def ask(given: Any, unit: str) -> None:
        sources, bases = read_locations({"sources->base": given}, "parallel", [[0]], [unit])
        for entry in (*sources, *bases):
            resolve_places(entry, unit, 4, MASK, "slot 0")

    for given in (value, (value, value), (value, 3), [[value]]):
        refused(lambda given=given: ask(given, "pos"))
    for given in (value, (0, value), [[[0], value]], [[value, [0]]]):
        refused(lambda given=given: ask(given, "h.pos"))


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_subspaces_are_refused(name: str) -> None:
    value = ABSURD[name]

    def ask(given: Any, parts: Any) -> None:
        found: list[Any] = expand_to_slots(given, 1, 2)
        for rows in found:
            build_mask(rows, parts, 24, [0, 1], "slot 0")

    for given in (value, [value], [[value]], [[[1], value]]):
        refused(lambda given=given: ask(given, None))
        refused(lambda given=given: ask(given, ((0, 1), (2, 3))))


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_partitions_are_refused(name: str) -> None:
    value = ABSURD[name]
    for given in (value, [value], [[0, value]], [[value, 2]], [[0, 1, value]]):
        refused(lambda given=given: read_partition(given, 24, "slot 0"))


@pytest.mark.parametrize(
    "given",
    [
        *([range(0)], [[2, 2]], [[5, 2]], [[-1, 2]], [[0, 25]], [[0, 10**18]], [{24}], [{-1}]),
        *([[1, 1, 2]], [set()], [[]], [None], ["ab"], 3, [[0.5, 2]], [["0", "2"]], count()),
        [[0, 2]] * 10**6,
    ],
    ids=str,
)
def test_partitions_that_are_none_are_refused(given: Any) -> None:
    refused(lambda: read_partition(given, 24, "slot 0"))


def test_partitions_keep_their_meaning() -> None:
    given = [
        [0, 1],
        (1, 3),
        {5, 3},
        range(4, 6),
        [7, 6, 8],
        torch.tensor([9, 10]),
        np.arange(2),
        [4],
    ]
    parts = read_partition(given, 24, "slot 0")
    assert parts is not None
    expected = [[0], [1, 2], [3, 5], [4, 5], [7, 6, 8], [9, 10], [0, 1], [4]]
    assert [list(part) for part in parts] == expected
    rows = [[1, 1, 2], [7]]
    mask = build_mask(rows, parts, 24, [0, 1, 1], "slot 0")
    assert mask is not None
    assert [row.nonzero().flatten().tolist() for row in mask] == [[1, 2, 3, 5], [4], [4]]
    assert read_partition([[0, 2**17]], 2**17, "slot 0") == (range(2**17),)


def test_places_are_counted_before_they_are_made() -> None:
    """Heads times positions: two lists of a million would be 10¹² pairs."""
    many: Any = [0] * 10**6
    assert "name a place twice" in refused(
        lambda: resolve_places([[many], [many]], "h.pos", 4, MASK, "slot 0")
    )
    assert "places" in refused(
        lambda: resolve_places([[many], [many]], "h.pos", 4, MASK, "slot 0", writes=False)
    )
    few: Any = [[[0, 1]], [[2, 2]]]
    found = resolve_places(few, "h.pos", 4, MASK, "slot 0", writes=False)
    assert found == [[(0, 2), (0, 2), (1, 2), (1, 2)]] * 2


@pytest.mark.parametrize("name", sorted(set(ABSURD) - {"tensor without values"}))
def test_absurd_fields_of_a_representation_are_refused(name: str) -> None:
    value = ABSURD[name]
    for field in ("layer", "component", "unit", "low_rank_dimension", "intervention_type_"):
        refused(lambda field=field: RepresentationConfig(**{field: value}))
    refused(lambda: IntervenableConfig({"layer": 0}, mode=value))


@pytest.mark.parametrize("rank", [-1, 2**17 + 1, 10**12, "3", [1, 2]])
def test_ranks_of_no_site_are_refused(rank: Any) -> None:
    assert "low_rank_dimension" in refused(lambda: RepresentationConfig(low_rank_dimension=rank))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": torch.ones(1, 0, dtype=torch.long)}, "has no tokens"),
        ({"input_ids": torch.ones(0, 3, dtype=torch.long)}, "has no tokens"),
        ({"input_ids": MASK, "attention_mask": [[1] * 6] * 2}, "attention_mask of type list"),
        ({"input_ids": MASK, "attention_mask": MASK[:, 1:]}, r"of shape \(2, 5\) for"),
        ({"input_ids": MASK, "attention_mask": MASK[:1]}, r"of shape \(1, 6\) for"),
    ],
)
def test_masks_that_are_not_the_tokens_are_refused(given: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        to_encoding(given, "base", CPU)


def test_sources_of_no_end_are_refused() -> None:
    refused(lambda: to_source_list(count(), 2, CPU))
    refused(lambda: to_source_list(3, 2, CPU))


def test_masks_are_made_on_the_cpu() -> None:
    encoding = to_encoding({"input_ids": MASK}, "base", CPU)
    torch.set_default_device("meta")
    try:
        assert token_mask(encoding).tolist() == [[1] * 6] * 2
        mask = build_mask([[1], [2]], None, 4, [0, 1], "slot 0")
        assert mask is not None and mask.nonzero().tolist() == [[0, 1], [1, 2]]
    finally:
        torch.set_default_device(None)
