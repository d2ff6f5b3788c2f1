"""Worker: one thread that runs the model, in jobs that can be interrupted between steps."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Generator

Job = Callable[[], Generator[None, None, None]]
"""Makes a generator; between two of its steps the worker may run a more urgent job."""


class Worker:
    """Runs jobs on its own thread, one step at a time.

    There is at most one job per kind. A job of a more urgent kind interrupts a running one between
    two steps; the interrupted job continues afterwards. A new job of a kind replaces the old one,
    queued or running: its generator is closed, so its `finally` blocks run.

    Args:
        kinds: the kinds of job, most urgent first.
        on_failed: called with `(kind, error)` when a job raises; the worker continues.
    """

    def __init__(self, kinds: tuple[str, ...], on_failed: Callable[[str, Exception], None]) -> None:
        self._kinds = kinds
        self._on_failed = on_failed
        self._queued: dict[str, Job] = {}
        self._running: dict[str, Generator[None, None, None]] = {}
        self._cancelled: set[str] = set()  # running kinds to close at their next step
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="vene-worker", daemon=True)
        self._thread.start()
        _workers.add(self)

    def submit(self, kind: str, job: Job) -> None:
        """Queue a job in place of any other of its kind. A closed worker ignores it."""
        with self._changed:
            if self._closed:
                return
            self._queued[kind] = job
            if kind in self._running:
                self._cancelled.add(kind)
            self._changed.notify_all()

    def cancel(self, kind: str) -> None:
        """Drop the queued job of a kind; a running one ends before its next step."""
        with self._changed:
            self._queued.pop(kind, None)
            if kind in self._running:
                self._cancelled.add(kind)
            self._changed.notify_all()

    def is_busy(self, kind: str) -> bool:
        """Whether a job of this kind is queued or running."""
        with self._changed:
            return kind in self._queued or kind in self._running

    def wait(self, kind: str, timeout: float | None = None) -> bool:
        """Block until no job of this kind is queued or running, or the worker is closed.

        On the worker's own thread it returns at once: a job cannot wait for itself.

        Args:
            kind: of the job.
            timeout: in seconds; None waits for ever.

        Returns:
            False if the time ran out.
        """
        if threading.current_thread() is self._thread:
            return True
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or (kind not in self._queued and kind not in self._running),
                timeout,
            )

    def close(self, timeout: float = 5.0) -> None:
        """Drop all jobs and end the thread after its current step.

        Args:
            timeout: seconds to wait for the thread.
        """
        with self._changed:
            self._closed = True
            self._queued.clear()
            self._cancelled.update(self._running)
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _work(self) -> None:
        """The thread: run steps of the most urgent job until the worker is closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._queued or self._running)
                kind = self._next_kind()
                if kind is None:
                    return
                steps = self._running[kind]
                is_cancelled = kind in self._cancelled
            self._run_step(kind, steps, is_cancelled)

    def _next_kind(self) -> str | None:
        """The most urgent kind with a job, now running; None if the worker is done."""
        # After a close, running jobs still come up once more, to be closed.
        if self._closed and not self._running:
            return None
        for kind in self._kinds:
            if kind in self._running:
                return kind
            if kind in self._queued:
                self._running[kind] = _job_steps(self._queued.pop(kind))
                return kind
        return None

    def _run_step(self, kind: str, steps: Generator[None, None, None], is_cancelled: bool) -> None:
        """Run one step of a job outside the lock. An error ends the job and is reported."""
        ended = False
        try:
            if is_cancelled:
                steps.close()
                ended = True
            else:
                next(steps)
        except StopIteration:
            ended = True
        except Exception as error:
            ended = True
            self._on_failed(kind, error)
        finally:
            if ended:
                with self._changed:
                    self._running.pop(kind, None)
                    self._cancelled.discard(kind)
                    self._changed.notify_all()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End all workers: a thread inside torch at interpreter exit would abort the process."""
    for worker in list(_workers):
        worker.close()


def _job_steps(job: Job) -> Generator[None, None, None]:
    """A job's steps. Calling the job is part of the first, so its errors are reported too."""
    yield from job()
