"""The painter: pictures from a child process, which is restarted if it dies."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from vene_widgets.errors import RequestError
from vene_widgets.explorer.painter.drawing import draw
from vene_widgets.explorer.painter.orders import Drawing, FigureOrder, Picture
from vene_widgets.explorer.painter.painter import CLOSED, Painter
from vene_widgets.explorer.painter.shared import acquire, release
from vene_widgets.tables import frames

TEXTS = [" Madrid", " Rome", " $x$", "<b>", "\n", " Paris"]


def token_frame(shift: float = 0.0) -> pd.DataFrame:
    logits = torch.tensor([3.0, 1.0, 0.5, 0.2, 0.1, shift])
    return frames.token_frame({"base": logits, "source": logits.flip(0)}, TEXTS.__getitem__, k=4)


def order(key: str, shift: float = 0.0, kind: str = "token_heatmap") -> FigureOrder:
    return FigureOrder(key, kind, {kind: token_frame(shift)}, {})


class Desk:
    """Collects what the painter delivers."""

    def __init__(self) -> None:
        self.delivered: list[tuple[Drawing | None, str | None]] = []
        self.arrived = threading.Condition()

    def done(self, drawing: Drawing | None, error: str | None) -> None:
        with self.arrived:
            self.delivered.append((drawing, error))
            self.arrived.notify_all()

    def wait(self, count: int = 1) -> tuple[Picture | None, str | None]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.delivered) >= count, 60)
            drawing, error = self.delivered[count - 1]
            assert drawing is None or isinstance(drawing, Picture)
            return drawing, error


@pytest.fixture(scope="module")
def painter() -> Iterator[Painter]:
    made = Painter()
    yield made
    made.close()
    assert made.child is None


def test_a_picture_is_a_png_of_the_said_size(painter: Painter) -> None:
    desk = Desk()
    painter.draw("a", order("first"), desk.done)
    picture, error = desk.wait()
    assert error is None and picture is not None
    assert picture.png.startswith(b"\x89PNG")
    assert 100 < picture.width < 2000 and 100 < picture.height < 2000
    assert "Madrid" in picture.alt


def test_the_same_order_is_not_drawn_again(painter: Painter) -> None:
    desk = Desk()
    painter.draw("a", order("same", 0.3), desk.done)
    first, _ = desk.wait()
    again = Desk()
    painter.draw("a", order("same", 0.3), again.done)
    assert again.delivered == [(first, None)]  # at once, the very same picture


class Slow(Painter):
    """Draws nothing, in a thread as a painter does: each order waits until the test lets it end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Semaphore(0)
        super().__init__()

    def _ensure_child(self) -> Any:
        return None

    def _paint(self, order: FigureOrder) -> tuple[Picture | None, str | None]:
        self.begun.append(order.key)
        assert self.may_end.acquire(timeout=60)
        return Picture(order.key.encode(), 1, 1, ""), None


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    for _ in range(20):
        made.may_end.release()
    made.close()


def wait_begun(slow: Slow, count: int) -> None:
    end = time.monotonic() + 60
    while len(slow.begun) < count:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_order_that_waits_behind_its_equal_is_not_drawn(slow: Slow) -> None:
    desk = Desk()
    for client in ("a", "a", "b"):
        slow.draw(client, order("equal"), desk.done)
        wait_begun(slow, 1)
    slow.may_end.release()
    desk.wait(3)
    assert slow.begun == ["equal"]
    assert len({id(picture) for picture, _ in desk.delivered}) == 1


def test_of_many_orders_of_a_client_only_the_latest_is_drawn(slow: Slow) -> None:
    desk, dropped = Desk(), Desk()
    slow.draw("a", order("begun"), desk.done)
    wait_begun(slow, 1)
    for key in ("second", "third"):
        slow.draw("a", order(key), dropped.done)
    slow.draw("a", order("latest"), desk.done)
    slow.draw("b", order("of another"), desk.done)
    for _ in range(3):
        slow.may_end.release()
    desk.wait(3)
    assert slow.begun == ["begun", "latest", "of another"] and dropped.delivered == []


def test_a_kept_picture_supersedes_what_its_client_waits_for(slow: Slow) -> None:
    desk, dropped = Desk(), Desk()
    slow.may_end.release()
    slow.draw("a", order("kept"), desk.done)
    desk.wait()
    slow.draw("b", order("busy"), desk.done)
    wait_begun(slow, 2)
    slow.draw("a", order("waiting"), dropped.done)
    slow.draw("a", order("kept"), desk.done)
    slow.may_end.release()
    slow.may_end.release()
    desk.wait(3)
    slow.draw("a", order("last"), desk.done)
    desk.wait(4)
    assert slow.begun == ["kept", "busy", "last"] and dropped.delivered == []


