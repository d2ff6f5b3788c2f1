"""Painter: draws figures in one child process instead of the kernel.

plotnine draws through pyplot's global state, which the user's cells may be using at the same time,
and drawing takes longer than an exact run. The two processes exchange messages over the child's
standard streams (`pipe`).
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from vene_widgets.errors import RequestError, error_text
from vene_widgets.explorer.painter.figure_process import (
    END_TIMEOUT,
    FigureProcess,
    ProcessFailure,
)
from vene_widgets.explorer.painter.orders import Drawing, FigureOrder, Picture

MAX_PICTURES = 64
"""Pictures cached, so that a repeated order costs nothing; the least recently used goes first."""

DRAW_TIMEOUT = 60.0
"""Seconds after which the start of a child, or a drawing, is given up and the child killed."""

CLOSED = "the figure process is closed"

OnDrawn = Callable[["Drawing | None", "str | None"], None]
"""Called with the drawing and None, or with None and the reason for the failure."""


class Painter:
    """Draws one figure at a time in a child process; per client the latest order wins.

    The child starts together with the painter, so that it has imported plotnine before the first
    order. If it dies it is restarted, and the order is tried once more. If it takes longer than the
    timeout it is killed, and the order fails; the next one gets a new child.

    `draw` calls `on_drawn` on the painter's thread, or on the caller's if the picture is cached or
    the painter is closed. What `on_drawn` raises is logged and reaches no other client.

    Args:
        timeout: seconds for the start of a child and for one drawing, each; an order fails after
            at most twice that.
    """

    def __init__(self, timeout: float = DRAW_TIMEOUT) -> None:
        self._timeout = timeout
        self._orders: OrderedDict[object, tuple[FigureOrder, OnDrawn]] = OrderedDict()
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._child: FigureProcess | None = None
        self._thread = threading.Thread(target=self._work, name="vene-painter", daemon=True)
        self._thread.start()

    @property
    def child(self) -> int | None:
        """Process id of the child; None if it is not running."""
        child = self._child
        return child.pid if child and child.is_running else None

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
        _deliver(on_drawn, picture, None if picture else CLOSED)

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
            child = self._child
            self._changed.notify_all()
        if child:
            child.kill()  # the thread may be waiting for its answer
        for on_drawn in queued:
            _deliver(on_drawn, None, CLOSED)
        if threading.current_thread() is not self._thread:  # an `on_drawn` may close the painter
            self._thread.join(timeout)

    def draw_and_wait(self, client: object, order: FigureOrder) -> Drawing:
        """Draw an order and wait for its drawing.

        After the queue it takes at most twice the timeout, and the time in which children end.

        No later order of the client replaces it.

        Raises:
            RequestError: it could not be drawn; the message gives the reason.
        """
        if threading.current_thread() is self._thread:  # an `on_drawn` orders another figure
            return _drawing_of(*self._try_to_paint(order))
        ready = threading.Event()
        answers: list[tuple[Drawing | None, str | None]] = []

        def on_drawn(drawing: Drawing | None, error: str | None) -> None:
            answers.append((drawing, error))
            ready.set()

        call = (client, object())  # of this call alone: a replaced order is never answered
        with self._changed:
            ahead = len(self._orders) + 1  # one may be under way
        limit = 2 * (self._timeout + END_TIMEOUT) * (ahead + 1)
        self.draw(call, order, on_drawn)
        if not ready.wait(limit):
            self.forget(call)
            raise RequestError(
                f"the figure could not be drawn: the figure process was busy for {limit:.3g} "
                "seconds."
            )
        return _drawing_of(*answers[0])

    def _work(self) -> None:
        """The thread: draw queued orders one after the other until the painter is closed."""
        self._start_early()
        # No order may be a local here: the frame would keep its client alive while idle.
        while self._draw_next():
            pass
        self._end_child()

    def _start_early(self) -> None:
        """Start the child before the first order; a failure is reported with that order."""
        try:
            self._ensure_child()
        except BaseException as error:  # the thread must serve orders all the same
            _logger.debug("%s", error_text(error))

    def _draw_next(self) -> bool:
        """Wait for an order, draw it and deliver it. Returns False if the painter is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._orders)
            if self._closed:
                return False
            client = next(iter(self._orders))
            order, on_drawn = self._orders.pop(client)
            # An equal order may have been drawn while this one was queued.
            drawing: Drawing | None = self._cached_picture(order)
        error = None
        if drawing is None:
            drawing, error = self._try_to_paint(order)
        if self._closed:
            _deliver(on_drawn, None, CLOSED)
            return False
        if isinstance(drawing, Picture):  # files are large and rarely ordered twice
            with self._changed:
                self._pictures[order.key] = drawing
                while len(self._pictures) > MAX_PICTURES:
                    self._pictures.popitem(last=False)
        _deliver(on_drawn, drawing, error)
        return True

    def _cached_picture(self, order: FigureOrder) -> Picture | None:
        """The cached picture of an equal order, now the most recently used. Call under the lock."""
        picture = self._pictures.get(order.key)
        if picture:
            self._pictures.move_to_end(order.key)
        return picture

    def _try_to_paint(self, order: FigureOrder) -> tuple[Drawing | None, str | None]:
        """Draw in the child; any error becomes a reason. Returns drawing and reason."""
        try:
            return self._paint(order)
        except BaseException as error:  # the thread must serve the next client
            self._end_child()
            return None, error_text(error)

    def _paint(self, order: FigureOrder) -> tuple[Drawing | None, str | None]:
        """Draw in the child; if it dies, try once more in a new one. Returns drawing and reason."""
        try:
            data = pickle.dumps(order)
        except Exception as error:
            return None, f"it cannot be sent to the figure process ({error_text(error)})"
        end = time.monotonic() + 2 * self._timeout
        reason = ""
        for attempt in range(2):
            if attempt and end - time.monotonic() < self._timeout:
                break
            try:
                answer = self._ensure_child(end).draw(data, self._limit(end))
            except ProcessFailure as failure:
                reason = str(failure)
                if self._closed or failure.timed_out:
                    break
                continue
            return (answer, None) if isinstance(answer, Drawing) else (None, str(answer))
        return None, reason

    def _limit(self, end: float) -> float:
        """Seconds for the next wait: the timeout, or what is left until `end`."""
        return max(0.0, min(self._timeout, end - time.monotonic()))

    def _ensure_child(self, end: float = float("inf")) -> FigureProcess:
        """The running child, started if there is none.

        Args:
            end: monotonic time at which the order is given up.

        Raises:
            ProcessFailure: none could be started.
        """
        if self._child is None or not self._child.is_running:
            self._end_child()
            with self._changed:  # `close` kills the child that it finds
                if self._closed:
                    raise ProcessFailure(CLOSED)
                self._child = child = FigureProcess()
            child.start(self._limit(end))
        return self._child

    def _end_child(self) -> None:
        """End the child if there is one and close its streams."""
        child, self._child = self._child, None
        if child is not None:
            child.end()


_logger = logging.getLogger(__name__)


def _drawing_of(drawing: Drawing | None, reason: str | None) -> Drawing:
    """A drawing, or the reason for its failure raised as an error."""
    if drawing is None:
        raise RequestError(f"the figure could not be drawn: {reason}.")
    return drawing


def _deliver(on_drawn: OnDrawn, drawing: Drawing | None, reason: str | None) -> None:
    """Call a client's callback; what it raises is logged."""
    try:
        on_drawn(drawing, reason)
    except BaseException as error:
        _logger.error("A picture could not be delivered: %s", error_text(error))
