"""Data sets of pairs as users write them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vene_widgets.errors import RequestError
from vene_widgets.experiments.pairs import Pair, read_pairs

ROW = {"base": "a b", "source": "a c", "targets": (" x", " y"), "subject": " b"}


@pytest.mark.parametrize(
    "pairs",
    [
        [ROW],
        (ROW,),
        iter([ROW]),
        pd.DataFrame([ROW]),
        [{**ROW, "targets": [" x", " y"]}],
        [{**ROW, "targets": np.array([" x", " y"], dtype=object)}],
        [{"base": "a b", "source": "a c", "target": " x", "contrast": " y", "subject": " b"}],
        pd.DataFrame([{**ROW, "id": 7, "more": math.nan}]),
    ],
)
def test_every_kind_of_table_gives_the_same_pair(pairs: Any) -> None:
    assert read_pairs(pairs, ["subject"]) == (
        Pair("a b", "a c", (" x", " y"), {"subject": " b"}, {}),
    )


def test_two_prompts_alone_make_a_pair() -> None:
    assert read_pairs([("a b", "a c")]) == (Pair("a b", "a c", (), {}, {}),)


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT])
def test_missing_values_are_none(missing: Any) -> None:
    row = {"base": "a", "source": missing, "target": 3, "contrast": missing}
    assert read_pairs([row]) == (Pair("a", None, (3,), {}, {}),)
    assert read_pairs([{"base": "a", "targets": missing}])[0].targets == ()


def test_ids_and_indices_of_numpy_become_plain_ones() -> None:
    row = {"base": "a", "source": "b", "targets": np.array([3, 4]), "subject": np.int64(1)}
    found = read_pairs([row], ["subject"])[0]
    assert found.targets == (3, 4)
    assert found.places == {"subject": 1}
    assert all(type(value) is int for value in (*found.targets, found.places["subject"]))


def test_a_column_of_ints_with_gaps_is_of_floats() -> None:
    rows = [{"base": "a", "subject": 1.0}]
    assert read_pairs(rows, ["subject"])[0].places == {"subject": 1}


@pytest.mark.parametrize(
    ("pairs", "places", "words"),
    [
        ([], (), "at least one pair of prompts, got none"),
        ("a b", (), "must be a DataFrame or a list of dicts"),
        ({"base": "a"}, (), "must be a DataFrame or a list of dicts"),
        (7, (), "must be a DataFrame or a list of dicts"),
        ([7], (), "row 0: expected a dict with base, source and targets"),
        ([("a", "b", "c")], (), "row 0: expected a dict"),
        ([ROW, {"source": "a"}], (), r"row 1: has no base: its columns are \['source'\]"),
        ([{**ROW, "base": 3}], (), "row 0: base: expected a prompt"),
        ([{**ROW, "source": 3}], (), "row 0: source: expected a prompt"),
        ([{**ROW, "target": " z"}], (), "either targets, or target and contrast"),
        ([{**ROW, "targets": (True, 1)}], (), "row 0: True is a bool"),
        ([{**ROW, "targets": (1.5, 1)}], (), "row 0: expected an int, got 1.5"),
        ([ROW], ["subjcet"], "position name 'subjcet' is not known. Did you mean 'subject'"),
        ([ROW, {**ROW, "subject": None}], ["subject"], "row 1: subject is missing"),
        ([{**ROW, "subject": [1]}], ["subject"], "row 0: subject: expected an int"),
        ([{**ROW, "subject": 1.5}], ["subject"], "row 0: subject: expected an int, got 1.5"),
    ],
)
def test_what_is_no_pair_is_said_with_its_row(pairs: Any, places: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read_pairs(pairs, places)
