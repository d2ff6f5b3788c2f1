"""Text has room: numbers, names, sentences and lists are readable in full at the usual widths."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

ROOT_WIDTHS = (360, 439, 480, 600, 950, 1400)
CUT = """(selector) => [...document.querySelectorAll(selector)]
    .filter((one) => one.checkVisibility())
    .filter((one) => one.scrollWidth > one.clientWidth + 1
        || (getComputedStyle(one).overflowY === "hidden"
            && one.scrollHeight > one.clientHeight + 1))
    .map((one) => `${one.className}: ${one.textContent}`)"""
NUMBERS = ".vene-rows .vene-run, .vene-rows thead th"


BASE = "The language of France is"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of pages: `sources` has two and a long sentence, `group` tiny probabilities."""
    folder = tmp_path_factory.mktemp("page")
    found: dict[str, str] = {}
    italy, slovakia = "The capital of Italy is", "The capital of Slovakia is"
    last = vw.Slot(layer=1, position=3, source="slovakia", source_position=3)
    group = [vw.Slot(layer=4, position=3, group="A"), vw.Slot(layer=3, position=4, group="A")]
    for name, sources, slots in (
        ("sources", {"italy": italy, "slovakia": slovakia}, [last]),
        ("group", {"italy": italy}, group),
    ):
        opened = vw.explore(BASE, sources, slots=slots)
        found[name] = opened.to_html(folder / f"{name}.html").as_uri()
        opened.close()
    return found


@pytest.fixture
def page(
    chromium: Browser, saved: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 966, "height": 900})
    page = context.new_page()
    page.goto(saved[getattr(request, "param", "sources")])
    page.locator('.vene-status[data-label="exact"]').wait_for()
    yield page
    context.close()


def set_width(page: Page, width: int) -> None:
    """Give the explorer, not the window, a width in pixels."""
    page.set_viewport_size({"width": 1500, "height": 900})
    page.locator(".vene-host").evaluate("(one, width) => { one.style.width = `${width}px` }", width)
    page.wait_for_timeout(150)


@pytest.mark.parametrize("page", ["group"], indirect=True)
def test_numbers_are_whole(page: Page) -> None:
    assert page.locator(".vene-rows .vene-run", has_text="<0.001").count() > 0
    for width in ROOT_WIDTHS:
        set_width(page, width)
        assert page.evaluate(CUT, NUMBERS) == [], width


def test_the_result_in_words_is_whole(page: Page) -> None:
    words = (
        ".vene-sentence, .vene-sentence-what, .vene-sentence-numbers, .vene-rest, .vene-verdicts"
    )
    assert "the answer of neither prompt" in page.locator(".vene-sentence").inner_text()
    for width in (950, 1400):
        set_width(page, width)
        assert page.evaluate(CUT, words) == [], width


def test_the_hovered_tile_is_read_in_whole(page: Page) -> None:
    set_width(page, 950)
    before = page.locator(".vene-view").bounding_box()
    page.locator('[role=gridcell][data-layer="1"][data-position="3"]').hover()
    said = page.locator(".vene-readout-sentence")
    assert "the answer of neither prompt" in said.inner_text()
    box, readout = said.bounding_box(), page.locator(".vene-readout").bounding_box()
    assert box and readout
    assert box["height"] >= 30  # two lines
    assert box["y"] + box["height"] <= readout["y"] + readout["height"] + 1
    page.locator(".vene-map-head[data-layer='4']").click()
    assert page.evaluate(CUT, ".vene-pin span") == []
    pin, panel = page.locator(".vene-pin").bounding_box(), page.locator(".vene-pins").bounding_box()
    assert pin and panel
    assert pin["x"] + pin["width"] <= panel["x"] + panel["width"]
    assert page.locator(".vene-view").bounding_box() == before


def test_names_of_sources_are_whole(page: Page) -> None:
    set_width(page, 950)
    assert page.locator(".vene-slot-operator-words").inner_text() == "from slovakia"
    assert page.evaluate(CUT, ".vene-prompt-name, .vene-slot-operator-words") == []


def test_a_slot_keeps_its_size_and_its_details_where_there_is_room(page: Page) -> None:
    set_width(page, 560)
    assert page.locator(".vene-slot-size").is_visible()
    assert page.get_by_role("button", name="More of slot 0").is_visible()


def test_the_list_of_keys_scrolls_down_only(page: Page) -> None:
    set_width(page, 950)
    page.get_by_role("button", name="Clicks and keys").click()
    found = page.locator(".vene-help").evaluate(
        """(help) => {
            const box = help.getBoundingClientRect();
            const rows = [...help.querySelectorAll("dd, kbd, h3")];
            help.scrollTop = help.scrollHeight;
            const last = Math.max(...rows.map((row) => row.getBoundingClientRect().bottom));
            return {
                sideways: help.scrollWidth - help.clientWidth,
                beside: rows.filter((row) => {
                    const {left, right} = row.getBoundingClientRect();
                    return left < box.left || right > box.right;
                }).length,
                below: last > box.bottom,
                blank: box.bottom - last,
            };
        }"""
    )
    assert found["sideways"] <= 0
    assert found["beside"] == 0
    assert not found["below"]
    assert found["blank"] < 40


def test_a_disabled_button_is_paler_and_has_no_box(page: Page) -> None:
    look = """(one) => {
        const {borderColor, opacity} = getComputedStyle(one);
        return [borderColor, Number(opacity)];
    }"""
    off = page.get_by_role("button", name="Ungroup")
    on = page.get_by_role("button", name="Lecture")
    assert off.is_disabled()
    assert on.is_enabled()
    assert off.evaluate(look)[0] == on.evaluate(look)[0]
    assert off.evaluate(look)[1] < on.evaluate(look)[1] == 1


def test_in_the_dark_lines_are_quieter_than_text(page: Page) -> None:
    # As JupyterLab's dark theme sets them.
    page.evaluate(
        """() => {
            document.body.style.background = "#111111";
            document.documentElement.style.setProperty("--jp-layout-color0", "#111111");
            document.documentElement.style.setProperty("--jp-border-color1", "#eeeeee");
            document.documentElement.style.setProperty("--jp-border-color2", "#dddddd");
            document.body.setAttribute("data-theme-changed", "");
        }"""
    )
    page.locator('.vene-host[data-theme="dark"]').wait_for()
    shades = page.evaluate(
        """() => {
            const alpha = (colour) => Number(colour.match(/[\\d.]+/g)?.[3] ?? 1);
            const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
            return [
                alpha(of(".vene-header", "borderBottomColor")),
                alpha(of(".vene-tile-idle", "backgroundImage").match(/rgba\\(255[^)]*\\)/)[0]),
            ];
        }"""
    )
    assert all(0 < shade < 0.25 for shade in shades), shades
