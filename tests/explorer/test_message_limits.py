"""Messages that are wrong, too large or too many get one short reply each."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from explorer_testing import BASE

import vene_widgets as vw
from vene_widgets.explorer import Explorer
from vene_widgets.explorer.session import file_queue
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.wire import incoming


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "experiment",
        {},
        {"id": 7, "kind": "cancel", "more": nested(900)},
        {"id": "x", "kind": "experiment", "experiment": nested(20)},
        {"id": "x", "kind": "split", "text": "\ud800"},
        {"id": "x" * 10**6, "kind": "dance"},
        {"id": "x", "kind": "split", "text": "word " * 2 * 10**6},
        {"id": "x", "kind": "experiment", "experiment": {"base": "word " * 300_000}},
        {"id": "x", "kind": "experiment", "experiment": {"base": BASE, "slots": [{}] * 10**5}},
    ],
)
def test_every_message_gets_one_short_reply_at_once(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    replies: list[Any] = []
    monkeypatch.setattr(explorer, "send", lambda content, *_: replies.append(content))
    before = explorer.scene, explorer.answer, explorer.map
    start = time.process_time()
    explorer.receive(content)
    assert time.process_time() - start < 5  # seconds; it took half a minute
    assert len(replies) == 1 and not replies[0]["ok"]
    assert len(replies[0]["id"]) <= 200 and len(replies[0]["error"]) < 2000
    replies[0]["error"].encode()
    assert (explorer.scene, explorer.answer, explorer.map) == before


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "must be an object, got a NoneType"),
        ({"text": "\udc00"}, "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        ({"text": "x" * (incoming.MAX_CHARACTERS + 1)}, "this one has more"),
        ({"items": [0] * (incoming.MAX_ITEMS + 1)}, "this one has more"),
        ({"deep": nested(incoming.MAX_DEPTH + 1)}, "this one has more"),
    ],
)
def test_a_message_is_measured_before_anything_is_made_of_it(content: Any, rule: str) -> None:
    incoming.check_size({"text": "x" * 1000, "items": [0] * 1000, "deep": nested(20)})
    with pytest.raises(vw.RequestError, match=rule):
        incoming.check_size(content)


def test_many_downloads_have_one_thread_and_too_many_are_refused(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, replies = threading.Event(), []
    figure = explorer.feature(FigureFeature)
    monkeypatch.setattr(figure, "snapshot", lambda *_: gate.wait(30) and 1 / 0)
    monkeypatch.setattr(explorer, "send", lambda content, *_: replies.append(content))
    before = threading.active_count()
    for n in range(50):
        explorer.receive(
            {"id": f"d{n}", "kind": "take", "figure": "result", "format": "pdf", "dpi": 100}
        )
    assert threading.active_count() <= before + 1
    refused = [reply for reply in replies if not reply["ok"]]
    assert len(refused) == 50 - file_queue.MAX_WAITING - 1
    assert "files are waiting" in refused[0]["error"]
    gate.set()
    for _ in range(200):
        if len(replies) == 50:
            break
        time.sleep(0.02)
    assert {reply["id"] for reply in replies} == {f"d{n}" for n in range(50)}
