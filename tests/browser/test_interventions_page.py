"""Operators set by hand in a real JupyterLab: linked and partitioned slots, and idle slots."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""

# The same pair of slots in Python: the explorer's run must equal this one bit for bit.
COMPARE = """
import torch
pair = [
    vw.Slot(
        layer=layer, position=3, intervention="low_rank_rotated_space", rank=2,
        partition={"a": (0, 1), "b": (1, 2)}, subspace=name, link="L1", source="source",
    )
    for layer, name in [(0, "a"), (1, "b")]
]
expected = vw.Experiment(
    base="The capital of Spain is", sources="The capital of Italy is", slots=pair
)
on_screen, run = explorer.experiment.ungrouped(), vw.run(explorer.model, expected)
fields = ("layer", "intervention", "rank", "partition", "subspace", "link", "seed", "strength")
same = [
    [getattr(slot, name) for name in fields] == [getattr(other, name) for name in fields]
    for slot, other in zip(on_screen.slots, expected.slots, strict=True)
]
unlinked = vw.run(explorer.model, expected.replace(slots=[
    slot.model_copy(update={"link": None, "seed": seed}) for seed, slot in enumerate(pair)
]))
print(
    same, torch.equal(explorer.run.logits, run.logits), torch.equal(run.logits, unlinked.logits),
    [receipt.idle for receipt in explorer.run.record],
)
"""


def tile(lab: Any, layer: int, position: int) -> Any:
    return lab.page.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


def exact(lab: Any) -> None:
    """Wait until the exact answer is on the screen."""
    lab.page.locator('.vene-status[data-label="exact"]').wait_for()


def named(lab: Any, name: str) -> Any:
    return lab.page.get_by_label(name, exact=True)


def make_pair(lab: Any) -> None:
    """Make two linked low-rank slots at the subject token, with one subspace each."""
    tile(lab, 0, 3).click()
    exact(lab)
    tile(lab, 1, 3).click(modifiers=["Shift"])
    exact(lab)
    for index, subspace in enumerate("ab"):
        named(lab, f"More of slot {index}").click()
        named(lab, f"Intervention of slot {index}").select_option("low_rank_rotated_space")
        exact(lab)
        assert named(lab, f"Rank of slot {index}").input_value() == "2"
        button = named(lab, f"Subspace {subspace} of slot {index}")
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
        exact(lab)
        assert button.get_attribute("aria-pressed") == "true"
    named(lab, "Link slot 1").click()
    exact(lab)
    named(lab, "Unlink slot 1").wait_for()
    assert lab.page.locator(".vene-slot-linked").count() == 2


def test_a_linked_partitioned_pair_by_hand_is_the_one_in_python(lab: Any) -> None:
    lab.open([OPEN, COMPARE])
    lab.run_cell(0)
    lab.page.locator(".vene-root").wait_for()
    make_pair(lab)
    assert lab.page.locator('[data-details="1"] .vene-link-chip').inner_text().startswith("L1")
    lab.shot("interventions-pair", lab.page.locator(".vene-root"))
    lab.run_cell(1)
    assert lab.text(1) == "[True, True] True False [False, False]"
    assert lab.problems == []


def test_keys_on_the_map_link_and_choose_subspaces(lab: Any) -> None:
    lab.open([OPEN])
    lab.run_cell(0)
    lab.page.locator(".vene-root").wait_for()
    make_pair(lab)
    named(lab, "More of slot 0").click()
    tile(lab, 0, 3).focus()
    lab.page.keyboard.press("2")
    exact(lab)
    assert named(lab, "Subspace b of slot 0").get_attribute("aria-pressed") == "true"
    lab.page.keyboard.press("l")
    exact(lab)
    named(lab, "Link slot 0").wait_for()
    assert lab.page.locator(".vene-link-chip").count() == 0
    lab.page.keyboard.press("l")
    exact(lab)
    assert lab.page.locator(".vene-slot-linked").count() == 2


def test_dark_strength_noise_and_a_slot_that_changes_nothing(lab: Any) -> None:
    lab.use_theme("JupyterLab Dark")
    lab.open([OPEN])
    lab.run_cell(0)
    lab.page.locator(".vene-root").wait_for()
    lab.page.locator(".vene-map-fold").click()
    tile(lab, 0, 1).click()  # before the first differing token
    exact(lab)
    warning = lab.page.locator('[data-slot="0"] [data-outcome="warning"]')
    assert "No effect: " in warning.get_attribute("aria-label")
    named(lab, "More of slot 0").click()
    sentence = lab.page.locator(".vene-sentence")
    assert "has no effect: " in sentence.inner_text()
    named(lab, "Intervention of slot 0").select_option("noise")
    exact(lab)
    assert warning.count() == 0 and sentence.inner_text().startswith("Adding noise to “capital”")
    named(lab, "Strength of slot 0").focus()
    for _ in range(2):
        lab.page.keyboard.press("ArrowLeft")
    lab.page.wait_for_function(
        """() => document.querySelector('[aria-label="Strength of slot 0 as a number"]').value
            === "0.9" """
    )
    exact(lab)
    assert "after block 0 at strength 0.9 " in sentence.inner_text()
    named(lab, "Dims of slot 0").fill("7:3000")
    lab.page.keyboard.press("Enter")
    alert = lab.page.locator('.vene-root [role="alert"]')
    assert "'7:3000' is invalid" in alert.inner_text()
    named(lab, "Intervention of slot 0").select_option("zero")
    exact(lab)
    named(lab, "Dims of slot 0").fill("0:4")
    lab.page.keyboard.press("Enter")
    lab.page.get_by_text("Zeroing dims 0:4 of").first.wait_for()
    lab.shot("interventions-dark", lab.page.locator(".vene-root"))
    assert lab.problems == []
