"""A notebook converted by `jupyter nbconvert --to html` shows each explorer without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

OPEN = """import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
explorer"""
CHANGE = """explorer.experiment = explorer.experiment.replace(slots=[vw.Slot(layer=0, position=3)])
explorer.to_html("page.html")"""
COPY = ".vene-static"


def converted(folder: Path, *cells: str, keep_state: bool = True) -> Path:
    """Execute cells and convert the notebook with nbconvert's own settings; the page's path."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=120, resources=resources, store_widget_state=keep_state
    ).execute()
    assert ("widgets" in notebook.metadata) == keep_state
    file = folder / "executed.ipynb"
    nbformat.write(notebook, file)
    command = [sys.executable, "-m", "nbconvert", "--to", "html", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file.with_suffix(".html")


@pytest.fixture
def offline(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(offline=True)
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.mark.parametrize("keep_state", [True, False])
def test_the_converted_page_shows_the_last_state_and_links_to_the_page(
    offline: Page, tmp_path: Path, keep_state: bool
) -> None:
    offline.goto(converted(tmp_path, OPEN, CHANGE, keep_state=keep_state).as_uri())
    (copy,) = offline.locator(COPY).all()
    picture = copy.locator("img")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    assert picture.is_visible()
    assert "turns “Madrid” into “Rome”" in copy.inner_text()
    # Without widget state nbconvert falls back to another format of the widget's own output.
    assert offline.locator("body").inner_text().count("Madrid") == copy.inner_text().count("Madrid")
    copy.get_by_role("link").click()
    offline.locator('[role="gridcell"]').first.wait_for()
    assert offline.url == (tmp_path / "page.html").as_uri()


def test_a_converted_page_without_an_interactive_page_has_no_link(
    offline: Page, tmp_path: Path
) -> None:
    offline.goto(converted(tmp_path, OPEN).as_uri())
    assert "No slots yet" in offline.locator(COPY).inner_text()
    assert offline.locator(COPY).get_by_role("link").count() == 0


def test_captured_output_has_no_copy(offline: Page, tmp_path: Path) -> None:
    captured = f"""from IPython.utils.capture import capture_output
{OPEN.removesuffix("explorer")}
with capture_output():
    display(explorer)"""
    offline.goto(converted(tmp_path, captured, "explorer.wait();").as_uri())
    assert offline.locator(COPY).count() == 0


def test_the_copy_is_hidden_beside_the_live_explorer(lab: Any) -> None:
    lab.open([OPEN, CHANGE])
    lab.run_all()
    root = lab.output(0).locator(".vene-root")
    root.wait_for()
    copy = lab.output(0).locator(COPY)
    copy.locator("p", has_text="turns “Madrid” into “Rome”").wait_for(state="attached")
    assert not copy.is_visible()
    area = lab.output(0).bounding_box()
    box = root.bounding_box()
    assert area["height"] - box["height"] < 40
