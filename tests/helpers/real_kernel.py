"""A real ipykernel, spoken to as a front end does: cells, widget messages, subshells."""

from __future__ import annotations

import json
import os
import queue
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

CELL_SECONDS = 600
"""Limit of every wait; a busy machine must not fail a test."""

MEASURES = """
import gc, os, pathlib, sys, threading

def _resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024

def _children():
    tasks = pathlib.Path("/proc/self/task").iterdir()
    return sum(len((task / "children").read_text().split()) for task in tasks)

def _files():
    found = []
    for handle in pathlib.Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(handle))
        except OSError:
            pass
    return len(found)

def _counts():
    gc.collect()
    from comm import get_comm_manager
    registry = sys.modules.get("ipywidgets.widgets.widget")
    kinds = [type(one) for one in gc.get_objects()]
    ours = [kind for kind in kinds if str(kind.__module__).startswith("vene_widgets.explorer")]
    names = [kind.__name__ for kind in ours]
    return {
        "MB": round(_resident(), 1),
        "threads": threading.active_count(),
        "children": _children(),
        "files": _files(),
        "comms": len(get_comm_manager().comms),
        "widgets": len(registry._instances) if registry else 0,
        "explorers": names.count("Explorer"),
        "workers": names.count("Worker"),
        "explorer objects": len(names),
    }
"""
"""Defines `_counts()` in a kernel: what an explorer could leave behind."""

FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}
"""glibc keeps a heap for every few threads, whose free pages would hide what is really in use."""


class Kernel:
    """One kernel and its client.

    Attributes:
        states: per comm, everything that was written to its traits, in the order of arrival.
        replies: per comm, the replies to requests, in the order of arrival.
    """

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        self.manager = KernelManager(transport="ipc")
        self.manager.ip = f"{self._home.name}/kernel"
        self.manager.start_kernel(env={**os.environ, "IPYTHONDIR": self._home.name, **FEW_ARENAS})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=CELL_SECONDS)
        self.states: dict[str, list[dict[str, Any]]] = {}
        self.replies: dict[str, list[dict[str, Any]]] = {}
        self.run(MEASURES)

    def start(self, code: str, cell: str | None = None) -> Callable[[], str]:
        """Start a cell; the returned function waits for its end and gives what it printed.

        Args:
            code: of the cell.
            cell: its id in a notebook; a cell of the same id is the same cell, run again.
        """
        message = self.client.session.msg(
            "execute_request",
            {
                "code": code,
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": True,
            },
            metadata={} if cell is None else {"cellId": cell},
        )
        self.client.shell_channel.send(message)
        return lambda: self._printed(message["header"]["msg_id"])

    def run(self, code: str, cell: str | None = None) -> str:
        """Run a cell and return what it printed; its exception fails the test."""
        return self.start(code, cell)()

    def value(self, expression: str) -> Any:
        """The value of an expression, which JSON can hold."""
        return json.loads(self.run(f"import json\nprint(json.dumps({expression}))"))

    def subshell(self) -> str:
        """Make a subshell, which handles messages while a cell runs."""
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=CELL_SECONDS)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return str(reply["content"]["subshell_id"])

    def send(self, comm: str, subshell: str | None = None, **request: Any) -> None:
        """Send an explorer a request, as its view does."""
        data = {"method": "custom", "content": request}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def listen(self, until: Callable[[], bool], seconds: float = CELL_SECONDS) -> bool:
        """Read what the kernel publishes until a condition holds; False if the time ran out."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            try:
                self._note(self.client.get_iopub_msg(timeout=min(left, 0.2)))
            except queue.Empty:
                continue
        return True

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self._home.cleanup()

    def _printed(self, request: str) -> str:
        """Everything a cell printed, once the kernel is idle again."""
        printed: list[str] = []
        failed: list[str] = []
        is_idle = False
        end = time.monotonic() + CELL_SECONDS
        while not is_idle:
            assert time.monotonic() < end, f"a cell has run for {CELL_SECONDS} seconds"
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                assert self.manager.is_alive(), "the kernel has died"
                continue
            self._note(message)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif kind == "error":
                failed.append("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                is_idle = True
        assert not failed, "\n".join(failed)
        return "".join(printed)

    def _note(self, message: dict[str, Any]) -> None:
        if message["msg_type"] != "comm_msg":
            return
        comm, data = message["content"]["comm_id"], message["content"]["data"]
        if data.get("method") == "update":
            self.states.setdefault(comm, []).append(data["state"])
        elif data.get("method") == "custom":
            self.replies.setdefault(comm, []).append(data["content"])


@contextmanager
def open_kernel() -> Iterator[Kernel]:
    """A kernel, ended on the way out."""
    made = Kernel()
    try:
        yield made
    finally:
        made.close()
