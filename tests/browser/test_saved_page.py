"""A saved page in an offline browser: clicks work, and its numbers equal those in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import vene_widgets as vw

pytestmark = pytest.mark.browser

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


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
