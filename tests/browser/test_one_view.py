"""Cause and effect in one view: how tall it is, that nothing in it moves, and every width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
OPEN = f"""
import vene_widgets as vw
explorer = vw.explore("{BASE}", "{SOURCE}")
explorer
"""
EXACT = '.vene-status[data-label="exact"]'
PANELS = ("prompts", "map", "answer", "difference", "slots", "history")
WIDTHS = (360, 480, 600, 768, 900, 950, 1100, 1400, 1920, 2560)

BOXES = """() => Object.fromEntries(
    [...document.querySelectorAll(".vene-tabs, "
            + ".vene-view :is([data-panel], .vene-sentence, .vene-verdicts, [role=gridcell])")]
        .map((one, n) => [one.dataset.panel ?? `${one.className.split(" ")[0]} ${n}`, one])
        .map(([name, one]) => [name, one.getBoundingClientRect()])
        .map(([name, {x, y, width, height}]) => [name, [x, y, width, height].map(Math.round)]))"""

CUT = """() => [...document.querySelectorAll(".vene-view *")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().width > 0)
    .filter((one) => !one.closest(".vene-visually-hidden, .vene-map, .vene-history-chips"))
    .filter((one) => {
        const root = one.closest(".vene-root").getBoundingClientRect();
        const box = one.getBoundingClientRect();
        return box.right > root.right + 1 || box.left < root.left - 1;
    }).map((one) => one.outerHTML.slice(0, 120))"""


def settle(lab: Any) -> None:
    """Wait until the newest click has its exact answer."""
    lab.page.wait_for_timeout(60)
    lab.page.locator(EXACT).wait_for()


def test_in_jupyterlab_all_is_in_sight_and_nothing_moves(lab: Any) -> None:
    page = lab.page
    page.set_viewport_size({"width": 1400, "height": 900})
    lab.open([OPEN])
    lab.run_cell(0)
    root = page.locator(".vene-root")
    settle(lab)
    assert 900 <= root.bounding_box()["width"] <= 1000  # with the sidebar open
    tile = page.locator('[role=gridcell][data-layer="0"][data-position="3"]')
    tile.click()
    settle(lab)
    page.locator('[role=gridcell][data-layer="2"][data-position="4"]').click(modifiers=["Shift"])
    page.locator(".vene-verdict").wait_for()
    settle(lab)

    # Prompts, map, sentence, answer, difference, verdict, slots and history in 600 pixels.
    view = page.locator(".vene-view").bounding_box()
    assert view["height"] <= 600
    panels = page.evaluate(BOXES)
    assert set(PANELS) <= set(panels)
    for name in PANELS:
        assert panels[name][1] + panels[name][3] <= view["y"] + 600, name
    page.locator(".vene-view").scroll_into_view_if_needed()
    assert page.locator(".vene-tabs").bounding_box()["y"] + 34 <= 900
    lab.shot("one-view")

    # Twenty clicks, with hovering, skipping and grouping between them, move nothing.
    before = page.evaluate(BOXES)
    for n in range(20):
        place = f'[role=gridcell][data-layer="{n % 6}"][data-position="{3 + n % 2}"]'
        page.locator(place).hover()
        assert page.evaluate(BOXES) == before, f"hover {n}"
        page.locator(place).click(modifiers=["Shift"] if n % 3 == 1 else [])
        assert page.evaluate(BOXES) == before, f"click {n}"
        if n % 5 == 2:
            page.keyboard.press("g")
        if n % 5 == 3:
            page.get_by_role("button", name="Skip slot 0").click()
        settle(lab)
        assert page.evaluate(BOXES) == before, f"answer {n}"

    # A tab opens in sight, one at a time.
    for name in ("code", "compare", "receipts", "data", "figure"):
        page.locator(f"[data-opens={name}]").click()
        panel = page.locator(".vene-tab-panel")
        panel.wait_for()
        assert panel.count() == 1
        assert panel.bounding_box()["y"] < 900 - 100, name
    assert not [p for p in lab.problems if "vene" in p or "uncaught" in p]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a saved page with two slots in a group."""
    slots = [vw.Slot(layer=0, position=3, group="A"), vw.Slot(layer=2, position=4, group="A")]
    opened = vw.explore(BASE, SOURCE, slots=slots)
    yield opened.to_html(tmp_path_factory.mktemp("page") / "page.html").as_uri()
    opened.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 950, "height": 900})
    yield context.new_page()
    context.close()


def test_ten_widths(saved: str, page: Page) -> None:
    page.goto(saved)
    page.locator(EXACT).wait_for()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert page.evaluate(CUT) == [], width
        sizes = page.evaluate(
            """() => [...document.querySelectorAll(".vene-view *")]
                .filter((one) => [...one.childNodes].some((node) => node.data?.trim()))
                .map((one) => parseFloat(getComputedStyle(one).fontSize))"""
        )
        assert min(sizes) >= 10, width
        lefts = [
            page.locator(f"[data-panel={name}]").evaluate("one => one.getBoundingClientRect().x")
            for name in ("map", "answer")
        ]
        beside = lefts[1] > lefts[0] + 100
        assert beside == (width >= 900), width


def check_targets(page: Page) -> None:
    """All that can be touched is at least 44 pixels wide and high, and nothing is cut off."""
    small = page.evaluate(
        """() => [...document.querySelectorAll(
                ".vene-root :is(button, select, input, textarea, a, [role=gridcell][tabindex])")]
            .filter((one) => one.checkVisibility())
            .map((one) => [one.ariaLabel ?? one.textContent, one.getBoundingClientRect()])
            .filter(([, {width, height}]) => height < 44 || width < 44)
            .map(([name, {width, height}]) => `${name}: ${width} × ${height}`)"""
    )
    assert small == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_is_touched(saved: str, chromium: Browser) -> None:
    context = chromium.new_context(
        viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(saved)
    page.locator(EXACT).wait_for()
    check_targets(page)
    words = page.locator(".vene-root").inner_text()
    for of_a_mouse in ("Hover", "Click", "Shift"):
        assert of_a_mouse not in words
    for name in ("code", "receipts", "data", "figure"):
        page.locator(f"[data-opens={name}]").tap()
        page.locator(f"[data-panel={name}]").wait_for()
        check_targets(page)
    page.locator("[data-slot='1'] .vene-slot-words").tap()
    details = page.locator(".vene-slot-details")
    details.wait_for()
    assert details.get_by_label("Strength of slot 1", exact=True).is_visible()
    check_targets(page)
    page.get_by_role("button", name="Close the details").tap()
    page.locator('[role=gridcell][data-layer="1"][data-position="3"]').tap()
    page.locator(".vene-sentence", has_text="after block 1").wait_for()
    reading = page.locator(".vene-readout-sentence")
    assert reading.evaluate("(one) => one.scrollHeight <= one.clientHeight"), "it is cut"
    page.get_by_text("Lecture", exact=True).tap()
    page.locator(".vene-wall-foot").wait_for()
    assert not page.locator(".vene-wall-keys").is_visible()
    context.close()
