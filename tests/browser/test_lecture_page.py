"""Lecture mode, stories, plain controls and keyboard shortcuts in a real JupyterLab."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""
STORY = """
steps = []
explorer.observe(lambda change: steps.append(explorer.step), "experiment")
explorer.story([
    vw.Step("What it knows", text="The base runs as it is."),
    vw.Step("An early swap", [vw.Slot(layer=0, position=" Spain", source_position=" Italy")],
            question="What will it say?", choices=["Madrid", "Rome"], answer="Rome"),
    {"title": "Another country", "experiment": {
        "base": "The capital of France is", "sources": {"source": "The capital of Italy is"},
        "slots": [{"layer": 5, "position": -1}]}},
])
print("ready")
"""
STATE = """
import json
print(json.dumps({"step": explorer.step, "steps": steps,
    "base": explorer.experiment.base, "slots": len(explorer.experiment.slots)}))
"""
EXACT = '.vene-status[data-label="exact"]'


def tile(lab: Any, layer: int, position: int) -> Any:
    return lab.page.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


def test_a_lecture_with_a_story(lab: Any) -> None:
    lab.open([OPEN, STORY, STATE, "explorer.step = 0"])
    for cell in (0, 1):
        lab.run_cell(cell)
    page, root = lab.page, lab.page.locator(".vene-root")
    root.locator(".vene-story-title", has_text="What it knows").wait_for()
    root.focus()
    page.keyboard.press("f")
    root.locator(".vene-curtain").wait_for()
    hidden = ".vene-slots, .vene-sentence, .vene-three, .vene-figure"
    assert root.locator(hidden).count() == 0

    # Predict, then reveal, with the keys that a clicker sends.
    page.keyboard.press("ArrowRight")
    root.locator(".vene-story-title", has_text="An early swap").wait_for()
    assert "Rome" not in root.locator(".vene-wall-answer").inner_text()
    page.keyboard.press("a")
    page.keyboard.press("PageDown")
    root.locator(".vene-sentence", has_text="turns “Madrid” into “Rome”").wait_for()
    right = root.locator('[data-verdict="right"]').inner_text()
    assert right.split() == ["✓", "Rome"]
    assert root.locator('.vene-three[data-label="exact"]').count() == 1
    for name, size in {"wide": (1600, 900), "narrow": (1024, 768)}.items():
        page.set_viewport_size({"width": size[0], "height": size[1]})
        lab.shot(f"lecture-{name}")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.keyboard.press("PageDown")
    root.locator(".vene-story-title", has_text="Another country").wait_for()
    root.locator(".vene-line", has_text="France").wait_for()

    # Python can read the current step, and set it.
    # Escape leaves the full screen, then the lecture.
    page.evaluate("document.exitFullscreen()")
    page.wait_for_function("document.fullscreenElement === null")
    root.focus()
    page.keyboard.press("Escape")
    root.locator(".vene-slots").wait_for()
    lab.run_cell(2)
    state = json.loads(lab.text(2))
    assert state["steps"] == [1, 2] or state["steps"] == [0, 1, 2]
    assert (state["step"], state["base"], state["slots"]) == (2, "The capital of France is", 1)
    lab.run_cell(3)
    root.locator(".vene-story-title", has_text="What it knows").wait_for()
    assert not [p for p in lab.problems if "vene" in p or "uncaught" in p]


def test_lecture_mode_outlives_the_view_and_fills_the_screen(lab: Any) -> None:
    lab.open([OPEN, "explorer"])
    lab.run_cell(0)
    root = lab.output(0).locator(".vene-root")
    root.locator(EXACT).wait_for()
    tile(lab, 0, 3).click()
    root.get_by_role("button", name="Lecture").click()
    lab.page.wait_for_function("document.fullscreenElement?.matches('.vene-host')")
    lab.page.keyboard.press("Space")
    root.locator(".vene-sentence").wait_for()
    lab.page.evaluate("document.exitFullscreen()")
    lab.page.wait_for_function("document.fullscreenElement === null")
    lab.run_cell(1)
    again = lab.output(1).locator(".vene-root")
    again.locator(".vene-sentence", has_text="after block 0").wait_for()
    assert again.locator(".vene-slots").count() == 0
    root.get_by_role("button", name="Full screen").click()
    lab.page.wait_for_function("document.fullscreenElement?.matches('.vene-host')")
    lab.page.evaluate("document.exitFullscreen()")
    lab.page.wait_for_function("document.fullscreenElement === null")
    root.focus()
    lab.page.keyboard.press("Escape")
    root.locator(".vene-slots").wait_for()


def test_whose_keys_are_whose(lab: Any) -> None:
    lab.open([OPEN, "'a cell below'"])
    lab.run_cell(0)
    page, root = lab.page, lab.page.locator(".vene-root")
    root.locator(EXACT).wait_for()
    tile(lab, 2, 3).click()
    root.locator(EXACT).wait_for()
    cells = lab.cells.count()

    # Keys that would insert, delete, cut, convert or run a cell in command mode.
    for key in ("a", "b", "d", "d", "x", "m", "r", "Shift+m", "Control+Enter", "Alt+Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert lab.cells.count() == cells
    assert root.count() == 1
    assert page.locator(".jp-MarkdownCell").count() == 0

    # Shift-Enter in a field of the explorer does not run the cell.
    root.get_by_role("button", name="Edit base").click()
    prompt = lab.cells.nth(0).locator(".jp-InputPrompt").inner_text()
    page.keyboard.press("Shift+Enter")
    page.wait_for_timeout(300)
    assert lab.cells.nth(0).locator(".jp-InputPrompt").inner_text() == prompt
    assert lab.cells.nth(1).locator(".jp-InputPrompt").inner_text().strip() == "[ ]:"
    menu = root.locator("select").first
    menu.focus()
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.keyboard.press("Escape")
    assert lab.cells.count() == cells

    # Ctrl-S belongs to JupyterLab: it saves the notebook with the focus on the map.
    tile(lab, 1, 3).click()
    root.locator(EXACT).wait_for()
    page.wait_for_function("document.querySelector('.lm-TabBar-tab.lm-mod-current.jp-mod-dirty')")
    tile(lab, 1, 3).focus()
    lab.save()


CONTROLS = """
import ipywidgets
panel = vw.controls(explorer)
inside = ipywidgets.Tab([ipywidgets.Label("first"), ipywidgets.HBox([explorer, panel])])
inside.titles = ["one", "two"]
fold = ipywidgets.Accordion([explorer, ipywidgets.Output()], titles=["map", "log"])
ipywidgets.VBox([inside, fold])
"""
SLOTS = """
print([(s.layer, s.group, s.skip) for s in explorer.experiment.slots], panel.error.value)
"""


def test_controls_are_linked_both_ways_and_boxes_give_room(lab: Any) -> None:
    lab.open([OPEN.rsplit("explorer\n", 1)[0], CONTROLS, SLOTS, SLOTS])
    for cell in (0, 1):
        lab.run_cell(cell)
    page, box = lab.page, lab.output(1)
    # The explorer gets its width when a hidden tab is opened.
    box.locator(".lm-TabBar-tab", has_text="two").first.click()
    inside = box.locator(".jupyter-widget-tab .vene-root, .widget-tab .vene-root").first
    inside.locator(EXACT).wait_for()
    page.wait_for_timeout(300)
    assert inside.bounding_box()["width"] > 400
    grid = inside.locator('[role="grid"]')
    assert grid.bounding_box()["width"] > 300
    box.locator(
        ".jupyter-widget-Collapse-header, .widget-accordion .p-Collapse-header"
    ).first.click()
    fold = box.locator(".jupyter-widget-accordion .vene-root, .widget-accordion .vene-root").first
    fold.wait_for()
    assert fold.bounding_box()["width"] > 400
    lab.shot("controls")

    # A click updates the widgets ...
    inside.locator('[data-layer="1"][data-position="3"]').click()
    layer = box.locator(".widget-slider", has_text="Layer").locator(".widget-readout").first
    page.wait_for_function(
        "element => element.textContent.trim() === '1'", arg=layer.element_handle()
    )
    # ... and a widget updates the explorer.
    group = box.get_by_label("Group", exact=True).first
    group.fill("G")
    group.press("Enter")
    inside.locator('[data-slot="0"][data-group="G"]').wait_for()
    box.get_by_label("Skip", exact=True).first.check()
    inside.get_by_role("button", name="Unskip slot 0").wait_for()
    lab.run_cell(2)
    assert lab.text(2) == "[(1, 'G', True)]"
    base = box.get_by_label("Base", exact=True).first
    base.fill("The")
    base.press("Enter")
    box.locator(".widget-label", has_text="out of range").wait_for()
    assert base.input_value() == "The capital of Spain is"
    lab.run_cell(3)
    assert lab.text(3).startswith("[(1, 'G', True)]")


def test_a_long_prompt_is_whole_before_a_class(lab: Any) -> None:
    lab.open(
        ["import vene_widgets as vw\nvw.explore('The capital of Spain is Madrid. ' * 4, 'Italy')"]
    )
    lab.run_cell(0)
    lab.page.get_by_role("button", name="Lecture").click()
    ends = lab.page.locator(".vene-line").first.evaluate(
        """line => [...line.children].map((token) => token.getBoundingClientRect().right)"""
    )
    box = lab.page.locator(".vene-root").bounding_box()
    assert len(ends) > 20 and max(ends) <= box["x"] + box["width"]
