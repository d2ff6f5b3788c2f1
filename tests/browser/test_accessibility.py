"""axe-core finds no violations in the explorer, in both themes and every state of the screen.

One JupyterLab page for each theme goes through the states that need a kernel; what is saved is
checked in a saved page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import vene_widgets as vw

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"

OPEN = """
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is", slots=[
    vw.Slot(layer=0, position=3, group="A"), vw.Slot(layer=2, position=4, group="A"),
    vw.Slot(layer=1, position=4, skip=True)])
explorer.wait()
explorer
"""
ALONE = """
explorer.close()
alone = vw.explore("The capital of Spain is")
alone
"""
STORY = """
alone.close()
told = vw.explore("The capital of Spain is", "The capital of Italy is")
told.story([
    vw.Step("First", text="A text."),
    vw.Step("Second", [vw.Slot(layer=0, position=3)], question="What comes?",
            choices=["Madrid", "Rome"], answer="Rome"),
    vw.Step("Third", [
        vw.Slot(layer=0, position=3, group="A"), vw.Slot(layer=2, position=4, group="A")]),
])
told
"""
TABS = ("code", "compare", "receipts", "data", "figure")
# One kind of intervention for each set of fields that a slot's details show.
KINDS = ("zero", "mean", "noise", "rotated_space", "low_rank_rotated_space", "vanilla")

# axe takes what lies outside of a page without height for hidden, and checks nothing of it:
# JupyterLab's body is such a page.
PAGE_HEIGHT = "html, body { height: 100%; }"
CHECK = """async (root) => {
    const {violations, passes} = await axe.run(
        root, {selectors: false, preload: false, resultTypes: ["violations", "passes"]});
    const seen = passes.find(({id}) => id === "color-contrast")?.nodes.length ?? 0;
    return [seen, violations.flatMap(({id, nodes}) => nodes.map(
        (node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`))];
}"""
BAD = """root => {
    const bad = document.createElement("div");
    bad.innerHTML = '<img><p style="color: #888; background: #999">pale</p>'
        + '<button aria-label="other">seen</button>';
    root.prepend(bad);
}"""


class Screen:
    """An explorer in a page that has axe, and what axe says of it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(".vene-root")
        self.root.wait_for()
        page.add_style_tag(content=PAGE_HEIGHT)
        page.add_script_tag(path=AXE)

    def violations(self) -> list[str]:
        """Violations that axe finds, once all animations have ended."""
        self.page.wait_for_timeout(250)
        seen, found = self.root.evaluate(CHECK)
        assert seen >= 5, "axe saw nearly no text: the check would be empty"
        return found

    def check(self, state: str) -> None:
        assert self.violations() == [], state

    def settle(self) -> None:
        """Wait until the newest answer is exact."""
        self.page.wait_for_timeout(60)
        self.root.locator('.vene-result .vene-status[data-label="exact"]').wait_for()

    def button(self, name: str) -> Any:
        return self.root.get_by_role("button", name=name)

    def keys(self, *keys: str) -> None:
        self.root.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def check_tabs(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.root.locator(f"[data-opens={name}]").click()
            self.root.locator(f"[data-panel={name}]").wait_for()
            if name == "compare":
                exact = '.vene-compare .vene-status[data-label="exact"]'
                self.root.locator(exact).wait_for()
            self.check(name)

    def check_details(self) -> None:
        self.root.locator("[data-slot='1'] .vene-slot-words").click()
        for kind in KINDS:
            self.root.get_by_label("Intervention of slot 1").select_option(kind)
            self.settle()
            self.check(f"details: {kind}")
        self.button("Split dims of slot 1").click()
        self.button("Subspace a of slot 1").click()
        self.settle()
        self.check("details: subspaces")
        self.button("Close the details of slot 1").click()

    def check_lists_and_fields(self) -> None:
        self.keys("?")
        self.root.locator(".vene-help").wait_for()
        self.check("help")
        self.keys("?")
        self.button("Rename source source").click()
        self.check("renaming a source")
        self.page.keyboard.press("Escape")
        self.root.locator("[data-panel=history]").get_by_role("button", name="Name").click()
        self.check("naming an experiment")
        self.page.keyboard.press("Escape")
        self.root.locator("[role=gridcell][data-layer='3'][data-position='4']").focus()
        self.page.keyboard.press("p")
        self.button("Pin layer 2").click()
        self.check("pins")

    def check_maps(self) -> None:
        for label, option in (
            ("Operator of the map", "zero"),
            ("Component of the map", "head_attention_value_output"),
            ("Heads of the map", "layer 2"),
        ):
            self.root.get_by_label(label).select_option(option)
            expect(self.root.get_by_role("grid")).to_have_attribute("aria-busy", "false")
            self.check(f"map: {option}")

    def check_error(self) -> None:
        self.button("Edit base").click()
        self.root.get_by_role("textbox", name="Edit base").fill("")
        self.page.keyboard.press("Enter")
        self.root.locator("[role=alert]").first.wait_for()
        self.check("error")
        self.page.keyboard.press("Escape")

    def check_lecture(self, state: str, steps: int) -> None:
        """Each step, covered and revealed; the first of them is on the screen."""
        for step in range(steps):
            if step == 1:
                self.page.keyboard.press("1")
            self.root.locator(".vene-curtain").wait_for()
            self.check(f"{state}: step {step}, covered")
            self.page.keyboard.press("Space")
            self.root.locator(".vene-sentence").wait_for()
            self.check(f"{state}: step {step}, revealed")
            self.page.keyboard.press("ArrowRight")
        self.page.keyboard.press("m")
        self.check(f"{state}: the whole map")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_state(lab: Any, theme: str) -> None:
    lab.use_theme(f"JupyterLab {theme}")
    lab.open([OPEN, ALONE, STORY])
    lab.run_cell(0)
    screen = Screen(lab.page)
    screen.settle()
    expect(lab.page.locator(".vene-host")).to_have_attribute("data-theme", theme.lower())
    screen.check("opened, with a slot skipped")
    # It must find an image without a text, pale text, and a name that is not what is seen.
    screen.root.evaluate(BAD)
    found = {line.split(":")[0] for line in screen.violations()}
    assert {"image-alt", "color-contrast", "label-content-name-mismatch"} <= found
    screen.root.evaluate("root => root.firstElementChild.remove()")
    screen.check_tabs(TABS)
    screen.check_details()
    screen.check_lists_and_fields()
    screen.check_maps()
    screen.check_error()

    lab.run_cell(1)
    screen.settle()
    screen.check("one prompt, no source")

    lab.run_cell(2)
    screen.root.locator(".vene-story").wait_for()
    for step in range(3):
        screen.settle()
        screen.check(f"story: step {step}")
        screen.keys("ArrowRight")
    screen.keys("Home", "f")
    screen.root.locator(".vene-curtain").wait_for()
    screen.keys("f")  # out of the full screen: axe takes it for cut off by the page below it
    screen.check_lecture("lecture", 3)
    lab.shot(f"lecture-{theme.lower()}", screen.root)
    screen.keys("Escape")

    lab.shut_down_kernels()
    screen.root.locator(".vene-alert", has_text="Run the notebook again").wait_for()
    screen.check("kernel gone")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a saved page with a group of two slots, and one slot skipped."""
    slots = [
        vw.Slot(layer=0, position=3, group="A"),
        vw.Slot(layer=2, position=4, group="A"),
        vw.Slot(layer=1, position=4, skip=True),
    ]
    opened = vw.explore("The capital of Spain is", "The capital of Italy is", slots=slots)
    yield opened.to_html(tmp_path_factory.mktemp("page") / "page.html").as_uri()
    opened.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_saved_page(chromium: Browser, saved: str, theme: Any) -> None:
    # The page's content security policy would refuse axe.
    context = chromium.new_context(color_scheme=theme, bypass_csp=True)
    page = context.new_page()
    page.goto(saved)
    screen = Screen(page)
    screen.check("opened")
    screen.check_tabs(("code", "receipts", "data", "figure"))
    screen.root.locator("[data-slot='1'] .vene-slot-words").click()
    screen.check("details")
    screen.root.locator("[role=gridcell][data-layer='3'][data-position='4']").click()
    screen.check("a tile was clicked")
    context.close()


def test_motion_and_targets_are_as_the_reader_wants_them(chromium: Browser, saved: str) -> None:
    context = chromium.new_context(
        viewport={"width": 1400, "height": 1400}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(saved)
    root = page.locator(".vene-root")
    root.wait_for()
    moving = root.evaluate(
        """root => [...root.querySelectorAll("*")].filter((element) => {
            const {transitionDuration, animationName} = getComputedStyle(element);
            return animationName !== "none" || transitionDuration.split(",").some(
                (seconds) => parseFloat(seconds) > 0);
        }).map((element) => element.className)"""
    )
    assert moving == []
    targets = root.evaluate(
        """root => [...root.querySelectorAll("button, select, input, a, [role=gridcell]")]
            .map((one) => [one.getAttribute("aria-label") ?? one.textContent,
                one.getBoundingClientRect()])
            .filter(([, {width, height}]) => width > 0 && (width < 20 || height < 20))
            .map(([name, {width, height}]) => `${name}: ${width} × ${height}`)"""
    )
    assert targets == []
    context.close()
