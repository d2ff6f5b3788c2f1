"""FigureProcess: the kernel's end of one child process that draws, with a limit on every wait."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from typing import IO, cast

from vene_widgets.errors import error_text
from vene_widgets.explorer.painter import pipe

MARKER_BYTES = 16
"""Length of the random marker after which the child's output is its answers."""


END_TIMEOUT = 5.0
"""Seconds to wait for a killed child to be gone."""


class ProcessFailure(RuntimeError):
    """A child process gave no answer and has been ended; the text is the reason.

    Attributes:
        timed_out: whether it was stopped because it took too long.
    """

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


def command(marker: bytes) -> list[str]:
    """The command that starts the child."""
    return [sys.executable, "-m", "vene_widgets.explorer.painter.child", marker.hex()]


class FigureProcess:
    """One child process that draws. After a failure it is ended, and another must be made.

    Messages travel over the child's standard streams. Whatever is printed before the child has
    taken these for itself is dropped, up to a random marker.

    Raises:
        ProcessFailure: the system cannot start a process.
    """

    def __init__(self) -> None:
        self._marker = os.urandom(MARKER_BYTES)
        self._timed_out = False
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                command(self._marker),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Without a window, whatever backend the user has chosen.
                env={**os.environ, "MPLBACKEND": "Agg"},
                # Interrupting the kernel does not interrupt a drawing, and `kill` reaches what the
                # child has started itself.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ProcessFailure(
                f"the figure process cannot be started ({error_text(error)})"
            ) from None

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the child has not ended."""
        return self._process.poll() is None

    def start(self, limit: float) -> None:
        """Wait until the child can draw.

        Args:
            limit: in seconds.

        Raises:
            ProcessFailure: it cannot import plotnine, ended, or took longer.
        """
        with self._limited(limit, f"the figure process did not start within {limit:.3g} seconds"):
            pipe.skip_to(self._output, self._marker)
            failure = pipe.receive(self._output)
        if failure is not None:
            self.end()
            raise ProcessFailure(f"the figure process could not start ({failure})")

    def draw(self, order: bytes, limit: float) -> object:
        """Send a pickled order and wait for the answer: a drawing, or a reason as text.

        Args:
            order: the pickled order.
            limit: in seconds.

        Raises:
            ProcessFailure: the child ended or took longer.
        """
        with self._limited(limit, f"it took longer than {limit:.3g} seconds"):
            pipe.write(self._input, order)
            return pipe.receive(self._output)

    def kill(self) -> None:
        """Kill the child, from any thread; a wait for its answer then fails."""
        if not self.is_running:
            return
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()

    def end(self) -> int | None:
        """Kill the child and close its streams. Returns its exit code, None if it still lives."""
        self.kill()
        for stream in (self._input, self._output):
            with contextlib.suppress(OSError, ValueError):  # closing flushes into a broken pipe
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT)
        return self._process.returncode

    @contextlib.contextmanager
    def _limited(self, limit: float, reason: str) -> Generator[None, None, None]:
        """Kill the child after `limit` seconds, and turn any error within into its reason."""
        watchdog = threading.Timer(limit, self._stop_late)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except Exception as error:
            if isinstance(error, EOFError):  # it is ending: its own exit code tells more
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(1)
            code = self.end()
            if self._timed_out:
                raise ProcessFailure(reason, timed_out=True) from None
            cause = "no answer" if isinstance(error, EOFError) else error_text(error)
            raise ProcessFailure(f"the figure process ended with code {code} ({cause})") from None
        finally:
            watchdog.cancel()

    def _stop_late(self) -> None:
        """The watchdog: time is up."""
        self._timed_out = True
        self.kill()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101  # a pipe
        return self._process.stdin

    @property
    def _output(self) -> io.BufferedReader:
        return cast("io.BufferedReader", self._process.stdout)  # a pipe
