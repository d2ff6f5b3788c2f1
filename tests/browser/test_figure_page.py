"""Figure files, requested in a real JupyterLab and downloaded by the browser."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OPEN = """\
import vene_widgets as vw
explorer = vw.explore("The capital of Spain is", "The capital of Italy is",
                      slots=[vw.Slot(layer=0, position=3)])
explorer"""


def test_every_file_is_saved(lab: Any, tmp_path: Path) -> None:
    lab.open([OPEN])
    lab.run_all()
    files = lab.page.locator(".vene-files")
    files.get_by_text("PNG", exact=False).first.wait_for()
    starts = {"PNG": b"\x89PNG", "300 dpi": b"\x89PNG", "SVG": b"<?xml", "PDF": b"%PDF",
              "Everything": b"PK"}  # fmt: skip
    contents: dict[str, bytes] = {}
    for name, start in starts.items():
        with lab.page.expect_download() as waiting:
            files.get_by_text(name, exact=True).click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        contents[name] = path.read_bytes()
        assert contents[name].startswith(start), name
        if name != "PNG":
            lab.page.locator(".vene-figure-said", has_text=f"Saved {path.name}").wait_for()
    with zipfile.ZipFile(io.BytesIO(contents["Everything"])) as archive:
        assert archive.testzip() is None and len(archive.namelist()) > 10
    lab.shot("figure", lab.page.locator(".vene-panel-figure"))

    picture = tmp_path / "figure.svg"
    picture.write_bytes(contents["SVG"])
    lab.page.goto(picture.as_uri())
    title = lab.page.evaluate("document.querySelector('g > g > title')"
                              ".textContent")  # fmt: skip
    assert "(id " in title and "P = 0." in title
    lab.shot("figure-svg")
    assert lab.problems == []
