"""The map in a real JupyterLab: drag, touch, hover, pins; metric and token with a busy kernel."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""
SLOTS = """
import json
print(json.dumps([[s.layer, s.position, s.group] for s in explorer.experiment.slots]))
"""
SLEEP = "import time\nfor _ in range(240):\n    time.sleep(0.5)"


def tile(lab: Any, layer: int, position: int) -> Any:
    return lab.page.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


def exact(lab: Any) -> None:
    lab.page.locator('.vene-status[data-label="exact"]').wait_for()


def opened(lab: Any, *more: str) -> None:
    lab.open([OPEN, *more])
    lab.run_cell(0)
    exact(lab)
    lab.page.locator(".vene-map[aria-busy=false]").wait_for()


def centre(lab: Any, layer: int, position: int) -> tuple[float, float]:
    box = tile(lab, layer, position).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def slots(lab: Any, cell: int = 1) -> list[list[Any]]:
    lab.run_cell(cell)
    return json.loads(lab.text(cell))


def description(lab: Any, layer: int, position: int) -> str:
    return tile(lab, layer, position).get_attribute("aria-label")


def start(lab: Any, cell: int) -> None:
    """Run a cell without waiting for it."""
    lab.cells.nth(cell).locator(".cm-content").click()
    lab.page.keyboard.press("Control+Enter")
    lab.page.locator(".jp-InputPrompt", has_text="[*]").wait_for()


def test_menus_keep_to_one_line_and_the_value_is_whole(lab: Any) -> None:
    """With the most menus there are, in the narrowest window with the map beside its result."""
    opened(lab)
    lab.widen(900)
    page = lab.page
    map_top = page.locator(".vene-map").bounding_box()["y"]
    menus = page.locator(".vene-map-tools select")
    for name, value in (
        ("Component of the map", "head_attention_value_output"),
        ("Heads of the map", "layer 2"),
        ("Operator of the map", "zero"),
        ("Metric", "logit_difference"),
    ):
        page.get_by_label(name, exact=True).select_option(value)
        page.locator(".vene-map[aria-busy=false]").wait_for()
        assert page.locator(".vene-map").bounding_box()["y"] == map_top, name
    assert menus.count() == 7  # with that of the controls
    page.locator('[role="gridcell"][data-head="3"][data-position="3"]').hover()
    room = page.locator(".vene-readout").bounding_box()
    value = page.locator(".vene-readout-number").bounding_box()
    assert value["x"] + value["width"] <= room["x"] + room["width"]
    panel = page.locator("[data-panel=map]").bounding_box()
    for menu in menus.all():
        box = menu.bounding_box()
        assert box["x"] + box["width"] <= panel["x"] + panel["width"]
    lab.shot("map-menus")


def test_a_drag_paints_one_group_in_one_step_and_alt_begins_another(lab: Any) -> None:
    opened(lab, SLOTS)
    mouse = lab.page.mouse
    tile(lab, 3, 3).scroll_into_view_if_needed()
    mouse.move(*centre(lab, 0, 3))
    mouse.down()
    mouse.move(*centre(lab, 1, 4), steps=6)
    assert lab.page.locator(".vene-tile-painted").count() == 4
    assert "4 slots in one group" in lab.page.locator(".vene-readout").inner_text()
    lab.shot("map-drag")
    lab.page.keyboard.press("Escape")
    mouse.up()
    assert lab.page.locator(".vene-tile-painted").count() == 0
    assert lab.page.locator('[role="gridcell"][aria-selected="true"]').count() == 0
    mouse.move(*centre(lab, 0, 3))
    mouse.down()
    mouse.move(*centre(lab, 1, 4), steps=6)
    mouse.up()
    exact(lab)
    assert slots(lab) == [[0, 3, "A"], [0, 4, "A"], [1, 3, "A"], [1, 4, "A"]]
    lab.page.get_by_role("button", name="Undo").click()
    exact(lab)
    assert slots(lab) == []
    tile(lab, 2, 3).click()
    exact(lab)
    assert slots(lab) == [[2, 3, None]]
    tile(lab, 4, 4).click(modifiers=["Alt"])  # a second group
    exact(lab)
    tile(lab, 5, 4).click(modifiers=["Shift"])
    exact(lab)
    assert slots(lab) == [[2, 3, None], [4, 4, "A"], [5, 4, "A"]]


def test_a_finger_paints_too(lab: Any) -> None:
    opened(lab, SLOTS)
    tile(lab, 3, 3).scroll_into_view_if_needed()
    cdp = lab.page.context.new_cdp_session(lab.page)
    cdp.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def touch(kind: str, *points: tuple[float, float]) -> None:
        at = [{"x": x, "y": y} for x, y in points]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", centre(lab, 2, 3))
    touch("touchMove", centre(lab, 1, 3))
    touch("touchMove", centre(lab, 0, 3))
    lab.page.wait_for_function("document.querySelectorAll('.vene-tile-painted').length === 3")
    touch("touchEnd")
    exact(lab)
    assert slots(lab) == [[0, 3, "A"], [1, 3, "A"], [2, 3, "A"]]


def test_the_tile_under_the_pointer_is_read_and_previewed(lab: Any) -> None:
    read = "print(json.dumps(explorer.map))"
    opened(lab, "import json\n" + read)
    tile(lab, 0, 3).click()
    exact(lab)
    lab.run_cell(1)
    map_data = json.loads(lab.text(1))
    rome = next(n for n, t in enumerate(map_data["targets"]) if t["label"] == "␣Rome")
    cell = next(c for c in map_data["cells"] if (c["layer"], c["position"]) == (2, 4))
    tile(lab, 2, 4).hover()
    value = lab.page.locator(".vene-readout .vene-number")
    assert re.fullmatch(r"P\(␣Rome\) = [\d.]+\s%", value.text_content())
    # Seen in two digits; the title has all of them.
    assert float(value.get_attribute("title")) == cell["probabilities"][rome]
    assert lab.page.locator("[data-panel=answer] td .vene-ghost").count() >= 5
    # The preview must be there after two animation frames.
    ghost = lab.page.evaluate(
        """async ([layer, position]) => {
            const tile = document.querySelector(
                `[role=gridcell][data-layer="${layer}"][data-position="${position}"]`);
            tile.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            return document.querySelector(".vene-readout").textContent;
        }""",
        [5, 4],
    )
    assert "layer 5 · 4" in ghost
    lab.page.mouse.move(2, 2)
    lab.page.locator(".vene-ghost").first.wait_for(state="detached")


def test_metric_and_token_change_while_the_kernel_works_and_after_an_interrupt(lab: Any) -> None:
    lab.without_subshells()
    opened(lab, SLEEP)
    tile(lab, 0, 3).click()
    exact(lab)
    start(lab, 1)
    lab.page.get_by_label("Metric", exact=True).select_option("rank")
    assert "Rank of ␣Rome 1" in description(lab, 0, 3)
    lab.page.get_by_label("Metric", exact=True).select_option("logit_difference")
    assert "logit(␣Rome) − logit(␣Madrid)" in description(lab, 0, 3)
    lab.page.locator("[data-opens=data]").click()
    lab.page.locator(".vene-data .vene-token-button", has_text="␣Warsaw").first.click()
    assert "logit(␣Warsaw) − logit(␣Madrid)" in description(lab, 0, 3)
    lab.page.get_by_role("button", name="Pin layer 0", exact=True).click()
    assert lab.page.locator(".vene-profile").count() == 1
    tile(lab, 1, 4).hover()
    assert "layer 1 · 4" in lab.page.locator(".vene-readout").inner_text()
    assert lab.page.locator(".jp-InputPrompt", has_text="[*]").count() == 1
    lab.shot("map-busy")
    lab.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    lab.page.get_by_role("menuitem", name="Interrupt Kernel").click()
    lab.page.locator(".jp-InputPrompt", has_text="[*]").wait_for(state="detached")
    lab.page.get_by_label("Metric", exact=True).select_option("delta")
    assert "ΔP(␣Warsaw)" in description(lab, 0, 3)
    lab.page.get_by_label("Target token", exact=True).select_option(label="␣Rome")
    assert "ΔP(␣Rome) +94" in description(lab, 0, 3)
    tile(lab, 2, 3).click()
    lab.page.locator(".vene-sentence", has_text="after block 2").wait_for()
    exact(lab)


def test_a_typed_token_comes_from_the_kernel_and_a_wrong_one_is_explained(lab: Any) -> None:
    opened(lab)
    menu = lab.page.get_by_label("Target token", exact=True)
    menu.select_option("type")
    lab.page.keyboard.type(" Lima")
    field = lab.page.get_by_label("Target token, typed")
    assert field.input_value() == "␣Lima"
    lab.page.keyboard.press("Enter")
    lab.page.locator('[role="gridcell"][aria-label*="P(␣Lima)"]').first.wait_for()
    menu.select_option("type")
    lab.page.keyboard.type("Lima and more")
    lab.page.keyboard.press("Enter")
    problem = lab.page.locator(".vene-map-tools [role=alert]")
    problem.wait_for()
    assert "expected exactly one" in problem.inner_text()
    lab.shot("map-typed")
    lab.page.keyboard.press("Escape")
    problem.wait_for(state="detached")
    assert "P(␣Lima)" in description(lab, 0, 3)
