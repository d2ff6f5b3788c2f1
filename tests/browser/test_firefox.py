"""A saved page in Firefox: idle tiles are hatched, and a click works."""

from __future__ import annotations

from pathlib import Path

import pytest
from firefox import firefox

import vene_widgets as vw

pytestmark = pytest.mark.browser

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
IDLE = "[role=gridcell].vene-tile-idle"
PATCHED = '[role="gridcell"][data-layer="4"][data-position="4"]'
SENTENCE = "document.querySelector('.vene-sentence')?.textContent"
CLICKED = f"""new Promise((resolve) => {{
    const look = () => {SENTENCE}.includes("after block 4") ? resolve(true) : setTimeout(look, 20);
    setTimeout(() => resolve({SENTENCE}), 5000);
    look();
}})"""


def test_a_saved_page(tmp_path: Path) -> None:
    explorer = vw.explore(BASE, SOURCE, slots=[vw.Slot(layer=0, position=3)])
    page = explorer.to_html(tmp_path / "map.html")
    explorer.close()
    (tmp_path / "profile").mkdir()
    with firefox(tmp_path / "profile") as tab:
        tab.open(page.as_uri())
        left, top, width, height = tab.box(IDLE)
        tile = tab.shot().crop((left + 3, top + 3, left + width - 3, top + height - 3))
        colours = tile.getcolors(maxcolors=tile.width * tile.height) or []
        # Thin lines on the page's own colour; a value's colour fills its tile.
        count, most = max(colours)
        assert most == (255, 255, 255)
        assert 0.5 < count / (tile.width * tile.height) < 0.95
        tab.click(PATCHED)
        assert tab.script(CLICKED) is True
        assert tab.problems == []
