"""The tab Paths in a real JupyterLab: the logits, a head's inputs, and two heads alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""
PYTHON = """
import json
pair = "The capital of Spain is", "The capital of Italy is"
options = {"senders": "all", "targets": (" Rome", " Madrid")}
def effects(column="effect", **more):
    frame = vw.paths(explorer.model, *pair, **options, **more).frame
    return dict(zip(frame["sender_name"], frame[column]))
circuit = vw.circuit(
    explorer.model, *pair, heads=["3.2", "4.1"], ablation="source", targets=options["targets"]
)
print(json.dumps({
    "logits": effects(),
    "held": effects("effect_frozen"),
    "q": effects(receivers=[("4.1", "q")]),
    "q held": effects("effect_frozen", receivers=[("4.1", "q")], norms="frozen"),
    "v": effects(receivers=[("4.1", "v")]),
    "mlp": effects(receivers=["mlp2"]),
    "circuit": circuit.frame[["value", "faithfulness_normalised"]].values.tolist(),
    "faithfulness": circuit.faithfulness,
}))
"""
LAYERS, HEADS = 6, 4


def tile(lab: Any, layer: int, head: int | None) -> Any:
    place = f'[data-layer="{layer}"][data-position="{HEADS if head is None else head}"]'
    return lab.page.locator(f".vene-paths {place}")


def shown(lab: Any) -> dict[str, float]:
    """The numbers of all tiles that have one, to the last digit."""
    lab.page.locator(".vene-paths .vene-map:not(.vene-old)").wait_for()
    titles = lab.page.locator(".vene-paths .vene-tile[title]").evaluate_all(
        "tiles => tiles.map(tile => tile.title).filter(Boolean)"
    )
    pairs = (title.rsplit(": ", 1) for title in titles)
    return {name.replace("head ", "").replace("MLP ", "mlp"): float(value) for name, value in pairs}


def test_paths_are_read_followed_and_a_circuit_is_run(lab: Any) -> None:
    lab.open([OPEN, PYTHON])
    lab.run_cell(0)
    page = lab.page
    page.locator('.vene-status[data-label="exact"]').wait_for()
    lab.run_cell(1)
    python = json.loads(lab.text(1))
    page.get_by_role("tab", name="Paths").click()
    assert shown(lab) == python["logits"]
    assert len(python["logits"]) == 1 + LAYERS * (HEADS + 1)
    said = page.locator("[data-panel=paths] [role=status]")
    assert said.inner_text().startswith("Head 3.2 adds +6.59 to the logit difference “Rome” −")
    page.get_by_label("Norms on the way").select_option("held")
    page.wait_for_function(
        "/norms held/.test(document.querySelector('.vene-panel-paths').innerText)"
    )
    assert shown(lab) == python["held"]

    page.get_by_label("Mark head 3.2").check()
    tile(lab, 4, 1).click(modifiers=["Shift"])
    page.locator(".vene-circuit table").wait_for()
    page.wait_for_function("!document.querySelector('.vene-circuit .vene-old')")
    page.get_by_text("3.2, 4.1", exact=True).wait_for()
    cells = page.locator(".vene-circuit td").evaluate_all("all => all.map(one => +one.title)")
    assert [cells[n : n + 2] for n in range(0, 8, 2)] == python["circuit"]
    note = page.locator(".vene-circuit .vene-note").last.inner_text()
    assert f"{python['faithfulness']:.3g}".replace("-", "−") in note
    lab.shot("paths")

    tile(lab, 4, 1).click()
    page.get_by_text("to the query of head 4.1").wait_for()
    assert shown(lab) == python["q held"] != python["q"]
    page.get_by_label("Norms on the way").select_option("exact")
    page.wait_for_function(
        "/norms computed anew/.test(document.querySelector('.vene-panel-paths').innerText)"
    )
    assert shown(lab) == python["q"]
    page.get_by_label("What of the head receives").select_option("v")
    page.get_by_text("to the value of head 4.1").wait_for()
    assert shown(lab) == python["v"]
    tile(lab, 2, None).focus()
    page.keyboard.press("Enter")
    page.get_by_text("to MLP 2", exact=True).wait_for()
    assert shown(lab) == python["mlp"]
    lab.shot("paths_mlp")
    page.get_by_role("button", name="← the logits").click()
    assert shown(lab) == python["logits"]
    assert lab.problems == []
