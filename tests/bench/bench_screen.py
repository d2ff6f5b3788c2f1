"""How long a person waits in a real JupyterLab: `python tests/bench/bench_screen.py [clicks]`.

Times are taken in the page itself. `map` is from the moment the cell is executed until the map is
filled, in a kernel that has imported the package; `painted` from a click until the sentence is in
the page (from the sweep's data), `exact` until the kernel's answer is, `figure` until the plotnine
picture of it is drawn. Prints median, quartiles and the number of clicks.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

SETUP = "import vene_widgets as vw, torch, transformers, pandas\nmodel = vw.load()"
OPEN = (
    'explorer = vw.explore("The capital of Spain is", "The capital of Italy is", model)\nexplorer'
)

# Clicks one tile and resolves with the milliseconds until each thing stood in the page.
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
        const said = root.querySelector(".vene-sentence").textContent.includes(words);
        if (said && found.painted === undefined) found.painted = now;
        if (said && label() === "exact" && found.exact === undefined) found.exact = now;
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

FILLED = """() => {
    const tiles = document.querySelectorAll(".vene-root [role=gridcell]");
    return tiles.length === 30 && document.querySelector('.vene-status[data-label="exact"]');
}"""


def lab_helpers() -> Any:
    """The browser tests' own way to start JupyterLab."""
    path = Path(__file__).parent.parent / "browser" / "conftest.py"
    spec = importlib.util.spec_from_file_location("lab_helpers", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(name: str, values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{name:<28}{middle:9.0f} ms   {low:.0f} to {high:.0f}   n = {len(values)}"


def main(clicks: int = 50) -> None:
    helpers = lab_helpers()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = helpers.Server(Path(folder) / "lab")
        browser = playwright.chromium.launch(executable_path=helpers.CHROMIUM, args=helpers.FLAGS)
        try:
            server.wait()
            page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
            lab = helpers.Lab(page, server, Path(folder))
            lab.open([SETUP, OPEN])
            lab.run_cell(0)
            filled = []
            for _ in range(5):
                lab.cells.nth(1).locator(".cm-content").click()
                if filled:
                    page.evaluate(
                        "document.querySelector('.vene-root').classList.remove('vene-root')"
                    )
                start = page.evaluate("performance.now()")
                page.keyboard.press("Control+Enter")
                page.wait_for_function(FILLED, polling=10)
                filled.append(page.evaluate("performance.now()") - start)
                lab.wait_run()
            print(line("cell executed -> map filled", filled))
            page.locator("img.vene-figure").wait_for(timeout=60_000)
            times: dict[str, list[float]] = {"painted": [], "exact": [], "figure": []}
            for n in range(clicks):
                layer, position = n % 6, 3 + (n // 6) % 2
                want = n % 5 == 0
                for name, value in page.evaluate(CLICK, [layer, position, want]).items():
                    times[name].append(value)
                page.wait_for_timeout(150)
            print(line("click -> painted", times["painted"]))
            print(line("click -> exact", times["exact"]))
            print(line("click -> figure", times["figure"]))
            print(json.dumps({"filled": filled, **times}), file=sys.stderr)
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
