"""Features: each request, trait and kind of job has one owner; a new panel needs one line."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import Any, get_args

import pytest
from explorer_testing import SilentPainter

import vene_widgets as vw
from vene_widgets.explorer.session.answer import AnswerFeature
from vene_widgets.explorer.session.features import FEATURES
from vene_widgets.explorer.session.map import MapFeature
from vene_widgets.explorer.wire import messages

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"

TRIAL = '''
from typing import ClassVar

import traitlets

from vene_widgets.explorer.session import features
from vene_widgets.explorer.session.feature import Feature


class LiveSlotsFeature(Feature):
    """Counts the live slots."""

    traits: ClassVar = {"live_slots": traitlets.Int(-1).tag(sync=True, page=True)}

    def experiment_began(self, plan, revision):
        self.write("live_slots", len(plan.experiment.live))


features.FEATURES = (*features.FEATURES, LiveSlotsFeature)

import vene_widgets as vw

explorer = vw.explore("A b", "A c", "capitals", [vw.Slot(layer=0, position=-1)]).wait(60)
assert explorer.live_slots == 1, explorer.live_slots
assert explorer.get_state()["live_slots"] == 1
assert explorer.feature(LiveSlotsFeature).session is explorer
explorer.experiment = explorer.experiment.replace(slots=())
assert explorer.live_slots == 0, explorer.live_slots
text = explorer.wait(60).to_html("page.html").read_text("utf-8")
assert '"live_slots":0' in text
explorer.close()
print("shown")
'''


@pytest.fixture
def make(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter
) -> Iterator[Callable[[], vw.Explorer]]:
    made: list[weakref.ref[vw.Explorer]] = []

    def build() -> vw.Explorer:
        explorer = vw.explore(BASE, SOURCE, tiny_gpt2, [vw.Slot(layer=0, position=3)]).wait(30)
        made.append(weakref.ref(explorer))
        return explorer

    yield build
    for reference in made:
        if (explorer := reference()) is not None:
            explorer.close()


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_every_request_is_handled_by_one_feature(make: Callable[[], vw.Explorer]) -> None:
    explorer = make()
    handled = Counter(
        request
        for feature in explorer.features
        for request in (*feature.changes, *feature.questions)
    )
    own = {messages.SetExperiment, messages.Cancel}  # the session's
    assert set(handled) | own == set(get_args(get_args(messages.Request)[0]))
    assert set(handled.values()) == {1} and not own & set(handled)


def test_every_trait_and_kind_of_job_has_one_owner(make: Callable[[], vw.Explorer]) -> None:
    traits = [name for feature in FEATURES for name in feature.traits]
    assert len(traits) == len(set(traits)) > 5
    kinds = [job.name for feature in FEATURES for job in feature.jobs]
    # The most urgent first: a click before a comparison, a text, the map, and idle work.
    urgent = ["answer", "contrast", "generation", "sweep", "follow", "story"]
    idle = ["history", "verify", "pairs", "specification", "estimate", "placebo"]
    assert kinds == [*urgent, *idle, "lens", "attention", "circuit", "paths"]
    with pytest.raises(AssertionError):
        make().feature(MapFeature).write("answer", {})


def test_features_do_not_keep_an_explorer_alive(make: Callable[[], vw.Explorer]) -> None:
    explorer = make()
    explorer.worker.wait("verify", 30)
    reference, feature = weakref.ref(explorer), explorer.feature(AnswerFeature)
    gc.collect()
    gc.disable()  # there is no cycle to be found
    try:
        del explorer
        assert eventually(lambda: reference() is None)
    finally:
        gc.enable()
    with pytest.raises(ReferenceError, match="gone"):
        _ = feature.session


def test_a_running_job_keeps_its_explorer_alive(make: Callable[[], vw.Explorer]) -> None:
    explorer = make()
    explorer.worker.wait("verify", 30)
    running, gate, seen = threading.Event(), threading.Event(), list[str]()
    feature = explorer.feature(AnswerFeature)

    def job() -> Generator[None, None, None]:
        running.set()
        assert gate.wait(30)
        yield
        seen.append(feature.session.model.name)

    explorer.submit("story", job)
    assert running.wait(30)
    reference, name = weakref.ref(explorer), explorer.model.name
    del explorer
    gc.collect()
    assert reference() is not None
    gate.set()
    assert eventually(lambda: reference() is None)
    assert seen == [name]


def test_a_new_panel_is_one_class_and_one_line(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIAL], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("shown\n", 0), done.stderr


def test_an_explorer_in_a_cycle_is_collected_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the frames of a traceback. A collection clears weak references before it closes."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    explorer = vw.explore(BASE, SOURCE).wait(60)
    reference, worker = weakref.ref(explorer), explorer.worker
    cycle: list[object] = [explorer]
    cycle.append(cycle)
    worker.wait("verify", 30)  # a running job holds it
    del explorer, cycle
    for _ in range(100):  # so does the figure, while it is drawn
        gc.collect()
        if reference() is None:
            break
        time.sleep(0.05)
    assert reference() is None and unraisable == []
    worker.submit("answer", lambda: iter(()))  # pyright: ignore[reportArgumentType]
    assert not worker.is_busy("answer")  # it was closed
