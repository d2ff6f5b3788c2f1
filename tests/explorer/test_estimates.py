"""The map beside its estimates: the numbers of `vw.attribute(...).against(...)`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.session.estimates import MOST
from vene_widgets.explorer.session.map import MapFeature


def estimated(explorer: vw.Explorer, **fields: Any) -> dict[str, Any]:
    """The newest estimate."""
    assert ask(explorer, kind="estimate", **fields)["ok"]
    assert explorer.worker.wait("estimate", 60)
    return explorer.estimates["found"][-1]


@pytest.mark.parametrize(
    "swept",
    [
        {},
        {"component": "mlp_activation"},
        {"component": "head_attention_value_output", "head": 1},
        {"component": "head_attention_value_output", "head": "all", "layer": 1},
        {"component": "head_attention_value_output", "head": "all", "position": 3},
        {"intervention": "zero"},
    ],
)
@pytest.mark.parametrize("metric", ["probability", "log_probability", "logit_difference"])
def test_it_is_what_python_estimates_and_checks(
    swept: dict[str, Any], metric: Any, make: Make, tiny_gpt2: vw.LanguageModel
) -> None:
    explorer = make()
    fields = {"component": "block_output", **swept}
    ask(explorer, kind="sweep", **fields)
    target, other = (one["token_id"] for one in explorer.map["targets"][:2])
    pair = metric == "logit_difference"
    found = estimated(explorer, metric=metric, target=target, other=other if pair else None)
    places = {"layers": fields.pop("layer", None), "positions": fields.pop("position", None)}
    shared = {**fields, **places, "targets": [target, other]}
    python = vw.attribute(tiny_gpt2, BASE, SOURCE, **shared, metric=metric)
    check = python.against(vw.sweep(tiny_gpt2, BASE, SOURCE, **shared))
    # A map has the cells of one head after another.
    frame = check.frame.sort_values("head", kind="stable").reset_index(drop=True)
    assert found["values"] == pytest.approx(frame["estimate"].tolist(), rel=1e-4, abs=1e-9)
    assert found["missed"] == frame.index[frame["false_negative"]].tolist()
    assert found["correlation"] == pytest.approx(check.correlation, abs=1e-4)
    assert found["note"] is None
    for name in ("component", "head", "layer", "position"):
        assert explorer.estimates[name] == explorer.map[name]


def test_estimates_are_kept_with_their_map_and_go_with_it(
    make: Make, own: vw.LanguageModel
) -> None:
    explorer = make(model=own)
    ids = [one["token_id"] for one in explorer.map["targets"]]
    for token in ids[: MOST + 2]:
        estimated(explorer, metric="probability", target=token)
    estimated(explorer, metric="probability", target=ids[MOST])
    kept = [one["target"] for one in explorer.estimates["found"]]
    assert kept == [*ids[2:MOST], ids[MOST + 1], ids[MOST]]
    ask(explorer, **setting(slot(1, 3)))  # a click keeps them
    assert len(explorer.estimates["found"]) == MOST
    ask(explorer, kind="sweep", component="mlp_output")
    assert explorer.estimates == {}
    estimated(explorer, metric="probability", target=explorer.map["target"])
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    ask(explorer, **setting(slot(2, 3)))
    assert explorer.estimates == {}


def test_what_has_no_estimate_says_so(make: Make) -> None:
    explorer = make()
    reply = ask(explorer, kind="estimate", metric="kl", target=explorer.map["target"])
    assert not reply["ok"] and "'logit_difference'" in reply["error"]
    reply = ask(explorer, kind="estimate", metric="probability", target=10**6)
    assert not reply["ok"] and "does not carry token 1000000" in reply["error"]
    found = estimated(explorer, metric="logit_difference", target=explorer.map["target"])
    assert "compares two target tokens" in found["note"] and found["values"] == []
    explorer.feature(MapFeature)._full = None
    reply = ask(explorer, kind="estimate", metric="probability", target=explorer.map["target"])
    assert not reply["ok"] and "an estimate needs a full map" in reply["error"]


def test_a_map_that_holds_slots_has_no_estimate(make: Make) -> None:
    """Its cells begin from the run of the held slots, and the gradients would be of another."""
    held = vw.Slot(layer=0, component="mlp_output", position=3, intervention="zero", hold=True)
    explorer = make(slots=[held])
    ask(explorer, kind="sweep", component="block_output")
    assert len(explorer.map["held"]) == 1
    found = estimated(explorer, metric="probability", target=explorer.map["target"])
    assert found["values"] == [] and found["correlation"] is None
    assert found["note"].startswith("No estimate: the map holds 1 slot, and gradients are of")


def test_a_map_is_full_for_the_kernel_once_the_browser_has_all_of_it(make: Make) -> None:
    """Or the browser's request for an estimate, at once, would be refused for good."""
    explorer = make()
    feature, seen = explorer.feature(MapFeature), list[bool]()

    def look(change: dict[str, Any]) -> None:
        if change["new"]["done"] == change["new"]["total"]:
            seen.append(feature._full is feature.shown)

    explorer.observe(look, "map")
    ask(explorer, kind="sweep", component="mlp_output")
    assert seen == [True]
