"""The kernel's one painter, shared by all explorers."""

from __future__ import annotations

import threading

from vene_widgets.explorer.painter.painter import Painter


class _SharedPainter:
    """A painter and its clients, by `id`: the painter must not keep an explorer alive."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.painter: Painter | None = None
        self.clients: set[int] = set()


_shared = _SharedPainter()


def acquire(client: object) -> Painter:
    """The shared painter; the first client starts it."""
    with _shared.lock:
        if _shared.painter is None:
            _shared.painter = Painter()
        _shared.clients.add(id(client))
        return _shared.painter


def release(client: object) -> None:
    """Drop a client's queued orders; the last client closes the painter."""
    with _shared.lock:
        _shared.clients.discard(id(client))
        painter = _shared.painter
        if painter is None:
            return
        if _shared.clients:
            painter.forget(id(client))
            return
        _shared.painter = None
    painter.close()  # outside the lock: it waits for the painter's thread
