"""A saved page in an offline browser: clicks work, and its numbers equal those in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"

ENABLED = """() => [...document.querySelectorAll(
        ".vene-root :is(button, select, input, textarea, a, [role=gridcell])")]
    .map((one, index) => [one, index])
    .filter(([one]) => one.checkVisibility({visibilityProperty: true}))
    .filter(([one]) => !one.disabled && one.ariaDisabled !== "true" && !one.matches(".vene-fold"))
    .map(([one, index]) => ({
        index,
        name: one.ariaLabel ?? one.textContent,
        isTile: one.role === "gridcell",
        values: one.matches("select")
            ? [...one.options].map((option) => option.value).filter((value) => value !== one.value)
            : [],
    }))"""
"""What can be operated: by its index, with its name and the other values of a menu."""

SCREEN = """() => document.querySelector(".vene-root").innerHTML
    + [...document.querySelectorAll("select")].map((one) => one.value)"""


@pytest.fixture(scope="module")
def explorer() -> Iterator[vw.Explorer]:
    opened = vw.explore(BASE, SOURCE, slots=[vw.Slot(layer=0, position=3)])
    yield opened
    opened.close()


@pytest.fixture
def offline(chromium: Browser) -> Iterator[tuple[Page, list[str]]]:
    context = chromium.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    page, events = context.new_page(), []
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("request", lambda r: events.append(r.url) if r.url.startswith("http") else None)
    yield page, events
    context.close()


def test_a_saved_page_clicks_without_a_network(
    explorer: vw.Explorer, offline: tuple[Page, list[str]], tmp_path: Path
) -> None:
    page, events = offline
    page.goto(explorer.to_html(tmp_path / "map.html").as_uri())
    status = page.locator(".vene-status")
    assert status.get_attribute("data-label") == "exact"
    assert page.locator("img.vene-figure").evaluate("image => image.naturalWidth") > 300
    for cell in explorer.map["cells"]:
        if cell["idle"]:
            continue
        where = f'[data-layer="{cell["layer"]}"][data-position="{cell["position"]}"]'
        page.locator(f"[role=gridcell]{where}").click()
        page.locator(".vene-sentence", has_text=cell["sentence"]).wait_for()
        names = [target["label"] for target in explorer.map["targets"]]
        wanted = cell["probabilities"][names.index("␣Rome")]
        page.locator(f'.vene-readout [title*="{wanted}"]').first.wait_for(timeout=5000)
        assert status.get_attribute("data-label") in ("preview", "exact")
    assert events == []


def test_two_pages_in_one(
    explorer: vw.Explorer, offline: tuple[Page, list[str]], tmp_path: Path
) -> None:
    page, events = offline
    text = explorer.to_html(tmp_path / "map.html").read_text(encoding="utf-8")
    body = text.split("<body>")[1].split("</body>")[0]
    twice = text.replace(body, body + body)
    (tmp_path / "twice.html").write_text(twice, encoding="utf-8")
    page.goto((tmp_path / "twice.html").as_uri())
    roots = page.locator(".vene-root")
    assert roots.count() == 2
    roots.nth(1).locator('[role=gridcell][data-layer="5"][data-position="4"]').click()
    roots.nth(1).locator(".vene-sentence", has_text="after block 5").wait_for()
    assert "after block 0" in roots.nth(0).locator(".vene-sentence").inner_text()
    assert events == []


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with two slots in a group and with a history."""
    opened = vw.explore(BASE, SOURCE, slots=[vw.Slot(layer=0, position=3)])
    opened.wait()
    group = [vw.Slot(layer=0, position=3, group="A"), vw.Slot(layer=2, position=4, group="A")]
    opened.experiment = opened.experiment.replace(slots=tuple(group))
    yield opened.to_html(tmp_path_factory.mktemp("page") / "page.html").as_uri()
    opened.close()


STATES: dict[str, tuple[str, ...]] = {
    "as it opens": (),
    "details": ("[aria-label='More of slot 1']",),
    "a tile": ("[role=gridcell][data-layer='1'][data-position='3']",),
    "a tile's details": (
        "[role=gridcell][data-layer='1'][data-position='3']",
        "[aria-label='More of slot 0']",
    ),
    **{tab: (f"[data-opens={tab}]",) for tab in ("code", "compare", "receipts", "data")},
    "keys": ("[aria-label='Clicks and keys']",),
    "lecture": (".vene-header-tools button:has-text('Lecture')",),
}
"""What is clicked to come to a state of the page."""


def test_all_that_is_enabled_works_and_asks_for_no_kernel(
    saved: str, offline: tuple[Page, list[str]]
) -> None:
    page, events = offline
    done: set[tuple[str, str]] = set()
    for state, clicks in STATES.items():
        come_to(page, saved, clicks)
        for control in enabled(page):
            for value in control["values"][-1:] or [""]:
                if (control["name"], value) in done:
                    continue
                done.add((control["name"], value))
                come_to(page, saved, clicks)
                operate(page, control, value, f"{state}: {control['name']} {value}")
    names = {name for name, _ in done}
    assert {"Metric", "Target token", "Skip slot 0", "Left side", "Names of", "Reveal"} <= names
    assert not {"Operator of the map", "Edit base", "Add slot", "Name", "Share"} & names
    assert events == []


def come_to(page: Page, address: str, clicks: tuple[str, ...]) -> None:
    """Open the page anew, in a state."""
    page.goto(address)
    page.locator(".vene-status").wait_for()
    for selector in clicks:
        page.locator(selector).click()


def enabled(page: Page) -> list[dict[str, Any]]:
    """What can be operated now; of the tiles, only a few."""
    page.wait_for_timeout(50)
    found: list[dict[str, Any]] = page.evaluate(ENABLED)
    tiles = [control for control in found if control["isTile"]]
    return [control for control in found if not control["isTile"] or control in tiles[::7]]


def operate(page: Page, control: dict[str, Any], value: str, what: str) -> None:
    """Click a control, or choose a value of a menu: the screen changes, and nothing is refused."""
    before = page.evaluate(SCREEN)
    one = page.locator(".vene-root :is(button, select, input, textarea, a, [role=gridcell])")
    one = one.nth(control["index"])
    current = "[aria-current], [aria-pressed=true], [role=tab][aria-selected=true]"
    is_current = one.evaluate("(one, current) => one.matches(current)", current)
    if value:
        one.select_option(value)
    else:
        one.click()
    page.wait_for_timeout(30)
    assert page.locator("[role=alert]").count() == 0, what
    if not is_current and control["name"].strip() not in ("PNG", "Full screen"):
        assert page.evaluate(SCREEN) != before, what
