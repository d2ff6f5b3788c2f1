"""A saved notebook, reopened with a new kernel that has not run it: its map still responds."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.browser

CELL = """import vene_widgets as vw
slots = [vw.Slot(layer=0, position=3)]
vw.explore("The capital of Spain is", "The capital of Italy is", slots=slots)
"""


def test_a_saved_notebook_clicks_from_its_own_state(lab: Any) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    NotebookClient(notebook, timeout=120).execute()
    file = lab.server.notebooks / "saved.ipynb"
    nbformat.write(notebook, file)
    # Same as "Trust Notebook": widgets of untrusted notebooks do not run.
    home = {"JUPYTER_DATA_DIR": str(file.parent.parent / "jupyter_data_dir")}
    command = [sys.executable, "-m", "jupyter", "trust", str(file)]
    subprocess.run(command, env={**os.environ, **home}, check=True, capture_output=True)
    page = lab.page
    page.goto(f"{lab.server.url}/lab/tree/saved.ipynb?token={lab.server.token}")
    page.locator(".vene-root").wait_for(timeout=60_000)
    status = page.locator(".vene-status")
    assert status.get_attribute("data-label") == "exact"
    page.locator('[role="gridcell"][data-layer="4"][data-position="4"]').click()
    page.locator(".vene-sentence", has_text="after block 4 turns").wait_for()
    assert status.get_attribute("data-label") == "preview"
    # ipywidgets drops the messages of a saved widget: after a while the screen says what to do.
    page.locator(".vene-alert", has_text="Run the notebook again from its first cell").wait_for()
    assert status.inner_text() == "preview · kernel gone · cpu"
    assert page.locator("[role=alert]").count() == 0
    # What it opened with is no longer called exact, and the screen waits for nothing.
    page.locator('[role="gridcell"][data-layer="0"][data-position="3"]').click()
    page.locator(".vene-status", has_text="kept").wait_for()
    page.wait_for_timeout(3000)
    assert status.inner_text() == "kept · kernel gone · cpu"
