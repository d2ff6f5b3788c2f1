"""Recovery on the map and the exchange of base and source, in a real JupyterLab."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_recovery_goes_from_base_to_source_and_both_change_places(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nvw.explore()"])
    lab.run_cell(0)
    page = lab.page
    tile = page.locator('[role=gridcell][data-layer="0"][data-position="3"]')
    tile.click()
    page.get_by_label("Metric").select_option("recovery")
    legend = page.locator(".vene-legend", has_text="base 0, source 1")
    legend.wait_for()
    assert legend.locator(".vene-legend-mark").count() == 2
    assert "Recovery of ␣Rome against ␣Madrid 0.97" in (tile.get_attribute("aria-label") or "")
    page.get_by_label("Swap base and source").click()
    page.locator(".vene-sentence", has_text="turns “Rome” into “Madrid”").wait_for()
    lab.shot("swapped")
    assert lab.problems == []
