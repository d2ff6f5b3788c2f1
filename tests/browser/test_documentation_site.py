"""Pages of the documentation: their saved explorers do what the text says, at full height."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import living_pages
import nbformat
import pytest
from living_pages import executed, home_explorer
from notebook_pages import Rendered, render
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
FRAME = '<iframe class="vene-living" src="first.html"></iframe>'


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(offline=True, viewport={"width": 1300, "height": 900})
    try:
        yield context.new_page()
    finally:
        context.close()


def test_the_first_instruction_of_the_home_page_works(page: Page, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert re.search(r"Click the tile in row 0, column `␣Spain`.*becomes “Rome”", text, re.S)
    (tmp_path / "first.html").write_text(home_explorer(), encoding="utf-8")
    script = (ROOT / "docs" / "site.js").read_text(encoding="utf-8")
    style = "<style>iframe { width: 100%; height: 100px; border: 0; }</style>"
    (tmp_path / "index.html").write_text(f"{style}{FRAME}<script>{script}</script>")
    page.goto((tmp_path / "index.html").as_uri())
    frame = page.frame_locator("iframe")
    sentence = frame.locator(".vene-sentence")
    sentence.get_by_text("“Madrid”").first.wait_for()
    assert "Rome" not in sentence.inner_text()
    frame.locator('[role="gridcell"][data-layer="0"][data-position="3"]').click()
    frame.locator(".vene-sentence", has_text="turns “Madrid” into “Rome”").wait_for()
    # The frame is as tall as its content: no second scrollbar.
    page.wait_for_function(
        """() => { const frame = document.querySelector("iframe").getBoundingClientRect();
            return frame.height > 400 }"""
    )
    inner = page.frames[1]
    page.wait_for_timeout(300)
    hidden = "document.documentElement.scrollHeight - document.documentElement.clientHeight"
    assert inner.evaluate(hidden) <= 0


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    cells: list[Any] = [
        nbformat.v4.new_markdown_cell("# Title\n\nWords.\n\n<details>\n\nMore.\n\n</details>"),
        nbformat.v4.new_code_cell(
            "import vene_widgets as vw\n"
            'explorer = vw.explore("The capital of Spain is", "The capital of Italy is")\n'
            "explorer"
        ),
        nbformat.v4.new_code_cell(
            "explorer.experiment = explorer.experiment.replace(\n"
            "    slots=[vw.Slot(layer=0, position=3)])\n"
            "print(explorer.run.top(1).token[0])"
        ),
        nbformat.v4.new_code_cell("explorer.figure('token_heatmap')"),
        nbformat.v4.new_code_cell("explorer.wait(); explorer.run.top(2)"),
    ]
    folder = tmp_path_factory.mktemp("notebook")
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "some.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(living_pages, "EXECUTED", folder / "executed")
        return render(executed(folder / "some.ipynb"), "some")


def test_a_notebooks_page_has_its_outputs(rendered: Rendered) -> None:
    assert sorted(rendered.files) == ["some-1.html", "some-2.png"]
    text = rendered.markdown
    for part in (
        "# Title",
        "[Download this notebook](some.ipynb)",
        '<details markdown="1">',
        "```python\nimport vene_widgets as vw",
        '<iframe class="vene-living" src="some-1.html"',
        "```text\n Rome\n```",
        "(some-2.png)",
        '<div class="vene-output">\n<div>',
    ):
        assert part in text
    assert "vene-static" not in text
    picture = rendered.files["some-2.png"]
    assert isinstance(picture, bytes) and picture.startswith(b"\x89PNG")


def test_a_notebooks_explorer_is_a_living_page_of_its_last_state(
    page: Page, rendered: Rendered, tmp_path: Path
) -> None:
    file = tmp_path / "some-1.html"
    file.write_text(str(rendered.files["some-1.html"]), encoding="utf-8")
    page.goto(file.as_uri())
    page.locator(".vene-sentence", has_text="turns “Madrid” into “Rome”").wait_for()
    assert page.locator(".vene-status").get_attribute("data-label") == "exact"
    assert "of the experiment that was saved" not in page.locator(".vene-root").inner_text()
    page.locator('[role="gridcell"][data-layer="5"][data-position="4"]').click()
    page.locator(".vene-sentence", has_text="after block 5").wait_for()
