"""A history that a browser kept of a lost kernel is run again, not believed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw

ENTRIES = [
    {
        "experiment": {
            "base": BASE,
            "sources": [["source", SOURCE]],
            "slots": [slot(layer, position)],
        }
    }
    for layer in range(3)
    for position in range(5)
]
"""One for every tile of the map."""


def past(explorer: vw.Explorer) -> list[dict[str, Any]]:
    """What the browser keeps: names and experiments as the history sent them."""
    return [
        {"name": entry["name"], "experiment": entry["experiment"]}
        for entry in explorer.past["entries"]
    ]


def test_it_is_back_with_names_numbers_and_the_same_screen(make: Make) -> None:
    lost = make()
    for layer in (0, 2):
        ask(lost, **setting(slot(layer)))
    ask(lost, kind="name", number=1, name="early")
    kept, before = past(lost), lost.past
    lost.close()

    explorer = make()
    shown, revision = explorer.experiment, explorer.answer["revision"]
    assert ask(explorer, kind="history", entries=kept)["ok"]
    assert explorer.experiment == shown
    assert explorer.answer["revision"] == revision
    assert [entry.name for entry in explorer.history] == [None, "early", None]
    for now, then in zip(explorer.past["entries"], before["entries"], strict=True):
        for key in ("number", "experiment", "sentence", "label", "probability"):
            assert now[key] == then[key]
    # The one on the screen is the present one, and all are of the model as it is.
    assert explorer.past["current"] == 0
    assert {entry["revision"] for entry in explorer.past["entries"]} == {revision}
    explorer.restore("early")
    assert torch.equal(explorer.run.logits, vw.run(explorer.model, explorer.experiment).logits)


def test_numbers_are_those_of_the_model_as_it_is_now(own: vw.LanguageModel, make: Make) -> None:
    lost = make(model=own)
    ask(lost, **setting(slot(1)))
    kept, before = past(lost), lost.past["entries"][1]
    lost.close()
    with torch.no_grad():
        own.model.get_parameter("transformer.h.2.mlp.c_fc.weight").mul_(3)

    explorer = make(model=own)
    assert ask(explorer, kind="history", entries=kept)["ok"]
    now = explorer.past["entries"][1]
    final = vw.run(own, explorer.history[1].experiment).top(1).iloc[0]
    assert now["probability"] == pytest.approx(final["probability"], abs=1e-6)
    assert now["probability"] != pytest.approx(before["probability"], abs=1e-3)


def test_what_cannot_run_is_left_out(make: Make) -> None:
    explorer = make()
    good = setting(slot(1))["experiment"]
    wire = [
        {"experiment": {**good, "sources": [["source", SOURCE]], "slots": [slot(layer)]}}
        for layer in (1, 99, 2)
    ]
    assert ask(explorer, kind="history", entries=wire)["ok"]
    assert [entry.experiment.slots[0].layer for entry in explorer.history[1:]] == [1, 2]
    assert explorer.status["error"] is None


def test_a_name_that_is_taken_is_not_given_twice(make: Make) -> None:
    explorer = make()
    ask(explorer, kind="name", number=0, name="here")
    other = {"base": BASE, "sources": [["source", SOURCE]], "slots": [slot(1)]}
    assert ask(explorer, kind="history", entries=[{"name": "here", "experiment": other}])["ok"]
    assert [entry.name for entry in explorer.history] == ["here", None]


def test_a_click_comes_first(make: Make) -> None:
    explorer = make()
    explorer.receive({"id": "h", "kind": "history", "entries": ENTRIES})
    ask(explorer, **setting(slot(2, 4)))
    assert explorer.answer["revision"] == explorer.scene["revision"]
    explorer.worker.wait("history", 60)
    assert len(explorer.history) == 16
    assert explorer.history[explorer.past["current"]].experiment.slots[0].position in (4, (4,))


def test_an_entry_that_is_there_stays_where_it_is(make: Make) -> None:
    explorer = make()
    kept = past(explorer)
    ask(explorer, **setting(slot(1)))
    assert ask(explorer, kind="history", entries=kept)["ok"]
    assert len(explorer.history) == 2
    assert explorer.past["current"] == 1


def test_cancel_drops_the_rest(make: Make) -> None:
    explorer = make()
    with explorer.lock:  # the job cannot record its first result
        explorer.receive({"id": "h", "kind": "history", "entries": ENTRIES})
        explorer.receive({"id": "c", "kind": "cancel"})
    assert explorer.worker.wait("history", 60)
    assert len(explorer.history) <= 2
