"""A data set in a real JupyterLab, and its saved page: tiles, pairs, a pair and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pairs_testing import capital_pairs
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

PAIRS = """
from itertools import permutations
from pathlib import Path
import pandas as pd
import vene_widgets as vw
table = pd.read_csv(Path(vw.__file__).parent / "models/capitals/countries.csv").to_dict("records")
pairs = [
    {"base": f"The capital of {a['country']} is", "source": f"The capital of {b['country']} is",
     "targets": (" " + b["capital"], " " + a["capital"])}
    for a, b in permutations(table[:18], 2)
]
"""
EXPLORE = "sweep = vw.sweep_pairs(vw.load(), pairs)\nexplorer = sweep.explore()\nexplorer"
FILL = "explorer = vw.explore_pairs(vw.load(), pairs, pairs_per_chunk=4)\nexplorer"


def tile(page: Page, layer: int, place: int) -> Any:
    return page.locator(f'[role=gridcell][data-layer="{layer}"][data-position="{place}"]')


def heading(page: Page, text: str) -> None:
    page.locator(".vene-sentence-what", has_text=text).wait_for()


def test_a_pair_is_opened_from_its_tile_and_the_data_set_comes_back(lab: Any) -> None:
    lab.open([PAIRS + EXPLORE, "print(explorer.experiment == sweep.pair(number, 1, 3))"])
    lab.run_cell(0)
    page = lab.page
    rows = page.locator(".vene-data-pair")
    rows.first.wait_for()
    facts = page.locator(".vene-data-facts").inner_text()
    assert facts.startswith("306 pairs (18 bases), none left out, 95") and "another pair" in facts
    assert "drawn: 10 furthest at each end" in page.locator(".vene-data-count").inner_text()
    assert page.locator(".vene-strip circle").count() == rows.count() > 180
    # Nothing moves on a click, nor when a tile is read.
    boxes = [page.locator(one) for one in (".vene-root", ".vene-map", ".vene-data-pairs")]
    before = [one.bounding_box() for one in boxes]
    assert None not in before, "a hidden panel cannot move"
    tile(page, 1, 3).click()
    heading(page, "After block 1, position 3")
    tile(page, 2, 4).hover()
    assert "Control, the source of another pair" in page.locator(".vene-readout").inner_text()
    assert [one.bounding_box() for one in boxes] == before
    # By keys: to a pair that is not in sight, which Enter opens.
    rows.first.focus()
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    scroll = page.locator(".vene-data-pairs").evaluate("one => one.scrollTop")
    assert scroll > 0
    number = page.locator(":focus .vene-data-number").inner_text()
    page.keyboard.press("Enter")
    page.locator('.vene-status[data-label="exact"]').wait_for()
    page.locator(".vene-sentence", has_text="after block 1").wait_for()
    assert rows.count() == 0
    lab.shot("data-set-pair")
    lab.cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Home")
    page.keyboard.type(f"number = {number};")
    lab.run_cell(1)
    assert lab.text(1) == "True"
    page.get_by_role("button", name="← 306 pairs").click()
    heading(page, "After block 1, position 3")
    assert page.locator(".vene-data-pairs").evaluate("one => one.scrollTop") == scroll
    assert page.locator(":focus .vene-data-number").inner_text() == number
    lab.shot("data-set")
    assert lab.problems == []


def test_a_data_set_fills_and_is_cancelled(lab: Any) -> None:
    lab.open([PAIRS + FILL])
    lab.run_cell(0)
    page = lab.page
    page.locator(".vene-data-facts", has_text="of 306 pairs").wait_for()
    page.locator(".vene-data-pair").first.wait_for()
    assert "q" not in page.locator(".vene-sentence-numbers").inner_text().split("Control")[0]
    # It runs on while a pair is looked at.
    page.locator(".vene-data-pair").first.click()
    page.locator('.vene-status[data-label="exact"]').wait_for()
    page.get_by_role("button", name="← 306 pairs").click()
    progress = page.locator(".vene-data-facts progress")
    progress.wait_for()  # it still runs
    page.get_by_role("button", name="Cancel").click()
    page.locator(".vene-data-note", has_text="Stopped after").wait_for()
    progress.wait_for(state="detached")
    assert lab.problems == []


def test_a_saved_page_shows_tiles_pairs_and_a_pairs_own_map(
    chromium: Browser, tmp_path: Path
) -> None:
    sweep = vw.sweep_pairs(vw.load(), capital_pairs())
    explorer = sweep.explore()
    try:
        address = explorer.to_html(tmp_path / "pairs.html").as_uri()
    finally:
        explorer.close()
    context = chromium.new_context(viewport={"width": 1000, "height": 800}, offline=True)
    page, events = context.new_page(), list[str]()
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("request", lambda r: events.append(r.url) if r.url.startswith("http") else None)
    try:
        page.goto(address)
        rows = page.locator(".vene-data-pair")
        assert rows.count() == 6
        facts = page.locator(".vene-data-facts")
        assert facts.inner_text() == explorer.data_set["facts"]
        number = tile(page, 2, 4).locator(".vene-tile-number")
        mean = number.get_attribute("data-text")
        assert mean
        tile(page, 2, 3).click()
        heading(page, "After block 2, position 3")
        for n in range(6):
            pair = int(rows.nth(n).locator(".vene-data-number").inner_text())
            rows.nth(n).click()
            facts.filter(has_text=f"pair {pair}: The capital of").wait_for()
            for layer in range(6):
                title = tile(page, layer, 4).get_attribute("aria-label") or ""
                shown = float(title.split(", ")[-1].replace("−", "-"))
                assert shown == pytest.approx(sweep.values(layer, 4)[pair], rel=1e-2, abs=1e-3)
        assert "a saved page cannot run it" in facts.inner_text()
        assert page.locator(".vene-tile-chosen").count() == 1
        page.get_by_role("button", name="← 6 pairs").click()
        assert number.get_attribute("data-text") == mean
        assert facts.inner_text() == explorer.data_set["facts"]
        assert events == []
    finally:
        context.close()
