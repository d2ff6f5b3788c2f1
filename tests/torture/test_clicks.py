"""Clicks as fast as they can be sent: the last one wins, and no answer is another one's."""

from __future__ import annotations

import gc
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from explorer_testing import SilentPainter, setting, slot
from model_changes_testing import EXPERIMENT

import vene_widgets as vw
from vene_widgets.engine.planning import Plan
from vene_widgets.explorer import Explorer
from vene_widgets.explorer.session.worker import Worker

WAIT = 300
MAX_MB = 50


def resident() -> float:
    """Memory of this process in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def expected(model: vw.LanguageModel, cell: tuple[int, int]) -> dict[int, float]:
    """The probabilities after a swap of one cell, by token."""
    experiment = EXPERIMENT.replace(slots=[vw.Slot(layer=cell[0], position=cell[1])])
    return dict(enumerate(vw.run(model, experiment).logits[-1].softmax(-1).tolist()))


def cell_of(scene: dict[str, Any]) -> tuple[int, int]:
    one = scene["experiment"]["slots"][0]
    return one["layer"], one["position"]


class Screen:
    """What an explorer writes, as a browser receives it."""

    def __init__(self, explorer: Explorer) -> None:
        self.scenes: dict[int, tuple[int, int]] = {}
        self.requests: dict[int, str] = {}
        self.answers: list[dict[str, Any]] = []
        self.errors: list[str] = []
        explorer.observe(self._scene, "scene")
        explorer.observe(self._answer, "answer")
        explorer.observe(self._status, "status")

    def _scene(self, change: dict[str, Any]) -> None:
        scene = change["new"]
        self.scenes[scene["revision"]] = cell_of(scene)
        self.requests[scene["revision"]] = scene["request"]

    def _answer(self, change: dict[str, Any]) -> None:
        kept = ("revision", "label", "tokens")  # the whole would be most of the test's memory
        self.answers.append({name: change["new"][name] for name in kept})

    def _status(self, change: dict[str, Any]) -> None:
        if change["new"]["error"]:
            self.errors.append(change["new"]["error"])


@pytest.mark.parametrize("clicks", [300, pytest.param(10_000, marks=pytest.mark.torture)])
def test_the_last_of_many_clicks_wins_and_every_answer_is_its_own_experiments(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter, clicks: int
) -> None:
    """Scenes count up by one, answers only up; each has its own numbers; one job waits a kind."""
    explorer = Explorer(tiny_gpt2, EXPERIMENT)
    explorer.wait(WAIT)
    cells = [(layer, position) for layer in range(3) for position in (3, 4)]
    right = {cell: expected(tiny_gpt2, cell) for cell in cells}
    screen = Screen(explorer)
    replies: list[dict[str, Any]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)
    chosen: list[tuple[int, int]] = []
    generator = random.Random(14)
    plans, waiting, threads = 0, 0, 0
    gc.collect()
    before, start = resident(), time.monotonic()
    for n in range(clicks):
        cell = generator.choice(cells)
        chosen.append(cell)
        explorer.receive({"id": f"r{n}", **setting(slot(*cell))})
        if n % 100 == 99:
            explorer.worker.wait("answer", WAIT)
        if n % 50 == 25:
            plans = max(plans, sum(type(one) is Plan for one in gc.get_objects()))
            threads = max(threads, threading.active_count())
            waiting = max(waiting, len(explorer.worker._queued))
    explorer.wait(WAIT)
    seconds = time.monotonic() - start
    gc.collect()
    grown = resident() - before
    print(
        f"{clicks} clicks in {seconds:.1f} s, {len(screen.answers)} answers, {grown:+.1f} MB, "
        f"at most {plans} plans, {threads} threads, {waiting} waiting jobs"
    )
    assert len(replies) == clicks and all(reply["ok"] for reply in replies)
    assert [reply["id"] for reply in replies] == [f"r{n}" for n in range(clicks)]
    assert list(screen.scenes) == list(range(2, clicks + 2))
    assert list(screen.scenes.values()) == chosen
    assert list(screen.requests.values()) == [f"r{n}" for n in range(clicks)]
    revisions = [answer["revision"] for answer in screen.answers]
    assert revisions == sorted(set(revisions)) and revisions[-1] == clicks + 1
    for answer in screen.answers:
        assert answer["label"] == "exact"
        p = right[screen.scenes[answer["revision"]]]
        for row in answer["tokens"]:
            assert row["probabilities"][-1] == pytest.approx(p[row["token_id"]], abs=1e-5)
    assert screen.errors == []
    assert waiting <= 2  # an answer, and a look at the model
    assert plans <= 80  # the history keeps 50 experiments, not their plans
    assert grown < MAX_MB
    explorer.close()


def test_a_slow_model_runs_the_first_and_the_last_of_many_clicks(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one answer is computed, 500 clicks come: one of them waits, the newest."""
    from vene_widgets.explorer import exact_runs

    explorer = Explorer(tiny_gpt2, EXPERIMENT)
    explorer.wait(WAIT)
    screen = Screen(explorer)
    under_way, may_go_on, plain = threading.Event(), threading.Event(), exact_runs.run_plan

    def held(*args: Any, **more: Any) -> Any:
        under_way.set()
        assert may_go_on.wait(WAIT)
        return plain(*args, **more)

    monkeypatch.setattr(exact_runs, "run_plan", held)
    cells = [(n % 3, 3 + n % 2) for n in range(500)]
    for n, cell in enumerate(cells):
        explorer.receive({"id": f"r{n}", **setting(slot(*cell))})
        assert n or under_way.wait(WAIT)
    may_go_on.set()
    explorer.wait(WAIT)
    assert [answer["revision"] for answer in screen.answers] == [2, 501]
    p = expected(tiny_gpt2, cells[-1])
    for row in screen.answers[-1]["tokens"]:
        assert row["probabilities"][-1] == pytest.approx(p[row["token_id"]], abs=1e-5)
    explorer.close()


