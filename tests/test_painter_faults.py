"""The painter under faults: every wait has a limit, every failure a reason, the next is served."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from vene_widgets.errors import RequestError
from vene_widgets.explorer.painter import figure_process, pipe
from vene_widgets.explorer.painter import painter as painter_module
from vene_widgets.explorer.painter.orders import Drawing, FigureOrder, Picture
from vene_widgets.explorer.painter.painter import CLOSED, Painter
from vene_widgets.tables import frames

TEXTS = [" Madrid", " Rome", " Paris"]

HOSTILE = '''
"""Themes for figure orders that misbehave in the figure process when they are added to a plot."""
import ctypes, os, sys, time

class Prints:
    def __radd__(self, plot):
        print("from Python" * 1000)
        sys.__stdout__.write("buffered" * 100)
        os.write(1, b"at the descriptor" * 1000)
        ctypes.CDLL(None).puts(b"from C" * 100)
        os.system("echo from a child process")
        sys.stdin.read()
        return plot

class Hangs:
    def __radd__(self, plot):
        time.sleep(600)

class HangsInAChild:
    def __radd__(self, plot):
        os.system(f"echo $$ > {os.path.dirname(__file__)}/pid; exec sleep 600")

class Ends:
    def __radd__(self, plot):
        os._exit(3)

class Raises:
    def __radd__(self, plot):
        raise SystemExit("a way out")

class Mute(Exception):
    def __str__(self):
        raise ValueError

class RaisesMute:
    def __radd__(self, plot):
        raise Mute

class Unreadable:
    def __reduce__(self):
        return (int, ("no number",))
'''


def order(key: str, theme: Any = "screen") -> FigureOrder:
    logits = torch.tensor([3.0, 1.0, 0.5])
    frame = frames.token_frame({"base": logits}, TEXTS.__getitem__, k=3)
    return FigureOrder(key, "token_heatmap", {"token_heatmap": frame}, {}, theme=theme)


class Desk:
    """Collects what the painter delivers."""

    def __init__(self) -> None:
        self.delivered: list[tuple[Drawing | None, str | None]] = []
        self.arrived = threading.Condition()

    def done(self, drawing: Drawing | None, error: str | None) -> None:
        with self.arrived:
            self.delivered.append((drawing, error))
            self.arrived.notify_all()

    def wait(self, count: int = 1) -> tuple[Drawing | None, str | None]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.delivered) >= count, 60)
            return self.delivered[count - 1]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of misbehaving themes, importable in the figure process too."""
    (tmp_path / "hostile_themes.py").write_text(HOSTILE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    import hostile_themes  # type: ignore[import-not-found]

    yield hostile_themes
    del sys.modules["hostile_themes"]


@pytest.fixture
def make() -> Iterator[Callable[..., Painter]]:
    made: list[Painter] = []

    def make(timeout: float = 30.0) -> Painter:
        made.append(Painter(timeout))
        return made[-1]

    yield make
    for painter in made:
        painter.close()
        assert not painter._thread.is_alive() and painter.child is None


def assert_serves(painter: Painter) -> None:
    """Another client gets its picture."""
    drawing = painter.draw_and_wait("next", order(f"next {time.monotonic()}"))
    assert isinstance(drawing, Picture) and drawing.png.startswith(b"\x89PNG")


def run_instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Start this code as the child."""
    monkeypatch.setattr(
        figure_process, "command", lambda marker: [sys.executable, "-c", code, marker.hex()]
    )


Make = Callable[..., Painter]


# ---- a child that cannot start ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit(7)", "the figure process ended with code 7 (no answer)"),
        ("import no_such_module", "the figure process ended with code 1 (no answer)"),
        ("print('x' * 10**6)", "the figure process ended with code 0 (no answer)"),
        ("import time; time.sleep(600)", "the figure process did not start within 0.7 seconds"),
        ("while True: print('x' * 1000)", "the figure process did not start within 0.7 seconds"),
        (
            "import sys, os\n"
            "os.write(1, bytes.fromhex(sys.argv[1]) + b'no message at all'); sys.exit(2)",
            "the figure process ended with code ",
        ),
        (
            "import sys, os\n"
            "os.write(1, bytes.fromhex(sys.argv[1]) + bytes([9] + 7 * [0]) + b'no pickle')\n"
            "import time; time.sleep(600)",
            "the figure process ended with code -9 (UnpicklingError: ",
        ),
    ],
    ids=["exits", "import", "prints and ends", "hangs", "prints for ever", "garbage", "no pickle"],
)
def test_a_child_that_does_not_start_fails_the_order_with_its_reason(
    make: Make, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    with monkeypatch.context() as patched:
        run_instead(patched, code)
        painter = make(timeout=0.7 if "within 0.7 seconds" in reason else 30.0)
        with pytest.raises(RequestError) as caught:
            painter.draw_and_wait("a", order("first"))
        assert str(caught.value).startswith(f"the figure could not be drawn: {reason}")
    painter._timeout = 30.0
    assert_serves(painter)


def test_a_system_without_processes_fails_the_order(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(figure_process, "command", lambda _marker: ["/no/such/python"])
        painter = make()
        with pytest.raises(RequestError, match=r"cannot be started \(FileNotFoundError: .*python"):
            painter.draw_and_wait("a", order("first"))
        assert painter._thread.is_alive()
    assert_serves(painter)


def test_a_broken_plotting_library_gives_its_reason(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plotnine.py").write_text("raise SystemExit('broken install')", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        painter = make()
        with pytest.raises(RequestError, match=r"could not start \(SystemExit: broken install\)"):
            painter.draw_and_wait("a", order("first"))
    assert_serves(painter)


# ---- a child that prints ------------------------------------------------------------------------


def test_prints_before_the_child_serves_are_dropped(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, ctypes, os, sys\n"
        "print('at start ' * 20_000, flush=True)\n"  # more than a pipe holds
        "os.write(1, bytes(8) + b'like a message')\n"
        "ctypes.CDLL(None).puts(b'from C, flushed later')\n"
        "sys.stdout.write('buffered')\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert_serves(make())


def test_prints_during_a_drawing_do_not_reach_the_answers(make: Make, hostile: Any) -> None:
    painter = make()
    one = painter.draw_and_wait("a", order("prints", hostile.Prints()))
    child = painter.child
    other = painter.draw_and_wait("a", order("quiet"))
    assert isinstance(one, Picture) and isinstance(other, Picture) and one.png == other.png
    assert painter.child == child


# ---- a drawing that hangs, dies or raises -------------------------------------------------------


@pytest.mark.parametrize("theme", ["Hangs", "HangsInAChild"])
def test_a_hung_drawing_is_stopped_and_the_next_client_served(
    make: Make, hostile: Any, theme: str, tmp_path: Path
) -> None:
    painter = make()
    assert_serves(painter)
    old, painter._timeout = painter.child, 1.0
    desk = Desk()
    painter.draw("b", order("hung", getattr(hostile, theme)()), desk.done)
    painter.draw("c", order("waits"), desk.done)
    assert desk.wait() == (None, "it took longer than 1 seconds")
    painter._timeout = 30.0
    late = desk.wait(2)[1]  # on a slow day the next order also runs out of its second
    assert late is None or "did not start within" in late or "took longer than" in late
    assert_serves(painter)
    assert painter.child not in (None, old)
    if theme == "HangsInAChild":
        grandchild = int((tmp_path / "pid").read_text())
        end = time.monotonic() + 5
        while _is_alive(grandchild) and time.monotonic() < end:
            time.sleep(0.01)
        assert not _is_alive(grandchild)


def test_waiting_for_a_hung_drawing_ends(make: Make, hostile: Any) -> None:
    painter = make()
    assert_serves(painter)
    painter._timeout = 0.8
    with pytest.raises(RequestError, match=r"drawn: it took longer than 0\.8 seconds"):
        painter.draw_and_wait("a", order("hung", hostile.Hangs()))


@pytest.mark.parametrize(
    ("theme", "reason"),
    [
        ("Ends", r"the figure process ended with code 3 \(no answer\)"),
        ("Raises", "SystemExit: a way out"),
        ("RaisesMute", "Mute, whose text cannot be shown"),
        ("Unreadable", "ValueError: invalid literal for int"),
    ],
)
def test_a_drawing_that_fails_gives_its_reason(
    make: Make, hostile: Any, theme: str, reason: str
) -> None:
    painter = make()
    with pytest.raises(RequestError, match=f"could not be drawn: {reason}"):
        painter.draw_and_wait("a", order(theme, getattr(hostile, theme)()))
    assert_serves(painter)


@pytest.mark.parametrize(
    "unpicklable",
    [lambda: 0, threading.Lock(), type("Local", (), {})()],
    ids=["a lambda", "a lock", "an object of a local class"],
)
def test_an_order_that_cannot_be_pickled_fails(make: Make, unpicklable: object) -> None:
    painter = make()
    with pytest.raises(RequestError, match="cannot be sent to the figure process"):
        painter.draw_and_wait("a", replace(order("odd"), options={"title": unpicklable}))
    assert_serves(painter)


class Bomb:
    """Ends the thread that pickles it."""

    def __reduce__(self) -> str:
        raise SystemExit("in pickle")


def test_an_order_that_ends_threads_ends_no_thread(make: Make) -> None:
    painter = make()
    with pytest.raises(RequestError, match="SystemExit: in pickle"):
        painter.draw_and_wait("a", replace(order("bomb"), options={"title": Bomb()}))
    assert_serves(painter)


# ---- clients that misbehave ---------------------------------------------------------------------


@pytest.mark.parametrize("raised", [ValueError("an observer"), SystemExit(4)])
def test_a_callback_that_raises_is_logged_and_the_next_client_served(
    make: Make, raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    painter, called = make(), Desk()

    def on_drawn(drawing: Drawing | None, error: str | None) -> None:
        called.done(drawing, error)
        raise raised

    with caplog.at_level(logging.ERROR):
        painter.draw("a", order("first"), on_drawn)
        assert called.wait()[1] is None
        painter.draw("a", order("first"), on_drawn)  # cached: on this thread
        assert len(called.delivered) == 2
        assert_serves(painter)
        painter.close()
        painter.draw("a", order("late"), on_drawn)
    assert called.delivered[2] == (None, CLOSED)
    assert caplog.text.count("could not be delivered") == 3


def test_a_callback_may_order_and_wait_for_another_figure(make: Make) -> None:
    painter, desk = make(), Desk()

    def on_drawn(_drawing: Drawing | None, _error: str | None) -> None:
        desk.done(painter.draw_and_wait("a", order("from the callback")), None)

    painter.draw("a", order("first"), on_drawn)
    assert isinstance(desk.wait()[0], Picture)


def test_a_callback_may_close_the_painter(make: Make) -> None:
    painter, desk = make(), Desk()

    def on_drawn(drawing: Drawing | None, error: str | None) -> None:
        painter.close()
        desk.done(drawing, error)

    painter.draw("a", order("first"), on_drawn)
    assert isinstance(desk.wait()[0], Picture)
    painter._thread.join(5)
    assert not painter._thread.is_alive()


def test_two_that_wait_as_one_client_both_get_their_drawing(make: Make) -> None:
    painter = make()
    got: list[Drawing] = []

    def wait(key: str) -> None:
        got.append(painter.draw_and_wait("the same client", order(key)))

    waiting = [threading.Thread(target=wait, args=(f"order {i}",)) for i in range(4)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(30)
    assert len(got) == 4


def test_waiting_behind_a_callback_that_hangs_ends(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(painter_module, "END_TIMEOUT", 0.1)
    painter, gate, begun = make(), threading.Event(), threading.Event()

    def on_drawn(_drawing: Drawing | None, _error: str | None) -> None:
        begun.set()
        assert gate.wait(30)

    painter.draw("a", order("first"), on_drawn)
    assert begun.wait(30)
    painter._timeout = 0.1
    with pytest.raises(RequestError, match=r"was busy for 0\.8 seconds"):
        painter.draw_and_wait("b", order("second"))
    painter._timeout = 30.0
    gate.set()
    assert_serves(painter)


# ---- ends ---------------------------------------------------------------------------------------


def test_closing_ends_a_hung_start(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "import time; time.sleep(600)")
    painter = make(timeout=30.0)
    end = time.monotonic() + 10
    while painter.child is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    desk = Desk()
    painter.draw("a", order("never"), desk.done)
    begun = time.monotonic()
    painter.close()
    assert time.monotonic() - begun < 5 and desk.delivered == [(None, CLOSED)]


@pytest.mark.parametrize("hangs", [False, True])
def test_the_child_ends_with_its_parent(hostile: Any, hangs: bool) -> None:
    assert hostile
    code = (
        "import time\n"
        "import hostile_themes\n"
        "import pandas as pd\n"
        "from vene_widgets.explorer.painter.orders import FigureOrder\n"
        "from vene_widgets.explorer.painter.painter import Painter\n"
        "painter = Painter()\n"
        "while painter.child is None: time.sleep(0.01)\n"
        f"theme = hostile_themes.Hangs() if {hangs} else 'screen'\n"
        "row = {'run': ['base'], 'token_id': [1], 'label': ['x'], 'probability': [1.0]}\n"
        "frames = {'token_heatmap': pd.DataFrame(row)}\n"
        "drawn = []\n"
        "order = FigureOrder('key', 'token_heatmap', frames, {}, theme=theme)\n"
        "painter.draw('a', order, lambda *answer: drawn.append(answer))\n"
        f"time.sleep(5 if {hangs} else 0)\n"
        f"while not drawn and not {hangs}: time.sleep(0.01)\n"
        f"assert bool(drawn) != {hangs}\n"
        "print(painter.child, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while _is_alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _is_alive(child)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that nobody reaps stays as a zombie.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_frame_without_columns_is_no_fault(make: Make) -> None:
    painter = make()
    bad = FigureOrder("bad", "token_heatmap", {"token_heatmap": pd.DataFrame()}, {})
    with pytest.raises(RequestError, match="could not be drawn: token_heatmap: the frame lacks"):
        painter.draw_and_wait("a", bad)
    assert_serves(painter)


# ---- the stream of a child ----------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, 15, 8191, 8192, 20_000])
@pytest.mark.parametrize("piece", [1, 7, 8192])
def test_what_is_printed_before_the_marker_is_skipped(before: int, piece: int) -> None:
    marker = bytes(range(16))
    data = marker[:9] * (before // 9) + marker[: before % 9] + marker + b"answers"

    class Pieces(io.RawIOBase):
        """A stream that gives a few bytes at a time."""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            nonlocal data
            given, data = data[: min(piece, len(buffer))], data[min(piece, len(buffer)) :]
            buffer[: len(given)] = given
            return len(given)

    stream: Any = io.BufferedReader(Pieces())
    pipe.skip_to(stream, marker)
    assert stream.read() == b"answers"


def test_a_stream_without_the_marker_ends() -> None:
    stream: Any = io.BufferedReader(io.BytesIO(b"x" * 50_000))
    with pytest.raises(EOFError):
        pipe.skip_to(stream, bytes(range(16)))
