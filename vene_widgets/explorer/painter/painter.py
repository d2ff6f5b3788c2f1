"""Figures are drawn by plotnine in one child process, never in the notebook's own.

plotnine draws through pyplot's global state, which the user's cells may be using at the same
moment, and a figure takes longer than an answer may. `Painter` is this process's half; running the
module is the child's. They speak over the child's standard streams, one pickled message after its
length.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, choose

if TYPE_CHECKING:
    import pandas as pd

KEPT_PICTURES = 64
"""Pictures kept, so that the same figure asked for twice costs nothing."""

THEMES = ("screen", "paper")
"""Names of themes: the figures' own, and `theme_paper`."""

CLOSED = "the figure process is closed"


@dataclass(frozen=True)
class Order:
    """One figure to draw: frames by the name of the figure function that draws them.

    Attributes:
        key: equal keys mean equal pictures.
        kind: a `FigureKind`.
        frames: the frames it is drawn from, one per panel.
        options: keyword arguments for the figure functions.
        formats: files to make of it, `figures.FORMATS`; none for a picture of the screen.
        dpi: of a PNG among them.
        theme: one of `THEMES`, or a plotnine theme.
    """

    key: str
    kind: str
    frames: dict[str, pd.DataFrame]
    options: dict[str, Any]
    formats: tuple[str, ...] = ()
    dpi: float = 300
    theme: Any = "screen"


@dataclass(frozen=True)
class Files:
    """A drawn figure as files: format -> bytes."""

    files: dict[str, bytes]


@dataclass(frozen=True)
class Picture:
    """A drawn figure: PNG bytes, its size in CSS pixels, and a text that says what it shows."""

    png: bytes
    width: int
    height: int
    alt: str


Drawing = Picture | Files

Done = Callable[[Any, str | None], None]
"""Told the `Picture`, or the `Files` that were ordered; or None and the reason."""


