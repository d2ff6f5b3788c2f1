"""Sentences: the numbers are the run's own, and every outcome has its own form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vene_widgets.explorer.words import Change, copied, joined, percent, sentence

MOVED = Change(
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
    said = sentence(copied(" Spain", " Italy", "block_output", 0), MOVED)
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
    assert copied("a", "b", "head_value_output", 3, 1).endswith(
        "at head_value_output of layer 3, head 1"
    )


def test_joined() -> None:
    assert [joined(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
