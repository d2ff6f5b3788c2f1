"""Generate, in a real JupyterLab: both texts of a patch, token by token, and a click meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

import vene_widgets as vw

pytestmark = pytest.mark.browser

SLOWLY = """
import time
from vene_widgets.explorer.session import generation

generate_plan = generation.generate_plan

def slowly(*args, on_token, **named):
    return generate_plan(*args, on_token=lambda one: (on_token(one), time.sleep(0.1)), **named)

generation.generate_plan = slowly
"""
"""A model that takes its time: a click comes before its text has ended."""

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def tokens(page: Any, run: str) -> list[str]:
    return page.locator(f".vene-text[data-run={run}] .vene-piece").all_text_contents()


def complete(page: Any) -> None:
    page.locator(".vene-panel-generation").get_by_role("button", name="Generate").wait_for()
    page.locator(".vene-texts-words", has_text="≠ First difference").wait_for()


def test_texts_are_those_of_generate_and_a_click_stops_them(lab: Any) -> None:
    lab.open(["import vene_widgets as vw\nexplorer = vw.explore()\nexplorer", SLOWLY])
    lab.run_cell(0)
    page = lab.page
    page.locator('[role=gridcell][data-layer="0"][data-position="3"]').click()
    page.get_by_role("tab", name="Generate").click()
    panel = page.locator(".vene-panel-generation")
    model = vw.load()
    slot = vw.Slot(layer=0, position=3, source_position=3)
    experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])
    for on in ("prompt", "every"):
        page.get_by_label("Where the slots act").select_option(on)
        panel.get_by_role("button", name="Generate").click()
        complete(page)
        wanted = vw.generate(model, experiment, max_new_tokens=20, on=on)
        for run in ("base", "patched"):
            frame = wanted.frame[wanted.frame["run"] == run]
            assert tokens(page, run) == frame["token"].tolist()
        differing = page.locator(".vene-piece[data-differs=true]")
        assert differing.all_text_contents() == [" Madrid", " Rome"]
    page.locator(".vene-text[data-run=patched] .vene-piece").first.focus()
    page.keyboard.press("ArrowRight")
    row = frame.iloc[1]
    words = page.locator(".vene-texts-words").inner_text()
    assert words.startswith(f"patched, new token 2: {row['label']} ")
    assert f"rank {row['rank']}" in words
    lab.shot("generation")

    page.get_by_label("Number of new tokens").fill("99")
    panel.get_by_role("button", name="Generate").click()
    problem = panel.get_by_role("alert")
    problem.wait_for()
    assert "max_new_tokens must be from 1 to 60 after a prompt of 5 tokens" in problem.inner_text()
    assert tokens(page, "patched") == frame["token"].tolist()

    lab.run_cell(1)
    page.get_by_label("Number of new tokens").fill("60")
    panel.get_by_role("button", name="Generate").click()
    page.locator(".vene-texts-words", has_text="Writing patched").wait_for(timeout=60_000)
    page.locator(".vene-text[data-run=patched] .vene-piece").nth(2).wait_for()
    page.locator('[role=gridcell][data-layer="2"][data-position="3"]').click()
    page.locator(".vene-texts-words", has_text="Of another experiment.").wait_for()
    assert 3 <= len(tokens(page, "patched")) < 60
    panel.get_by_role("button", name="Generate").wait_for()
    lab.shot("generation-old")
    assert lab.problems == []
