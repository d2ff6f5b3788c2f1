"""Latency of the explorer as the user sees it, in JupyterLab with Chromium.

Times are taken in the page itself. `map filled`: from the execution of the cell until all tiles are
in the page and the answer is exact, in a kernel that has imported the package already. `painted`:
from a click until the sentence is in the page (computed from the sweep's data). `exact`: until the
kernel's answer is in the page (`again`: on a tile that was clicked before). `figure`: until its
plotnine picture is drawn.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from table import Row

SETUP = "import vene_widgets as vw, torch, transformers, pandas"
OPEN = (
    'explorer = vw.explore("The capital of Spain is", "The capital of Italy is", model)\nexplorer'
)


@dataclass(frozen=True)
class Notebook:
    """A model, the cell that creates it, and the targets in ms for exact answer and filled map."""

    name: str
    setup: str
    layers: int
    exact: float
    filled: float | None = None


NOTEBOOKS = (
    Notebook("built-in model", f"{SETUP}\nmodel = vw.load()", 6, 150, 1500),
    Notebook(
        "GPT-2 small, random weights",
        # The model has 50,257 ids, more than the tokenizer; the rest are shown as empty text.
        f"{SETUP}\ntorch.manual_seed(0)\n"
        "own = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()\n"
        "model = vw.wrap(own, vw.load().tokenizer)",
        12,
        300,
    ),
)

# Clicks one tile and resolves with the milliseconds until each part was in the page.
CLICK = """([layer, position, wantFigure]) => new Promise((resolve, reject) => {
    const root = document.querySelector(".vene-root");
    const tile = root.querySelector(
        `[role=gridcell][data-layer="${layer}"][data-position="${position}"]`);
    const label = () => root.querySelector(".vene-status").dataset.label;
    const old = root.querySelector("img.vene-figure")?.src;
    const words = `after block ${layer} `;
    const found = {};
    const start = performance.now();
    const look = () => {
        const now = performance.now() - start;
        const isPainted = root.querySelector(".vene-sentence").textContent.includes(words);
        if (isPainted && found.painted === undefined) found.painted = now;
        if (isPainted && label() === "exact" && found.exact === undefined) found.exact = now;
        const image = root.querySelector("img.vene-figure");
        const fresh = image && image.src !== old && image.complete;
        if (fresh && found.exact !== undefined && found.figure === undefined) found.figure = now;
        if (found.exact !== undefined && (!wantFigure || found.figure !== undefined)) {
            observer.disconnect();
            clearInterval(timer);
            resolve(found);
        } else if (now > 20000) reject(new Error(JSON.stringify(found)));
    };
    const observer = new MutationObserver(look);
    observer.observe(root, {subtree: true, childList: true, attributes: true, characterData: true});
    const timer = setInterval(look, 20);
    tile.click();
    look();
})"""

FILLED = """(count) => {
    const tiles = document.querySelectorAll(".vene-root [role=gridcell][data-position]");
    const filled = [...tiles].filter((tile) => tile.style.getPropertyValue("--vene-fill-light"));
    return filled.length === count
        && document.querySelector('.vene-root .vene-status[data-label="exact"]');
}"""

FORGET = "document.querySelector('.vene-root').classList.remove('vene-root')"


def rows(quick: bool) -> Iterator[Row]:
    """Measure in one JupyterLab server, with one notebook per model."""
    helpers = lab_helpers()
    if helpers.CHROMIUM is None:
        raise FileNotFoundError("Chromium is not installed: run scripts/ensure_browsers.sh.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = helpers.Server(Path(folder) / "lab")
        browser = playwright.chromium.launch(executable_path=helpers.CHROMIUM, args=helpers.FLAGS)
        try:
            server.wait()
            for notebook in NOTEBOOKS:
                yield from _screen(helpers, server, browser, Path(folder), notebook, quick)
        finally:
            browser.close()
            server.stop()


def _screen(
    helpers: Any, server: Any, browser: Browser, folder: Path, notebook: Notebook, quick: bool
) -> Iterator[Row]:
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    lab = helpers.Lab(page, server, folder)
    lab.open([notebook.setup, OPEN], f"{notebook.layers}-layers.ipynb")
    lab.run_cell(0)
    wishes = {"painted": 50, "exact": notebook.exact}
    yield Row.of(
        "screen", f"{notebook.name}: cell to map filled", _filled(lab, notebook, 2 if quick else 5),
        "ms", yardstick="JupyterLab's page, cell executed to all tiles", most=notebook.filled,
    )  # fmt: skip
    clicks = _clicks(page, notebook, 3 * notebook.layers if quick else 50)
    for name, values in clicks.items():
        yield Row.of(
            "screen", f"{notebook.name}: click to {name}", values, "ms",
            yardstick="JupyterLab's page", most=wishes.get(name),
        )  # fmt: skip
    page.context.close()
    helpers._shut_down_kernels(server)


def _filled(lab: Any, notebook: Notebook, repeats: int) -> list[float]:
    found: list[float] = []
    for _ in range(repeats):
        lab.cells.nth(1).locator(".cm-content").click()
        if found:  # hide the previous run's explorer from the selector
            lab.page.evaluate(FORGET)
        start = lab.page.evaluate("performance.now()")
        lab.page.keyboard.press("Control+Enter")
        # Two of the five tokens differ, and the last block's first one reaches no later position.
        lab.page.wait_for_function(FILLED, arg=2 * notebook.layers - 1, polling=10)
        found.append(lab.page.evaluate("performance.now()") - start)
        lab.wait_run()
    return found


def _clicks(page: Page, notebook: Notebook, count: int) -> dict[str, list[float]]:
    """Times of clicks on tiles that change the output; every fifth also waits for the figure."""
    page.locator(".vene-root img.vene-figure").wait_for(timeout=60_000)
    found: dict[str, list[float]] = {"painted": [], "exact": [], "exact, again": [], "figure": []}
    seen: set[tuple[int, int]] = set()
    for n in range(count):
        layer, position = n % notebook.layers, 3 + (n // notebook.layers) % 2
        times = page.evaluate(CLICK, [layer, position, n % 5 == 0])
        if (layer, position) in seen:  # the explorer may have cached the answer
            times["exact, again"] = times.pop("exact")
        seen.add((layer, position))
        for name, value in times.items():
            found[name].append(value)
        page.wait_for_timeout(150)
    return found


def lab_helpers() -> Any:
    """Import `tests/browser/conftest.py`, which starts JupyterLab for the browser tests."""
    path = Path(__file__).parent.parent / "browser" / "conftest.py"
    sys.path.append(str(path.parent.parent / "helpers"))  # as pytest's own settings do
    spec = importlib.util.spec_from_file_location("lab_helpers", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
