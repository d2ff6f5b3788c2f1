"""Chunks on other processes and machines: what runs where, and what happens if a worker dies."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError, shown
from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairChunk

if TYPE_CHECKING:
    from vene_widgets.sweeps.sweep import Event

QUEUED = 3
"""Chunks per worker that are handed out at a time: enough to keep it busy, few to cancel."""

CLUSTER_QUEUE = 200
"""Chunks that a cluster is handed out at a time."""

DEATHS = 3
"""How often workers may die one after the other before a chunk is given up."""


class Workers:
    """Somewhere to run chunks.

    Args:
        client: a `dask.distributed.Client`, or an executor of `concurrent.futures`.

    Attributes:
        shares_memory: whether chunks run in this process.
        threads: of torch in a worker; None for as many as dask gives it.
        handed_out: how many chunks are handed out at a time.

    Raises:
        RequestError: neither, or an executor that would hang.
    """

    def __init__(self, client: object) -> None:
        self.shares_memory = isinstance(client, ThreadPoolExecutor)
        self.threads: int | None = None
        self._own: ProcessPoolExecutor | None = None
        get_executor: Any = getattr(client, "get_executor", None)
        if get_executor is not None and hasattr(client, "scheduler_info"):
            # The number of a cluster's workers may change, and grows only while chunks wait.
            self.handed_out = CLUSTER_QUEUE
            if not _workers_of(client):
                warnings.warn("client has no workers yet: chunks wait for them", stacklevel=2)
            self._executor: Any = get_executor(pure=False, retries=DEATHS)
            return
        if not hasattr(client, "submit"):
            raise RequestError(
                "client must be a dask.distributed.Client or an executor of concurrent.futures, "
                f"got {shown(client)}."
            )
        self._executor = client
        self._count = int(getattr(client, "_max_workers", 0) or os.cpu_count() or 1)
        self.handed_out = QUEUED * self._count
        if isinstance(client, ProcessPoolExecutor):
            context: Any = getattr(client, "_mp_context", None)
            if context is not None and context.get_start_method() == "fork":
                raise RequestError(
                    "client is a ProcessPoolExecutor that forks, in which torch's threads may "
                    "hang: make it with mp_context=multiprocessing.get_context('spawn')."
                )
            self.threads = max(1, (os.cpu_count() or 1) // self._count)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Hand out a call."""
        return self._executor.submit(function, *arguments)

    def replace_broken(self) -> bool:
        """Start new processes after some died; whether that is possible."""
        if not isinstance(self._executor, ProcessPoolExecutor):
            return False
        import multiprocessing

        self.close()
        spawn = multiprocessing.get_context("spawn")
        self._own = ProcessPoolExecutor(self._count, mp_context=spawn)
        self._executor = self._own
        return True

    def close(self) -> None:
        """Stop the processes that were started here; the user's own go on."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)
            self._own = None


def _workers_of(client: Any) -> int:
    """How many workers a dask client has."""
    try:
        info = client.scheduler_info(n_workers=-1)  # newer ones list five unless they are told
    except TypeError:
        info = client.scheduler_info()
    return len(info["workers"])


def run_there(
    workers: Workers,
    calls: Sequence[tuple[PairChunk, Callable[..., Any], tuple[Any, ...]]],
    cancel: Event | None,
) -> Iterator[tuple[PairChunk, PairAnswers, dict[str, str]]]:
    """Run chunks on workers, and give each as it is done.

    A worker that dies costs the chunks that it ran: they run again elsewhere.

    Args:
        workers: where.
        calls: of each chunk, the function and its arguments.
        cancel: when set, no more are handed out, and the iterator ends.

    Raises:
        RequestError: a chunk failed, or killed its worker `DEATHS` times.
    """
    waiting = list(reversed(calls))
    running: dict[Future[Any], tuple[PairChunk, Callable[..., Any], tuple[Any, ...]]] = {}
    breaks = 0  # since the last chunk that came through
    try:
        while waiting or running:
            if cancel and cancel.is_set():
                return
            while waiting and len(running) < workers.handed_out:
                call = waiting.pop()
                running[workers.submit(call[1], *call[2])] = call
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            broken: list[tuple[PairChunk, Callable[..., Any], tuple[Any, ...]]] = []
            for future in done:
                call = running.pop(future)
                try:
                    answers, notes = future.result()
                except BrokenExecutor:
                    broken.append(call)
                    continue
                except Exception as error:
                    if type(error).__name__ != "KilledWorker":
                        raise
                    raise _too_deadly(call[0]) from None
                breaks = 0
                yield call[0], answers, notes
            if broken:
                # Nothing that was handed out is left of a broken pool.
                broken += running.values()
                running.clear()
                breaks += 1
                if breaks >= DEATHS:
                    raise _too_deadly(broken[0][0])
                if not workers.replace_broken():
                    raise RequestError(
                        "client broke while it ran chunks. With folder=, what is done is kept: run "
                        "again with a new one to go on."
                    )
                warnings.warn(
                    f"a worker process died: {len(broken)} chunks run again in new processes",
                    stacklevel=2,
                )
                waiting += reversed(broken)
    finally:
        for future in running:
            future.cancel()
        workers.close()


def _too_deadly(chunk: PairChunk) -> RequestError:
    """The error of a chunk that kills its workers."""
    rows = chunk.rows
    return RequestError(
        f"workers died again and again while they ran pairs {rows[0].pair} to {rows[-1].pair}, as "
        f"they do without enough memory: choose pairs_per_chunk below {len(rows)}."
    )
