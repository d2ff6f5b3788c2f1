"""Sentences: the numbers are the run's own, and every outcome has its own form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.explorer.wire.messages import ReceiptReason
from vene_widgets.sentences import (
    ProbabilityChange,
    SlotAction,
    all_idle,
    describe,
    describe_copy,
    joined,
    nothing_live,
    percent,
    receipt,
    sentence,
    several,
)

MOVED = ProbabilityChange(
    base_token=" Madrid",
    base_before=0.972,
    base_after=0.004,
    source_token=" Rome",
    source_before=0.001,
    source_after=0.951,
    best_token=" Rome",
    best_after=0.951,
)


def test_a_moved_answer_names_both_tokens_and_all_four_numbers() -> None:
    said = sentence(describe_copy(" Spain", " Italy", "block_output", 0), MOVED)
    assert said == (
        "Copying “Italy” into “Spain” after block 0 moved the answer from “Madrid” to “Rome”: "
        "“Rome” 0.1 % → 95.1 %, “Madrid” 97.2 % → 0.4 %."
    )


def test_an_answer_that_stays_says_so() -> None:
    stays = replace(
        MOVED, base_after=0.97, source_after=0.002, best_token=" Madrid", best_after=0.97
    )
    said = sentence("Copying", stays)
    assert "left the answer at “Madrid” 97.2 % → 97.0 %" in said
    assert "“Rome” 0.1 % → 0.2 %" in said


def test_a_third_answer_is_named() -> None:
    third = replace(MOVED, best_token=" Paris", best_after=0.5)
    assert "to “Paris” (50.0 %), which neither prompt gives" in sentence("Copying", third)


def test_equal_answers_are_not_said_twice() -> None:
    same = replace(MOVED, source_token=" Madrid", best_token=" Madrid", base_after=0.9)
    assert sentence("Copying", same) == "Copying left the answer at “Madrid” 97.2 % → 90.0 %."


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "0 %"),
        (1e-9, "<0.001 %"),
        (0.00012, "0.012 %"),
        (0.0042, "0.42 %"),
        (0.0123, "1.2 %"),
        (0.9994, "99.9 %"),
        (0.99999, ">99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_percent_can_be_told_from_0_and_from_100(probability: float, text: str) -> None:
    assert percent(probability) == text


def test_a_component_is_named_with_its_head() -> None:
    assert describe_copy("a", "b", "head_value_output", 3, 1).endswith(
        "at head_value_output of layer 3, head 1"
    )


SPAIN = SlotAction(" Spain", "block_output", 0, source_token=" Italy")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Copying “Italy” into “Spain” after block 0"),
        ({"strength": 0.5}, "Copying “Italy” into “Spain” after block 0 at strength 0.5"),
        ({"intervention": "addition"}, "Adding “Italy” to “Spain” after block 0"),
        (
            {"intervention": "subtraction", "subspace": "0:2"},
            "Subtracting dims 0:2 of “Italy” from “Spain” after block 0",
        ),
        ({"intervention": "zero", "source_token": None}, "Zeroing “Spain” after block 0"),
        (
            {"intervention": "zero", "subspace": (0, 3, 5), "layer": 2},
            "Zeroing dims 0, 3 and 5 of “Spain” after block 2",
        ),
        ({"intervention": "zero", "subspace": (3,)}, "Zeroing dim 3 of “Spain” after block 0"),
        (
            {"intervention": "zero", "subspace": tuple(range(12))},
            "Zeroing 12 dims of “Spain” after block 0",
        ),
        (
            {"intervention": "mean", "prompts": 1},
            "Setting “Spain” to its mean over 1 prompt after block 0",
        ),
        ({"intervention": "noise"}, "Adding noise to “Spain” after block 0"),
        ({"intervention": "collect"}, "Collecting “Spain” after block 0"),
        ({"subspace": "a"}, "Copying subspace a of “Italy” into “Spain” after block 0"),
        (
            {"intervention": "low_rank_rotated_space", "subspace": "a", "strength": 0.25},
            "Copying subspace a of “Italy” into “Spain” after block 0 in a low-rank rotated space "
            "at strength 0.25",
        ),
        ({"intervention": "halved"}, "Applying halved to “Spain” after block 0"),
        ({"target": "two"}, "Copying “Italy” into “Spain” after block 0 in the run of “two”"),
    ],
)
def test_a_description_names_all_but_a_plain_interchange(change: dict[str, Any], said: str) -> None:
    assert describe(replace(SPAIN, **change)) == said


def test_every_operator_has_words_of_its_own() -> None:
    said = {describe(replace(SPAIN, intervention=name)) for name in BUILT_IN}
    assert len(said) == len(BUILT_IN) and not [words for words in said if "Applying" in words]


def test_braces_in_an_operators_name_are_text() -> None:
    assert describe(replace(SPAIN, intervention="{x}")).startswith("Applying {x} to")


def test_without_another_prompt_there_is_none_to_name() -> None:
    alone = replace(
        MOVED,
        source_token=" Madrid",
        source_before=0.972,
        source_after=0.004,
        best_token=" the",
        best_after=0.2,
    )
    assert sentence("Zeroing", alone) == (
        "Zeroing moved the answer from “Madrid” to “the” (20.0 %): “Madrid” 97.2 % → 0.4 %."
    )


def test_what_changed_nothing_says_why() -> None:
    assert all_idle("Copying", 1, True, " Madrid", 0.97) == (
        "Copying changed nothing: what it would put there is there already. The answer is still "
        "the base’s, “Madrid” (97.0 %)."
    )
    assert "the forward pass never reached them" in all_idle("Running", 2, False, " Madrid", 0.97)


def test_joined() -> None:
    assert [joined(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_every_reason_of_a_receipt_is_a_sentence_of_its_own() -> None:
    said = {
        reason: receipt(reason, rows, 12.345678, " of", 3)
        for reason in ReceiptReason.__args__
        for rows in (1, 2)
    }
    assert len(set(said.values())) == len(ReceiptReason.__args__)
    assert all(text[0].isupper() and text.endswith(".") for text in said.values())
    assert "2 vectors: a change of norm 12.35." in said["changed"]
    assert "1 vector:" in receipt("changed", 1, 1.0)
    assert "base and source agree up to and including “of”" in said["prefix"]
    assert "slot 3 at the same place" in said["replaced"]


def test_slots_are_counted() -> None:
    assert several(1, 2) == "Running 1 slot (2 skipped)"
    assert several(3, 0) == "Running 3 slots together"


def test_what_to_do_when_nothing_acts_can_be_done() -> None:
    said = {
        (slots, has_source): nothing_live(slots, has_source, " Madrid", 0.942)
        for slots in (0, 1, 3)
        for has_source in (False, True)
    }
    assert all("the base answers “Madrid” (94.2 %)" in words for words in said.values())
    assert said[0, True].endswith("Click a tile.")
    assert said[0, False].endswith("Click a tile to zero it.")
    for has_source in (False, True):
        assert said[1, has_source].startswith("The slot is skipped")
        assert said[3, has_source].startswith("All 3 slots are skipped")
        assert "tile" not in said[1, has_source] + said[3, has_source]
