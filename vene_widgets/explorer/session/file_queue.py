"""FileQueue: files for download, made one after the other on one thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from vene_widgets.errors import RequestError, error_text

MAX_WAITING = 8
"""Files that may wait; further ones are refused until one is made."""


class FileQueue:
    """Runs jobs in their order. The thread exists only while there are jobs."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._is_running = False
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job; it reports its own failure.

        Raises:
            RequestError: too many files are waiting.
        """
        with self._lock:
            if self._closed:
                return
            if len(self._waiting) >= MAX_WAITING:
                raise RequestError(
                    f"too many files: {MAX_WAITING} files are waiting already. Try again when one "
                    "is done."
                )
            self._waiting.append(job)
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._work, name="vene-files", daemon=True).start()

    def close(self) -> None:
        """Drop the jobs that wait."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def _work(self) -> None:
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Run one job; False if there was none."""
        with self._lock:
            if not self._waiting:
                self._is_running = False
                return False
            job = self._waiting.popleft()
        try:
            job()
        except BaseException as error:  # the thread serves the next job
            logging.getLogger(__name__).error("A file could not be made: %s", error_text(error))
        return True
