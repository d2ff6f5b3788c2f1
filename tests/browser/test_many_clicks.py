"""Clicks in a real JupyterLab as fast as the browser sends them, while a second view looks on."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.torture]

SECONDS = 120
PAUSE = 25  # clicks between two moments in which a screen may come to rest

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""
MEMORY = """
import gc, pathlib
gc.collect()
print(int(pathlib.Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024)
"""
STATE = """
slot = explorer.wait(600).experiment.slots[0]
print(slot.layer, slot.position, explorer.revision, explorer.answer["revision"],
      explorer.status["error"])
"""
RECORD = """() => {
    const root = document.querySelector(".vene-root");
    window.seen = {};
    const note = () => {
        const chosen = [...root.querySelectorAll('[role=gridcell][aria-selected=true]')];
        if (chosen.length !== 1) return;
        if (!root.querySelector('.vene-status[data-label="exact"]')) return;
        const {layer, position} = chosen[0].dataset;
        const text = root.querySelector(".vene-sentence").textContent;
        (window.seen[`${layer} ${position}`] ??= {})[text] ??= 0;
        window.seen[`${layer} ${position}`][text] += 1;
    };
    new MutationObserver(note).observe(root,
        {subtree: true, childList: true, attributes: true, characterData: true});
}"""
HEAP = """() => performance.memory ? performance.memory.usedJSHeapSize / 2 ** 20 : 0"""


@pytest.mark.parametrize("subshells", [True, False])
def test_the_last_of_many_clicks_wins_and_no_other_ones_answer_is_called_exact(
    lab: Any, subshells: bool
) -> None:
    """Every sentence that stood beside `exact` is that of the tile that was chosen then."""
    if not subshells:
        lab.without_subshells()
    lab.open([OPEN, MEMORY, STATE, MEMORY])
    page = lab.page
    lab.run_cell(0)
    exact = page.locator('.vene-status[data-label="exact"]')
    exact.wait_for()
    tiles = {
        (layer, position): page.locator(
            f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]'
        )
        for layer in range(6)
        for position in (3, 4)
    }
    right: dict[str, str] = {}
    for (layer, position), tile in tiles.items():
        tile.click()
        page.locator(".vene-sentence", has_text=f"after block {layer}").wait_for()
        exact.wait_for()
        right[f"{layer} {position}"] = page.locator(".vene-sentence").text_content()
    assert len(set(right.values())) == len(right)
    lab.run_cell(1)
    before, heap = float(lab.text(1)), page.evaluate(HEAP)
    tiles[2, 3].evaluate("tile => tile.scrollIntoView({block: 'center'})")
    middles: dict[tuple[int, int], tuple[float, float]] = {}
    for cell, tile in tiles.items():
        box = tile.bounding_box()
        middles[cell] = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        assert 120 < middles[cell][1] < 950
    page.evaluate(RECORD)
    generator, clicks, start = random.Random(1), 0, time.monotonic()
    cell = last = (0, 3)
    while time.monotonic() < start + SECONDS:
        while cell == last:  # a second click on a tile would take its slot away
            cell = generator.choice(list(middles))
        page.mouse.click(*middles[cell])
        last = cell
        clicks += 1
        if clicks % PAUSE == 0:
            exact.wait_for(timeout=60_000)
    seconds = time.monotonic() - start
    exact.wait_for(timeout=120_000)
    settled = time.monotonic() - start - seconds
    layer, position = cell
    assert tiles[cell].get_attribute("aria-selected") == "true"
    assert page.locator(".vene-sentence").text_content() == right[f"{layer} {position}"]
    seen: dict[str, dict[str, int]] = page.evaluate("window.seen")
    lab.run_cell(2)
    lab.run_cell(3)
    found = lab.text(2).split()
    grown, heap_grown = float(lab.text(3)) - before, page.evaluate(HEAP) - heap
    print(
        f"subshells {subshells}: {clicks} clicks in {seconds:.0f} s, exact {settled:.2f} s after "
        f"the last; {sum(sum(texts.values()) for texts in seen.values())} moments called exact; "
        f"kernel {grown:+.1f} MB, page {heap_grown:+.1f} MB; revisions {found[2]}"
    )
    assert found[:2] == [str(layer), str(position)]
    assert found[2] == found[3] and found[4] == "None"
    wrong = {key: set(texts) - {right[key]} for key, texts in seen.items()}
    assert {key: texts for key, texts in wrong.items() if texts} == {}
    assert len(seen) == len(right)
    assert grown < 100
    assert lab.problems == []
