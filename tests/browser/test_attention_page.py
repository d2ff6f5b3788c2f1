"""The tab Attention in a real JupyterLab: read weights, cut an edge, copy one, undo."""

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
PYTHON = """
import json
found = vw.attention(explorer.model, explorer.experiment, layer=3)
run = vw.run(explorer.model, explorer.experiment)
print(json.dumps({
    "weights": {name: found.runs[name][0, 1].tolist() for name in ("base", "source", "intervened")},
    "slots": [
        [s.layer, s.component, s.head, s.position, s.source_position, s.intervention, s.source]
        for s in explorer.experiment.slots
    ],
    "top": run.top(3)["probability"].tolist(),
    "shown": [one["probability"] for one in explorer.answer["runs"][-1]["top"][:3]],
}))
"""


def weight(lab: Any, run: int, query: int, key: int) -> Any:
    grid = lab.page.locator(".vene-weights").nth(run)
    return grid.locator(f'[data-query="{query}"][data-key="{key}"]')


def python(lab: Any) -> dict[str, Any]:
    lab.run_cell(1)
    return json.loads(lab.text(1))


def exact(lab: Any, slots: int) -> None:
    lab.page.locator("[data-panel=slots] .vene-slot").nth(slots - 1).wait_for()
    lab.page.locator('.vene-status[data-label="exact"]').wait_for()
    lab.page.locator(".vene-pattern").nth(2).wait_for()
    lab.page.wait_for_function("!document.querySelector('.vene-pattern.vene-old')")


def assert_same(lab: Any, found: dict[str, Any]) -> None:
    """Every weight on the screen is Python's."""
    for run, name in enumerate(("base", "source", "intervened")):
        for query in range(5):
            for key in range(query + 1):
                label = weight(lab, run, query, key).get_attribute("aria-label")
                assert label.split(", ")[0].endswith(percent(found["weights"][name][query][key]))


def test_a_weight_is_read_cut_and_copied(lab: Any) -> None:
    lab.open([OPEN, PYTHON])
    lab.run_cell(0)
    page = lab.page
    page.locator('.vene-status[data-label="exact"]').wait_for()
    page.get_by_role("tab", name="Attention").click()
    page.get_by_label("Layer of the patterns").select_option("3")
    page.locator(".vene-weights[aria-label*='layer 3']").nth(2).wait_for()
    page.get_by_label("Head 1", exact=True).click()
    assert_same(lab, python(lab))

    weight(lab, 0, 4, 3).click()
    exact(lab, 1)
    line = page.locator(".vene-slot-words").first.inner_text().replace("\n", " ")
    assert "L3 H1" in line and "␣is → ␣Spain" in line and "zero" in line
    found = python(lab)
    assert found["slots"] == [[3, "attention_weight", 1, 4, 3, "zero", None]]
    assert found["shown"] == pytest.approx(found["top"], rel=1e-6)
    assert found["weights"]["intervened"][4][3] == 0
    assert_same(lab, found)
    assert weight(lab, 2, 4, 3).get_attribute("aria-selected") == "true"
    weight(lab, 0, 4, 3).hover()
    lab.shot("attention_cut")
    said = page.locator("[data-panel=attention] [role=status]").inner_text()
    assert said.startswith("L3 H1: ␣is → ␣Spain: base ") and said.endswith("patched 0\u00a0%")

    page.get_by_label("What a click does").select_option("copy")
    weight(lab, 0, 4, 2).focus()
    page.keyboard.press("Enter")
    exact(lab, 2)
    found = python(lab)
    assert found["slots"][1] == [3, "attention_weight", 1, 4, 2, "vanilla", "source"]
    assert found["shown"] == pytest.approx(found["top"], rel=1e-6)
    assert_same(lab, found)

    page.get_by_label("Undo").click()
    page.locator("[data-panel=slots] .vene-slot").nth(1).wait_for(state="detached")
    page.get_by_role("tab", name="Code").click()
    assert "attention_weight" in page.locator("[data-panel=code]").inner_text()
    page.get_by_role("tab", name="Receipts").click()
    assert "head 1 of layer 3" in page.locator("[data-panel=receipts]").inner_text()
    assert lab.problems == []
