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
    beside_held,
    describe,
    describe_patch,
    joined,
    nothing_came_in,
    nothing_can_change,
    nothing_live,
    out_of_reach,
    receipt,
    sentence,
    several,
    verdict,
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


def plain(text: str) -> str:
    """The text with plain spaces, after checking that no number breaks from its percent sign."""
    assert " %" not in text
    return text.replace("\u00a0", " ")


def test_a_new_prediction_names_both_tokens_and_all_four_numbers() -> None:
    said = sentence(describe_patch(" Spain", " Italy", "block_output", 0), MOVED)
    assert plain(said) == (
        "Patching “Spain” with “Italy” after block 0 turns “Madrid” into “Rome”: “Rome” 0.1 % → "
        "95 %, “Madrid” 97 % → 0.4 %."
    )


def test_an_unchanged_prediction() -> None:
    stays = replace(
        MOVED, base_after=0.96, source_after=0.002, best_token=" Madrid", best_after=0.96
    )
    assert plain(sentence("Patching", stays)) == (
        "Patching leaves the prediction at “Madrid”: 97 % → 96 %; “Rome” 0.1 % → 0.2 %."
    )


def test_a_third_prediction_is_named() -> None:
    third = replace(MOVED, best_token=" Bern", best_after=0.41)
    assert plain(sentence("Patching", third)) == (
        "Patching turns “Madrid” into “Bern” (41 %), the answer of neither prompt: “Madrid” 97 % → "
        "0.4 %, “Rome” 0.1 % → 95 %."
    )


def test_equal_predictions_are_not_listed_twice() -> None:
    same = replace(MOVED, source_token=" Madrid", best_token=" Madrid", base_after=0.9)
    assert plain(sentence("Patching", same)) == (
        "Patching leaves the prediction at “Madrid”: 97 % → 90 %."
    )


def test_several_live_slots_take_the_plural() -> None:
    assert sentence(several(2, 0), MOVED, plural=True).startswith(
        "2 slots together turn “Madrid” into “Rome”: "
    )
    stays = replace(MOVED, best_token=" Madrid")
    assert sentence(several(2, 1), stays, plural=True).startswith(
        "2 slots (1 more skipped) leave the prediction at “Madrid”: "
    )
    assert sentence(several(1, 1), stays).startswith(
        "1 slot (1 more skipped) leaves the prediction at “Madrid”: "
    )


@pytest.mark.parametrize(
    ("layer", "component", "head", "said"),
    [
        (0, "block_output", None, "after block 0"),
        (2, "block_input", None, "before block 2"),
        (3, "mlp_output", None, "at the MLP output of layer 3"),
        (3, "head_attention_value_output", 2, "in head 2 of layer 3 (attention output)"),
    ],
)
def test_a_description_names_the_site(
    layer: int, component: str, head: int | None, said: str
) -> None:
    assert describe_patch("a", "b", component, layer, head) == f"Patching “a” with “b” {said}"


def test_equal_tokens_are_named_once() -> None:
    assert describe_patch(" of", " of", "block_output", 2) == "Patching “of” after block 2"
    assert describe_patch(" is", " is", "block_output", 2, is_last=True) == (
        "Patching the last token (“is”) after block 2"
    )
    assert describe_patch(" is", " was", "block_output", 2, is_last=True) == (
        "Patching “is” with “was” after block 2"
    )


SPAIN = SlotAction(" Spain", "block_output", 0, source_token=" Italy")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Patching “Spain” with “Italy” after block 0"),
        ({"strength": 0.5}, "Patching “Spain” with “Italy” after block 0 at strength 0.5"),
        ({"intervention": "addition"}, "Adding “Italy” to “Spain” after block 0"),
        (
            {"intervention": "subtraction", "subspace": "0:2"},
            "Subtracting dims 0:2 of “Italy” from “Spain” after block 0",
        ),
        ({"intervention": "zero", "source_token": None}, "Zeroing “Spain” after block 0"),
        (
            {"intervention": "zero", "source_token": None, "is_last": True},
            "Zeroing the last token (“Spain”) after block 0",
        ),
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
        ({"subspace": "a"}, "Patching subspace a of “Spain” with “Italy” after block 0"),
        (
            {"intervention": "low_rank_rotated_space", "subspace": "a", "strength": 0.25},
            "Patching subspace a of “Spain” with “Italy” after block 0 in a low-rank rotated space "
            "at strength 0.25",
        ),
        ({"intervention": "halved"}, "Applying halved to “Spain” after block 0"),
        ({"target": "two"}, "Patching “Spain” with “Italy” after block 0 in the run of “two”"),
        ({"positions": 3}, "Patching 3 tokens after block 0"),
        (
            {"intervention": "addition", "source_token": None, "prompts": 2, "minus": 1},
            "Adding a difference of means (2 prompts − 1) to “Spain” after block 0",
        ),
        (
            {"intervention": "subtraction", "source_token": None, "vector": 128, "positions": 3},
            "Subtracting a vector of 128 numbers from 3 tokens after block 0",
        ),
        (
            {"source_token": None, "prompts": 1, "source_layer": 3, "strength": 2, "is_last": True},
            "Patching the last token (“Spain”) with the mean of 1 prompt after block 0 (read at "
            "layer 3) at strength 2",
        ),
        (
            {"source_token": " Spain", "source_layer": 3},
            "Patching “Spain” with “Spain” after block 0 (read at layer 3)",
        ),
        (
            {"positions": 3, "intervention": "addition"},
            "Adding 3 tokens of the source to 3 tokens after block 0",
        ),
    ],
)
def test_a_description_names_all_but_a_plain_interchange(change: dict[str, Any], said: str) -> None:
    assert describe(replace(SPAIN, **change)) == said


