"""`vene-widgets demo` opens the first notebook, with a kernel and without any dialog."""

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

pytestmark = pytest.mark.browser
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/lab/tree/01_first_look\.ipynb\?token=\w+")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Start the demo and return the address that it prints; stop the demo afterwards."""
    log = tmp_path / "log"
    home = tmp_path / "home"
    home.mkdir()
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "vene_widgets.cli", "--no-browser"],
            cwd=tmp_path,
            env={
                **os.environ,
                "HOME": str(home),
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _wait_for_address(demo, log)
    finally:
        demo.terminate()
        demo.wait(20)


def _wait_for_address(demo: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 90
    while time.monotonic() < end and demo.poll() is None:
        if found := ADDRESS.search(log.read_text(errors="replace")):
            return found.group()
        time.sleep(0.2)
    pytest.fail(f"the demo printed no address:\n{log.read_text(errors='replace')}")


def test_the_demo_opens_the_first_notebook(lab: Any, address: str):
    lab.page.goto(address)
    lab.wait_idle()
    assert lab.page.locator(".lm-TabBar-tab.jp-mod-current").inner_text() == "01_first_look.ipynb"
    assert lab.cells.count() > 1
    lab.page.wait_for_timeout(2000)  # a dialog would appear late
    lab.shot("demo")
    assert lab.page.locator(".jp-Dialog").all_inner_texts() == []
    assert lab.page.locator(".Toastify__toast").all_inner_texts() == []
