"""Without a pointer: Tab goes through the screen in its order, and the focus can always be seen."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
ORDER = ["prompts", "map", "answer", "slots", "history", "drawer"]
MARGIN = 6  # pixels around an element that its ring may take

END = """() => {
    const end = document.createElement("button");
    end.id = "end";
    document.body.append(end);
}"""
STOP = """() => {
    const stop = document.activeElement;
    if (stop.id === "end" || stop === document.body) return null;
    const {x, y, width, height, right, bottom} = stop.getBoundingClientRect();
    const top = document.elementFromPoint(x + width / 2, y + height / 2);
    return {
        name: `${stop.classList[0]} ${stop.ariaLabel ?? stop.textContent}`,
        panel: stop.closest("[data-panel]")?.dataset.panel ?? null,
        box: {x, y, width, height},
        isInSight: x >= 0 && y >= 0 && right <= innerWidth && bottom <= innerHeight
            && (stop.contains(top) || top.contains(stop)),
    };
}"""
HIDE_RING = "() => document.activeElement.style.setProperty('outline', 'none', 'important')"
SHOW_RING = "() => document.activeElement.style.removeProperty('outline')"
PAINTED = """() => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => done(null))))"""
# The part of each side, left, right, top, bottom, along which two pictures differ.
SIDES = """async (pictures) => {
    const pixels = await Promise.all(pictures.map(async (picture) => {
        const image = new Image();
        image.src = `data:image/png;base64,${picture}`;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height);
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, image.width, image.height);
    }));
    const [{width, height, data: a}, {data: b}] = pixels;
    const differs = (x, y) => [0, 1, 2].reduce((sum, i) => {
        const at = 4 * (y * width + x) + i;
        return sum + Math.abs(a[at] - b[at]);
    }, 0) > 90;
    const sides = [new Set(), new Set(), new Set(), new Set()];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
        if (!differs(x, y)) continue;
        sides[x < width / 2 ? 0 : 1].add(y);
        sides[y < height / 2 ? 2 : 3].add(x);
    }
    return sides.map(({size}, side) => size / (side < 2 ? height : width));
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The addresses of two saved pages: one with slots and a history, one with a story."""
    slots = [
        vw.Slot(layer=0, position=3, group="A"),
        vw.Slot(layer=2, position=4, group="A"),
        vw.Slot(layer=1, position=4, skip=True),
    ]
    folder = tmp_path_factory.mktemp("pages")
    explorer = vw.explore(BASE, SOURCE, slots=slots)
    plain = explorer.to_html(folder / "plain.html").as_uri()
    explorer.close()
    told = vw.explore(BASE, SOURCE)
    told.story(
        [
            vw.Step(
                "One",
                [vw.Slot(layer=0, position=3)],
                question="What comes?",
                choices=["Madrid", "Rome"],
                answer="Rome",
            ),
            vw.Step("Two"),
        ]
    )
    story = told.to_html(folder / "story.html").as_uri()
    told.close()
    return plain, story


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 985, "height": 1000}, bypass_csp=True)
    yield context.new_page()
    context.close()


def opened(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".vene-root").wait_for()
    page.evaluate(END)


def ring(page: Page, box: dict[str, float]) -> list[float]:
    """The part of each side of the focused element along which its ring is seen, 0 to 1."""
    clip: Any = {
        "x": max(0, box["x"] - MARGIN),
        "y": max(0, box["y"] - MARGIN),
        "width": box["width"] + 2 * MARGIN,
        "height": box["height"] + 2 * MARGIN,
    }
    shots = [page.screenshot(clip=clip)]
    page.evaluate(HIDE_RING)
    shots.append(page.screenshot(clip=clip))
    page.evaluate(SHOW_RING)
    return page.evaluate(SIDES, [base64.b64encode(shot).decode() for shot in shots])


def check_ring(page: Page) -> None:
    """Check that the ring of the focused element is seen on all sides.

    A tab that was opened may still be coming into sight: then the next picture tells.
    """
    for _ in range(5):
        page.evaluate(PAINTED)
        stop = page.evaluate(STOP)
        seen = ring(page, stop["box"])
        if min(seen) > 0.5:
            return
    pytest.fail(f"the ring of {stop} is seen on these parts of its sides: {seen}")


def walk(page: Page, key: str = "Tab", look: bool = True) -> list[dict[str, Any]]:
    """Press a key until the focus leaves the screen; check that each stop is seen."""
    stops = []
    for _ in range(150):
        page.keyboard.press(key)
        stop = page.evaluate(STOP)
        if stop is None:
            return stops
        stops.append(stop)
        if look:
            assert stop["isInSight"], stop
            check_ring(page)
    pytest.fail(f"the focus is caught at {stops[-1]}")


def panels(stops: list[dict[str, Any]]) -> list[str]:
    """The panels of the stops, each once, in order of the first visit."""
    return list(dict.fromkeys(stop["panel"] for stop in stops if stop["panel"]))


def test_tab_goes_through_the_screen_in_its_order_and_back(
    page: Page, pages: tuple[str, str]
) -> None:
    opened(page, pages[0])
    stops = walk(page)
    assert [name for name in panels(stops) if name in ORDER] == ORDER
    # A grid, a toolbar and a list of tabs are one stop each: arrows go on inside.
    kinds = [stop["name"].split()[0] for stop in stops]
    assert [kinds.count(f"vene-{kind}") for kind in ("tile", "past", "tab")] == [1, 1, 1]
    back = walk(page, "Shift+Tab", look=False)
    assert [stop["name"] for stop in back] == [stop["name"] for stop in reversed(stops)]


def test_each_tab_of_the_drawer_can_be_entered_and_left(page: Page, pages: tuple[str, str]) -> None:
    opened(page, pages[0])
    for name in ("code", "receipts", "data", "figure"):
        page.locator(f"[data-opens={name}]").click()
        stops = walk(page)
        assert panels(stops) == ["drawer", name], name  # the button that closes it, then the panel


def test_a_slots_details_hide_nothing_that_has_the_focus(
    page: Page, pages: tuple[str, str]
) -> None:
    opened(page, pages[0])
    page.locator("[data-slot='1'] .vene-slot-words").click()
    page.get_by_label("Layer of slot 1").focus()
    stops = walk(page)
    # They lie over the drawer, and close as soon as the focus comes to it.
    assert panels(stops) == ["slots", "history", "drawer", "figure"]
    assert page.locator(".vene-slot-details").count() == 0


def test_a_tile_shows_its_focus_whatever_is_drawn_around_it(
    page: Page, pages: tuple[str, str]
) -> None:
    opened(page, pages[0])
    for layer, position in ((0, 3), (2, 4), (1, 4), (5, 4)):
        tile = page.locator(f"[role=gridcell][data-layer='{layer}'][data-position='{position}']")
        tile.focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowDown")
        check_ring(page)


def test_a_story_and_the_lecture(page: Page, pages: tuple[str, str]) -> None:
    opened(page, pages[1])
    walk(page)
    page.locator(".vene-root").focus()
    page.keyboard.press("f")
    page.locator(".vene-curtain").wait_for()
    page.keyboard.press("f")  # out of the full screen, where Tab would not reach the end
    stops = [stop["name"] for stop in walk(page)]
    wanted = ("vene-choice", "vene-tile", "vene-button Reveal", "vene-button Leave")
    for name in wanted:
        assert any(stop.startswith(name) for stop in stops), (name, stops)
