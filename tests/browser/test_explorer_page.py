"""The main workflow in a real JupyterLab: click a tile, read the change, use it in Python."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""
READ = """
import json
print(json.dumps({
    "experiment": explorer.experiment.model_dump(),
    "top": explorer.run.top(1).iloc[0].to_dict(),
    "runs": list(explorer.runs),
}, default=str))
"""


def tile(lab: Any, layer: int, position: int) -> Any:
    return lab.page.locator(f'[role="gridcell"][data-layer="{layer}"][data-position="{position}"]')


def exact(lab: Any) -> None:
    """Wait until the exact answer is on the screen."""
    lab.page.locator('.vene-status[data-label="exact"]').wait_for()


def sentence(lab: Any) -> str:
    return lab.page.locator(".vene-root .vene-sentence").text_content() or ""


def figure_says(lab: Any, words: str) -> Any:
    """Wait until the figure whose alternative text contains `words` is drawn and decoded."""
    image = lab.page.locator(f'img.vene-figure[alt*="{words}"]')
    image.wait_for(timeout=60_000)
    lab.page.wait_for_function(
        "image => image.complete && image.naturalWidth > 100", arg=image.element_handle()
    )
    return image


def read(lab: Any, cell: int) -> dict[str, Any]:
    lab.run_cell(cell)
    return json.loads(lab.text(cell))


def test_click_shift_click_skip_and_read_back(lab: Any) -> None:
    lab.open([OPEN, READ, READ])
    lab.run_cell(0)
    page = lab.page
    page.locator(".vene-root").wait_for()

    # The map is filled before the first click.
    # The three tokens that both prompts share are one column.
    assert page.locator('[role="grid"] [role="gridcell"][data-position]').count() == 6 * 2
    assert page.locator(".vene-fold").count() == 6
    exact(lab)
    assert "Madrid" in sentence(lab)
    lab.shot("explorer-opened")

    # A click at layer 0, " Spain", turns Madrid into Rome.
    tile(lab, 0, 3).click()
    exact(lab)
    text = sentence(lab)
    assert "turns “Madrid” into “Rome”" in text, text
    assert len(re.findall(r"[\d.]+\s% → >?[\d.]+\s%", text)) == 2, text
    figure_says(lab, "Rome")
    lab.shot("explorer-clicked")
    answer = read(lab, 1)
    assert answer["experiment"]["slots"][0]["layer"] == 0
    assert answer["experiment"]["slots"][0]["position"] == 3
    assert answer["top"]["token"] == " Rome"

    # Shift-click adds a slot to the same group; grouped and ungrouped are bit-equal.
    tile(lab, 2, 4).click(modifiers=["Shift"])
    verdict = page.locator(".vene-verdict")
    verdict.wait_for()
    assert verdict.get_attribute("data-verdict") == "bit-equal"
    exact(lab)
    assert page.locator("[data-slot]").count() == 2
    figure_says(lab, "grouped")
    lab.shot("explorer-grouped")
    lab.page.set_viewport_size({"width": 1400, "height": 1900})
    lab.page.mouse.move(0, 0)
    lab.shot("explorer", page.locator(".vene-root"))  # the README's picture

    # A skipped slot keeps its row and its index; the other slot alone changes nothing here.
    page.get_by_role("button", name="Skip slot 0").click()
    page.get_by_role("button", name="Unskip slot 0").wait_for()
    exact(lab)
    assert sentence(lab).startswith("1 slot (1 more skipped) leaves the prediction at “Madrid”")
    lab.shot("explorer-skipped")
    answer = read(lab, 2)
    slots = answer["experiment"]["slots"]
    assert [slot["skip"] for slot in slots] == [True, False]
    assert slots[0]["group"] == slots[1]["group"] is not None
    assert answer["runs"] == ["base", "source", "ungrouped", "grouped"]
    assert answer["top"]["token"] == " Madrid"
    assert not [p for p in lab.problems if "vene" in p or "uncaught" in p]


def test_the_buttons_leave_the_prompts_their_room(lab: Any) -> None:
    long = OPEN.replace("Spain is", "Spain is Madrid and the capital of Peru is")
    lab.open([long])
    lab.run_cell(0)
    exact(lab)
    for width in (600, 1000, 1100, 1400):
        lab.widen(width)
        header, prompts, tools = (
            lab.page.locator(f".vene-{part}").bounding_box()
            for part in ("header", "prompts", "header-tools")
        )
        assert prompts["width"] >= min(560, header["width"] - 24), width
        assert tools["x"] + tools["width"] <= header["x"] + header["width"] - 12, width


def test_the_drawer_is_as_wide_as_the_screen(lab: Any) -> None:
    lab.open([OPEN])
    lab.run_cell(0)
    exact(lab)
    whole = lab.page.locator(".vene-view").bounding_box()["width"]
    for name in ("code", "compare", "data"):
        lab.page.locator(f"[data-opens={name}]").click()
        assert lab.page.locator(f".vene-panel-{name}").bounding_box()["width"] == whole, name


def test_the_numbers_of_two_sources_and_a_group_are_whole(lab: Any) -> None:
    start = """
