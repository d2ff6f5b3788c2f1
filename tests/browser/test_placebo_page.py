"""The controls of a map, in a real JupyterLab: one key, the same numbers as Python's."""

from __future__ import annotations

import re
from typing import Any

import pytest

import vene_widgets as vw

pytestmark = pytest.mark.browser

# Parts of a tile's place that end in dots; those without room are not in its line at all.
CUT = """place => [place, ...place.children]
    .filter((one) => one.getBoundingClientRect().top < place.getBoundingClientRect().bottom
        && one.scrollWidth > one.clientWidth)
    .map((one) => one.textContent)"""
# How far below the legend's one line a part of it begins.
LINES = """one => {
    const [part, line] = [one, one.closest(".vene-legend")].map((of) => of.getBoundingClientRect());
    return Math.max(0, part.bottom - line.bottom);
}"""
RIGHT = """one => {
    const text = document.createRange();
    text.selectNodeContents(one);
    return text.getBoundingClientRect().right;
}"""
TILE = '[role=gridcell][data-layer="{}"][data-position="{}"]'


def test_one_key_shows_the_controls_and_mutes_what_they_explain(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nexplorer = vw.explore()\nexplorer"])
    lab.run_cell(0)
    page = lab.page

    def said(layer: int, position: int) -> str:
        return page.locator(TILE.format(layer, position)).get_attribute("aria-label") or ""

    page.get_by_label("Metric").select_option("recovery")
    page.locator(TILE.format(1, 3)).click()
    page.keyboard.press("s")
    page.locator(".vene-legend-control", has_text="Random source: largest").wait_for()
    page.locator('.vene-map [aria-label*="random source: Recovery of ␣Rome"]').first.wait_for()
    # A click is answered at once, from the real map, also while the controls run.
    page.locator(TILE.format(3, 4)).click()
    page.locator(".vene-sentence", has_text="turns “Madrid” into “Rome”").wait_for()
    page.get_by_label("Controls run").wait_for(state="detached", timeout=60_000)
    model = vw.load()
    prompts = "The capital of Spain is", "The capital of Italy is"
    rows = vw.placebo(vw.sweep(model, *prompts)).summarize("recovery")
    rows = rows[rows["target"].eq(" Rome") & rows["effect_possible"]]
    rows = rows.set_index(["control", "layer", "position"])

    def number(text: str) -> float:
        found = re.search(r"against ␣Madrid (−?[\d.e-]+)", text)
        assert found, text
        return float(found[1].replace("−", "-"))

    random = rows.loc["random_source"]
    for (layer, position), row in random.iterrows():
        largest = max(row["least"], row["most"], key=abs)
        assert number(said(layer, position)) == pytest.approx(largest, abs=0.006)
    lab.shot("random_source")
    page.keyboard.press("s")
    page.locator(".vene-legend", has_text="Shuffled weights: largest change of").wait_for()
    assert "shuffled weights: Recovery" in said(1, 3)
    assert abs(number(said(1, 3))) < 0.3
    lab.shot("shuffled_weights")
    page.keyboard.press("s")
    page.locator(".vene-legend", has_text="a control explains it").wait_for()
    explained = rows["within"].groupby(["layer", "position"]).any()
    for (layer, position), is_within in explained.items():
        assert ("within the range of the controls" in said(layer, position)) == is_within
    assert page.get_by_label("Map or control").input_value() == "0"
    lab.shot("real_map")
    lab.widen(950)
    page.locator(TILE.format(1, 3)).hover()
    page.locator(".vene-readout-sentence", has_text="random source +0.4").wait_for()
    assert page.locator(".vene-readout-place").evaluate(CUT) == []
    # On the wall a control is named, and its name is whole.
    page.keyboard.press("s")
    page.keyboard.press("f")
    page.keyboard.press("Space")
    name = page.locator(".vene-lecture .vene-legend-control", has_text="Random source")
    assert name.is_visible()
    assert page.locator(".vene-legend").evaluate("one => one.scrollHeight - one.clientHeight") <= 0
    page.evaluate("document.exitFullscreen()")
    page.wait_for_function("document.fullscreenElement === null")
    page.locator(".vene-root").focus()
    page.keyboard.press("Escape")
    page.locator(".vene-slots").wait_for()
    # With forced colours the menu beside the panel's name has an edge, which stays clear of it.
    page.emulate_media(forced_colors="active")
    ends = page.locator(".vene-panel-map .vene-panel-name").evaluate(RIGHT)
    starts = page.get_by_label("Map or control").bounding_box()
    assert starts
    assert starts["x"] >= ends
    component = page.get_by_label("Component of the map").bounding_box()
    assert component
    assert component["width"] >= 66
    page.emulate_media(forced_colors="none")
    # Another map drops them.
    page.get_by_label("Component of the map").select_option("mlp_output")
    page.locator(".vene-legend", has_text="a control explains it").wait_for(state="detached")
    assert lab.problems == []


def test_each_tile_shows_its_estimate_beside_the_exact_value(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nexplorer = vw.explore()\nexplorer"])
    lab.run_cell(0)
    page = lab.page
    page.get_by_label("Metric").select_option("logit_difference")
    page.get_by_label("Map or control").select_option("estimate")
    legend = page.locator(".vene-legend", has_text="false negative")
    legend.wait_for()
    model = vw.load()
    prompts = "The capital of Spain is", "The capital of Italy is"
    targets = [" Rome", " Madrid"]
    estimated = vw.attribute(model, *prompts, targets=targets)
    check = estimated.against(vw.sweep(model, *prompts, targets=targets))
    missed = len(check.false_negatives)
    said = legend.inner_text()
    assert f"r = {check.correlation:.3f}" in said
    assert f"{missed} false negatives" in said
    for row in check.frame[check.frame["effect_possible"]].itertuples():
        said = page.locator(TILE.format(row.layer, row.position)).get_attribute("aria-label") or ""
        numbers = re.findall(r"[+−]?[\d.]+(?=\s+logits)", said)
        exact, estimate = (float(one.replace("−", "-")) for one in numbers)
        base = estimated.base_value
        assert exact == pytest.approx(base + row.exact, rel=0.01, abs=0.01)
        assert estimate == pytest.approx(base + row.estimate, rel=0.01, abs=0.01)
        assert ("missed by the estimate" in said) == row.false_negative
    lab.shot("estimate")
    lab.widen(950)
    page.locator(TILE.format(2, 4)).hover()
    missed = page.locator(".vene-legend-missed")
    assert missed.evaluate(LINES) == 0
    sentence = page.locator(".vene-readout-sentence", has_text="Estimated by gradients")
    sentence.wait_for()
    assert sentence.evaluate("one => one.scrollHeight <= one.clientHeight")
    # A click is still the exact patch.
    page.locator(TILE.format(0, 3)).click()
    page.locator(".vene-sentence", has_text="turns “Madrid” into “Rome”").wait_for()
    assert lab.problems == []