def test_the_least_recently_used_picture_is_forgotten(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vene_widgets.explorer.painter.painter.MAX_PICTURES", 2)
    desk = Desk()
    for count, key in enumerate(["one", "two", "one", "three", "one", "two"], 1):
        slow.may_end.release()
        slow.draw("a", order(key), desk.done)
        desk.wait(count)
    assert slow.begun == ["one", "two", "three", "two"]


def test_a_dead_child_is_replaced_and_the_order_drawn(painter: Painter) -> None:
    desk = Desk()
    painter.draw("a", order("before"), desk.done)
    desk.wait()
    old = painter.child
    assert old is not None
    os.kill(old, signal.SIGKILL)
    painter.draw("a", order("after", 0.7), desk.done)
    picture, error = desk.wait(2)
    assert error is None and picture is not None
    assert painter.child not in (None, old)


def test_a_figure_that_cannot_be_drawn_gives_its_reason(painter: Painter) -> None:
    desk = Desk()
    painter.draw(
        "a", FigureOrder("bad", "token_heatmap", {"token_heatmap": pd.DataFrame()}, {}), desk.done
    )
    picture, error = desk.wait()
    assert picture is None and error and error.startswith("token_heatmap: the frame lacks")
    painter.draw("a", order("fine again", 0.9), desk.done)
    assert desk.wait(2)[1] is None


def test_a_superseded_order_is_dropped(painter: Painter) -> None:
    desk, dropped = Desk(), Desk()
    painter.draw("other", order("busy", 0.11), desk.done)
    painter.draw("a", order("superseded", 0.12), dropped.done)
    painter.draw("a", order("latest", 0.13), desk.done)
    desk.wait(2)
    assert dropped.delivered == []


def test_paint_closes_its_figures() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw(order("here"))
    assert plt.get_fignums() == before


@pytest.mark.parametrize("theme", ["screen", "paper"])
def test_files_are_made_of_an_order_and_not_kept(painter: Painter, theme: str) -> None:
    wanted = replace(order(f"files {theme}"), formats=("png", "svg", "pdf"), dpi=60, theme=theme)
    one, other = (painter.draw_and_wait("a", wanted) for _ in range(2))
    assert list(one.files) == ["png", "svg", "pdf"] and one == other and one is not other
    starts = [one.files[name][:4] for name in one.files]
    assert starts == [b"\x89PNG", b"<?xm", b"%PDF"]
    assert b"<title>" in one.files["svg"]
    (width,) = struct.unpack(">I", one.files["png"][16:20])
    assert (width == 195) == (theme == "paper")  # 3.25 inches


def test_a_file_that_cannot_be_drawn_raises_its_reason(painter: Painter) -> None:
    empty = FigureOrder("none", "token_heatmap", {"token_heatmap": pd.DataFrame()}, {}, ("pdf",))
    with pytest.raises(RequestError, match=r"could not be drawn.*lacks the columns"):
        painter.draw_and_wait("a", empty)
    with pytest.raises(RequestError, match=r"theme 'print'.*'screen', 'dark', 'paper', 'slide'"):
        painter.draw_and_wait("a", replace(order("theme"), formats=("pdf",), theme="print"))


def test_waiting_for_a_file_ends_when_the_painter_closes(slow: Slow) -> None:
    failed: list[str] = []

    def wait(name: str) -> None:
        with pytest.raises(RequestError, match=CLOSED):
            slow.draw_and_wait(name, order(name))
        failed.append(name)

    waiting = [threading.Thread(target=wait, args=(name,)) for name in ("drawn", "queued")]
    waiting[0].start()
    wait_begun(slow, 1)
    waiting[1].start()
    while not slow._orders:
        time.sleep(0.005)
    closing = threading.Thread(target=slow.close)
    closing.start()
    while not slow._closed:
        time.sleep(0.005)
    slow.may_end.release()  # what is being drawn ends after the close
    for thread in (closing, *waiting):
        thread.join(30)
    assert sorted(failed) == ["drawn", "queued"]


def test_the_last_client_ends_the_shared_painter() -> None:
    one: Any = object()
    two: Any = object()
    painter = acquire(one)
    assert acquire(two) is painter
    desk = Desk()
    painter.draw(id(one), order("shared"), desk.done)
    desk.wait()
    child = painter.child
    release(one)
    assert painter.child == child
    release(two)
    assert painter.child is None
    for _ in range(50):
        if not _alive(child):
            break
        time.sleep(0.1)
    assert not _alive(child)


def _alive(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    return True
