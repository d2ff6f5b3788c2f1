"""Painter: draws figures in one child process instead of the kernel.

plotnine draws through pyplot's global state, which the user's cells may be using at the same time,
and drawing takes longer than an exact run. The two processes exchange messages over the child's
standard streams (`pipe`).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable

from vene_widgets.errors import RequestError
from vene_widgets.explorer.painter.orders import Drawing, FigureOrder, Picture
from vene_widgets.explorer.painter.pipe import receive, send

MAX_PICTURES = 64
"""Pictures cached, so that a repeated order costs nothing; the least recently used goes first."""

CLOSED = "the figure process is closed"

OnDrawn = Callable[["Drawing | None", "str | None"], None]
"""Called with the drawing and None, or with None and the reason for the failure."""


class Painter:
    """Draws one figure at a time in a child process; per client the latest order wins.

    The child starts together with the painter, so that it has imported plotnine before the first
    order. If it dies it is restarted; an order is tried twice.

    `draw` calls `on_drawn` on the painter's thread, or on the caller's if the picture is cached or
    the painter is closed.
    """

    def __init__(self) -> None:
        self._orders: OrderedDict[object, tuple[FigureOrder, OnDrawn]] = OrderedDict()
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="vene-painter", daemon=True)
        self._thread.start()

    @property
    def child(self) -> int | None:
        """Process id of the child; None if it is not running."""
        child = self._child
        return child.pid if child and child.poll() is None else None

    def draw(self, client: object, order: FigureOrder, on_drawn: OnDrawn) -> None:
        """Queue an order; it replaces the client's queued one.

        Args:
            client: who orders, any hashable value.
            order: what to draw.
            on_drawn: called once, unless a later order of the client replaces this one.
        """
        with self._changed:
            picture = self._cached_picture(order)
            if picture is None and not self._closed:
                self._orders[client] = (order, on_drawn)
                self._changed.notify_all()
                return
            self._orders.pop(client, None)
        on_drawn(picture, None if picture else CLOSED)

    def forget(self, client: object) -> None:
        """Drop a client's queued order."""
        with self._changed:
            self._orders.pop(client, None)

    def close(self, timeout: float = 5.0) -> None:
        """End the child and the thread; orders that are not drawn yet fail with `CLOSED`.

        Args:
            timeout: seconds to wait for the thread.
        """
        with self._changed:
            self._closed = True
            queued = [on_drawn for _, on_drawn in self._orders.values()]
            self._orders.clear()
            self._changed.notify_all()
        child = self._child
        if child:
            child.kill()  # the thread may be waiting for its answer
        for on_drawn in queued:
            on_drawn(None, CLOSED)
        self._thread.join(timeout)

    def draw_and_wait(self, client: object, order: FigureOrder) -> Drawing:
        """Draw an order and wait for its drawing.

        Raises:
            RequestError: it could not be drawn; the message gives the reason.
        """
        ready = threading.Event()
        answers: list[tuple[Drawing | None, str | None]] = []

        def on_drawn(drawing: Drawing | None, error: str | None) -> None:
            answers.append((drawing, error))
            ready.set()

        self.draw(client, order, on_drawn)
        ready.wait()
        drawing, error = answers[0]
        if drawing is None:
            raise RequestError(f"the figure could not be drawn: {error}")
        return drawing

    def _work(self) -> None:
        """The thread: draw queued orders one after the other until the painter is closed."""
        self._ensure_child()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._orders)
                if self._closed:
                    break
                client = next(iter(self._orders))
                order, on_drawn = self._orders.pop(client)
                # An equal order may have been drawn while this one was queued.
                drawing: Drawing | None = self._cached_picture(order)
            error = None
            if drawing is None:
                drawing, error = self._paint(order)
            if self._closed:
                on_drawn(None, CLOSED)
                break
            if isinstance(drawing, Picture):  # files are large and rarely ordered twice
                with self._changed:
                    self._pictures[order.key] = drawing
                    while len(self._pictures) > MAX_PICTURES:
                        self._pictures.popitem(last=False)
            on_drawn(drawing, error)
        self._end_child()

    def _cached_picture(self, order: FigureOrder) -> Picture | None:
        """The cached picture of an equal order, now the most recently used. Call under the lock."""
        picture = self._pictures.get(order.key)
        if picture:
            self._pictures.move_to_end(order.key)
        return picture

    def _paint(self, order: FigureOrder) -> tuple[Drawing | None, str | None]:
        """Draw in the child; if it dies, try once more in a new one. Returns drawing and error."""
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
        """The running child, started if there is none."""
        if self._child is None or self._child.poll() is not None:
            self._end_child()
            self._child = subprocess.Popen(
                [sys.executable, "-m", "vene_widgets.explorer.painter.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Without a window, whatever backend the user has chosen.
                env={**os.environ, "MPLBACKEND": "Agg"},
            )
        return self._child

    def _end_child(self) -> int | None:
        """End the child if there is one and close its streams. Returns its exit code."""
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        for stream in (child.stdin, child.stdout):
            if stream:
                with contextlib.suppress(OSError):  # closing flushes into a broken pipe
                    stream.close()
        return child.wait()
