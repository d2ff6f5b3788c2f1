"""Runs that are overtaken or cancelled."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from model_changes_testing import EXPERIMENT

import vene_widgets as vw
from vene_widgets.explorer import Explorer, exact_runs


def test_the_failure_of_a_run_that_was_overtaken_is_not_shown(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, plain, calls = threading.Event(), exact_runs.run_plan, []

    def fails_once(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            assert gate.wait(10)
            raise RuntimeError("of an experiment that is no longer on the screen")
        return plain(*args, **more)

    monkeypatch.setattr(exact_runs, "run_plan", fails_once)
    for n, layer in enumerate((1, 2)):
        content = {**EXPERIMENT.model_dump(), "slots": [{"layer": layer, "position": 3}]}
        explorer.receive({"id": f"o{n}", "kind": "experiment", "experiment": content})
        while not calls:
            time.sleep(0.01)
    gate.set()
    explorer.wait(60)
    assert explorer.status["error"] is None
    assert explorer.answer["revision"] == explorer.scene["revision"]


def test_after_cancel_the_run_says_that_it_was_cancelled(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    plain = exact_runs.run_plan
    monkeypatch.setattr(exact_runs, "run_plan", lambda *a, **k: gate.wait(10) and plain(*a, **k))
    explorer.receive({"id": "a", "kind": "experiment", "experiment": EXPERIMENT.model_dump()})
    explorer.receive({"id": "b", "kind": "cancel"})
    gate.set()
    with pytest.raises(vw.RequestError, match=r"was cancelled: assign explorer\.experiment"):
        _ = explorer.run
    explorer.experiment = EXPERIMENT.replace(slots=[vw.Slot(layer=1, position=3)])
    assert explorer.run.experiment.slots[0].layer == 1


def test_clicks_faster_than_answers_are_answered_all_the_same(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, answers = exact_runs.run_plan, []

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(0.05)
        return plain(*args, **more)

    monkeypatch.setattr(exact_runs, "run_plan", slow)
    explorer.observe(lambda change: answers.append(change["new"]["revision"]), "answer")
    for n in range(40):
        slots = [{"layer": n % 3, "position": 1 + n % 4}]
        content = {**EXPERIMENT.model_dump(), "slots": slots}
        explorer.receive({"id": f"c{n}", "kind": "experiment", "experiment": content})
        time.sleep(0.02)
    explorer.wait(60)
    # 0.8 s of clicks, 0.15 s a run: at least every second run's time has an answer.
    assert len(answers) >= 3 and answers[-1] == explorer.scene["revision"]
