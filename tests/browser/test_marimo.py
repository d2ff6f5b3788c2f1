"""The explorer in marimo, as an app and in its editor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from ports import free_port

pytestmark = pytest.mark.browser

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import vene_widgets as vw

    explorer = vw.explore(
        "The capital of Spain is",
        "The capital of Italy is",
        slots=[vw.Slot(layer=0, position=3)],
    )
    return explorer, mo


@app.cell
def _(explorer, mo):
    mo.ui.anywidget(explorer) if mo.app_meta().mode == "run" else explorer
    return
"""
SETTINGS = """
[tool.marimo.display]
theme = "system"

[tool.marimo.runtime]
auto_instantiate = true
"""
MODES = ("run", "edit")
START_SECONDS = 90  # torch is imported on a busy machine


class Marimo:
    """A marimo server with its own home, on one notebook."""

    def __init__(self, mode: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "app.py").write_text(APP)
        (folder / "pyproject.toml").write_text(SETTINGS)
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.log = folder / "server.log"
        homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
        flags = ["--headless", "--no-token", "--port", str(port)]
        flags += ["--skip-update-check"] if mode == "edit" else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "marimo", mode, "app.py", *flags],
                env={**os.environ, **homes},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> None:
        """Return when the server answers; fail with its log if it does not."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=30).close()  # noqa: S310
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        pytest.fail(f"marimo does not answer:\n{self.log.read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop the server, which stops its kernels."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Marimo]]:
    """Both modes, started together."""
    folder = tmp_path_factory.mktemp("marimo")
    started = {mode: Marimo(mode, folder / mode) for mode in MODES}
    yield started
    for server in started.values():
        server.stop()


def errors(page: Page) -> list[str]:
    """Console errors and uncaught exceptions of a page, from now on."""
    found: list[str] = []
    page.on("console", lambda said: found.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: found.append(f"uncaught: {error}"))
    return found


def tile(root: Locator, layer: int, position: int) -> Locator:
    return root.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


@pytest.mark.parametrize("mode", MODES)
def test_an_explorer(
    servers: dict[str, Marimo], chromium: Browser, tmp_path: Path, mode: str
) -> None:
    servers[mode].wait()
    context = chromium.new_context(viewport={"width": 1300, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    found = errors(page)
    try:
        page.goto(servers[mode].url)
        root = page.locator(".vene-root")
        status = root.locator(".vene-status")
        expect(status).to_have_attribute("data-label", "exact", timeout=START_SECONDS * 1000)
        # marimo keeps it in a shadow tree, which the style sheet must reach.
        assert root.evaluate("root => root.getRootNode() instanceof ShadowRoot")
        assert root.evaluate("root => getComputedStyle(root).backgroundColor") == "rgb(17, 20, 24)"
        assert root.locator(".vene-tile-number").count() > 0
        tile(root, 4, 4).click()
        sentence = root.locator(".vene-sentence")
        expect(sentence).to_contain_text("after block 4")
        expect(status).to_have_attribute("data-label", "exact")
        # The keys of the map, of the slot at its tile and of the screen.
        page.keyboard.press("ArrowUp")
        expect(tile(root, 5, 4)).to_be_focused()
        page.keyboard.press("Enter")
        expect(sentence).to_contain_text("after block 5")
        page.keyboard.press("Space")
        expect(sentence).to_contain_text("skipped")
        page.keyboard.press("?")
        expect(root.locator(".vene-help")).to_be_visible()
        page.keyboard.press("Escape")
        expect(root.locator(".vene-help")).to_have_count(0)
        page.emulate_media(color_scheme="light")
        expect(root).to_have_css("background-color", "rgb(255, 255, 255)")
        assert found == []
    finally:
        page.screenshot(path=Path(os.environ.get("VENE_SHOTS") or tmp_path) / f"marimo-{mode}.png")
        context.close()
