"""Attention on the screen: patterns that are read, and slots on single weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from explorer_testing import Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.session import attention as attention_feature


def edge(layer: int, head: int | None, query: Any, key: Any, **more: Any) -> dict[str, Any]:
    fields = {"intervention": "zero", "head": head, "source_position": key, **more}
    return slot(layer, query, component="attention_weight", **fields)


def read(explorer: vw.Explorer, layer: int) -> dict[str, Any]:
    reply = ask(explorer, kind="attention", layer=layer)
    assert reply["ok"], reply
    assert explorer.worker.wait("attention", 60)
    return explorer.attention


def weights(grid: dict[str, Any], name: str) -> torch.Tensor:
    [run] = [run for run in grid["runs"] if run["name"] == name]
    flat = np.array(run["weights"], dtype="float32")
    return torch.tensor(flat.reshape(grid["heads"], run["length"], run["length"]))


def test_it_shows_what_python_reads(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3)))
    grid = read(explorer, 1)
    found = vw.attention(tiny_gpt2, explorer.experiment, layer=1)
    assert [run["name"] for run in grid["runs"]] == ["base", "intervened", "source"]
    for name in ("base", "intervened", "source"):
        assert torch.allclose(weights(grid, name), found.runs[name][0], rtol=0, atol=1e-6)
    assert not torch.allclose(weights(grid, "base"), weights(grid, "intervened"), rtol=0, atol=1e-6)
    assert (grid["layer"], grid["revision"]) == (1, explorer.revision)


@pytest.mark.parametrize(
    "written",
    [
        edge(1, 0, 4, 3),
        edge(1, 0, 4, 3, intervention="vanilla", source="source"),
        edge(2, 1, [3, 4], [0, 3]),
        edge(1, None, 4, None),
        edge(1, 1, "all", None, intervention="vanilla", source="source"),
        edge(-1, 0, -1, " Spain", strength=0.5),
    ],
)
def test_a_slot_on_weights_runs_as_in_python(
    make: Make, tiny_gpt2: vw.LanguageModel, written: dict[str, Any]
) -> None:
    explorer = make()
    assert ask(explorer, **setting(written))["ok"]
    run = vw.run(tiny_gpt2, explorer.experiment)
    p = run.logits[-1].double().softmax(-1)
    top = explorer.answer["runs"][-1]["top"]
    assert [one["token_id"] for one in top] == p.topk(len(top)).indices.tolist()
    assert [one["probability"] for one in top] == pytest.approx(
        p.topk(len(top)).values.tolist(), rel=1e-6
    )
    assert explorer.answer["receipts"][0]["fired"]
    scripts = {one["face"]: one for one in explorer.answer["scripts"]}
    assert "attention_weight" in scripts["vene_widgets"]["text"]
    assert "no keys in its locations" in scripts["pyvene"]["why"]


def test_the_scene_has_queries_and_keys_as_integers(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(edge(1, 0, -1, " Spain"), edge(1, None, 2, None)))
    first, second = explorer.scene["slots"]
    assert (first["base_positions"], first["source_positions"]) == ([4], [3])
    assert (second["base_positions"], second["source_positions"]) == ([2], [0, 1, 2, 3, 4])
    experiment = explorer.past["entries"][-1]["experiment"]
    keys = [one["source_position"] for one in json.loads(json.dumps(experiment))["slots"]]
    assert keys == [3, [0, 1, 2, 3, 4]]


def test_the_sentence_names_query_and_key(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(edge(1, 0, 4, 3)))
    said = explorer.answer["sentence"]
    assert said.startswith("Zeroing the weight from “is” to “Spain” in head 0 of layer 1")
    ask(explorer, **setting(edge(1, 0, 4, 3, intervention="vanilla", source="source")))
    said = explorer.answer["sentence"]
    assert said.startswith("Patching the weight from “is” to “Spain” with the source’s in head 0")
    ask(explorer, **setting(edge(1, 0, 4, [2, 3])))
    assert explorer.answer["sentence"].startswith("Zeroing 2 weights in head 0 of layer 1")


def test_a_query_that_the_answer_does_not_read_is_said(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(edge(-1, 0, 3, 1)))
    assert explorer.answer["receipts"][0]["reason"] == "unread"


def test_edges_that_are_others_in_the_source_are_refused(make: Make) -> None:
    explorer = make(source="The capital of the Italy is")
    before = explorer.scene
    copied = edge(1, 0, -1, 3, intervention="vanilla", source="source")
    reply = ask(explorer, **setting(copied, source="The capital of the Italy is"))
    assert not reply["ok"] and "reads other positions of its source" in reply["error"]
    assert explorer.scene == before
    same = edge(1, 0, 4, 3, intervention="vanilla", source="source")
    assert ask(explorer, **setting(same, source="The capital of the Italy is"))["ok"]


def test_the_map_keeps_its_component(make: Make) -> None:
    explorer = make()
    before = explorer.map["cells"]
    ask(explorer, **setting(edge(1, 0, 4, 3)))
    assert explorer.map["cells"] == before
    reply = ask(explorer, kind="sweep", component="attention_weight")
    assert not reply["ok"] and explorer.map["cells"] == before


def test_a_finding_is_of_a_state_not_of_a_weight(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(edge(1, 0, 4, 3)))
    reply = ask(explorer, kind="specification")
    assert not reply["ok"] and "attention_weight" in reply["error"]


def test_it_is_compared_shared_and_told(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    ask(explorer, **setting(edge(1, 0, 4, 3)))
    now = explorer.scene["experiment"]
    plain = {**now, "slots": []}
    ask(
        explorer,
        kind="compare",
        left={"title": "base", "experiment": plain},
        right={"title": "result", "experiment": now},
    )
    assert explorer.contrast["error"] is None and explorer.contrast["kl"] > 0
    again = vw.from_state(explorer.state(), tiny_gpt2)
    try:
        assert again.wait(60).answer["sentence"] == explorer.answer["sentence"]
        assert again.experiment == explorer.experiment
    finally:
        again.close()
    explorer.story([vw.Step(title="One", slots=[vw.Slot(**edge(1, 0, 4, 3))])])
    explorer.wait(60)
    assert explorer.steps["steps"][0]["result"]["sentence"] == explorer.answer["sentence"]


def test_plain_widgets_show_it(make: Make) -> None:
    explorer = make()
    controls = vw.controls(explorer)
    ask(explorer, **setting(edge(1, 0, 4, 3)))
    menus = {one.description: one.value for one in _menus(controls)}
    assert (menus["Component"], menus["Base position"], menus["Source position"]) == (
        "attention_weight", 4, 3,
    )  # fmt: skip


def _menus(box: Any) -> Iterator[Any]:
    """All menus in a box."""
    for child in getattr(box, "children", ()):
        if hasattr(child, "options") and hasattr(child, "value"):
            yield child
        yield from _menus(child)


def test_what_is_too_large_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    before = read(explorer, 0)
    monkeypatch.setattr(attention_feature, "MOST_WEIGHTS", 100)
    reply = ask(explorer, kind="attention", layer=1)
    assert not reply["ok"] and "read them with vw.attention" in reply["error"]
    assert not ask(explorer, kind="attention", layer=99)["ok"]
    assert explorer.attention == before