def test_every_operator_has_words_of_its_own() -> None:
    said = {describe(replace(SPAIN, intervention=name)) for name in BUILT_IN}
    assert len(said) == len(BUILT_IN) and not [words for words in said if "Applying" in words]


def test_braces_in_an_operators_name_are_text() -> None:
    assert describe(replace(SPAIN, intervention="{x}")).startswith("Applying {x} to")


def test_without_a_source_only_the_base_is_named() -> None:
    alone = replace(
        MOVED,
        source_token=" Madrid",
        source_before=0.972,
        source_after=0.004,
        best_token=" the",
        best_after=0.2,
    )
    assert plain(sentence("Zeroing", alone)) == (
        "Zeroing turns “Madrid” into “the” (20 %): “Madrid” 97 % → 0.4 %."
    )


def test_no_effect_has_a_reason() -> None:
    assert plain(all_idle("Patching", True, " Madrid", 0.97)) == (
        "Patching has no effect: the state is already this one. The model predicts “Madrid” (97 %)."
    )
    said = {
        all_idle("x", reached, " Madrid", 0.97, plural=plural)
        for reached in (False, True)
        for plural in (False, True)
    }
    assert len(said) == 4
    assert "2 slots have no effect: the forward pass reaches none of their sites. " in (
        all_idle("2 slots", False, " Madrid", 0.97, plural=True)
    )


def test_reasons_for_hatched_tiles() -> None:
    assert nothing_can_change(" of") == (
        "Base and source are identical up to “of”, so patching here has no effect."
    )
    assert "both have “is” here" in nothing_came_in(" is")
    assert out_of_reach(5) == (
        "Nothing after block 5 reads this position; the prediction is read at the last token."
    )


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
    assert said["changed"] == "Replaced 2 vectors (‖Δ‖ = 12.3)."
    assert receipt("changed", 1, 1.0) == "Replaced 1 vector (‖Δ‖ = 1)."
    assert said["prefix"] == "No effect: base and source are identical up to “of”."
    assert "but slot 3 overwrites" in said["replaced"]


def test_slots_are_counted() -> None:
    assert several(3, 0) == "3 slots together"
    assert several(1, 2) == "1 slot (2 more skipped)"
    assert several(2, 1) == "2 slots (1 more skipped)"


def test_without_a_live_slot_the_next_step_is_possible() -> None:
    said = {
        (slots, has_source): plain(nothing_live(slots, has_source, " Madrid", 0.942))
        for slots in (0, 1, 3)
        for has_source in (False, True)
    }
    assert said[0, True] == (
        "No slots yet. The model predicts “Madrid” (94 %). Click a tile to patch it."
    )
    assert said[0, False].endswith("Click a tile to zero it.")
    for has_source in (False, True):
        assert said[1, has_source] == (
            "The only slot is skipped. The model predicts “Madrid” (94 %). Unskip it to see its "
            "effect."
        )
        assert said[3, has_source].startswith("All 3 slots are skipped. The model predicts")
        assert "tile" not in said[1, has_source] + said[3, has_source]


@pytest.mark.parametrize(
    ("name", "max_abs", "first", "said"),
    [
        ("bit-equal", 0.0, None, "Bit-equal: every logit is identical (all positions)."),
        (
            "different",
            7.2519,
            2,
            "Different: max abs logit difference 7.25; first differs at layer 2 (all positions).",
        ),
        (
            "allclose",
            3.1e-6,
            None,
            "Equal within 1e−5: max abs logit difference 3.1e−6; identical after every block "
            "(all positions).",
        ),
    ],
)
def test_verdicts(name: str, max_abs: float, first: int | None, said: str) -> None:
    assert verdict(name, max_abs, 1e-5, first, "all positions") == said


def test_held_slots_are_named_and_no_answer_is_called_new() -> None:
    third = replace(MOVED, best_token=" Bern", best_after=0.41)
    assert plain(sentence("Patching", third, held=1)) == (
        "With 1 slot held, patching turns “Madrid” into “Bern” (41 %): “Madrid” 97 % → 0.4 %, "
        "“Rome” 0.1 % → 95 %."
    )
    assert sentence("Patching", MOVED, held=2).startswith("With 2 slots held, patching turns")


def test_held_slots_and_the_one_beside_them() -> None:
    assert beside_held("Patching “Spain”", 1) == "A held slot and patching “Spain”"
    assert beside_held("Zeroing “is”", 3) == "3 held slots and zeroing “is”"
