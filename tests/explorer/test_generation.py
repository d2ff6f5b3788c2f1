"""Continue: the texts on the screen are those of vw.generate, and give way to clicks."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.session import generation
from vene_widgets.explorer.session.generation import OLD, OTHER, STOPPED


def written(explorer: vw.Explorer) -> dict[str, Any]:
    """The texts, once they are complete."""
    assert explorer.worker.wait("generation", 60)
    return explorer.generation


def patch(layer: int = 1) -> vw.Experiment:
    return vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(layer=layer, position=3)])


@pytest.mark.parametrize("on", ["prompt", "every"])
def test_texts_and_numbers_are_those_of_generate(
    make: Make, tiny_gpt2: vw.LanguageModel, on: Any
) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))
    assert ask(explorer, kind="generate", max_new_tokens=8, on=on)["ok"]
    shown = written(explorer)
    wanted = vw.generate(tiny_gpt2, patch(), max_new_tokens=8, on=on)
    assert (shown["base_text"], shown["patched_text"]) == (wanted.base_text, wanted.text)
    assert [token["id"] for token in shown["base"]] == list(wanted.base_tokens or ())
    assert [token["id"] for token in shown["patched"]] == list(wanted.tokens)
    assert [token["probability"] for token in shown["base"] + shown["patched"]] == pytest.approx(
        wanted.frame["probability"].tolist()
    )
    assert [token["text"] for token in shown["base"] + shown["patched"]] == (
        wanted.frame["token"].tolist()
    )
    assert shown["differs"] == wanted.agreement
    assert explorer.generated.tokens == wanted.tokens
    assert shown["running"] is None and shown["note"] is None
    assert shown["revision"] == explorer.scene["revision"]


def test_without_a_live_slot_there_is_one_text(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3, skip=True)))
    ask(explorer, kind="generate", max_new_tokens=4)
    shown = written(explorer)
    assert shown["base_text"] == vw.generate(tiny_gpt2, patch(), max_new_tokens=4).base_text
    assert shown["patched"] == [] and shown["patched_text"] is None


@pytest.mark.parametrize(
    ("slots", "request_", "words"),
    [
        ([slot(1, 3)], {"max_new_tokens": 0}, "max_new_tokens must be from 1 to"),
        ([slot(1, 3)], {"max_new_tokens": 201}, "up to 200 new tokens, got 201"),
        (
            [slot(1, [3, 4])],
            {"max_new_tokens": 4, "on": "every"},
            "leaves open which of them goes to every new token",
        ),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_last_text_stays(
    make: Make, slots: list[dict[str, Any]], request_: dict[str, Any], words: str
) -> None:
    explorer = make()
    ask(explorer, **setting(*slots))
    ask(explorer, kind="generate", max_new_tokens=2)
    before = written(explorer)
    reply = ask(explorer, kind="generate", **request_)
    assert not reply["ok"] and words in reply["error"]
    assert explorer.generation == before


class Pause:
    """Holds a generation at its third token until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go, self.begun = threading.Event(), threading.Event(), 0
        original = generation.generate_plan

        def paused(*args: Any, on_token: Any, **named: Any) -> Any:
            self.begun += 1
            seen: list[object] = []

            def note(token: Any) -> None:
                on_token(token)
                seen.append(token)
                if len(seen) == 3:
                    self.reached.set()
                    assert self.go.wait(30)

            return original(*args, on_token=note, **named)

        monkeypatch.setattr(generation, "generate_plan", paused)
        monkeypatch.setattr(generation, "FRAME_SECONDS", 0.0)


def test_a_click_is_answered_first_and_the_text_of_the_other_experiment_stops(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer, pause = make(), Pause(monkeypatch)
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="generate", max_new_tokens=20)
    assert pause.reached.wait(30)
    assert len(explorer.generation["base"]) == 3 and explorer.generation["running"] == "base"
    explorer.receive({"id": "r2", **setting(slot(0, 3))})
    pause.go.set()
    explorer.wait(30)
    assert explorer.answer["revision"] == explorer.scene["revision"]
    shown = written(explorer)
    assert shown["note"] == OTHER and shown["running"] is None
    assert len(shown["base"]) == 3
    assert shown["experiment"]["slots"][0]["layer"] == 1


def test_a_text_goes_on_after_a_more_urgent_job(
    make: Make, monkeypatch: pytest.MonkeyPatch, tiny_gpt2: vw.LanguageModel
) -> None:
    explorer, pause = make(), Pause(monkeypatch)
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="generate", max_new_tokens=6)
    assert pause.reached.wait(30)
    side = setting(slot(0, 3))["experiment"]
    sides = {name: {"title": name, "experiment": side} for name in ("left", "right")}
    explorer.receive({"id": "r2", "kind": "compare", **sides})
    seen: list[int] = []
    explorer.observe(lambda _: seen.append(explorer.worker.is_busy("generation")), "contrast")
    pause.go.set()
    shown = written(explorer)
    assert seen == [True]  # the comparison came before the text's end
    assert pause.begun == 2
    wanted = vw.generate(tiny_gpt2, patch(), max_new_tokens=6)
    assert (shown["base_text"], shown["patched_text"]) == (wanted.base_text, wanted.text)


@pytest.mark.parametrize("kind", ["stop", "cancel"])
def test_it_can_be_stopped(make: Make, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    explorer, pause = make(), Pause(monkeypatch)
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="generate", max_new_tokens=20)
    assert pause.reached.wait(30)
    explorer.receive({"id": "r2", "kind": kind})
    pause.go.set()
    shown = written(explorer)
    assert shown["note"] == STOPPED and shown["running"] is None
    assert len(shown["base"]) == 3


def test_a_text_of_before_the_model_changed_says_so(make: Make, own: vw.LanguageModel) -> None:
    explorer = make(model=own)
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="generate", max_new_tokens=3)
    before = written(explorer)
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    ask(explorer, **setting(slot(2, 3)))
    assert explorer.generation["note"] == OLD
    assert explorer.generation["base"] == before["base"]
    assert explorer.generation["revision"] < explorer.scene["model_since"]
    with pytest.raises(vw.RequestError, match="no text has been generated"):
        _ = explorer.generated


def test_the_model_is_as_before(make: Make, own: vw.LanguageModel) -> None:
    explorer = make(model=own)
    ask(explorer, **setting(slot(1, 3)))
    before, state = own.fingerprint, torch.random.get_rng_state()
    ask(explorer, kind="generate", max_new_tokens=3)
    written(explorer)
    assert before.difference(own.fingerprint) is None
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_saved_page_has_the_texts(tiny_gpt2: vw.LanguageModel, tmp_path: Path) -> None:
    explorer = vw.explore(BASE, SOURCE, tiny_gpt2)
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="generate", max_new_tokens=3)
    shown = written(explorer)
    page = explorer.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    explorer.close()
    [state] = re.findall(r'data-vene-state="kept">(.*?)</script>', page, re.S)
    assert json.loads(state)["generation"] == json.loads(json.dumps(shown))
