"""The site's living pages: explorers saved with `to_html` each time the site is built."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

logger = logging.getLogger("mkdocs.hooks.living_pages")

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def on_files(files: Files, config: Any) -> Files:
    """Add the living pages to the site's files."""
    import vene_widgets as vw

    model = vw.load("capitals", device="cpu")
    copied = vw.explore(SPAIN, ITALY, model, [vw.Slot(layer=0, position=3)])
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = copied.to_html(Path(folder) / "first.html", title="Madrid becomes Rome")
        finally:
            copied.close()
        text = path.read_text(encoding="utf-8")
    logger.info("living page: first.html, %d bytes", len(text.encode()))
    files.append(File.generated(config, "living/first.html", content=text))
    return files
