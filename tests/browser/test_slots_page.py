"""Slots and prompts in a real JupyterLab: keyboard only, undo, pairing by drag."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer
"""

STATE = """
import json
explorer.wait()
print(json.dumps({
    "experiment": explorer.experiment.model_dump(),
    "receipts": explorer.answer["receipts"],
    "pairs": explorer.map["source_positions"],
}))
"""

# Values of all controls of the slots panel: equal signatures mean equal experiments.
SIGNATURE = """() => [...document.querySelectorAll(
    ".vene-panel-slots :is(select, input, .vene-subspace, [aria-label*='kip slot'])")].map(
        (e) => `${e.getAttribute("aria-label")}=${e.value || e.getAttribute("aria-pressed")}`)"""

FOCUSED = """() => document.activeElement.getAttribute("aria-label")
    || document.activeElement.textContent.trim()"""


def opened(lab: Any, *more: str) -> None:
    lab.open([OPEN, *more])
    lab.run_cell(0)
    lab.page.locator(".vene-root").wait_for()
    exact(lab)


def exact(lab: Any) -> None:
    """Wait until the exact answer is on the screen."""
    lab.page.locator('.vene-status[data-label="exact"]').wait_for()


def named(lab: Any, name: str) -> Any:
    return lab.page.get_by_label(name, exact=True)


def state_of(lab: Any, cell: int) -> Any:
    lab.run_cell(cell)
    return json.loads(lab.text(cell))


def tab_to(lab: Any, name: str, back: bool = False) -> None:
    """Press Tab until the control with this name has the focus."""
    visited: list[str] = []
    for _ in range(150):
        here = lab.page.evaluate(FOCUSED)
        if here == name:
            return
        visited.append(here)
        lab.page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"Tab never reaches {name!r}; it visits {visited}")


def details(lab: Any, index: int) -> None:
    """Open the details of a slot with the keyboard."""
    named(lab, f"More of slot {index}").focus()
    lab.page.keyboard.press("Enter")
    lab.page.locator(f'[data-details="{index}"]').wait_for()


def press(lab: Any, *keys: str) -> None:
    for key in keys:
        lab.page.keyboard.press(key)
    exact(lab)


def test_an_experiment_with_keys_alone(lab: Any) -> None:
    opened(lab, STATE)
    named(lab, "Edit base").focus()
    tab_to(lab, "Add slot")
    press(lab, "Enter")
    press(lab, "Enter")
    assert lab.page.locator(".vene-count").inner_text() == "2"
    tab_to(lab, "More of slot 0")
    press(lab, "Enter")
    tab_to(lab, "Base position of slot 0")
    press(lab, "ArrowUp")
    assert named(lab, "Base position of slot 0").input_value() == "3"
    assert named(lab, "Source position of slot 0").input_value() == "3"
    lab.page.keyboard.press("Escape")
    tab_to(lab, "More of slot 1")
    press(lab, "Enter")
    tab_to(lab, "Layer of slot 1")
    press(lab, "ArrowDown", "ArrowDown")
    tab_to(lab, "Intervention of slot 1")
    lab.page.keyboard.type("low")
    exact(lab)
    tab_to(lab, "Subspace b of slot 1")
    press(lab, "Space")
    press(lab, "g")  # a shortcut of the whole screen
    lab.page.keyboard.press("Escape")
    tab_to(lab, "More of slot 0", back=True)
    press(lab, "Enter")
    tab_to(lab, "Rename group A")
    lab.page.keyboard.press("Enter")
    lab.page.keyboard.type("subject")
    press(lab, "Enter")
    tab_to(lab, "Skip slot 0", back=True)
    press(lab, "Space")
    tab_to(lab, "Move slot 1")
    press(lab, "Alt+ArrowUp")
    assert lab.page.evaluate(FOCUSED) == "Move slot 0"
    assert lab.page.locator(".vene-voice").inner_text().startswith("Slot 1 is now slot 0")
    lab.shot("slots-keys")
    found = state_of(lab, 1)
    first, second = found["experiment"]["slots"]
    assert (first["layer"], first["position"], first["subspace"]) == (2, 4, "b")
    assert first["intervention"] == "low_rank_rotated_space" and not first["skip"]
    assert (second["layer"], second["position"], second["skip"]) == (0, 3, True)
    assert first["group"] == second["group"] == "subject"
    assert [r["reason"] for r in found["receipts"]] == ["changed", "skipped"]
    assert lab.problems == []


