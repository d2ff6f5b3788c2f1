"""The logit lens on the map's tiles, in a real JupyterLab: chosen, read, patched, compared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vene_widgets.tables.number_text import percent

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""
LENS = """
import json
frame = vw.lens(explorer.model, explorer.experiment, targets=" Rome").frame
rows = frame[["run", "layer", "position", "best_label", "probability", "changed", "target_rank"]]
print(json.dumps(json.loads(rows.to_json(orient="values"))))
"""


def tile(lab: Any, layer: int, position: int) -> Any:
    return lab.page.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


def choose(lab: Any, run: str) -> None:
    lab.page.get_by_label("Metric", exact=True).select_option(f"lens {run}")
    read(lab, run)


def read(lab: Any, run: str) -> None:
    page = lab.page
    page.locator(f'[role=gridcell][data-layer="5"][aria-label*="lens of {run}: "]').last.wait_for()
    page.locator(".vene-map[aria-busy=false]:not([data-old])").wait_for()


def in_python(lab: Any) -> dict[tuple[str, int, int], tuple[str, float, bool, int]]:
    lab.run_cell(1)
    found = json.loads(lab.text(1))
    return {(run, layer, position): tuple(more) for run, layer, position, *more in found}


def assert_same(lab: Any, run: str, name: str) -> None:
    """Every tile on the screen says what the frame says."""
    rows = in_python(lab)
    for layer in range(6):
        for position in (3, 4):
            label = tile(lab, layer, position).get_attribute("aria-label")
            best, p, changed, _ = rows[name, layer, position]
            assert f"lens of {run}: {best} {percent(p)}" in label
            assert (", base: " in label) == changed
            marked = "vene-tile-differs" in (tile(lab, layer, position).get_attribute("class"))
            assert marked == changed
            assert tile(lab, layer, position).get_attribute("title").startswith(f"lens of {run}")


def test_the_layers_of_every_run_are_read_on_the_tiles(lab: Any) -> None:
    lab.open([OPEN, LENS])
    lab.run_cell(0)
    page = lab.page
    page.locator('.vene-status[data-label="exact"]').wait_for()
    choose(lab, "base")
    assert_same(lab, "base", "base")
    lab.shot("lens_base")
    choose(lab, "source")
    assert_same(lab, "source", "source")
    tile(lab, 0, 3).click()  # patches as ever, and the lens follows
    page.locator(".vene-sentence", has_text="Rome").wait_for()
    choose(lab, "patched")
    assert_same(lab, "patched", "patched")
    answer = page.locator(".vene-sentence").inner_text()
    assert "Rome" in answer and "lens of patched: ␣Rome" in (
        tile(lab, 5, 4).get_attribute("aria-label") or ""
    )
    rank = in_python(lab)["patched", 5, 4][3]
    tile(lab, 5, 4).hover()
    readout = page.locator(".vene-readout").inner_text()
    assert "lens reads ␣Rome" in readout and f"␣Rome has rank {rank}, 9" in readout
    lab.shot("lens_patched")
    # Another experiment: read anew without being asked again.
    tile(lab, 4, 4).click()
    page.locator(
        '[role=gridcell][data-layer="3"][data-position="4"]:not(.vene-tile-differs)'
    ).wait_for()
    read(lab, "patched")
    assert_same(lab, "patched", "patched")
    # Other components have no lens, which the menu says.
    page.get_by_label("Component of the map").select_option("mlp_output")
    options = page.get_by_label("Metric", exact=True).locator("option:disabled")
    options.wait_for(state="attached")
    assert options.all_inner_texts() == ["reads the residual stream after a block"]
    assert lab.problems == []
