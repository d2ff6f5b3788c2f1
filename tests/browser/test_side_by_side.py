"""Explorers in boxes of ipywidgets: a row shares its width, a column gives each its own."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

CELL = """import ipywidgets as widgets
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
narrow = vw.explore("The capital of Spain is", "The capital of Italy is")
narrow.layout.width = "300px"
button = widgets.Button(description="A button")
display(widgets.HBox([explorer, explorer]))
display(widgets.VBox([explorer, widgets.HBox([button, explorer, narrow])]))
"""
# Left, right and width of an element's box, in CSS pixels.
BOX = """element => {
    const {left, right, width} = element.getBoundingClientRect();
    return [left, right, width];
}"""
OUTSIDE = """host => [...host.querySelectorAll(".vene-root, .vene-panel, button")]
    .filter((one) => !one.closest(".vene-prompt-line")) // which scrolls
    .filter((one) => one.getBoundingClientRect().right > host.getBoundingClientRect().right + 1)
    .map((one) => one.className)"""


@pytest.fixture
def hosts(lab: Any) -> Any:
    lab.open([CELL])
    lab.run_cell(0)
    lab.page.locator(".vene-root").nth(4).wait_for()
    return lab.page.locator(".vene-host")


def test_a_row_is_shared_and_a_column_is_filled(lab: Any, hosts: Any) -> None:
    row = lab.page.locator(".widget-hbox").first
    for width in (1300, 1000, 700):
        lab.widen(width, of=".widget-hbox")
        lab.shot(f"side-by-side-{width}")
        left, right, _ = row.evaluate(BOX)
        first, second, column, _, narrow = (hosts.nth(n).evaluate(BOX) for n in range(5))
        for start, end, wide in (first, second):
            assert left <= start and end <= right
            assert wide == pytest.approx(width / 2, abs=10)
        assert first[1] <= second[0]
        assert column[2] == pytest.approx(width, abs=10)
        # A layout's own width is kept, and so is a button's.
        assert narrow[2] == pytest.approx(300, abs=10) or width == 700
        assert lab.page.locator(".widget-button").evaluate(BOX)[2] == pytest.approx(148, abs=2)
        for n in range(5):
            assert hosts.nth(n).evaluate(OUTSIDE) == []
