"""Slots on the screen: what their controls need, and the reason for each one's outcome."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions import INTERVENTIONS, unregister


def test_a_skipped_slot_keeps_its_index(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3, skip=True), slot(1, 3)))
    assert [s["skip"] for s in explorer.scene["slots"]] == [True, False]
    assert [(r["index"], r["skipped"], r["fired"]) for r in explorer.answer["receipts"]] == [
        (0, True, False),
        (1, False, True),
    ]
    alone = vw.run(
        explorer.model,
        vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(layer=1, position=3)]),
    )
    assert torch.equal(explorer.run.logits, alone.logits)


def test_the_menu_says_what_each_operator_needs(make: Make) -> None:
    kinds = {kind["name"]: kind for kind in make().scene["model"]["interventions"]}
    assert set(BUILT_IN) <= set(kinds)
    for name, kind in kinds.items():
        assert kind["formula"] == INTERVENTIONS[name].formula
        assert kind["needs_source"] == INTERVENTIONS[name].needs_source
    assert [n for n in BUILT_IN if kinds[n]["needs_rank"]] == ["low_rank_rotated_space"]
    assert [n for n in BUILT_IN if kinds[n]["takes_rank"]] == [
        "low_rank_rotated_space",
        "pca_rotated_space",
    ]
    assert [n for n in BUILT_IN if not kinds[n]["has_weights"]] == [
        *("vanilla", "addition", "subtraction", "zero", "mean", "noise", "collect")
    ]


def test_a_user_defined_operator_is_in_the_menu(make: Make) -> None:
    vw.register("halved", lambda base, _source: base / 2, needs_source=False)
    try:
        explorer = make()
        mine = explorer.scene["model"]["interventions"][-1]
        assert (mine["name"], mine["needs_source"], mine["has_weights"]) == ("halved", False, False)
        assert ask(explorer, **setting(slot(intervention="halved")))["ok"]
        assert explorer.answer["sentence"].startswith("Applying halved to “Spain” after block 0 ")
    finally:
        unregister("halved")


def test_a_row_has_what_its_controls_need(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    part = {"a": [0, 1], "b": [1, 2]}
    low = {"intervention": "low_rank_rotated_space", "rank": 2, "partition": part, "link": "L1"}
    reply = ask(
        explorer,
        **setting(
            slot(0, subspace="a", strength=0.5, **low),
            slot(1, subspace="b", **low),
            slot(2, subspace="0:3"),
        ),
    )
    assert reply["ok"], reply
    one, two, three = explorer.scene["slots"]
    assert (one["intervention"], one["rank"], one["strength"]) == (low["intervention"], 2, 0.5)
    assert one["partition"] == part and one["link"] == two["link"] == "L1"
    assert (one["subspace"], one["dims"], one["coordinates"]) == ("a", [0], 2)
    assert (two["subspace"], two["dims"]) == ("b", [1])
    width = tiny_gpt2.sites.site(2, "block_output").width
    assert (three["subspace"], three["dims"], three["coordinates"]) == ("0:3", [0, 1, 2], width)
    assert torch.equal(explorer.run.logits, vw.run(tiny_gpt2, explorer.experiment).logits)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"intervention": "zero"}, "Zeroing “Spain” after block 0 "),
        ({"intervention": "noise", "seed": 3}, "Adding noise to “Spain” after block 0 "),
        ({"intervention": "collect"}, "Collecting “Spain” after block 0 leaves the prediction at"),
        (
            {"intervention": "mean", "prompts": [SOURCE, "The capital of France is"]},
            "Setting “Spain” to its mean over 2 prompts after block 0 ",
        ),
    ],
)
@pytest.mark.parametrize("source", [SOURCE, {}])
def test_slots_that_read_no_source(
    make: Make, more: dict[str, Any], message: str, source: Any
) -> None:
    explorer = make(source=source)
    sources = {"source": source} if source else {}
    experiment = {"base": BASE, "sources": sources, "slots": [slot(**more)]}
    assert ask(explorer, kind="experiment", experiment=experiment)["ok"]
    assert explorer.status["error"] is None
    (row,) = explorer.scene["slots"]
    assert (row["source"], row["source_positions"], row["base_positions"]) == (None, [], [3])
    assert explorer.answer["runs"][-1]["role"] == "intervened"
    assert explorer.result.source is None
    assert explorer.answer["sentence"].startswith(message)
    assert "neither prompt" not in explorer.answer["sentence"]
    assert not explorer.answer["receipts"][0]["idle"]
    assert torch.equal(explorer.run.logits, vw.run(explorer.model, explorer.experiment).logits)
    for kind in ("result", "difference_panel"):
        assert explorer.figure(kind) is not None


def test_a_source_that_is_not_read_stays_named(make: Make) -> None:
    explorer = make()
    assert ask(explorer, **setting(slot(intervention="zero", source="source")))["ok"]
    assert explorer.scene["slots"][0]["source"] is None
    assert explorer.scene["experiment"]["slots"][0]["source"] == "source"
    assert explorer.result.source is None


def test_an_idle_slot_is_reported(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 1), slot(0, 3), slot(0, 2, skip=True)))
    assert [r["idle"] for r in explorer.answer["receipts"]] == [True, False, False]
    assert explorer.answer["receipts"][0]["words"] == (
        "No effect: base and source are identical up to “capital”."
    )
    assert explorer.answer["sentence"].startswith("2 slots (1 more skipped) ")
    assert "no effect" not in explorer.answer["sentence"]
    ask(explorer, **setting(slot(0, 3), slot(0, 2, skip=True)))
    assert re.match(r"1 slot \(1 more skipped\) (turns|leaves) ", explorer.answer["sentence"])
    ask(explorer, **setting(slot(0, 1), slot(1, 2)))
    best = explorer.answer["runs"][0]["top"][0]
    message = explorer.answer["sentence"]
    assert message.startswith("2 slots together have no effect: the states are already the same.")
    assert best["label"].removeprefix("␣") in message
    ask(explorer, **setting(slot(0, 1)))
    assert explorer.answer["sentence"].startswith(
        "Patching “capital” after block 0 has no effect: the state is already this one."
    )
    ask(explorer, **setting(slot(0, 1, strength=0.0)))
    assert not explorer.answer["receipts"][0]["idle"]


def test_serial_mode_says_on_whose_run_a_slot_acts(make: Make) -> None:
    explorer = make(source={"one": SOURCE, "two": "The capital of France is"})
    chain = [vw.Slot(layer=0, position=3, source="one"), vw.Slot(layer=1, position=4, source="two")]
    explorer.experiment = explorer.experiment.replace(slots=chain, mode="serial")
    assert [row["target"] for row in explorer.scene["slots"]] == ["two", None]
    assert explorer.scene["experiment"]["mode"] == "serial"
    assert torch.equal(explorer.run.logits, vw.run(explorer.model, explorer.experiment).logits)
    parallel = explorer.experiment.replace(mode="parallel")
    assert not torch.equal(explorer.run.logits, vw.run(explorer.model, parallel).logits)
    explorer.experiment = explorer.experiment.replace(slots=chain[:1])
    assert (
        explorer.wait(30)
        .answer["sentence"]
        .startswith(
            "Patching “France” with “Italy” after block 0 in the run of “two” has no effect: the "
            "forward pass does not reach this site."
        )
    )
    assert explorer.answer["receipts"][0]["idle"]


REASONS = [
    ([slot(0, 3)], ["changed"]),
    ([slot(0, 1)], ["prefix"]),
    ([slot(0, 3, strength=0)], ["weak"]),
    ([slot(0, 3, skip=True)], ["skipped"]),
    ([slot(0, 3, intervention="collect")], ["collected"]),
    ([slot(0, 3, intervention="zero"), slot(0, 3, intervention="zero")], ["replaced", "same"]),
    ([slot(0, 3), slot(0, 3, intervention="zero")], ["replaced", "changed"]),
    ([slot(0, 3), slot(0, 3, intervention="zero", strength=0.5)], ["changed", "changed"]),
    ([slot(0, 3), slot(0, 3, intervention="zero", subspace="0:2")], ["changed", "changed"]),
    ([slot(0, [3, 4]), slot(0, 3, intervention="zero")], ["changed", "changed"]),
    ([slot(0, 3), slot(0, 3, intervention="zero", skip=True)], ["changed", "skipped"]),
    ([slot(2, 3)], ["unread"]),
    ([slot(2, 3, component="value_output")], ["changed"]),
    ([slot(2, [3, 4])], ["changed"]),
]


@pytest.mark.parametrize(("slots", "reasons"), REASONS)
def test_every_slot_has_the_reason_for_its_outcome(
    make: Make, slots: list[dict[str, Any]], reasons: list[str]
) -> None:
    explorer = make()
    assert ask(explorer, **setting(*slots))["ok"]
    receipts = explorer.answer["receipts"]
    assert [r["reason"] for r in receipts] == reasons
    assert [r["index"] for r in receipts] == list(range(len(slots)))
    # Outcomes without effect leave the result unchanged, and the others change it.
    run, *more = explorer.answer["runs"]
    same = all(r["top"] == run["top"] for r in more if r["role"] == "intervened")
    inert = {"prefix", "weak", "skipped", "collected", "unread"}
    assert same == (set(reasons) <= inert)
    assert all(r["words"].endswith(".") for r in receipts)


def test_a_replaced_slot_names_the_later_one(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3), slot(1, 4), slot(0, 3, intervention="zero")))
    replaced = explorer.answer["receipts"][0]
    assert "but slot 2 overwrites" in replaced["words"]
    alone = ask(explorer, **setting(slot(1, 4), slot(0, 3, intervention="zero")))
    assert alone["ok"] and replaced["others_equal"] and replaced["shape"] == [1, 5, 24]
