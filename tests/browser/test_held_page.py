"""Slots that are held in the map, in a real JupyterLab: a knock-out, and causal tracing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import vene_widgets as vw
from vene_widgets.tables.number_text import percent

pytestmark = pytest.mark.browser

KNOCK_OUT = """
import vene_widgets as vw
model = vw.load()
pair = "The capital of Spain is", "The capital of Italy is"
out = vw.Slot(layer=0, component="mlp_output", position=" Spain", intervention="zero")
explorer = vw.explore(*pair, model, out)
explorer
"""

TRACED = """
import vene_widgets as vw
model = vw.load()
pair = "The capital of Spain is", "The capital of Spain is"
out = vw.Slot(layer=0, component="block_input", position=" Spain", intervention="noise", hold=True)
explorer = vw.explore(pair[0], {"clean": pair[1]}, model, out)
explorer
"""

# What is named below but is not seen whole, and tabs under the drawer's cross.
CUT = """root => {
    const whole = [".vene-sentence-what", ".vene-sentence-numbers", ".vene-axis-head"].filter(
        (name) => root.querySelector(name).scrollHeight > root.querySelector(name).clientHeight);
    const box = (one) => one.getBoundingClientRect();
    const legend = root.querySelector(".vene-legend");
    const held = legend.querySelector(".vene-held-mark").parentElement;
    if (box(held).bottom > box(legend).bottom || box(held).right > box(root).right)
        whole.push("held");
    const [zero, end] = [...root.querySelectorAll(".vene-axis-head span")].map(box);
    if (end.top > zero.top + zero.height / 2) whole.push("axis");
    const cross = box(root.querySelector(".vene-drawer-close"));
    return [...whole, ...[...root.querySelectorAll(".vene-tab")]
        .filter((tab) => box(tab).right > cross.left && box(tab).top < cross.bottom)
        .map((tab) => tab.textContent)];
}"""

# What vw.sweep says of each tile, and what the explorer is at.
SWEPT = """
import json
explorer.wait()
fixed = [out.replace(hold=False)] if explorer.map["held"] else []
target = explorer.map["target"]
frame = vw.sweep(model, *pair, fixed=fixed, targets=[target]).frame
own = vw.sweep(model, *pair, fixed=fixed).frame
columns = ["layer", "position", "target_id", "probability", "delta", "recovery"]
print(json.dumps({
    "tiles": {f"{row.layer} {row.position}": row.probability for row in frame.itertuples()},
    "held": len(explorer.map["held"]),
    "revision": explorer.map["revision"],
    "slots": [[s.component, s.layer, s.hold] for s in explorer.experiment.slots],
    "is_table": bool(((explorer.map_frame[columns] - own[columns]).abs().max() < 1e-5).all()),
}))
"""


def tiles(lab: Any) -> dict[str, str]:
    """The number of every tile as its name says it; "base" where it says that there is none."""
    found: dict[str, str] = {}
    for tile in lab.page.locator("[role=gridcell][data-layer][data-position]").all():
        name = tile.get_attribute("aria-label") or ""
        at = f"{tile.get_attribute('data-layer')} {tile.get_attribute('data-position')}"
        number = re.search(r", P\([^)]*\) ([^ ,]+)", name)
        if number:
            found[at] = number[1].removesuffix("\u00a0%")
    return found


def asked(lab: Any, cell: int) -> Any:
    lab.run_cell(cell)
    return json.loads(lab.text(cell))


def full(lab: Any) -> None:
    """Wait for the whole map and the exact answer."""
    lab.page.locator('.vene-map[aria-busy="false"]').wait_for()
    lab.page.locator('.vene-status[data-label="exact"]').wait_for()


def check_tiles(lab: Any, said: Any, at_least: int) -> dict[str, str]:
    shown = tiles(lab)
    assert len(shown) >= at_least
    assert shown == {at: percent(said["tiles"][at]).removesuffix("\u00a0%") for at in shown}
    return shown


def test_a_slot_is_knocked_out_of_the_whole_map(lab: Any) -> None:
    lab.open([KNOCK_OUT, SWEPT, SWEPT, SWEPT])
    lab.run_cell(0)
    full(lab)
    hold = lab.page.get_by_label("Hold slot 0 in the map")
    facts = lab.page.locator(".vene-legend", has_text="with 1 slot held")
    assert (hold.get_attribute("aria-pressed"), facts.count()) == ("false", 0)
    before = tiles(lab)
    hold.click()
    facts.wait_for()
    full(lab)
    said = asked(lab, 1)
    assert (said["held"], said["slots"], said["is_table"]) == (1, [["mlp_output", 0, True]], True)
    shown = check_tiles(lab, said, 8)
    assert shown != before
    lab.shot("held")

    lab.page.locator('[role=gridcell][data-layer="3"][data-position="4"]').click()
    full(lab)
    lab.shot("held-clicked")
    said = asked(lab, 2)
    assert said["slots"] == [["mlp_output", 0, True], ["block_output", 3, False]]
    assert check_tiles(lab, said, 8) == shown
    lab.page.locator('[role=gridcell][data-layer="2"][data-position="4"]').click()
    full(lab)
    later = asked(lab, 3)
    assert later["slots"] == [["mlp_output", 0, True], ["block_output", 2, False]]
    assert later["revision"] == said["revision"]  # the map was not swept again
    assert lab.problems == []


def test_causal_tracing_restores_under_noise_that_is_held(lab: Any) -> None:
    lab.open([TRACED, SWEPT, SWEPT])
    lab.run_cell(0)
    full(lab)
    lab.page.locator(".vene-legend", has_text="with 1 slot held").wait_for()
    said = asked(lab, 1)
    shown = check_tiles(lab, said, 10)
    assert float(shown["0 3"]) > 90 > 10 > float(shown["0 4"])
    lab.shot("traced")
    lab.page.get_by_label("Hold slot 0 in the map").click()
    lab.page.locator(".vene-legend", has_text="held").wait_for(state="detached")
    full(lab)
    assert asked(lab, 2)["held"] == 0
    assert lab.problems == []


@pytest.mark.parametrize(("width", "scheme"), [(300, "light"), (400, "light"), (950, "dark")])
def test_a_saved_page_keeps_what_is_held(
    chromium: Browser, tmp_path: Path, width: int, scheme: Any
) -> None:
    held = vw.Slot(
        layer=0, component="mlp_output", position=" Spain", intervention="zero", hold=True
    )
    late = vw.Slot(layer=2, position=-1)
    pair = "The capital of Spain is", "The capital of Italy is"
    explorer = vw.explore(*pair, slots=[held, late]).wait(60)
    context = chromium.new_context(
        viewport={"width": width, "height": 1100}, offline=True, color_scheme=scheme
    )
    try:
        page, problems = context.new_page(), list[str]()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(explorer.to_html(tmp_path / "held.html").as_uri())
        page.locator(".vene-legend", has_text="with 1 slot held").wait_for()
        assert page.get_by_label("Hold slot 0 in the map").is_disabled()
        assert page.locator(".vene-root").evaluate(CUT) == []
        page.locator('[role=gridcell][data-layer="3"][data-position="4"]').click()
        cell = next(c for c in explorer.map["cells"] if (c["layer"], c["position"]) == (3, 4))
        said = explorer.map["sentences"][explorer.map["cells"].index(cell)]
        page.locator(".vene-sentence", has_text=said[:40]).wait_for()
        assert page.locator(".vene-root").evaluate(CUT) == []
        assert page.locator(".vene-slot").count() == 2
        assert page.locator("[data-panel=difference]", has_text="KL").count() == 0
        run = vw.run(
            explorer.model, explorer.experiment.replace(slots=[held, late.replace(layer=3)])
        )
        top = run.top(1)
        row = page.locator("[data-panel=answer] tbody tr", has_text=top["token"][0].strip())
        shown = float(row.locator("td[data-role=now]").get_attribute("title") or "nan")
        assert shown == pytest.approx(top["probability"][0], rel=1e-4)
        base = float(row.locator("td[data-role=base]").get_attribute("title") or "nan")
        plain = vw.run(explorer.model, vw.Experiment(base=pair[0]))
        assert base == pytest.approx(
            plain.logits[-1].softmax(-1)[int(top["token_id"][0])].item(), rel=1e-4
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=tmp_path / f"held-{width}.png", full_page=True)
        assert problems == []
    finally:
        context.close()
        explorer.close()
