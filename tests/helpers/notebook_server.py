"""A notebook server in a process of its own, and what goes wrong on a page of it."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

START_SECONDS = 240  # a cold server, or an import of torch, on a busy machine


class NotebookServer:
    """A server that runs as a Python module, with its output in a file.

    Args:
        name: what an error calls it.
        arguments: the module, and its arguments.
        port: the port that the arguments name.
        ready: a path below the address that answers once the server has started.
        folder: its working directory.
        log: the file of its output, and of its kernels' standard error.
        environment: its environment variables, all of them.
        python: the interpreter.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        port: int,
        ready: str,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        python: str = sys.executable,
    ) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._ready = ready
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [python, "-m", *arguments],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Return when the server answers; fail with its log if it exits or times out."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                pytest.fail(f"{self.name} exited before it answered:\n{self.tail()}")
            try:
                urllib.request.urlopen(f"{self.url}/{self._ready}", timeout=30).close()  # noqa: S310
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        pytest.fail(f"{self.name} did not answer within {START_SECONDS} s:\n{self.tail()}")

    def tail(self, lines: int = 60) -> str:
        """The end of the server's log, including the kernels' standard error."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """Stop the server, which stops its kernels."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)


def page_problems(page: Page) -> list[str]:
    """Console errors and uncaught exceptions of a page from now on, in order."""
    found: list[str] = []

    def record(message: Any) -> None:
        if message.type == "error":
            found.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", record)
    page.on("pageerror", lambda error: found.append(f"uncaught: {error}"))
    return found
