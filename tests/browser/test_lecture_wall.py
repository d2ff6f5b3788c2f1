"""A lecture on the wall: it fits and fills three sizes, and nothing is given away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "06_a_lecture.ipynb"
SIZES = ((1280, 720), (1920, 1080), (3840, 2160))
SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"

# Every text, attribute and accessible name of the page's lecture.
WORDS = """() => {
    const found = [];
    const wall = document.querySelector(".vene-root");
    for (const one of [wall, ...wall.querySelectorAll("*")]) {
        for (const {name, value} of one.attributes)
            if (!["class", "style"].includes(name)) found.push(value);
        found.push(one.getAttribute("style") ?? "");
        for (const node of one.childNodes) if (node.nodeType === 3) found.push(node.data);
        for (const pseudo of ["::before", "::after"])
            found.push(getComputedStyle(one, pseudo).content);
    }
    return found.filter((text) => text && text !== "none");
}"""


def shipped_story() -> list[vw.Step]:
    """The steps of the lecture notebook."""
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)  # pyright: ignore[reportUnknownMemberType]
    source = next(c.source for c in notebook.cells if "explorer.story(steps)" in c.source)
    names: dict[str, Any] = {"vw": vw, "base": SPAIN, "source": ITALY}
    exec(source.replace("explorer.story(steps)", ""), names)  # noqa: S102
    return cast("list[vw.Step]", names["steps"])


def shared_positions() -> list[vw.Step]:
    """A story whose prompts differ and whose slots stand at the same layer and position."""
    slot = vw.Slot(layer=1, position=3)
    question: dict[str, Any] = {"question": "What comes next?", "choices": ["A city", "A word"]}
    pairs = [
        (SPAIN, ITALY),
        ("The capital of France is", "The language of Italy is"),
        (ITALY, SPAIN),
    ]
    return [
        vw.Step(
            f"Pair {n}",
            vw.Experiment(base=base, sources={"source": source}, slots=[slot]),
            **question,
        )
        for n, (base, source) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Any]]:
    """Saved pages of both stories: their address and the story as it was sent."""
    found: dict[str, tuple[str, Any]] = {}
    folder = tmp_path_factory.mktemp("lectures")
    for name, steps in (("shipped", shipped_story()), ("shared", shared_positions())):
        explorer = vw.explore(SPAIN, ITALY)
        explorer.story(steps).wait()
        found[name] = (explorer.to_html(folder / f"{name}.html").as_uri(), explorer.steps)
        explorer.close()
    return found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    yield context.new_page()
    context.close()


def begin(page: Page, address: str) -> None:
    """Open a page, enter lecture mode with its one key, and go to the first step."""
    page.goto(address)
    page.locator('.vene-status[data-label="exact"]').wait_for()
    page.locator(".vene-root").focus()
    page.keyboard.press("f")
    page.locator(".vene-wall").wait_for()
    page.wait_for_function("document.fullscreenElement?.matches('.vene-host')")
    page.keyboard.press("Home")


def secrets(step: Any) -> list[str]:
    """What only the reveal may show: the sentence, and the numbers of the result."""
    result = step["result"]
    numbers = {
        f"{p:.{digits}g}"
        for row in result["tokens"]
        for p in (100 * row["probabilities"][-1], row["probabilities"][-1])
        if p > 1e-9
        for digits in (4, 6)
    }
    return [result["sentence"][:25], *sorted(n for n in numbers if len(n) > 4)]


@pytest.mark.parametrize("name", ["shipped", "shared"])
def test_nothing_is_given_away_before_its_reveal(
    pages: dict[str, tuple[str, Any]], page: Page, name: str
) -> None:
    address, story = pages[name]
    begin(page, address)
    steps = story["steps"]
    opened: list[str] = []  # prompts whose tiles were revealed
    for number, step in enumerate(steps):
        page.locator(f'[aria-label="Step {number + 1} of {len(steps)}"]').first.wait_for()
        before = page.evaluate(WORDS)
        text = "\n".join(before)
        for secret in secrets(step):
            assert secret not in text, (number, secret)
        for marker in (".vene-sentence", ".vene-three", "[data-verdict]"):
            assert page.locator(marker).count() == 0, (number, marker)
        # Numbers stand only on tiles of these prompts that were revealed; the target has no name.
        prompts = str((step["experiment"]["base"], step["experiment"]["sources"]))
        assert page.locator(".vene-tile-number").count() <= opened.count(prompts)
        tile = page.locator("[role=gridcell][aria-selected=true]")
        for n in range(tile.count()):
            assert "covered" in (tile.nth(n).get_attribute("aria-label") or ""), number
        assert "probability of" not in (page.get_by_role("grid").get_attribute("aria-label") or "")
        heights = page.evaluate(
            "[...document.querySelectorAll('.vene-wall > *')].map((one) => one.offsetTop)"
        )

        page.keyboard.press("Space")
        page.locator(".vene-sentence").wait_for()
        after = "\n".join(page.evaluate(WORDS))
        assert step["result"]["sentence"][:25] in after, number
        assert heights == page.evaluate(
            "[...document.querySelectorAll('.vene-wall > *')].map((one) => one.offsetTop)"
        )
        opened.append(prompts)
        page.keyboard.press("Space")

    # Home covers everything again; a step left and returned to is as it was left.
    page.keyboard.press("Home")
    page.locator(".vene-curtain").wait_for()
    page.keyboard.press("Space")
    page.locator(".vene-sentence").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".vene-curtain").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator(".vene-sentence").wait_for()
    page.keyboard.press("Home")
    page.locator(".vene-curtain").wait_for()
    assert page.locator(".vene-tile-number").count() == 0


def test_letters_choose_and_marks_stand_beside_their_own_result(
    pages: dict[str, tuple[str, Any]], page: Page
) -> None:
    begin(page, pages["shipped"][0])
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    choices = page.locator(".vene-choice")
    choices.first.wait_for()
    assert [re.sub(r"\s", "", text) for text in choices.all_inner_texts()] == [
        "A0", "B1", "C2", "D3", "E4", "F5",
    ]  # fmt: skip
    page.keyboard.press("f")  # the sixth choice, not the full screen
    assert choices.nth(5).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Space")
    page.locator('[data-verdict="right"]', has_text="2").wait_for()
    widths = [choices.nth(n).bounding_box() for n in range(6)]
    # Off the step, nothing is marked; Space reveals, then returns to it.
    page.locator('[role=gridcell][data-layer="4"][data-position="4"]').click()
    page.locator(".vene-curtain").wait_for()
    assert page.locator("[data-verdict]").count() == 0
    page.keyboard.press("Space")
    page.locator(".vene-sentence", has_text="after block 4").wait_for()
    assert page.locator("[data-verdict]").count() == 0
    page.keyboard.press("Space")
    page.locator('[data-verdict="right"]', has_text="2").wait_for()
    assert [choices.nth(n).bounding_box() for n in range(6)] == widths


def test_it_fits_and_fills_three_sizes(pages: dict[str, tuple[str, Any]], page: Page) -> None:
    begin(page, pages["shipped"][0])
    sizes: list[float] = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(200)
        page.keyboard.press("Home")
        for step in range(8):
            if step % 2:
                page.keyboard.press("Space")
                page.locator(".vene-sentence").wait_for()
            found = page.evaluate(
                """() => {
                    const wall = document.querySelector(".vene-wall");
                    const out = [...wall.querySelectorAll("*")]
                        .filter((one) => one.checkVisibility({visibilityProperty: true}))
                        .map((one) => [one.outerHTML.slice(0, 100), one.getBoundingClientRect()])
                        .filter(([, {width}]) => width > 1)
                        .filter(([, {right, bottom, left, top}]) => left < -1 || top < -1
                            || right > innerWidth + 1 || bottom > innerHeight + 1)
                        .map(([html]) => html);
                    const cut = [...wall.querySelectorAll("p, h3, button, span")]
                        .filter((one) => one.checkVisibility({visibilityProperty: true}))
                        .filter((one) => one.clientHeight > 0
                            && one.scrollHeight > one.clientHeight + 2
                            && getComputedStyle(one).overflow !== "visible")
                        .map((one) => one.outerHTML.slice(0, 100));
                    const foot = wall.querySelector(".vene-wall-foot").getBoundingClientRect();
                    const grid = wall.querySelector("[role=grid]").getBoundingClientRect();
                    const bars = wall.querySelectorAll(".vene-three-bar").length;
                    const type = [...wall.querySelectorAll("*")]
                        .filter((one) => [...one.childNodes].some((node) => node.data?.trim()))
                        .filter((one) => one.checkVisibility({visibilityProperty: true}))
                        .map((one) => parseFloat(getComputedStyle(one).fontSize));
                    return {out, cut, bottom: foot.bottom, grid: grid.height, bars,
                        scroll: document.documentElement.scrollHeight, type: Math.min(...type)};
                }"""
            )
            where = (width, step)
            assert found["out"] == [] and found["cut"] == [], where
            assert 0.95 * height <= found["bottom"] <= height, where
            assert found["grid"] >= 0.3 * height, where
            assert found["type"] >= width / 85, where
            assert found["bars"] == (3 if step % 2 else 0), where
            if step == 0:
                sizes.append(found["type"])
            page.keyboard.press("ArrowRight")
        assert "ms" not in page.locator(".vene-wall").inner_text().split()
    assert sizes[1] == pytest.approx(1.5 * sizes[0], rel=0.02)
    assert sizes[2] == pytest.approx(3 * sizes[0], rel=0.02)


def test_a_narrow_wall_has_the_answer_below_the_map(
    pages: dict[str, tuple[str, Any]], page: Page
) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    begin(page, pages["shipped"][0])
    tops: list[Any] = []
    for press in ("ArrowRight", "Space"):
        page.keyboard.press(press)
        page.locator(".vene-sentence" if press == "Space" else ".vene-curtain").wait_for()
        found = page.evaluate(
            """() => {
                const box = (selector) =>
                    document.querySelector(selector).getBoundingClientRect();
                const [wall, map, answer] =
                    [".vene-wall", "[role=grid]", ".vene-wall-answer"].map(box);
                const root = document.querySelector(".vene-root");
                const out = [...document.querySelectorAll(".vene-wall *")]
                    .filter((one) => one.checkVisibility({visibilityProperty: true}))
                    .map((one) => [one.outerHTML.slice(0, 100), one.getBoundingClientRect()])
                    .filter(([, {left, right, bottom, width}]) => width > 1
                        && (left < 0 || right > innerWidth || bottom > wall.bottom))
                    .map(([html]) => html);
                return {out, answer: answer.width / wall.width, below: answer.top - map.bottom,
                    tile: box("[role=gridcell]").height, bars: box(".vene-wall-foot").top,
                    isReached: root.scrollHeight <= root.clientHeight
                        || getComputedStyle(root).overflowY === "auto"};
            }"""
        )
        assert found["out"] == [], press
        assert found["answer"] > 0.8 and found["below"] >= 0, press
        assert found["tile"] >= 20 and found["isReached"], press
        tops.append(found["bars"])
    assert tops[0] == tops[1]  # the reveal moves nothing


def test_a_covered_tile_keeps_its_sign_in_the_middle_when_it_is_pinned(
    pages: dict[str, tuple[str, Any]], page: Page
) -> None:
    begin(page, pages["shipped"][0])
    page.keyboard.press("ArrowRight")
    tile = page.locator(".vene-tile-open").last
    tile.focus()
    page.keyboard.press("p")
    page.locator('.vene-tile-open[data-pins~="cell"]').wait_for()
    sign, corner = tile.evaluate(
        """one => ["::before", "::after"].map((part) => {
            const {content, position, backgroundImage} = getComputedStyle(one, part);
            return [content, position, backgroundImage !== "none"];
        })"""
    )
    assert sign == ['"?"', "static", False]
    assert corner == ['""', "absolute", True]


def test_tabs_and_readings_that_were_open_give_nothing_away(lab: Any) -> None:
    lab.open([f"import vene_widgets as vw\nexplorer = vw.explore({SPAIN!r}, {ITALY!r})\nexplorer"])
    lab.run_cell(0)
    page, root = lab.page, lab.page.locator(".vene-root")
    lab.page.locator('[role=gridcell][data-layer="1"][data-position="3"]').click()
    page.locator(".vene-sentence", has_text="into “Rome”").wait_for()

    def check(*revealing: str) -> None:
        """What the desk shows is nowhere on the covered wall."""
        assert [word for word in revealing if word not in root.inner_html()] == []
        root.focus()
        page.keyboard.press("f")
        page.locator(".vene-curtain").wait_for()
        found = root.inner_text() + page.locator(".vene-map").inner_html()
        assert [word for word in ("Rome", *revealing) if word in found] == []
        page.evaluate("document.exitFullscreen()")
        page.wait_for_function("document.fullscreenElement === null")
        root.focus()
        page.keyboard.press("Escape")
        page.locator(".vene-slots").wait_for()

    page.get_by_role("tab", name="Generate").click()
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator(".vene-tab-panel", has_text="First difference at new token").wait_for()
    check("First difference at new token")
    page.get_by_role("tab", name="Attention").click()
    page.locator("[data-panel=attention]", has_text="patched").wait_for()
    check("patched")
    page.get_by_label("Metric").select_option("lens patched")
    page.locator(".vene-tile-word").first.wait_for()
    check("vene-tile-word", "lens")
    page.get_by_label("Metric").select_option("recovery")
    page.get_by_label("Map or control").select_option("estimate")
    page.locator(".vene-legend-missed", has_text="4 false negatives").wait_for()
    check("vene-tile-missed", "vene-tile-estimate", "false negative")
    page.keyboard.press("s")
    page.get_by_label("Controls run").wait_for()
    page.get_by_label("Controls run").wait_for(state="detached", timeout=60_000)
    page.locator(".vene-map [aria-label*='random source: Recovery']").first.wait_for()
    check("random source: Recovery")
    page.keyboard.press("s")
    page.keyboard.press("s")
    page.locator(".vene-tile.vene-data-explained").first.wait_for()
    check("within the range of the controls", "vene-tile vene-data-explained")
