"""axe-core finds no violations in the explorer, in both themes and every state of the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is", slots=[
    vw.Slot(layer=0, position=3, group="A"), vw.Slot(layer=2, position=4, group="A")])
explorer.wait()
explorer
"""
EMPTY = """
import vene_widgets as vw
alone = vw.explore("The capital of Spain is")
alone
"""
STORY = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer.story([
    vw.Step("First", text="A text."),
    vw.Step("Second", [vw.Slot(layer=0, position=3)], question="What comes?",
            choices=["Madrid", "Rome"], answer="Rome"),
])
explorer
"""

VIOLATIONS = """async (root) => {
    const found = await axe.run(root, {resultTypes: ["violations"]});
    return found.violations.flatMap(({id, nodes}) => nodes.map(
        (node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
}"""


def violations(root: Any) -> list[str]:
    """Violations that axe finds in the explorer, once all animations have ended."""
    root.page.wait_for_timeout(400)
    return root.evaluate(VIOLATIONS)


def opened(lab: Any, source: str) -> Any:
    """Open an explorer alone in a notebook and load axe into the page."""
    lab.open([source])
    lab.run_cell(0)
    root = lab.page.locator(".vene-root")
    root.locator('.vene-status[data-label="exact"]').wait_for()
    lab.page.add_script_tag(path=AXE)
    return root


THEMES = pytest.mark.parametrize("theme", ["Light", "Dark"])


@THEMES
def test_the_whole_screen_its_lists_and_its_errors(lab: Any, theme: str) -> None:
    lab.use_theme(f"JupyterLab {theme}")
    root = opened(lab, OPEN)
    assert violations(root) == []
    # Check that axe works: it must find an image without alternative text.
    root.evaluate("root => root.append(document.createElement('img'))")
    assert any("image-alt" in found for found in violations(root))
    root.evaluate("root => root.lastElementChild.remove()")
    root.focus()
    for key in ("c", "?"):
        lab.page.keyboard.press(key)
    root.locator(".vene-compare").wait_for()
    root.locator(".vene-help").wait_for()
    assert violations(root) == []
    root.get_by_role("button", name="Edit base").click()
    root.get_by_role("textbox", name="Edit base").fill("")
    lab.page.keyboard.press("Enter")
    root.locator("[role=alert]").first.wait_for()
    assert violations(root) == []


@THEMES
def test_an_empty_screen(lab: Any, theme: str) -> None:
    lab.use_theme(f"JupyterLab {theme}")
    assert violations(opened(lab, EMPTY)) == []


@THEMES
def test_a_story_and_the_lecture(lab: Any, theme: str) -> None:
    lab.use_theme(f"JupyterLab {theme}")
    root = opened(lab, STORY)
    root.locator(".vene-story").wait_for()
    assert violations(root) == []
    root.focus()
    for key in ("f", "ArrowRight", "1"):
        lab.page.keyboard.press(key)
    root.locator(".vene-curtain").wait_for()
    assert violations(root) == []
    lab.page.keyboard.press("Space")
    root.locator(".vene-sentence").wait_for()
    assert violations(root) == []
    lab.shot(f"lecture-{theme.lower()}", root)


def test_motion_contrast_and_touch_are_as_the_reader_wants_them(lab: Any) -> None:
    lab.page.emulate_media(reduced_motion="reduce", forced_colors="active")
    lab.open([OPEN])
    lab.run_cell(0)
    root = lab.page.locator(".vene-root")
    root.locator('.vene-status[data-label="exact"]').wait_for()
    moving = root.evaluate(
        """root => [...root.querySelectorAll("*")].filter((element) => {
            const {transitionDuration, animationName} = getComputedStyle(element);
            return animationName !== "none" || transitionDuration.split(",").some(
                (seconds) => parseFloat(seconds) > 0);
        }).map((element) => element.className)"""
    )
    assert moving == []
    # With forced system colours, tiles keep their own colours, and the ring stays visible.
    tile = root.locator('[role="gridcell"][aria-selected="true"]').first
    assert tile.evaluate("tile => getComputedStyle(tile).forcedColorAdjust") == "none"
    lab.shot("forced-colors", root)
    lab.page.set_viewport_size({"width": 1400, "height": 1400})
    targets = root.evaluate(
        """root => [...root.querySelectorAll("button, select, input, a, [role=gridcell]")]
            .map((one) => [one.getAttribute("aria-label") ?? one.textContent,
                one.getBoundingClientRect()])
            .filter(([, {width, height}]) => width > 0 && (width < 20 || height < 20))
            .map(([name, {width, height}]) => `${name}: ${width} × ${height}`)"""
    )
    assert targets == []
