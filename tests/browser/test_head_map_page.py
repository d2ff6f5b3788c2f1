"""The layer × head map in a real JupyterLab: chosen, read, clicked, exact."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
base, source = "The capital of Spain is", "The capital of Italy is"
explorer = vw.explore(base, source)
explorer
"""
CHECK = """
import json
(slot,) = explorer.experiment.slots
head = "head_attention_value_output"
found = vw.sweep(explorer.model, base, source, head, head="all", positions=4, targets=[" Rome"])
run = vw.run(explorer.model, explorer.experiment)
p = run.logits[-1].softmax(-1)[explorer.model.token_id(" Rome")].item()
values = found.frame.set_index(["layer", "head"])["probability"]
print(json.dumps([[slot.layer, slot.head, slot.position], p, values.loc[(3, 2)], len(values)]))
"""


def test_all_heads_are_one_choice_and_a_tile_is_the_exact_run(lab: Any) -> None:
    lab.open([OPEN, CHECK])
    lab.run_cell(0)
    page = lab.page
    page.locator(".vene-map[aria-busy=false]").wait_for()
    page.get_by_label("Component of the map").select_option("head_attention_value_output")
    tile = page.locator('[role="gridcell"][data-layer="3"][data-head="2"]')
    page.locator('.vene-map[aria-label*="heads at ␣is"][aria-busy=false]').wait_for()
    assert page.locator('[role="gridcell"][data-head]').count() == 24
    assert page.get_by_label("Heads of the map").input_value() == "position 4"
    said = tile.get_attribute("aria-label")
    tile.click()
    page.locator('.vene-status[data-label="exact"]').wait_for()
    lab.shot("head-map")
    lab.run_cell(1)
    place, exact, swept, count = json.loads(lab.text(1))
    assert place == [3, 2, 4] and count == 24
    assert exact == pytest.approx(swept, abs=1e-5)
    assert f"P(␣Rome) {100 * exact:.0f}" in said.replace("\u00a0", " ")
    page.get_by_label("Heads of the map").select_option("position 3")
    page.locator('.vene-map[aria-label*="heads at ␣Spain"][aria-busy=false]').wait_for()
    assert page.locator(".vene-tile-chosen").count() == 0


WIDTHS = """() => [...document.querySelectorAll(
    '.vene-map-tools :is([aria-label="Metric"], .vene-target)')].map(
        (menu) => menu.getBoundingClientRect().width)"""


def test_six_menus_can_be_read_beside_the_result(lab: Any) -> None:
    lab.open([OPEN.replace("source)", "source, component='head_attention_value_output')")])
    lab.run_cell(0)
    page = lab.page
    page.locator(".vene-map[aria-busy=false]").wait_for()
    page.get_by_label("Metric", exact=True).select_option("recovery")
    # With forced colours, menus are wider: what has no room stands in a second line.
    for colours in ("none", "active"):
        page.emulate_media(forced_colors=colours)
        lab.widen(1400)
        whole = page.evaluate(WIDTHS)
        lab.widen(950)
        lab.shot(f"six-menus-{colours}")
        # A small part of a pixel less, and the last letters of a menu are an ellipsis.
        assert page.evaluate(WIDTHS) == whole and len(whole) == 3
    page.emulate_media(forced_colors="none")
