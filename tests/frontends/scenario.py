"""One scenario, the same in each front end: open, read the map, click a tile, read the answer."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from environments import FrontEnd
from notebook_server import START_SECONDS, NotebookServer, page_problems
from playwright.sync_api import Page, expect, sync_playwright
from ports import free_port

CELL = """import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer"""
LAB_CELL = ".jp-Notebook .jp-CodeCell .cm-content"
CLASSIC_CELL = ".code_cell .CodeMirror"
TILE = '[role="gridcell"][data-layer="0"][data-position="3"]'
WAIT = START_SECONDS * 1000


class Server(NotebookServer):
    """A front end's server with its own home and one notebook."""

    def __init__(self, front_end: FrontEnd, folder: Path) -> None:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(CELL)],
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
            },
        )
        nbformat.write(notebook, folder / "first.ipynb")
        self.token = secrets.token_hex(16)
        # Without the user's own extensions and settings.
        homes = {
            name: str(folder / "home")
            for name in (
                "HOME",
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
                "IPYTHONDIR",
            )
        }
        (folder / "home").mkdir()
        port = free_port()
        super().__init__(
            front_end.name,
            [
                front_end.module,
                "--no-browser",
                "--allow-root",
                "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}",
                f"--ServerApp.root_dir={folder}",
                f"--IdentityProvider.token={self.token}",
            ]
            if front_end.module != "voila"
            else ["voila", "--no-browser", f"--port={port}", f"--Voila.root_dir={folder}"],
            port=port,
            ready=f"api?token={self.token}" if front_end.module != "voila" else "",
            folder=folder,
            log=folder / "server.log",
            environment={**os.environ, **homes, "JUPYTER_PLATFORM_DIRS": "0"},
            python=str(front_end.python),
        )

    def wait_kernel(self) -> None:
        """Wait until a kernel is idle and a page is connected to it."""
        kernels: list[dict[str, object]] = []
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(  # noqa: S310
                    f"{self.url}/api/kernels?token={self.token}", timeout=30
                ) as answer:
                    kernels = json.load(answer)
            except urllib.error.HTTPError:  # a server answers 500 while it starts a kernel
                kernels = []
            if any(k["execution_state"] == "idle" and k["connections"] for k in kernels):
                return
            time.sleep(0.2)
        raise TimeoutError(f"no page is connected to an idle kernel: {kernels}")


def try_in(front_end: FrontEnd) -> tuple[str, str]:
    """Play the scenario in a front end.

    Returns:
        What was clicked and read, up to the first failure; and the failure, "" if there was none.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{front_end.name}-"))
    server = Server(front_end, folder)
    read: list[str] = []
    page: Page | None = None
    try:
        server.wait()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            page.set_default_timeout(WAIT)
            expect.set_options(timeout=WAIT)
            try:
                play(front_end, server, page, read)
            except BaseException:
                shots = Path(os.environ.get("VENE_SHOTS") or folder)
                page.screenshot(path=shots / f"{front_end.name}-failed.png")
                print(f"{front_end.name}: {shots}; {server.tail(15)}")
                raise
            finally:
                browser.close()
    except (Exception, pytest.fail.Exception) as error:
        return ", ".join(read), f"FAILED: {str(error) or type(error).__name__}"
    finally:
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return ", ".join(read), ""


def play(front_end: FrontEnd, server: Server, page: Page, read: list[str]) -> None:
    """Play the scenario on a page; what has been seen is added to `read`."""
    problems = page_problems(page)
    page.goto(f"{server.url}/{front_end.path.format(file='first.ipynb')}?token={server.token}")
    if front_end.module != "voila":  # which runs the cells itself
        server.wait_kernel()
        if problems:  # before there is an explorer
            read.append(f"{len(problems)} errors of the front end's own")
            problems.clear()
        page.locator(f"{LAB_CELL}, {CLASSIC_CELL}").first.click()
        page.keyboard.press("Control+Enter")
    root = page.locator(".vene-root")
    root.wait_for()
    status = root.locator(".vene-status")
    expect(status).to_have_attribute("data-label", "exact")
    expect(root.locator(".vene-tile-number").first).to_be_visible()
    read.append(f"map of {root.locator('[role=gridcell][data-position]').count()} tiles")
    root.locator(TILE).click()
    sentence = root.locator(".vene-sentence")
    expect(sentence).to_contain_text("Rome")
    expect(status).to_have_attribute("data-label", "exact")
    read.append("␣Spain at layer 0 → Rome, exact")
    figure = root.locator("img.vene-figure").first
    figure.wait_for()
    page.wait_for_function(
        "image => image.complete && image.naturalWidth > 100", arg=figure.element_handle()
    )
    read.append("figure")
    # Voilà's page loads its icon font from another host; Notebook 7.6 fails in its own settings,
    # with any cell, and 7.0 over a file's date.
    own = ("fontawesome", "(reading 'schema')", "(reading 'last_modified')")
    problems = [problem for problem in problems if not any(words in problem for words in own)]
    if problems:
        raise AssertionError(f"console: {problems}")
    read.append("no console error")
