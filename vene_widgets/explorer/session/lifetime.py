# pyright: basic
# Basic: ipywidgets, comm and IPython are untyped.
"""How long an explorer lives: as long as a variable or an output shows it, and no longer.

ipywidgets and its comm keep every widget for ever. Ours are kept weakly until they are displayed.
A displayed one is held until it is closed, or until the cell that showed it runs again. IPython's
`Out` would keep it for ever too, so it is taken out of there at the same time.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from vene_widgets.explorer.painter import shared as shared_painter

if TYPE_CHECKING:
    from vene_widgets.explorer.session.worker import Worker


Session: TypeAlias = Any
"""A `session.Session`, which imports this module."""

_live: weakref.WeakSet[Session] = weakref.WeakSet()
_finalizers: weakref.WeakKeyDictionary[Session, weakref.finalize] = weakref.WeakKeyDictionary()

# Cell -> the execution that displayed them, and the explorers; None for hosts without cells.
_shown: dict[str | None, tuple[str | None, list[Session]]] = {}

# Those whose cell has run again: a late message of a vanishing view does not hold them anew.
_let_go: weakref.WeakSet[Session] = weakref.WeakSet()

_watches_cells = False


def hold_weakly(session: Session, worker: Worker) -> None:
    """Let a new explorer be collected when nothing refers to it; its parts then end with it."""
    reference = weakref.ref(session)
    comm, layout = session.comm, session.layout

    def handle(message: Any) -> None:
        live = reference()
        if live is not None:
            if not _is_shown(live) and live not in _let_go:
                show(live)  # somebody sees it, in another widget
            live._handle_msg(message)

    if comm is not None and hasattr(comm, "on_msg"):
        comm.on_msg(handle)
        _keep_events_on_main_thread(comm, handle)
    _instances().pop(session.model_id, None)
    finalizer = weakref.finalize(session, _release, id(session), worker, comm, layout)
    finalizer.atexit = False  # at exit the kernel closes everything
    _finalizers[session] = finalizer
    _live.add(session)
    _watch_cells()


def _keep_events_on_main_thread(comm: Any, handle: Callable[[Any], None]) -> None:
    """Handle messages on a subshell without IPython's events.

    Comms trigger `pre_execute` and `post_execute` around every message. On a subshell that is in
    the middle of a running cell, whose unfinished pyplot figures `post_execute` draws and closes.
    """
    on_main = comm.handle_msg

    def handle_msg(message: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            on_main(message)
        else:
            handle(message)

    comm.handle_msg = handle_msg


def show(session: Session) -> None:
    """Hold an explorer that is displayed, and let go those that the same cell displayed before."""
    cell, execution = _cell()
    _begin_cell(cell, execution)
    _, sessions = _shown.setdefault(cell, (execution, []))
    if all(other is not session for other in sessions):
        sessions.append(session)
    _let_go.discard(session)
    if session.comm is not None:
        _instances()[session.model_id] = session


def forget(session: Session) -> None:
    """Let go an explorer that was closed."""
    for _, sessions in list(_shown.values()):
        sessions[:] = [other for other in sessions if other is not session]
    _live.discard(session)
    _drop_outputs(session)
    finalizer = _finalizers.pop(session, None)
    if finalizer is not None:
        finalizer.detach()


def close_layout(session: Session) -> None:
    """Close the layout, a widget of its own, unless another widget has it too."""
    with contextlib.suppress(Exception):
        session.layout.close()


def _release(identity: int, worker: Worker, comm: Any, layout: Any) -> None:
    """End what an explorer leaves behind when it is collected; on any thread, without waiting."""
    worker.close(timeout=0)
    shared_painter.release_id(identity, timeout=0)
    for part in (layout, comm):
        with contextlib.suppress(Exception):
            part.close()


def _begin_cell(cell: str | None, execution: str | None) -> None:
    """Let go what an earlier execution of a cell displayed, unless another cell shows it too."""
    known, sessions = _shown.get(cell, (execution, []))
    if cell is None or known == execution:
        return
    del _shown[cell]
    for session in sessions:
        if not _is_shown(session):
            _let_go.add(session)
            _instances().pop(session.model_id, None)
            _drop_outputs(session)


def _is_shown(session: Session) -> bool:
    """Whether a cell that displayed an explorer has not run again."""
    return any(other is session for _, sessions in list(_shown.values()) for other in sessions)


def _drop_outputs(session: Session) -> None:
    """Take an explorer out of IPython's `Out` and its names `_1`, `_2`, ... for it."""
    shell = _shell()
    outputs: dict[int, Any] = getattr(shell, "user_ns", {}).get("_oh", {})
    for number in [number for number, value in outputs.items() if value is session]:
        del outputs[number]
        for names in (shell.user_ns, shell.user_ns_hidden):
            if names.get(f"_{number}") is session:
                del names[f"_{number}"]


def _instances() -> dict[str, Any]:
    """The dict in which ipywidgets holds every widget; its place depends on the version."""
    import ipywidgets

    module = sys.modules["ipywidgets.widgets.widget"]
    found = getattr(module, "_instances", None)
    return found if found is not None else getattr(ipywidgets.Widget, "widgets", {})


def _cell() -> tuple[str | None, str | None]:
    """Ids of the running cell and of its execution; None where the front end gives none."""
    shell = _shell()
    with contextlib.suppress(Exception):
        parent = shell.kernel.get_parent()
        return parent["metadata"].get("cellId"), parent["header"].get("msg_id")
    return None, None


def _shell() -> Any:
    """IPython's shell; None outside IPython."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _watch_cells() -> None:
    """Look at the models after every cell of the notebook."""
    global _watches_cells
    shell = _shell()
    if _watches_cells or shell is None:
        return
    _watches_cells = True
    shell.events.register("post_run_cell", _after_cell)


def _after_cell(*_: object) -> None:
    _begin_cell(*_cell())  # a cell that shows nothing any more
    for session in list(_live):
        with contextlib.suppress(Exception):  # a cell must not fail for what an explorer finds
            session.notice_changes()
