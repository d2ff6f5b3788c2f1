"""Paths and circuits on the screen: the numbers of `vw.paths` and `vw.circuit`, asked for once."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, count_calls, setting, slot
from families_testing import shared_models

import vene_widgets as vw
from vene_widgets.explorer.session import paths as paths_feature
from vene_widgets.explorer.session.reading import STOPPED

ALONE, WITHOUT = 1, 2  # rows of `Circuit.frame`


def read(explorer: vw.Explorer, kind: str = "paths", **request: Any) -> dict[str, Any]:
    """What was read, once it has been asked for."""
    reply = ask(explorer, kind=kind, **request)
    assert reply["ok"], reply
    assert explorer.worker.wait(kind, 60)
    return getattr(explorer, kind)


def named(sender: dict[str, Any]) -> str:
    """A sender as Python writes it."""
    if sender["layer"] < 0:
        return "embedding"
    layer, head = sender["layer"], sender["head"]
    return f"mlp{layer}" if head is None else f"{layer}.{head}"


def assert_same(grid: dict[str, Any], found: vw.Paths) -> None:
    """Every number on the screen is Python's, to the last digit."""
    frame, senders = found.frame, grid["senders"]
    assert [named(one) for one in senders] == frame["sender_name"].tolist()
    assert [one["effect"] for one in senders] == frame["effect"].tolist()
    held = [None if value != value else value for value in frame["effect_frozen"]]
    assert [one["frozen"] for one in senders] == held
    assert grid["base_metric"] == found.base_metric
    assert grid["source_metric"] == found.source_metric
    assert [one["token_id"] for one in grid["targets"]] == list(found.metric.tokens)


def test_it_shows_what_python_measures(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3)))  # slots have no part in it
    grid = read(explorer, targets=[7, 4])
    found = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all", targets=[7, 4])
    assert_same(grid, found)
    assert len(grid["senders"]) == 1 + 3 * (3 + 1)
    assert any(one["frozen"] for one in grid["senders"])
    assert (grid["source"], grid["receiver"]) == ("source", None)
    assert (grid["revision"], grid["note"]) == (explorer.revision, None)
    assert_same(read(explorer), vw.paths(tiny_gpt2, BASE, SOURCE, senders="all"))


@pytest.mark.parametrize(
    ("end", "receiver"),
    [
        ({"layer": 2, "head": 1, "part": "q"}, ("2.1", "q")),
        ({"layer": 1, "head": 0, "part": "k"}, ("1.0", "k")),
        ({"layer": 0, "head": 2, "part": "v"}, ("0.2", "v")),
        ({"layer": 2, "head": None, "part": "mlp"}, "mlp2"),
    ],
)
def test_it_shows_the_paths_to_a_receiver(
    make: Make, tiny_gpt2: vw.LanguageModel, end: dict[str, Any], receiver: Any
) -> None:
    grid = read(make(), targets=[7, 4], receiver=end)
    options: Any = {"senders": "all", "targets": [7, 4], "receivers": [receiver]}
    options["norms"] = "frozen"  # gives both numbers
    assert_same(grid, vw.paths(tiny_gpt2, BASE, SOURCE, **options))
    assert grid["receiver"] == end


def test_keys_count_key_value_heads(make: Make, tiny_tokenizer: Any, device: torch.device) -> None:
    model = shared_models(tiny_tokenizer, device)("llama")
    explorer = make(model=model)
    counts = explorer.scene["model"]["heads"]
    assert counts["head_key_output"] < counts["head_query_output"]
    end = {"layer": 1, "head": counts["head_key_output"], "part": "k"}
    assert "key-value head" in read(explorer, receiver=end)["note"]
    grid = read(explorer, receiver={**end, "head": 1})
    options: Any = {"senders": "all", "receivers": [("1.1", "k")], "norms": "frozen"}
    assert_same(grid, vw.paths(model, BASE, SOURCE, **options))