def test_twenty_steps_back_and_forth_also_from_a_menu(lab: Any) -> None:
    opened(lab, STATE, STATE)
    lab.page.get_by_role("button", name="Add slot").click()
    exact(lab)
    details(lab, 0)
    states = [lab.page.evaluate(SIGNATURE)]
    named(lab, "Layer of slot 0").focus()
    for step in range(20):
        if step % 4 == 3:
            lab.page.get_by_label("kip slot 0").click()  # Skip or Unskip
            named(lab, "Layer of slot 0").focus()
        else:
            lab.page.keyboard.press("ArrowUp" if step % 4 == 1 else "ArrowDown")
        exact(lab)
        states.append(lab.page.evaluate(SIGNATURE))
    assert all(a != b for a, b in itertools.pairwise(states))
    for state in reversed(states[:-1]):
        lab.page.keyboard.press("Control+z")
        exact(lab)
        assert lab.page.evaluate(SIGNATURE) == state
    begun = state_of(lab, 1)["experiment"]["slots"]
    assert [(slot["layer"], slot["skip"]) for slot in begun] == [(0, False)]
    details(lab, 0)  # a click on the cell has closed them
    named(lab, "Layer of slot 0").focus()
    for state in states[1:]:
        lab.page.keyboard.press("Control+y")
        exact(lab)
        assert lab.page.evaluate(SIGNATURE) == state
    ended = state_of(lab, 2)["experiment"]["slots"]
    details(lab, 0)
    assert str(ended[0]["layer"]) == named(lab, "Layer of slot 0").input_value()
    assert lab.problems == []


def test_unequal_prompts_are_paired_by_dragging_a_token(lab: Any) -> None:
    opened(lab, STATE, STATE)
    lab.page.locator('[role="gridcell"][data-layer="0"][data-position="3"]').click()
    exact(lab)
    named(lab, "Edit source").click()
    field = named(lab, "Edit source")
    field.fill("The capital of the old Italy is")
    chips = lab.page.locator(".vene-prompt-edit .vene-chips:not(.vene-old)")
    chips.get_by_text("␣Italy").wait_for()
    lab.shot("slots-typing", lab.page.locator(".vene-header"))
    field.press("Enter")
    exact(lab)
    chip = lab.page.locator('[data-prompt="source"] [data-token]', has_text="␣Italy")
    italy = int(chip.get_attribute("data-token"))
    assert italy > 3
    # The slot follows its token; the map pairs this position with another one.
    before = state_of(lab, 1)
    assert before["experiment"]["slots"][0]["source_position"] == italy
    other = italy - 1
    lab.page.locator(".vene-header").scroll_into_view_if_needed()
    start = lab.page.locator(f'[data-prompt="source"] [data-token="{other}"]').bounding_box()
    end = lab.page.locator('[data-base="3"]').bounding_box()
    lab.page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    lab.page.mouse.down()
    lab.page.mouse.move(end["x"] + end["width"] / 2, end["y"] + end["height"] / 2, steps=8)
    lab.page.locator('[data-base="3"][data-over="true"]').wait_for()
    lab.shot("slots-dragging", lab.page.locator(".vene-header"))
    lab.page.mouse.up()
    exact(lab)
    assert "now goes into 3 ␣Spain: in slot 0" in lab.page.locator(".vene-voice").inner_text()
    lab.shot("slots-paired")
    after = state_of(lab, 2)
    assert after["experiment"]["slots"][0]["source_position"] == other
    assert after["pairs"][3] == other
    assert after["pairs"][:3] == before["pairs"][:3] and after["pairs"][4] == before["pairs"][4]
    # The next click on that column copies from there as well.
    lab.page.locator('[role="gridcell"][data-layer="1"][data-position="3"]').click()
    exact(lab)
    details(lab, 0)
    assert named(lab, "Source position of slot 0").input_value() == str(other)
    assert lab.problems == []


def test_an_error_stays_at_the_field_and_the_last_good_prompt_stays(lab: Any) -> None:
    opened(lab)
    named(lab, "Edit base").click()
    field = named(lab, "Edit base")
    field.fill("")
    error = lab.page.locator('[data-prompt="base"] [role="alert"]')
    error.wait_for()
    assert "expected at least one" in error.inner_text()
    field.press("Enter")
    assert named(lab, "Edit base").input_value() == ""
    lab.page.keyboard.press("Escape")
    chips = lab.page.locator('[data-prompt="base"] .vene-chips')
    assert "␣Spain" in chips.inner_text()
    assert lab.page.locator(".vene-alert").count() == 0


MANY = """
slots = [
    vw.Slot(
        layer=i % 6, position=[2, 3] if i % 3 else 3, source="italy", group="AB"[i % 2],
        intervention="low_rank_rotated_space" if i % 4 == 1 else "vanilla",
        rank=2 if i % 4 == 1 else None, skip=i == 5,
    )
    for i in range(12)
]
explorer.experiment = vw.Experiment(
    base="The capital of Spain is",
    sources={"italy": "The capital of Italy is", "a name that is long": "The city of Rome is"},
    slots=slots,
)
"""

