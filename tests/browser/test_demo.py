"""`vene-widgets demo` opens the notebooks, with a kernel and without any dialog."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vene_widgets import demo

pytestmark = pytest.mark.browser
OPEN = re.compile(
    r"^Open (http://(?:localhost|127\.0\.0\.1):\d+/lab/tree/01_first_look\.ipynb\?token=\w+) ", re.M
)


class Demo:
    """A running demo.

    Attributes:
        folder: its current folder, in which it makes the notebooks' folder.
        process: the command's process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._output = folder / "output"
        (folder / "home").mkdir()
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vene_widgets.cli", "--no-browser"],
                cwd=folder,
                env={
                    **os.environ,
                    "HOME": str(folder / "home"),
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_for_address(self) -> str:
        end = time.monotonic() + 90
        while time.monotonic() < end and self.process.poll() is None:
            if found := OPEN.search(self.printed):
                return found.group(1)
            time.sleep(0.2)
        pytest.fail(f"the demo printed no address:\n{self.printed}")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Demo]:
    """A demo, stopped after the test."""
    opened = Demo(tmp_path)
    try:
        yield opened
    finally:
        opened.process.terminate()
        opened.process.wait(30)


def test_the_demo_opens_the_first_notebook_beside_all_others(lab: Any, opened: Demo):
    address = opened.wait_for_address()
    folder = opened.folder / "vene-demo"
    assert opened.printed.splitlines() == [
        f"Copying {len(demo.packaged_notebooks())} notebooks to {folder}",
        "Starting JupyterLab",
        f"Open {address} (Ctrl-C stops the server)",
    ]
    assert re.match(r"http://(localhost|127\.0\.0\.1):\d+/.*\?token=\w{40,}$", address)
    assert (folder / demo.LOG).stat().st_size > 0
    lab.page.goto(address)
    lab.wait_idle()
    assert lab.page.locator(".lm-TabBar-tab.jp-mod-current").inner_text() == "01_first_look.ipynb"
    assert lab.cells.count() > 1
    listed = lab.page.locator(".jp-DirListing-itemName").all_inner_texts()
    assert [name for name in listed if name.endswith(".ipynb")] == [
        path.name for path in demo.packaged_notebooks()
    ]
    lab.page.wait_for_timeout(2000)  # a dialog would appear late
    lab.shot("demo")
    assert lab.page.locator(".jp-Dialog").all_inner_texts() == []
    assert lab.page.locator(".Toastify__toast").all_inner_texts() == []


def test_a_demo_that_is_stopped_ends_its_server(opened: Demo):
    opened.wait_for_address()
    (server,) = children(opened.process.pid)
    opened.process.terminate()
    assert opened.process.wait(30) == 0
    assert not Path(f"/proc/{server}").exists()
    assert opened.printed.count("\n") == 3


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_server_that_cannot_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUPYTER_PORT_RETRIES", "nonsense")  # the server expects a number
    failing = Demo(tmp_path)
    assert failing.process.wait(90) != 0
    assert "Open http" not in failing.printed
    assert "nonsense" in failing.printed
    assert "its log is" in failing.printed.splitlines()[-1]