def test_a_circuit_is_that_of_python(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    grid = read(make(), "circuit", targets=[7, 4], heads=[(2, 1), (0, 2)])
    for ablation in ("source", "mean"):  # the mean over one source is that source's own
        options: Any = {"heads": ["2.1", "0.2"], "ablation": ablation, "targets": [7, 4]}
        found = vw.circuit(tiny_gpt2, BASE, SOURCE, **options)
        assert grid["runs"] == found.frame.to_dict("records")
        assert grid["runs"][ALONE]["faithfulness"] == found.faithfulness
    values = [one["value"] for one in grid["runs"]]
    assert len({*values}) == 4
    others = [(n, head) for n in range(3) for head in range(3) if (n, head) not in [(2, 1), (0, 2)]]
    swapped = read(make(), "circuit", targets=[7, 4], heads=others)
    assert swapped["runs"][ALONE]["value"] == pytest.approx(values[WITHOUT], abs=1e-5)


def test_another_source_is_chosen_by_name(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make(source={"one": SOURCE, "two": "The capital of France is"})
    found = vw.paths(tiny_gpt2, BASE, "The capital of France is", senders="all")
    assert_same(read(explorer, source="two"), found)
    reply = ask(explorer, kind="paths", source="three")
    assert not reply["ok"] and "source 'three' is not known" in reply["error"]


@pytest.mark.parametrize("kind", ["paths", "circuit"])
def test_without_a_source_there_are_none(make: Make, kind: str) -> None:
    explorer = make(source={})
    more: Any = {"heads": [(0, 0)], "targets": [7, 4]} if kind == "circuit" else {}
    reply = ask(explorer, kind=kind, **more)
    assert not reply["ok"]
    assert "paths are between a base and a source: add a source." in reply["error"]


@pytest.mark.parametrize(
    ("source", "request_", "said"),
    [
        ("The capital of the Italy is", {}, "base has 5 tokens and source 9: paths need equally"),
        (SOURCE, {"targets": [7, 7]}, "must be two different tokens"),
        (SOURCE, {"targets": [7, 10**6]}, "out of range"),
        (SOURCE, {"receiver": {"layer": 9, "part": "mlp"}}, "layer 9 is out of range"),
        (SOURCE, {"receiver": {"layer": 1, "part": "q"}}, "has no head"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    make: Make, source: str, request_: dict[str, Any], said: str
) -> None:
    grid = read(make(source=source), **request_)
    assert said in grid["note"] and not grid["senders"] and grid["revision"] == 0


def test_a_model_whose_stream_is_no_sum_says_so(
    make: Make, tiny_tokenizer: Any, device: torch.device
) -> None:
    model = shared_models(tiny_tokenizer, device)("opt-norms-after")
    grid = read(make(model=model))
    with pytest.raises(vw.RequestError) as raised:
        vw.paths(model, BASE, SOURCE)
    assert grid["note"] == str(raised.value) and "only where the residual stream" in grid["note"]


def test_nothing_is_measured_that_nobody_asks_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, _ = count_calls(monkeypatch, "record_residual")
    ablated, _ = count_calls(monkeypatch, "with_heads_ablated")
    explorer = make()
    ask(explorer, **setting(slot(0, 3)))
    ask(explorer, **setting(source="The capital of France is"))
    for kind in ("paths", "circuit"):
        assert explorer.worker.wait(kind, 60)
    assert not calls and not ablated
    assert not explorer.paths.get("senders") and not explorer.circuit.get("runs")
    read(explorer)
    assert len(calls) == 2 and not ablated  # base and source


def endless(ended: list[bool], began: threading.Event) -> Any:
    def steps(*_: object, **__: object) -> Iterator[None]:
        try:
            while True:
                began.set()
                time.sleep(0.01)
                yield
        finally:
            ended.append(True)

    return steps


def test_a_click_overtakes_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    before, ended, began = read(explorer), list[bool](), threading.Event()
    monkeypatch.setattr(paths_feature, "path_steps", endless(ended, began))
    ask(explorer, kind="paths")
    assert began.wait(60)
    ask(explorer, **setting(slot(0, 3)))  # it is answered, although the paths never end
    assert explorer.answer["revision"] == explorer.revision
    assert explorer.worker.wait("paths", 60)
    gc.collect()
    assert ended == [True] and explorer.paths == before


def test_it_can_be_cancelled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    before, ended, began = read(explorer), list[bool](), threading.Event()
    monkeypatch.setattr(paths_feature, "path_steps", endless(ended, began))
    ask(explorer, kind="paths")
    assert began.wait(60)
    ask(explorer, kind="cancel")
    assert explorer.worker.wait("paths", 60)
    assert explorer.paths == {**before, "note": STOPPED}


@pytest.mark.parametrize(("receivers", "least"), [("logits", 4), ([("2.1", "q")], 2 * 9)])
def test_the_model_is_free_between_two_steps(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch, receivers: Any, least: int
) -> None:
    """A receiver has as many batches as memory asks for; the numbers are the same."""
    options: Any = {"senders": "all", "receivers": receivers}
    whole = vw.paths(tiny_gpt2, BASE, SOURCE, **options)
    monkeypatch.setattr("vene_widgets.engine.residual.CPU_BYTES", 1)
    monkeypatch.setattr("vene_widgets.engine.residual.GPU_BYTES", 1)
    steps, count = paths_feature.path_steps(tiny_gpt2, BASE, SOURCE, **options), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        count += 1
        assert tiny_gpt2.lock.acquire(blocking=False)
        tiny_gpt2.lock.release()
        assert torch.is_grad_enabled()
    assert count >= least
    assert found.frame["effect"].tolist() == pytest.approx(whole.frame["effect"].tolist(), abs=1e-5)


def test_a_model_that_changes_between_two_steps_is_not_measured(own: vw.LanguageModel) -> None:
    steps = paths_feature.path_steps(own, BASE, SOURCE)
    next(steps)
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    with pytest.raises(vw.RequestError, match="changed while it ran"):
        list(steps)


def test_of_a_changed_model_it_is_old(make: Make, own: vw.LanguageModel) -> None:
    explorer = make(model=own)
    before = read(explorer)
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    ask(explorer, **setting(slot(2, 3)))
    assert explorer.paths == before
    assert before["revision"] < explorer.scene["model_since"]
    again = read(explorer)
    assert again["revision"] >= explorer.scene["model_since"]
    assert again["senders"] != before["senders"]