def test_clicks_from_several_threads_end_in_one_state(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    """Two tabs on two subshells: whichever was last, answer, scene and experiment are the same."""
    explorer = Explorer(tiny_gpt2, EXPERIMENT)
    explorer.wait(WAIT)
    cells = [(layer, position) for layer in range(3) for position in (3, 4)]
    right = {cell: expected(tiny_gpt2, cell) for cell in cells}
    screen = Screen(explorer)
    replies: list[dict[str, Any]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)
    start = threading.Barrier(4)

    def click(who: int) -> None:
        generator = random.Random(who)
        start.wait(WAIT)
        for n in range(60):
            cell = generator.choice(cells)
            explorer.receive({"id": f"{who} {n}", **setting(slot(*cell))})

    threads = [threading.Thread(target=click, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    explorer.wait(WAIT)
    assert len(replies) == 240 and all(reply["ok"] for reply in replies)
    revisions = [answer["revision"] for answer in screen.answers]
    assert revisions == sorted(revisions)
    assert revisions[-1] == explorer.scene["revision"] == explorer.revision
    for answer in screen.answers:
        p = right[screen.scenes[answer["revision"]]]
        for row in answer["tokens"]:
            assert row["probabilities"][-1] == pytest.approx(p[row["token_id"]], abs=1e-5)
    last = explorer.experiment.slots[0]
    assert cell_of(explorer.scene) == (last.layer, last.position)
    assert screen.errors == []
    explorer.close()


def test_no_worker_holds_a_finished_job() -> None:
    """A job's objects go with it."""
    worker = Worker(("answer",), lambda kind, error: None)

    class Large:
        pass

    def submit() -> Any:
        import weakref

        large = Large()

        def job() -> Any:
            assert large
            yield

        worker.submit("answer", job)
        return weakref.ref(large)

    references = [submit() for _ in range(100)]
    worker.wait("answer", WAIT)
    gc.collect()
    assert [reference for reference in references if reference()] == []
    worker.close()
