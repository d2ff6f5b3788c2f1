"""Worker: one thread that runs the model, in jobs that can be interrupted between steps."""

from __future__ import annotations

import atexit
import inspect
import logging
import threading
import weakref
from collections.abc import Callable, Collection, Generator

from vene_widgets.errors import RequestError, error_text

Job = Callable[[], Generator[None, None, None]]
"""Makes a generator; between two of its steps the worker may run a more urgent job."""

OnFailed = Callable[[str, Exception], None]
"""Called with the kind of a job and its error."""

IDLE_SECONDS = 10.0
"""Seconds without a job after which the thread ends; the next job starts another."""


class Worker:
    """Runs jobs on its own thread, one step at a time.

    Per kind, one job runs and at most one waits: the newest. A job of a more urgent kind interrupts
    a running one between two steps; the interrupted job continues afterwards. A new job closes the
    running one of its kind, so its `finally` blocks run, unless the kind is listed in `finishes`.

    The thread exists only while there is work: the first job starts it, and it ends after
    `IDLE_SECONDS` without one. It keeps no finished job and does not keep its owner alive.

    Args:
        kinds: the kinds of job, most urgent first.
        on_failed: called once, on the worker's thread, when a job raises; the worker continues. A
            bound method is held weakly: it is skipped once its object is gone. An error that is not
            an `Exception`, such as SystemExit, arrives as the `__cause__` of a `RequestError`.
        finishes: kinds whose running job continues to its end when a new one arrives.
    """

    def __init__(
        self, kinds: tuple[str, ...], on_failed: OnFailed, *, finishes: Collection[str] = ()
    ) -> None:
        self._kinds = kinds
        self._on_failed = _weak_method(on_failed)
        self._finishes = frozenset(finishes)
        self._queued: dict[str, Job] = {}
        self._running: dict[str, Generator[None, None, None]] = {}
        self._cancelled: set[str] = set()  # running kinds to close at their next step
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None  # the newest one
        self._accepts_jobs = False  # whether that thread still looks for jobs
        _workers.add(self)

    def submit(self, kind: str, job: Job) -> None:
        """Queue a job in place of the queued one of its kind. A closed worker ignores it.

        A running one of its kind is closed, or runs to its end if the kind is in `finishes`.
        """
        assert kind in self._kinds  # noqa: S101  # another would never run
        with self._changed:
            if self._closed:
                return
            self._queued[kind] = job
            if kind in self._running and kind not in self._finishes:
                self._cancelled.add(kind)
            failure = self._ensure_thread(kind)
            self._changed.notify_all()
        if failure:
            self._report(kind, failure)

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

    def must_yield(self, kind: str) -> bool:
        """Whether the running job of this kind is to end, or a more urgent one waits."""
        with self._changed:
            urgent = self._kinds[: self._kinds.index(kind)]
            return kind in self._cancelled or any(other in self._queued for other in urgent)

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
            thread = self._thread
        # A second close has nothing to wait for, and may come at interpreter exit.
        if thread is None or not thread.is_alive():
            return
        if thread is not threading.current_thread():
            thread.join(timeout)

    def _ensure_thread(self, kind: str) -> Exception | None:
        """Start a thread if none looks for jobs. Call under the lock.

        Returns:
            The error if the system gives no thread; the queued job of this kind is then dropped.
        """
        if self._accepts_jobs and self._thread is not None and self._thread.is_alive():
            return None
        self._thread = threading.Thread(target=self._work, name="vene-worker", daemon=True)
        self._accepts_jobs = True
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread, self._accepts_jobs = None, False
            self._queued.pop(kind, None)
            return RequestError(f"no thread could be started for the model: {error_text(error)}")
        return None

    def _work(self) -> None:
        """The thread: run steps until it has been idle, or the worker is closed."""
        # No job may be a local here: the frame would keep it, and its owner, alive while idle.
        while self._await_job():
            self._run_step()

    def _await_job(self) -> bool:
        """Block until there is a step to run. False: the thread ends and accepts no more jobs."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._queued or self._running, IDLE_SECONDS
            )
            # After a close, running jobs still come up once more, to be closed.
            if self._running or (self._queued and not self._closed):
                return True
            self._accepts_jobs = False  # under the lock: the next `submit` starts a thread
            return False

    def _run_step(self) -> None:
        """Run one step of the most urgent job outside the lock; an error ends the job."""
        with self._changed:
            kind = self._next_kind()
            if kind is None:
                return
            steps, is_cancelled = self._running[kind], kind in self._cancelled
        has_ended = True
        try:
            if is_cancelled:
                steps.close()
            else:
                next(steps)
                has_ended = False
        except StopIteration:
            pass
        except BaseException as error:  # also SystemExit: the thread must serve the next job
            self._report(kind, _as_exception(error))
        finally:
            if has_ended:
                with self._changed:
                    self._running.pop(kind, None)
                    self._cancelled.discard(kind)
                    self._changed.notify_all()

    def _next_kind(self) -> str | None:
        """The most urgent kind with a job, now running; None if there is none."""
        for kind in self._kinds:
            if kind in self._running:
                return kind
            if kind in self._queued:
                self._running[kind] = _job_steps(self._queued.pop(kind))
                return kind
        return None

    def _report(self, kind: str, error: Exception) -> None:
        """Call `on_failed`; what it raises itself is logged."""
        try:
            on_failed = self._on_failed()
            if on_failed is not None:
                on_failed(kind, error)
        except BaseException as raised:
            _logger.error(
                "The failure of a job (%s: %s) could not be reported: %s",
                kind,
                error_text(error),
                error_text(raised),
            )


_logger = logging.getLogger(__name__)

_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End all workers: a thread inside torch at interpreter exit would abort the process."""
    for worker in list(_workers):
        worker.close()


def _job_steps(job: Job) -> Generator[None, None, None]:
    """A job's steps. Calling the job is part of the first, so its errors are reported too."""
    yield from job()


def _weak_method(function: OnFailed) -> Callable[[], OnFailed | None]:
    """A reference to a function that does not keep the object of a bound method alive."""
    if inspect.ismethod(function):
        return weakref.WeakMethod(function)
    return lambda: function


def _as_exception(error: BaseException) -> Exception:
    """The error itself, or a `RequestError` with it as the cause.

    The owner raises the error again in the user's code, where SystemExit would end the program.
    """
    if isinstance(error, Exception):
        return error
    wrapped = RequestError(f"{error_text(error)} was raised; it does not derive from Exception")
    wrapped.__cause__ = error
    return wrapped
