"""In Firefox: a saved page, whose idle tiles are hatched, and a living notebook in JupyterLab."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from firefox import Tab, firefox

import vene_widgets as vw

pytestmark = pytest.mark.browser

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
IDLE = "[role=gridcell].vene-tile-idle"
PATCHED = '[role="gridcell"][data-layer="4"][data-position="4"]'
SENTENCE = "document.querySelector('.vene-sentence')?.textContent"
CLICKED = f"""new Promise((resolve) => {{
    const look = () => {SENTENCE}.includes("after block 4") ? resolve(true) : setTimeout(look, 20);
    setTimeout(() => resolve({SENTENCE}), 5000);
    look();
}})"""


def test_a_saved_page(tmp_path: Path) -> None:
    explorer = vw.explore(BASE, SOURCE, slots=[vw.Slot(layer=0, position=3)])
    page = explorer.to_html(tmp_path / "map.html")
    explorer.close()
    (tmp_path / "profile").mkdir()
    with firefox(tmp_path / "profile") as tab:
        tab.open(page.as_uri())
        left, top, width, height = tab.box(IDLE)
        tile = tab.shot().crop((left + 3, top + 3, left + width - 3, top + height - 3))
        colours = tile.getcolors(maxcolors=tile.width * tile.height) or []
        # Thin lines on the page's own colour; a value's colour fills its tile.
        count, most = max(colours)
        assert most == (255, 255, 255)
        assert 0.5 < count / (tile.width * tile.height) < 0.95
        tab.click(PATCHED)
        assert tab.script(CLICKED) is True
        assert tab.problems == []


OPEN = f"""import vene_widgets as vw
vw.explore("{BASE}", "{SOURCE}")"""
TILE = '.vene-view [role="gridcell"][data-layer="0"][data-position="3"]'
SECONDS = 120


def is_soon(tab: Tab, what: str, seconds: int) -> bool:
    """Whether an expression of the page becomes true within so many seconds."""
    return tab.script(
        f"""new Promise((resolve) => {{
            const look = () => {{
                let is;
                try {{ is = Boolean({what}); }} catch {{ is = false; }}
                is ? resolve(true) : setTimeout(look, 50);
            }};
            setTimeout(() => resolve(false), {seconds * 1000});
            look();
        }})"""
    )


def wait(tab: Tab, what: str) -> None:
    """Wait until an expression of the page is true."""
    found = is_soon(tab, what, SECONDS)
    if not found:
        tab.keep_shot("firefox-failed")
    assert found, f"not within {SECONDS} s: {what}; console: {tab.problems}"


PROMPT = ".jp-CodeCell .jp-InputPrompt"
RAN = f"!/\\[ \\]/.test(document.querySelector('{PROMPT}').textContent)"
STATE = f"[...document.querySelectorAll('{PROMPT}, .jp-Dialog')].map((one) => one.textContent)"


def run_cell(tab: Tab) -> None:
    """Run the first cell.

    Until its page and the kernel have met, JupyterLab drops a click on Run, and may go on to the
    next cell: the first one is selected again before each click.
    """
    for _ in range(SECONDS // 5):
        tab.click(PROMPT)
        tab.click('[data-jp-item-name="run"]')
        if is_soon(tab, RAN, 5):
            return
    tab.keep_shot("firefox-failed")
    raise TimeoutError(
        f"JupyterLab does not run the cell: {tab.script(STATE)}; console: {tab.problems}"
    )


def wait_kernel(server: Any, notebook: str) -> None:
    """Wait until the page of a notebook is connected to its kernel; a run before that is lost."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        sessions = json.loads(server.ask("GET", "api/sessions"))
        kernels = [one["kernel"] for one in sessions if one["path"] == notebook]
        if any(one["execution_state"] == "idle" and one["connections"] for one in kernels):
            return
        time.sleep(0.2)
    raise TimeoutError(f"no page is connected to the kernel of {notebook}")


def test_a_living_notebook(lab_server: Any, tmp_path: Path) -> None:
    """Run a cell, click a tile, read the answer and the figure."""
    notebook: Any = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(OPEN)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, lab_server.notebooks / "firefox.ipynb")
    (tmp_path / "profile").mkdir()
    with firefox(tmp_path / "profile") as tab:
        # Without the tabs of the tests before, which the server keeps.
        address = f"{lab_server.url}/lab/tree/firefox.ipynb?token={lab_server.token}&reset"
        tab.open(address, 1400, 1000)
        wait(tab, "document.querySelector('.jp-CodeCell .cm-content')")
        wait_kernel(lab_server, "firefox.ipynb")
        tab.problems.clear()  # JupyterLab's own, while it starts
        run_cell(tab)
        exact = "document.querySelector('.vene-status')?.dataset.label === 'exact'"
        wait(tab, f"{exact} && document.querySelectorAll('.vene-tile-number').length > 10")
        tab.click(TILE)
        wait(tab, f"{SENTENCE}.includes('Rome') && {exact}")
        wait(tab, "document.querySelector('img.vene-figure')?.naturalWidth > 100")
        tab.keep_shot("firefox-lab")
        assert tab.problems == []
