"""Comparisons of any two runs, and the history, in a real JupyterLab."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", {"italy": "The capital of Italy is"})
explorer
"""
AGAIN = "explorer"
NAMES = """
import json
print(json.dumps({
    "names": [entry.name for entry in explorer.history],
    "slots": [[slot.layer, slot.position] for slot in explorer.experiment.slots],
}))
"""
READ = """
import json
print(json.dumps({
    "verdict": explorer.contrast["verdict"],
    "python": [
        explorer.compare("base", "grouped").words,
        explorer.compare("slot 0", "grouped").words,
    ],
}))
"""
CUT = """() => [...document.querySelectorAll(".vene-compare :is(th, td)")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.textContent)"""


def tile(lab: Any, layer: int, position: int, view: int = 0) -> Any:
    root = lab.page.locator(".vene-root").nth(view)
    return root.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


def fresh(lab: Any) -> None:
    """Wait until a newly computed answer, not a cached one, is on the screen."""
    lab.page.wait_for_function(
        """() => {
            const status = document.querySelector(".vene-result .vene-status");
            return status?.dataset.label === "exact" && / ms| s|plain run/.test(status.textContent);
        }"""
    )


def sentence(lab: Any) -> str:
    return lab.page.locator(".vene-root .vene-sentence").first.text_content() or ""


def chips(lab: Any, view: int = 0) -> Any:
    return lab.page.locator(".vene-root").nth(view).locator(".vene-past")


def labels(lab: Any, view: int = 0) -> list[str]:
    return [chip.get_attribute("aria-label") for chip in chips(lab, view).all()]


def verdict(lab: Any, words: str) -> Any:
    """Wait for the exact verdict of the comparison whose heading contains `words`."""
    found = lab.page.locator(".vene-compare .vene-verdict", has_text=words)
    found.wait_for()
    lab.page.locator('.vene-compare .vene-status[data-label="exact"]').wait_for()
    return found


def no_problems(lab: Any) -> None:
    assert not [p for p in lab.problems if "vene" in p or "uncaught" in p]


def test_two_sides_are_compared_beside_the_map(lab: Any) -> None:
    lab.open([OPEN, READ])
    lab.run_cell(0)
    fresh(lab)
    tile(lab, 0, 3).click()
    fresh(lab)
    tile(lab, 2, 4).click(modifiers=["Shift"])
    fresh(lab)
    page = lab.page
    page.get_by_role("tab", name="Compare").click()
    assert verdict(lab, "base vs grouped").get_attribute("data-verdict") == "different"
    assert page.get_by_role("grid").is_visible()
    page.get_by_label("Left side").select_option("slot:0")
    shown = verdict(lab, "slot 0 vs grouped")
    told = shown.inner_text()
    assert re.search(r"max abs logit difference [\d.]+; first differs at layer 2 \(all", told), told
    page.get_by_role("button", name="Swap sides").click()
    verdict(lab, "grouped vs slot 0")
    page.get_by_role("button", name="Swap sides").click()
    verdict(lab, "slot 0 vs grouped")
    page.set_viewport_size({"width": 1400, "height": 1700})
    lab.shot("compare", page.locator(".vene-root"))
    # Names of runs and signed numbers are whole, and nothing touches the edge.
    page.get_by_label("Right side").select_option("result")
    assert page.evaluate(CUT) == []
    edge, rows = page.locator(".vene-compare"), page.locator(".vene-compare .vene-rows").first
    assert rows.bounding_box()["x"] - edge.bounding_box()["x"] >= 10

    # Python's compare() gives the same verdict for the same sides.
    lab.run_cell(1)
    result = json.loads(lab.text(1))
    assert result["verdict"]["words"] == result["python"][1] != result["python"][0]

    # The sides follow the experiment: slot 1 has moved, and the runs differ from its layer on.
    tile(lab, 2, 4).click(modifiers=["Shift"])
    fresh(lab)
    tile(lab, 3, 4).click(modifiers=["Shift"])
    fresh(lab)
    verdict(lab, "first differs at layer 3")
    no_problems(lab)


