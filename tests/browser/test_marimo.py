"""The explorer in marimo, as an app and in its editor."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from notebook_server import START_SECONDS, NotebookServer, page_problems
from playwright.sync_api import Browser, Locator, expect
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
DOCS = Path(__file__).parents[2] / "docs" / "compatibility.md"
(RECIPE,) = re.findall(r"```python\n(import marimo.*?)```", DOCS.read_text(), re.DOTALL)
SETTINGS = """
[tool.marimo.display]
theme = "system"

[tool.marimo.runtime]
auto_instantiate = true
"""
MODES = ("run", "edit")


class Marimo(NotebookServer):
    """A marimo server with its own home, on one notebook."""

    def __init__(self, mode: str, folder: Path, app: str = APP) -> None:
        folder.mkdir()
        (folder / "app.py").write_text(app)
        (folder / "pyproject.toml").write_text(SETTINGS)
        homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
        port = free_port()
        flags = ["--headless", "--no-token", "--port", str(port)]
        flags += ["--skip-update-check"] if mode == "edit" else []
        super().__init__(
            "marimo",
            ["marimo", mode, "app.py", *flags],
            port=port,
            ready="health",
            folder=folder,
            log=folder / "server.log",
            environment={**os.environ, **homes},
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Marimo]]:
    """Both modes, started together."""
    folder = tmp_path_factory.mktemp("marimo")
    started = {mode: Marimo(mode, folder / mode) for mode in MODES}
    yield started
    for server in started.values():
        server.stop()


def tile(root: Locator, layer: int, position: int) -> Locator:
    return root.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


@pytest.mark.parametrize("mode", MODES)
def test_an_explorer(
    servers: dict[str, Marimo], chromium: Browser, tmp_path: Path, mode: str
) -> None:
    servers[mode].wait()
    context = chromium.new_context(viewport={"width": 1300, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    found = page_problems(page)
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


def test_the_recipe_of_the_documentation(chromium: Browser, tmp_path: Path) -> None:
    """A click re-runs the cell that reads the explorer."""
    server = Marimo("run", tmp_path / "recipe", RECIPE)
    context = chromium.new_context(viewport={"width": 1300, "height": 1000})
    page = context.new_page()
    found = page_problems(page)
    wait = START_SECONDS * 1000
    try:
        server.wait()
        page.goto(server.url)
        expect(page.get_by_text("Top token: Madrid")).to_be_visible(timeout=wait)
        tile(page.locator(".vene-root"), 0, 3).click(timeout=wait)
        expect(page.get_by_text("Top token: Rome")).to_be_visible(timeout=wait)
        assert found == []
    finally:
        page.screenshot(path=Path(os.environ.get("VENE_SHOTS") or tmp_path) / "recipe.png")
        context.close()
        server.stop()
