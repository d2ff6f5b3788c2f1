"""One thread that owns the model: jobs in steps, the latest of a kind wins, all can stop."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Generator

Job = Callable[[], Generator[None, None, None]]
"""A job is a generator: between two of its steps the worker looks for something more urgent."""


class Worker:
    """Runs jobs one step at a time on a thread of its own.

    A job of a more urgent kind interrupts a running one between its steps; the interrupted one goes
    on afterwards. A new job of a kind replaces the one of that kind, waiting or under way: its
    generator is closed, so its `finally` blocks run.

    Args:
        kinds: the kinds of job, most urgent first.
        failed: told `(kind, error)` when a job raises; the worker goes on.
    """

    def __init__(self, kinds: tuple[str, ...], failed: Callable[[str, Exception], None]) -> None:
        self._kinds = kinds
        self._failed = failed
        self._waiting: dict[str, Job] = {}
        self._running: dict[str, Generator[None, None, None]] = {}
        self._dropped: set[str] = set()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="vene-worker", daemon=True)
        self._thread.start()
        _workers.add(self)

    def submit(self, kind: str, job: Job) -> None:
        """Queue a job in place of any other of its kind; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._waiting[kind] = job
            if kind in self._running:
                self._dropped.add(kind)
            self._changed.notify_all()

    def cancel(self, kind: str) -> None:
        """Drop the job of a kind, waiting or under way, at its next step."""
        with self._changed:
            self._waiting.pop(kind, None)
            if kind in self._running:
                self._dropped.add(kind)
            self._changed.notify_all()

    def busy(self, kind: str) -> bool:
        """Whether a job of this kind is waiting or under way."""
        with self._changed:
            return kind in self._waiting or kind in self._running

    def wait(self, kind: str, timeout: float | None = None) -> bool:
        """Block until no job of this kind is left; False when the time ran out first.

        On the worker's own thread it returns at once: a job cannot wait for itself.
        """
        if threading.current_thread() is self._thread:
            return True
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or (kind not in self._waiting and kind not in self._running),
                timeout,
            )

    def close(self, timeout: float = 5.0) -> None:
        """Drop all jobs and end the thread after its current step."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._dropped.update(self._running)
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting or self._running)
                kind = self._next()
                if kind is None:
                    return
                steps = self._running[kind]
                dropped = kind in self._dropped
            self._step(kind, steps, dropped)

    def _next(self) -> str | None:
        """The most urgent kind with something to do; what was running starts if it was waiting."""
        if self._closed and not self._running:
            return None
        for kind in self._kinds:
            if kind in self._running:
                return kind
            if kind in self._waiting:
                self._running[kind] = _started(self._waiting.pop(kind))
                return kind
        return None

    def _step(self, kind: str, steps: Generator[None, None, None], dropped: bool) -> None:
        """One step of one job, outside the lock; errors end the job and are reported."""
        ended = False
        try:
            if dropped:
                steps.close()
                ended = True
            else:
                next(steps)
        except StopIteration:
            ended = True
        except Exception as error:
            ended = True
            self._failed(kind, error)
        finally:
            if ended:
                with self._changed:
                    self._running.pop(kind, None)
                    self._dropped.discard(kind)
                    self._changed.notify_all()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is inside torch when the interpreter ends would abort the process."""
    for worker in list(_workers):
        worker.close()


def _started(job: Job) -> Generator[None, None, None]:
    """The job's generator, made within its first step: what fails there is an error of the job."""
    yield from job()
