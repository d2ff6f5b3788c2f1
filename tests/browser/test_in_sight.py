"""An explorer whose cell was run by Shift-Enter is in sight, although the next cell is active."""

from typing import Any

import pytest

pytestmark = pytest.mark.browser

LONG = "\n".join(["1", *["#"] * 25])
EXPLORE = (
    'import vene_widgets as vw\nvw.explore("The capital of Spain is", "The capital of Italy is")'
)


HIDDEN = """() => {
    const box = (name) => document.querySelector(name).getBoundingClientRect();
    const [{ top }, window] = [box(".vene-root"), box(".jp-WindowedPanel-outer")];
    return Math.max(0, window.top - top) + Math.max(0, top + 600 - window.bottom);
}"""
"""Pixels of the explorer's first 600 that are above or below the notebook's window."""


def test_shift_enter_shows_the_explorer_and_ctrl_enter_scrolls_nothing(lab: Any) -> None:
    lab.page.set_viewport_size({"width": 1400, "height": 900})
    lab.open([LONG, EXPLORE, LONG, LONG])
    lab.cells.nth(0).locator(".cm-content").click()
    lab.page.keyboard.press("Shift+Enter")
    lab.page.keyboard.press("Shift+Enter")
    lab.page.locator('.vene-status[data-label="exact"]').first.wait_for()
    lab.page.wait_for_function(f"({HIDDEN})() === 0")
    lab.wait_run()
    # The cell itself is active: its user sees what they chose to see.
    lab.page.locator(".jp-WindowedPanel-outer").evaluate("(outer) => outer.scrollTo(0, 0)")
    lab.cells.nth(1).locator(".cm-content").click()
    lab.page.keyboard.press("Control+Enter")
    lab.wait_run()
    lab.page.locator('.vene-status[data-label="exact"]').first.wait_for()
    assert lab.page.evaluate(HIDDEN) > 0
