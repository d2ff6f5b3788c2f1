"""Fixtures: a real JupyterLab and a real Chromium, with their own home folder.

`lab` gives a test one browser page and the user's actions on it: open a notebook made of some
cells, run it, read the output of a cell, take a screenshot. Screenshots go to the folder named by
the environment variable VENE_SHOTS, or else to the test's temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebook_server import START_SECONDS, NotebookServer, page_problems
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from ports import free_port

from vene_widgets.demo import lab_environment

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
THEME = "lab/api/settings/@jupyterlab/apputils-extension:themes"
KERNELS = "lab/api/settings/@jupyterlab/apputils-extension:kernels-settings"
CELL_SECONDS = 120


class Server(NotebookServer):
    """A JupyterLab server with its own port, token, home and notebooks folder."""

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.token = secrets.token_hex(16)
        self.notebooks.mkdir(parents=True)
        homes = {
            name: str(folder / name.lower())
            for name in (
                "HOME",
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
                "JUPYTERLAB_SETTINGS_DIR",
                "JUPYTERLAB_WORKSPACES_DIR",
                "IPYTHONDIR",
            )
        }
        for home in homes.values():
            Path(home).mkdir()
        port = free_port()
        super().__init__(
            "JupyterLab",
            [
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0",
                f"--ServerApp.root_dir={self.notebooks}",
                "--ServerApp.disable_check_xsrf=True",
                f"--IdentityProvider.token={self.token}",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            port=port,
            ready=f"api?token={self.token}",
            folder=self.notebooks,
            log=folder / "server.log",
            environment={
                **lab_environment(),
                **homes,
                # Cells can use the models that the user running the tests has fetched.
                "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
                "PYTHONUNBUFFERED": "1",
            },
        )

    def ask(self, method: str, path: str, body: str | None = None) -> str:
        """Send a request to the server's REST API and return the text of its answer."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/{path}?token={self.token}",
            method=method,
            data=None if body is None else body.encode(),
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.read().decode()