# Names of the controls that overflow the screen, and of those too small for touch.
WIDE = """(root) => {
    const frame = root.getBoundingClientRect();
    const parts = root.querySelectorAll(".vene-header *, .vene-panel-slots *");
    return [...parts].filter((e) => {
        const box = e.getBoundingClientRect();
        const isOut = box.right > frame.right + 1 || box.left < frame.left - 1;
        return box.width > 1 && !e.closest(".vene-voice") && isOut;
    }).map((e) => e.className || e.tagName);
}"""
SMALL = """(root) => {
    const controls = ":is(button, select, input)";
    const parts = root.querySelectorAll(`.vene-panel-slots ${controls}, .vene-prompt-tools button`);
    return [...parts].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width > 0 && (box.width < 24 || box.height < 24);
    }).map((e) => e.getAttribute("aria-label") || e.className);
}"""

# Scroll distance of the rows, and how far the panel's head moved with them.
SCROLLED = """(rows) => {
    const head = rows.closest(".vene-panel").firstElementChild;
    const top = () => head.getBoundingClientRect().top;
    const before = top();
    rows.scrollTop = 200;
    return [rows.scrollTop, top() - before];
}"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_nothing_overflows_at_600_pixels_with_twelve_slots(lab: Any, theme: str) -> None:
    lab.use_theme(theme)
    opened(lab, MANY)
    lab.run_cell(1)
    exact(lab)
    root = lab.page.locator(".vene-root")
    root.evaluate("(e) => { e.parentElement.style.width = '600px'; }")
    assert root.bounding_box()["width"] == 600
    assert root.evaluate(WIDE) == []
    assert root.evaluate(SMALL) == []
    # The head stays in place while the rows scroll.
    head = lab.page.locator(".vene-panel-slots .vene-panel-head")
    rows = lab.page.locator(".vene-slots")
    assert rows.evaluate(SCROLLED) == [200, 0]
    assert "12 (1 skipped)" in head.inner_text()
    rows.scroll_into_view_if_needed()
    lab.shot(f"slots-narrow-{theme.split()[1].lower()}")


def test_line_breaks_of_a_prompt_survive_an_edit(lab: Any) -> None:
    state = "explorer.wait()\nprint(json.dumps([explorer.experiment.base, explorer.revision]))"
    base = "Q: Spain?\r\nA: Madrid\r\nQ: Italy?\r\nA:"
    lab.open([OPEN.replace('"The capital of Spain is"', repr(base)), f"import json\n{state}"])
    lab.run_cell(0)
    exact(lab)
    before = state_of(lab, 1)
    assert before[0] == base
    named(lab, "Edit base").click()
    field = lab.page.locator("textarea.vene-prompt-field")
    assert field.input_value().split("\n") == base.split("\r\n")
    height = field.bounding_box()["height"]
    field.press("Enter")
    field.wait_for(state="detached")
    assert lab.page.evaluate(FOCUSED) == "Edit base"  # on the pencil, and it stays unpressed
    assert state_of(lab, 1) == before
    named(lab, "Edit base").click()
    press(lab, "Control+End", "Shift+Enter", "x")
    assert field.bounding_box()["height"] > height
    field.press("Enter")
    field.wait_for(state="detached")
    exact(lab)
    assert state_of(lab, 1)[0] == f"{base}\r\nx"
    assert lab.problems == []


def test_keys_go_on_working_after_their_control_is_gone(lab: Any) -> None:
    opened(lab)
    page = lab.page
    focus: list[str] = []

    def then(*keys: str) -> None:
        press(lab, *keys)
        page.wait_for_timeout(150)
        focus.append(page.evaluate(FOCUSED))

    page.locator('[role=gridcell][data-layer="0"][data-position="3"]').click()
    page.get_by_role("button", name="Group", exact=True).focus()
    then("Enter")
    named(lab, "Rename source source").click()
    page.keyboard.type("italy")
    then("Enter")
    page.locator(".vene-add-source").click()
    then("Escape")
    named(lab, "Target token").select_option("type")
    then("Escape")
    page.locator("[aria-label^='Remove source italy']").focus()
    then("Enter")
    assert focus == ["Ungroup", "Rename source italy", "source", "Target token", focus[-1]]
    assert "Add a source prompt" in focus[-1]
    undo = named(lab, "Undo")
    while undo.is_enabled():
        press(lab, "Control+z")
        page.wait_for_timeout(150)
    assert lab.page.locator('[data-prompt="source"]').count() == 1
    assert lab.page.locator("[data-slot]").count() == 0
    assert lab.problems == []