def test_the_strip_goes_back_compares_names_and_outlives_a_reload(lab: Any) -> None:
    lab.open([OPEN, NAMES])
    lab.run_cell(0)
    fresh(lab)
    for layer in (0, 1):
        tile(lab, layer, 3).click()
        fresh(lab)
    tile(lab, 2, 4).click(modifiers=["Shift"])
    fresh(lab)
    assert len(labels(lab)) == 4
    before = sentence(lab)

    # A click goes back at once; the order of the strip stays the same.
    chips(lab).nth(1).click()
    assert "after block 0" in sentence(lab)
    fresh(lab)
    assert chips(lab).nth(1).get_attribute("aria-current") == "true"
    chips(lab).nth(3).click()
    fresh(lab)
    assert sentence(lab) == before

    # Shift-click compares with the current experiment.
    chips(lab).nth(1).click(modifiers=["Shift"])
    assert verdict(lab, "#1 vs grouped").get_attribute("data-verdict") == "different"
    chips(lab).nth(3).click(modifiers=["Shift"])
    assert verdict(lab, "#3 vs grouped").get_attribute("data-verdict") == "bit-equal"

    # Name an entry with the keyboard.
    chips(lab).nth(3).focus()
    lab.page.keyboard.press("ArrowLeft")
    lab.page.keyboard.press("F2")
    lab.page.keyboard.type("one swap")
    lab.page.keyboard.press("Enter")
    lab.page.locator(".vene-past-name", has_text="one swap").wait_for()
    lab.shot("history", lab.page.locator(".vene-root"))
    before_reload = labels(lab)
    assert before_reload[2].startswith("one swap Rome")

    # After a reload the kernel still runs, and its widget is restored completely.
    lab.save()
    lab.page.reload()
    chips(lab).first.wait_for()
    assert labels(lab) == before_reload
    assert chips(lab).nth(3).get_attribute("aria-current") == "true"
    chips(lab).nth(2).click()
    fresh(lab)
    assert "after block 1" in sentence(lab)
    lab.run_cell(1)
    state = json.loads(lab.text(1))
    assert state["names"] == [None, None, "one swap", None]
    assert state["slots"] == [[1, 3]]
    no_problems(lab)


def test_undo_and_redo_over_twenty_steps(lab: Any) -> None:
    lab.open([OPEN])
    lab.run_cell(0)
    fresh(lab)
    seen = [sentence(lab)]
    for n in range(20):
        tile(lab, n // 2 % 6, 3 + n % 2).click(modifiers=["Shift"] if n % 5 == 4 else [])
        fresh(lab)
        seen.append(sentence(lab))
    assert len(set(seen)) > 12
    present = lab.page.locator('.vene-result .vene-status[data-label="exact"]')
    for expected in reversed(seen[:-1]):
        lab.page.keyboard.press("Control+z")
        lab.page.locator(".vene-sentence", has_text=expected).wait_for()
        present.wait_for()
    for expected in seen[1:]:
        lab.page.keyboard.press("Control+y")
        lab.page.locator(".vene-sentence", has_text=expected).wait_for()
        present.wait_for()
    assert lab.page.get_by_role("button", name="Redo").is_disabled()
    fresh(lab)
    assert sentence(lab) == seen[-1]
    no_problems(lab)


def test_two_views_of_one_explorer_have_one_history(lab: Any) -> None:
    lab.open([OPEN, AGAIN])
    lab.run_all()
    chips(lab, 1).first.wait_for()
    tile(lab, 0, 3, view=0).click()
    fresh(lab)
    tile(lab, 5, 4, view=1).click()
    lab.page.locator(".vene-sentence", has_text="after block 5").nth(1).wait_for()
    fresh(lab)
    assert labels(lab, 0) == labels(lab, 1)
    assert len(labels(lab)) == 3
    chips(lab, 0).nth(1).click()
    for view in (0, 1):
        lab.page.locator(".vene-root").nth(view).locator(
            '.vene-past[aria-current="true"][data-number="1"]'
        ).wait_for()
    assert labels(lab, 0) == labels(lab, 1)
    assert len(labels(lab)) == 3
    no_problems(lab)
