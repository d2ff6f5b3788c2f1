"""The kernel's one painter, shared by all explorers."""

from __future__ import annotations

import threading

from vene_widgets.explorer.painter.painter import Painter


class _SharedPainter:
    """A painter and its clients, by `id`: the painter must not keep an explorer alive."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may close an explorer while this thread holds the lock.
        self.lock = threading.RLock()
        self.painter: Painter | None = None
        self.clients: set[int] = set()


_shared = _SharedPainter()


def acquire(client: object) -> Painter:
    """The shared painter; the first client starts it."""
    with _shared.lock:
        _shared.clients.add(id(client))
        if _shared.painter is None:
            _shared.painter = Painter()
        return _shared.painter


def release(client: object) -> None:
    """Drop a client's queued orders; the last client closes the painter."""
    release_id(id(client))


def release_id(client: int, timeout: float = 5.0) -> None:
    """`release` of a client that may be gone already.

    Args:
        client: its `id`.
        timeout: seconds to wait for the painter's thread.
    """
    with _shared.lock:
        _shared.clients.discard(client)
        painter = _shared.painter
        if painter is None:
            return
        if _shared.clients:
            painter.forget(client)
            return
        _shared.painter = None
    painter.close(timeout)  # outside the lock: it waits for the painter's thread