class Lab:
    """One browser page on the server, and the user's actions on it.

    Attributes:
        page: Playwright's page, for everything that has no method here.
        server: the server behind it.
        problems: console errors and uncaught exceptions of the page, in order.
    """

    def __init__(self, page: Page, server: Server, shots: Path) -> None:
        self.page = page
        self.server = server
        self.problems = page_problems(page)
        self._shots = shots

    def use_theme(self, name: str) -> None:
        """Set the theme by name, such as `JupyterLab Dark`, for pages opened from now on."""
        settings = json.dumps({"raw": json.dumps({"theme": name})})
        self.server.ask("PUT", THEME, settings)

    def without_subshells(self) -> None:
        """Make widget messages wait for the running cell, as older kernels and front ends do."""
        settings = json.dumps({"raw": json.dumps({"commsOverSubshells": "disabled"})})
        self.server.ask("PUT", KERNELS, settings)

    def open(self, cells: Sequence[str], name: str = "test.ipynb") -> Path:
        """Write a notebook of code cells, open it and start its kernel; return the file's path."""
        notebook: Any = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={
                # Without a kernelspec, JupyterLab opens a dialog to select a kernel.
                "kernelspec": {
                    "name": "python3",
                    "display_name": "Python 3 (ipykernel)",
                    "language": "python",
                },
                "language_info": {"name": "python"},
            },
        )
        path = self.server.notebooks / name
        nbformat.write(notebook, path)
        self.open_file(path)
        return path

    def open_file(self, path: Path) -> None:
        """Open a notebook below the server's folder in a clean workspace and start its kernel."""
        relative = path.relative_to(self.server.notebooks).as_posix()
        self.page.goto(f"{self.server.url}/lab/tree/{relative}?token={self.server.token}&reset")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=START_SECONDS * 1000)
        self.wait_idle()

    @property
    def cells(self) -> Locator:
        """The cells of the notebook, in order."""
        return self.page.locator(".jp-Notebook .jp-Cell")

    def output(self, cell: int) -> Locator:
        """The output area of a cell, from 0."""
        return self.cells.nth(cell).locator(".jp-Cell-outputArea")

    def run_all(self, timeout: float = CELL_SECONDS) -> None:
        """Run every cell and wait until the last one has finished. `timeout` in seconds."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.wait_run(timeout)

    def run_cell(self, cell: int, timeout: float = CELL_SECONDS) -> None:
        """Run one cell, from 0, and wait until it has finished. `timeout` in seconds."""
        self.cells.nth(cell).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.wait_run(timeout)

    def wait_run(self, timeout: float = CELL_SECONDS) -> None:
        """Wait until no cell is running or queued and the kernel is idle."""
        # The prompt [*] appears as soon as a run is requested, so its absence means that all ran.
        self.page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll(
                    ".jp-Notebook .jp-CodeCell .jp-InputPrompt")];
                return document.querySelector(".jp-Dialog")
                    || prompts.some((prompt) => /\\[\\d+\\]/.test(prompt.textContent))
                    && !prompts.some((prompt) => prompt.textContent.includes("*"));
            }""",
            timeout=timeout * 1000,
        )
        dialogs = self.page.locator(".jp-Dialog").all_inner_texts()
        assert not dialogs, f"JupyterLab opened a dialog instead of running the cells: {dialogs}"
        self.wait_idle(timeout)

    def wait_idle(self, timeout: float = CELL_SECONDS) -> None:
        """Wait until the kernel has started, the page is connected and the kernel is idle.

        The indicator in the notebook's toolbar shows idle before there is any kernel, so the status
        bar is read, which also names the kernel.
        """
        self.page.wait_for_function(
            """() => [...document.querySelectorAll("#jp-main-statusbar .jp-StatusBar-Item")].some(
                (item) => /Python 3.*\\| Idle/.test(item.textContent))""",
            timeout=timeout * 1000,
        )

    def text(self, cell: int) -> str:
        """Output of a cell as the page shows it, without surrounding whitespace."""
        return self.output(cell).locator(".jp-OutputArea-output").first.inner_text().strip()

    def texts(self, cell: int) -> list[str]:
        """All outputs of a cell that can be seen, each as the page shows it."""
        outputs = self.output(cell).locator(".jp-OutputArea-output:visible")
        return [text.strip() for text in outputs.all_inner_texts()]

    def widen(self, width: float, height: int = 1000, of: str = ".vene-root") -> None:
        """Resize the window until the elements `of` are `width` pixels wide, and wait for that.

        JupyterLab lays out its panels some frames after the window's new size.
        """
        now = self.page.locator(of).first.bounding_box()
        window = self.page.viewport_size
        assert now is not None
        assert window is not None
        self.page.set_viewport_size(
            {"width": round(window["width"] - now["width"] + width), "height": height}
        )
        self.page.wait_for_function(
            """([of, width]) =>
                Math.abs(document.querySelector(of).getBoundingClientRect().width - width) < 3""",
            arg=[of, width],
        )
        # Observers of the new size, and what they draw, come in the frames after it.
        self.page.evaluate("""() => new Promise((done) =>
            requestAnimationFrame(() => requestAnimationFrame(done)))""")

    def save(self) -> None:
        """Save the notebook and wait until it is no longer marked as unsaved."""
        self.page.keyboard.press("Control+s")
        self.page.wait_for_function(
            """() => !document.querySelector(
                ".lm-DockPanel-tabBar .lm-TabBar-tab.lm-mod-current.jp-mod-dirty")""",
            timeout=30_000,
        )

    def shut_down_kernels(self) -> None:
        """Shut every kernel down from elsewhere; no other one takes its place."""
        _shut_down_kernels(self.server)

    def shot(self, name: str, of: Locator | None = None) -> Path:
        """Take a screenshot of the page, or of one element; return the file's path."""
        path = self._shots / f"{name}.png"
        if of is None:
            self.page.screenshot(path=path)
        else:
            of.screenshot(path=path)
        return path


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One JupyterLab server per test session."""
    server = Server(tmp_path_factory.mktemp("lab"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless browser per test session."""
    if CHROMIUM is None:
        pytest.fail("Chromium is not installed: run 'make browser', which installs it or says how")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest, lab_server: Server, chromium: Browser, tmp_path: Path
) -> Iterator[Lab]:
    """A fresh page, without cookies or open notebooks; screenshot and logs if the test fails."""
    shots = Path(os.environ.get("VENE_SHOTS") or tmp_path)
    shots.mkdir(parents=True, exist_ok=True)
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(30_000)
    try:
        page = Lab(context.new_page(), lab_server, shots)
        yield page
        if getattr(request.node, "failed_call", False):
            picture = page.shot(re.sub(r"\W+", "-", request.node.name) + "-failed")
            print(f"screenshot of the failed test: {picture}")
            print("\n".join(["errors on the page:", *page.problems]))
            print(f"end of the server's log:\n{lab_server.tail()}")
    finally:
        context.close()
        for settings in (THEME, KERNELS):
            lab_server.ask("PUT", settings, '{"raw": "{}"}')
        _shut_down_kernels(lab_server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Mark a failed test, so that the `lab` fixture prints its page and the server's log."""
    report: Any = yield
    if report.when == "call" and report.failed:
        item.failed_call = True  # pyright: ignore[reportAttributeAccessIssue]
    return report


def _shut_down_kernels(server: Server) -> None:
    """Shut down every session of the server, so that kernels do not slow down later tests."""
    for session in json.loads(server.ask("GET", "api/sessions")):
        server.ask("DELETE", f"api/sessions/{session['id']}")
