"""Steering by gesture, in a real JupyterLab: a slot that adds a difference of means."""

from __future__ import annotations

from typing import Any

import pytest

import vene_widgets as vw

pytestmark = pytest.mark.browser

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
FRANCE = "The capital of France is"


INSIDE = """one => {
    const [ends, least] = [one, one.closest(".vene-root")]
        .map((box) => box.getBoundingClientRect().bottom);
    if (ends > least) throw new Error(`the details end ${ends - least} px below the explorer`);
}"""


def steered(model: vw.LanguageModel, strength: float, source_layer: int | None) -> vw.Run:
    slot = vw.Slot(
        layer=1, position=3, intervention="addition", strength=strength,
        prompts=[ITALY, FRANCE], minus=[SPAIN], source_layer=source_layer,
    )  # fmt: skip
    return vw.run(model, vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot]))


def test_a_slot_is_made_to_steer_and_its_numbers_are_those_of_run(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nexplorer = vw.explore()\nexplorer"])
    lab.run_cell(0)
    page, model = lab.page, vw.load()

    def shows(run: vw.Run) -> None:
        """Wait until the first rows of the answer have the run's probabilities."""
        top = run.top(1).iloc[0]
        digits = f"{100 * top['probability']:.2g}"
        name = top["token"].strip()
        page.locator(".vene-sentence", has_text=f"“{name}”").wait_for()
        page.get_by_text("exact ·").first.wait_for()
        row = page.locator(".vene-panel-answer tr", has_text=f"␣{name}").first
        row.locator("td", has_text=digits).first.wait_for()

    page.locator('[role=gridcell][data-layer="1"][data-position="3"]').click()
    page.get_by_label("More of slot 0").click()
    page.get_by_label("What slot 0 reads").select_option("difference")
    assert page.get_by_label("Intervention of slot 0").input_value() == "addition"
    assert page.get_by_label("Prompts to subtract of slot 0").input_value() == SPAIN
    prompts = page.get_by_label("Prompts of slot 0", exact=True)
    assert prompts.input_value() == ITALY
    prompts.fill(f"{ITALY}\n{FRANCE}")
    prompts.blur()
    page.locator(".vene-slot-words", has_text="mean of 2 − mean of 1").wait_for()
    shows(steered(model, 1, None))

    slider = page.get_by_label("Strength of slot 0", exact=True)
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("-8", "8")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.locator(".vene-slot-words", has_text="× 2").wait_for()
    shows(steered(model, 2, None))
    page.get_by_label("Layer that slot 0 reads").select_option("0")
    page.locator(".vene-slot-words", has_text="read at L0").wait_for()
    shows(steered(model, 2, 0))
    sentence = page.locator(".vene-sentence").first.inner_text()
    assert "Adding a difference of means (2 prompts − 1) to “Spain”" in sentence
    lab.shot("steering")

    number = page.get_by_label("Strength of slot 0 as a number")
    number.fill("-12")
    number.blur()
    page.locator(".vene-slot-words", has_text="× −12").wait_for()
    shows(steered(model, -12, 0))

    # A prompt without that position is refused beside the field, and the slot stays.
    prompts.fill("Hi")
    prompts.blur()
    problem = page.locator(".vene-prompt-list").get_by_role("alert")
    problem.wait_for()
    assert "position" in problem.inner_text()
    assert prompts.input_value() == "Hi"
    assert "mean of 2 − mean of 1" in page.locator(".vene-slot-words").inner_text()
    lab.shot("steering-refused")
    # The cell's output ends with the explorer, so that the details must.
    for width in (600, 950, 1400):
        lab.widen(width)
        page.locator(".vene-slot-details").evaluate(INSIDE)
    shows(steered(model, -12, 0))
    assert lab.problems == []
