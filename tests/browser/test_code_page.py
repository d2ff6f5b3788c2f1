"""The code panel's further questions, in a real JupyterLab: chosen, read, and run as they stand."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_a_line_of_the_code_panel_gives_the_number_of_the_map(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nvw.explore()"])
    lab.run_cell(0)
    page = lab.page
    tile = page.locator('[role=gridcell][data-layer="0"][data-position="3"]')
    tile.click()
    page.get_by_label("Metric").select_option("recovery")
    page.locator("[data-opens=code]").click()
    ask = page.get_by_label("Ask more")
    line = page.locator(".vene-ask-line")
    page.locator(".vene-code", has_text="vw.Slot(layer=0, position=3").wait_for()
    ask.focus()
    ask.select_option("recovery")
    assert (line.text_content() or "").endswith('.plot("recovery")')
    text = line.text_content() or ""
    names: dict[str, Any] = {}
    exec(page.locator(".vene-code").text_content() or "", names)  # noqa: S102
    swept = eval(text.removesuffix('.plot("recovery")'), names)  # noqa: S307
    row = swept.frame.query("layer == 0 and position == 3 and target == ' Rome'").iloc[0]
    label = tile.get_attribute("aria-label") or ""
    shown = re.search("against ␣Madrid ([0-9.]+)", label)
    assert shown and float(shown[1]) == pytest.approx(row["recovery"], abs=6e-3)
    page.locator(".vene-ask").scroll_into_view_if_needed()
    lab.shot("code")
    page.set_viewport_size({"width": 700, "height": 900})
    page.locator(".vene-ask").scroll_into_view_if_needed()
    lab.shot("narrow")
    ask.select_option("direct paths")
    assert (line.text_content() or "").startswith("vw.paths(model, experiment.base, ")
    page.get_by_label("Names of").select_option("pyvene")
    line.wait_for(state="detached")
    assert lab.problems == []