import vene_widgets as vw
sources = {"italy": "The capital of Italy is", "peru": "The capital of Peru is"}
explorer = vw.explore("The capital of Spain is", sources)
explorer.experiment = explorer.experiment.replace(slots=[
    vw.Slot(layer=0, position=3, source="italy", group="A"),
    vw.Slot(layer=2, position=4, source="peru", group="B"),
])
explorer
"""
    lab.open([start])
    lab.run_cell(0)
    exact(lab)
    lab.page.locator("[data-opens=data]").click()
    columns = lab.page.locator(".vene-data thead th")
    lab.page.locator('.vene-data th[data-role="grouped"]').wait_for()
    assert columns.all_inner_texts()[2:-1] == ["base", "italy", "peru", "ungrouped", "grouped"]
    for width in (600, 1000, 1400):
        lab.widen(width)
        for panel in (".vene-panel-data .vene-scroll", "[data-panel=answer]"):
            cut = lab.page.locator(panel).evaluate("one => one.scrollWidth - one.clientWidth")
            assert cut <= 0, (width, panel)


def test_python_changes_the_screen(lab: Any) -> None:
    change = """
explorer.experiment = explorer.experiment.replace(
    slots=[vw.Slot(layer=5, position=-1, source="source")]
)
"""
    lab.open([OPEN, change])
    lab.run_cell(0)
    exact(lab)
    lab.run_cell(1)
    lab.page.locator("[data-slot]").wait_for()
    lab.page.locator(".vene-sentence", has_text="after block 5").wait_for()
    assert "into “Rome”" in sentence(lab)
    assert tile(lab, 5, 4).get_attribute("aria-selected") == "true"


def test_a_click_is_answered_while_a_cell_runs(lab: Any) -> None:
    """JupyterLab's subshells: the explorer answers while the kernel's main thread is busy."""
    lab.open([OPEN, "import time\nfor _ in range(60):\n    time.sleep(0.5)"])
    lab.run_cell(0)
    exact(lab)
    lab.cells.nth(1).locator(".cm-content").click()
    lab.page.keyboard.press("Control+Enter")
    lab.page.locator(".jp-InputPrompt", has_text="[*]").wait_for()
    tile(lab, 1, 3).click()
    lab.page.locator(".vene-sentence", has_text="after block 1").wait_for(timeout=10_000)
    exact(lab)
    assert lab.page.locator(".jp-InputPrompt", has_text="[*]").count() == 1


def test_a_click_without_subshells_is_painted_at_once_and_exact_after_the_cell(lab: Any) -> None:
    lab.without_subshells()
    lab.open([OPEN, "import time\nfor _ in range(12):\n    time.sleep(0.5)\nprint('over')"])
    lab.run_cell(0)
    exact(lab)
    lab.cells.nth(1).locator(".cm-content").click()
    lab.page.keyboard.press("Control+Enter")
    lab.page.locator(".jp-InputPrompt", has_text="[*]").wait_for()
    tile(lab, 1, 3).click()
    lab.page.locator(".vene-sentence", has_text="after block 1").wait_for(timeout=2_000)
    assert lab.page.locator('.vene-status[data-label="exact"]').count() == 0
    assert lab.page.locator(".jp-InputPrompt", has_text="[*]").count() == 1
    exact(lab)
    assert lab.text(1) == "over"
    assert "turns “Madrid” into “Rome”" in sentence(lab)


def test_tokens_are_text_and_errors_stand_on_the_screen(lab: Any) -> None:
    markup = """
import vene_widgets as vw
explorer = vw.explore("<img src=x onerror=alert(1)> $x$", "<b>The capital</b> of Italy is")
explorer
"""
    lab.open([markup])
    dialogs: list[str] = []
    lab.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    lab.run_cell(0)
    lab.page.locator('[role="gridcell"]').first.wait_for()
    root = lab.page.locator(".vene-root")
    assert root.locator("img:not(.vene-figure)").count() == 0
    tokens = root.locator('[data-prompt="source"] .vene-chip').all_inner_texts()
    assert "".join(tokens).startswith("<b>")
    lab.page.wait_for_timeout(300)
    assert dialogs == []
    lab.shot("explorer-markup")


def test_dark_theme(lab: Any) -> None:
    lab.use_theme("JupyterLab Dark")
    lab.open([OPEN])
    lab.run_cell(0)
    exact(lab)
    tile(lab, 1, 3).click()
    exact(lab)
    figure_says(lab, "Rome")
    lab.shot("explorer-dark")
