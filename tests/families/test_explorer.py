"""The explorer on several families."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from explorer_testing import SilentPainter, ask
from families_testing import BASE, ITALY, Build

import vene_widgets as vw


@pytest.fixture
def explore(silent_painter: SilentPainter) -> Iterator[Callable[..., vw.Explorer]]:
    opened: list[vw.Explorer] = []

    def make(model: vw.LanguageModel, source: str) -> vw.Explorer:
        opened.append(vw.explore(BASE, source, model=model))
        return opened[-1].wait(30)

    yield make
    for explorer in opened:
        explorer.close()


@pytest.mark.parametrize("name", ["gpt_neox", "gemma2", "opt", "bloom", "mistral-window", "phi3"])
def test_the_explorer(name: str, build: Build, explore: Callable[..., vw.Explorer]) -> None:
    model = build(name, "eager" if name == "gemma2" else "")
    explorer = explore(model, ITALY)

    def click(*slots: dict[str, Any]) -> None:
        asked = {"base": BASE, "sources": {"source": ITALY}, "slots": list(slots)}
        assert ask(explorer, kind="experiment", experiment=asked)["ok"]

    assert explorer.map["done"] == explorer.map["total"] == 15
    for cell in explorer.map["cells"][3::4]:
        click({"layer": cell["layer"], "position": cell["position"]})
        exact = explorer.answer["runs"][-1]["top"][0]
        assert cell["top"][0]["token_id"] == exact["token_id"]
        assert cell["top"][0]["probability"] == pytest.approx(exact["probability"], abs=1e-5)
    click({"layer": 0, "position": 3, "group": "A"}, {"layer": 2, "position": 4, "group": "A"})
    assert [one["verdict"] for one in explorer.answer["verdicts"]] == ["bit-equal"]
    count = model.sites.head_count("head_key_output")
    assert count is not None
    key: dict[str, Any] = {"layer": 1, "position": 3, "component": "head_key_output"}
    click({**key, "head": count - 1})
    reply = ask(explorer, kind="sweep", component="head_key_output", head=count - 1)
    assert reply["ok"] and explorer.map["done"] == 15
    reply = ask(explorer, kind="sweep", component="head_key_output", head=count)
    assert not reply["ok"] and f"needs a head: 0 to {count - 1}, not {count}" in reply["error"]
    again = vw.from_state(explorer.state(), model=model).wait(30)
    assert again.experiment == explorer.experiment
    assert torch.equal(again.run.logits, explorer.run.logits)
    again.close()
