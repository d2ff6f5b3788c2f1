"""Is it real?, in a real JupyterLab: a patch, one click, the curve."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_patch_is_measured_in_every_way(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nexplorer = vw.explore()\nexplorer"])
    lab.run_cell(0)
    page = lab.page
    page.locator('[role=gridcell][data-layer="0"][data-position="3"]').click()
    page.get_by_role("tab", name="Is it real?").click()
    page.get_by_role("button", name="Run every choice").click()
    page.locator(".vene-specification circle").first.wait_for(timeout=60_000)
    assert page.locator(".vene-specification circle").count() == 48
    assert page.locator(".vene-specification strong").inner_text() == "Same sign in 48 of 48"
    assert "␣Spain after block 0" in page.locator(".vene-specification figcaption").inner_text()
    tile = page.locator('[role=gridcell][data-layer="0"][data-position="3"]')
    assert "same sign in 48 of 48" in (tile.get_attribute("aria-label") or "")
    page.get_by_label("Other templates").fill("The language of {} is")
    page.get_by_role("button", name="Run every choice").click()
    page.locator(".vene-specification text", has_text="The language of {} is").wait_for()
    assert page.locator(".vene-specification circle").count() == 96
    lab.shot("specification")
    assert lab.problems == []