class Painter:
    """Draws one figure at a time in a child process; per client the latest order wins.

    The child starts with the painter, so that it is warm when it is needed, and is started again
    when it dies; an order is tried twice.
    """

    def __init__(self) -> None:
        self._orders: OrderedDict[object, tuple[Order, Done]] = OrderedDict()
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="vene-painter", daemon=True)
        self._thread.start()

    @property
    def child(self) -> int | None:
        """Process id of the child, None when it is not running."""
        child = self._child
        return child.pid if child and child.poll() is None else None

    def draw(self, client: object, order: Order, done: Done) -> None:
        """Queue an order; an older one of the same client that has not begun is dropped."""
        with self._changed:
            picture = self._recall(order)
            if picture is None and not self._closed:
                self._orders[client] = (order, done)
                self._changed.notify_all()
                return
            self._orders.pop(client, None)
        done(picture, None if picture else CLOSED)

    def forget(self, client: object) -> None:
        """Drop what a client has queued."""
        with self._changed:
            self._orders.pop(client, None)

    def close(self, timeout: float = 5.0) -> None:
        """End the child and the thread."""
        with self._changed:
            self._closed = True
            dropped = [done for _, done in self._orders.values()]
            self._orders.clear()
            self._changed.notify_all()
        child = self._child
        if child:
            child.kill()
        for done in dropped:
            done(None, CLOSED)
        self._thread.join(timeout)

    def make(self, client: object, order: Order) -> Any:
        """Draw an order and wait for it.

        Raises:
            RequestError: it could not be drawn; the message says why.
        """
        ready = threading.Event()
        answers: list[tuple[Any, str | None]] = []

        def done(drawing: Any, error: str | None) -> None:
            answers.append((drawing, error))
            ready.set()

        self.draw(client, order, done)
        ready.wait()
        drawing, error = answers[0]
        if drawing is None:
            raise RequestError(f"the figure could not be drawn: {error}")
        return drawing

    def _work(self) -> None:
        self._ensure_child()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._orders)
                if self._closed:
                    break
                client = next(iter(self._orders))
                order, done = self._orders.pop(client)
                picture, error = self._recall(order), None  # drawn while this one was waiting?
            if picture is None:
                picture, error = self._paint(order)
            if self._closed:
                done(None, CLOSED)
                break
            if isinstance(picture, Picture):  # files are large, and seldom wanted twice
                with self._changed:
                    self._pictures[order.key] = picture
                    while len(self._pictures) > KEPT_PICTURES:
                        self._pictures.popitem(last=False)
            done(picture, error)
        self._end_child()

    def _recall(self, order: Order) -> Picture | None:
        """The picture of an equal order, if it is kept. Call it under the lock."""
        picture = self._pictures.get(order.key)
        if picture:
            self._pictures.move_to_end(order.key)
        return picture

    def _paint(self, order: Order) -> tuple[Drawing | None, str | None]:
        """Have the child draw; when it died over it, once more in a new one."""
        reason = ""
        for _ in range(2):
            child = self._ensure_child()
            try:
                send(child.stdin, order)
                answer = receive(child.stdout)
            except (OSError, EOFError, ValueError) as error:
                code = self._end_child()
                reason = f"the figure process ended with code {code} ({error or 'no answer'})"
                if self._closed:
                    break
                continue
            return (answer, None) if isinstance(answer, Drawing) else (None, str(answer))
        return None, reason

    def _ensure_child(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end_child()
            self._child = subprocess.Popen(
                [sys.executable, "-m", "vene_widgets.explorer.painter.painter"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # pyplot must never open a window for it.
                env={**os.environ, "MPLBACKEND": "Agg"},
            )
        return self._child

    def _end_child(self) -> int | None:
        """End the child if there is one, and close its streams; its exit code."""
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        for stream in (child.stdin, child.stdout):
            if stream:
                with contextlib.suppress(OSError):  # what was not yet written is of no use now
                    stream.close()
        return child.wait()


_shared: dict[str, Any] = {"painter": None, "clients": set()}
_shared_lock = threading.Lock()


def hire(client: object) -> Painter:
    """The process's one painter, started for the first client."""
    with _shared_lock:
        if _shared["painter"] is None:
            _shared["painter"] = Painter()
        _shared["clients"].add(id(client))
        return _shared["painter"]


def dismiss(client: object) -> None:
    """Give the painter back; the last client's leaving ends it."""
    with _shared_lock:
        _shared["clients"].discard(id(client))
        painter = _shared["painter"]
        if _shared["clients"] or painter is None:
            if painter:
                painter.forget(id(client))
            return
        _shared["painter"] = None
    painter.close()


def send(stream: IO[bytes] | None, message: object) -> None:
    """Write one message: its length as 8 bytes, then its pickle."""
    if stream is None:
        raise EOFError("no stream")
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> Any:
    """Read one message; EOFError when the other side is gone."""
    if stream is None:
        raise EOFError("no stream")
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError("stream ended")
    (length,) = struct.unpack("<Q", head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("stream ended")
    return pickle.loads(data)  # noqa: S301  # from our own child, through a private pipe


def compose(order: Order) -> Any:
    """The plotnine figure of an order: one plot, or two side by side for `result`."""
    from vene_widgets import figures

    look = _theme(order)
    if order.kind == "result":
        heatmap = figures.token_heatmap(order.frames["token_heatmap"])
        panel = figures.difference_panel(order.frames["difference_panel"], **order.options)
        return (
            figures.beside(heatmap, panel)
            if look is None
            else figures.beside(heatmap + look, panel + look)
        )
    plot = getattr(figures, order.kind)(order.frames[order.kind], **order.options)
    return plot if look is None else plot + look


def _theme(order: Order) -> Any:
    """What is added to an order's figures; None for nothing. Two papers' figures share a width."""
    if not isinstance(order.theme, str):
        return order.theme
    if choose(order.theme, THEMES, "theme", "A plotnine theme will do too.") == "screen":
        return None
    from vene_widgets.figures.paper import theme_paper

    return theme_paper(columns=1 if order.kind == "result" else None)


def paint(order: Order, dpi: int = 110) -> Drawing:
    """Draw an order with plotnine: the files that it names, else the screen's picture."""
    from vene_widgets import figures

    if order.formats:
        return files(order)
    png = figures.png(compose(order), dpi=dpi)
    width, height = struct.unpack(">II", png[16:24])  # the PNG header's own size fields
    alt = " ".join(
        figures.alt_text(frame, kind, **(order.options if kind != "token_heatmap" else {}))
        for kind, frame in order.frames.items()
    )
    return Picture(png, round(width * 96 / dpi), round(height * 96 / dpi), alt)


def files(order: Order) -> Files:
    """Draw the files that an order names."""
    from vene_widgets import figures

    plot = compose(order)
    return Files({name: figures.as_bytes(plot, name, order.dpi) for name in order.formats})


def _serve() -> None:
    """The child: import plotnine, then draw what is asked until the parent is gone."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not reach the parent as an answer
    import vene_widgets.figures  # noqa: F401  # the slow import, done before the first order

    # What was imported is never garbage, and looking for it there takes longer than a figure does.
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        try:
            order = receive(stdin)
        except EOFError:
            return
        try:
            answer: object = paint(order)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        send(stdout, answer)
        gc.collect()  # a figure's objects hold each other; nobody waits just now


if __name__ == "__main__":
    # Run as `-m`, this module is `__main__`: use the importable one, whose classes unpickle.
    from vene_widgets.explorer.painter.painter import _serve as serve

    serve()
