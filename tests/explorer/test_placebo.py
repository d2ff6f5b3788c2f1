"""The controls of the map on the screen: the numbers of `vw.placebo`, beside the clicks."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.session import placebo
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.session.placebo import DRAWS, OF_WEIGHTS, STOPPED
from vene_widgets.sweeps.pairs import controls as of_pairs


def ran(explorer: vw.Explorer, **options: Any) -> dict[str, Any]:
    """The controls, once all have run."""
    assert ask(explorer, kind="placebo", **options)["ok"]
    assert explorer.worker.wait("placebo", 60)
    return explorer.placebo


@pytest.mark.parametrize(
    ("swept", "controls"),
    [
        ({}, ["random_source", "shuffled_weights"]),
        ({"component": "head_attention_value_output", "head": "all", "layer": 1}, None),
        ({"component": "head_attention_value_output", "head": "all", "position": 3}, None),
        ({"intervention": "zero"}, ["matched_noise", "shuffled_weights"]),
    ],
)
def test_they_are_the_controls_of_the_map(
    swept: dict[str, Any], controls: list[str] | None, make: Make, tiny_gpt2: vw.LanguageModel
) -> None:
    explorer = make()
    fields = {"component": "block_output", **swept}
    ask(explorer, kind="sweep", **fields)
    found, shown = ran(explorer), explorer.map
    places = {"layers": fields.pop("layer", None), "positions": fields.pop("position", None)}
    real = vw.sweep(
        tiny_gpt2, BASE, SOURCE, **fields, **places,
        targets=[target["token_id"] for target in shown["targets"]],
    )  # fmt: skip
    python = vw.placebo(real, draws=DRAWS)
    assert found["controls"] == (controls or list(python.controls)) == list(python.controls)
    key = ["revision", "component", "head", "layer", "position", "source", "intervention"]
    assert [found[name] for name in key] == [shown[name] for name in key]
    assert found["share"] is None and found["note"] is None
    assert found["targets"] == [target["token_id"] for target in shown["targets"]]
    place = found["targets"].index(shown["target"])
    frame, of_all = python.summarize("delta"), python.summarize("kl")
    frame = frame.assign(least_kl=of_all["least"], most_kl=of_all["most"])
    frame = frame[frame["target_id"].eq(shown["target"])]
    for name in found["controls"]:
        draws = [draw for draw in found["draws"] if draw["control"] == name]
        assert len(draws) == (OF_WEIGHTS if name == "shuffled_weights" else DRAWS)
        rows: Any = frame[frame["control"].eq(name)]
        rows = rows.assign(head=rows["head"].fillna(-1)).set_index(["head", "layer", "position"])
        assert all(len(draw["cells"]) == len(shown["cells"]) for draw in draws)
        for n, cell in enumerate(shown["cells"]):
            changes = [
                draw["cells"][n]["probabilities"][place] - draw["base"]["probabilities"][place]
                for draw in draws
            ]
            head = -1 if cell["head"] is None else cell["head"]
            own: Any = rows.loc[(head, cell["layer"], cell["position"]), :]
            least, most = own["least"], own["most"]
            divergences = [draw["cells"][n]["kl"] for draw in draws]
            if name != "shuffled_weights":
                assert (min(changes), max(changes)) == pytest.approx((least, most), abs=2e-6)
                ends = pytest.approx((own["least_kl"], own["most_kl"]), rel=1e-3, abs=1e-7)
                assert (min(divergences), max(divergences)) == ends
            else:  # fewer draws than Python's
                assert least - 2e-6 <= min(changes) and max(changes) <= most + 2e-6
                assert min(divergences) >= 0.999 * own["least_kl"] - 1e-7
                assert max(divergences) <= 1.001 * own["most_kl"] + 1e-7


def test_they_go_with_the_map(make: Make, own: vw.LanguageModel) -> None:
    explorer = make(model=own)
    assert ran(explorer)["draws"]
    ask(explorer, **setting(slot(1, 3)))  # a click keeps them
    assert explorer.placebo["draws"]
    ask(explorer, kind="sweep", component="mlp_output")
    assert explorer.placebo == {}
    assert ran(explorer)["component"] == "mlp_output"
    ask(explorer, **setting(base="The capital of France is"))
    assert explorer.placebo == {}
    assert ran(explorer)["draws"]
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    assert explorer.detect_model_change()  # before another map begins
    assert explorer.placebo == {}


def test_only_a_full_map_has_controls(make: Make) -> None:
    explorer = make()
    explorer.feature(MapFeature)._full = None
    reply = ask(explorer, kind="placebo")
    assert not reply["ok"] and "a control needs a full map" in reply["error"]
    assert explorer.placebo == {}


def endless(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let draws take for ever, one short step after the other; set when the first has begun."""
    began = threading.Event()

    def steps(*_: object) -> Generator[None, None, None]:
        while True:
            began.set()
            yield

    monkeypatch.setattr(placebo, "control_plan_steps", steps)
    return began


def test_a_click_is_answered_while_they_run_and_they_can_be_stopped(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = make()
    began = endless(monkeypatch)
    ask(explorer, kind="placebo")
    assert began.wait(30) and explorer.worker.is_busy("placebo")
    ask(explorer, **setting(slot(1, 3)))
    assert explorer.answer["revision"] == explorer.scene["revision"]
    assert explorer.worker.is_busy("placebo")
    ask(explorer, kind="cancel")
    assert explorer.worker.wait("placebo", 30)
    assert explorer.placebo["note"] == STOPPED and explorer.placebo["share"] is None
    assert explorer.status["progress"] is None


def test_another_map_stops_them(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    began = endless(monkeypatch)
    ask(explorer, kind="placebo")
    assert began.wait(30)
    ask(explorer, kind="sweep", component="mlp_output")
    assert explorer.worker.wait("placebo", 30)
    assert explorer.placebo == {}
    assert explorer.map["component"] == "mlp_output"


def test_without_memory_for_a_copy_the_others_stay(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = make()
    monkeypatch.setattr(of_pairs, "_free_bytes", lambda _device: 2**10)
    found = ran(explorer)
    assert "runs a copy of the model" in found["note"] and found["share"] is None
    assert {draw["control"] for draw in found["draws"]} == {"random_source"}
    assert explorer.status["error"] is None
