"""Every notebook runs from top to bottom, in a kernel of this Python and a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELL_SECONDS = 300


def test_there_are_notebooks():
    assert (NOTEBOOKS / "01_first_look.ipynb").is_file()


@pytest.mark.notebook
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A notebook may read files that lie beside it; what it writes is to stay out of the checkout.
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*"))
    # The kernel of this environment, also where the home folder names another one `python3`.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.output_type != "error", output
            assert "Warning" not in output.get("text", ""), output.text
