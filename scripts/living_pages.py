"""MkDocs hook: add explorers saved with `to_html` to the site, each time it is built."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

logger = logging.getLogger("mkdocs.hooks.living_pages")

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def on_files(files: Files, config: Any) -> Files:
    """Add the saved explorers to the site's files."""
    import vene_widgets as vw

    model = vw.load("capitals", device="cpu")
    explorer = vw.explore(SPAIN, ITALY, model, [vw.Slot(layer=0, position=3)])
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = explorer.to_html(Path(folder) / "first.html", title="Madrid becomes Rome")
        finally:
            explorer.close()
        text = path.read_text(encoding="utf-8")
    logger.info("living page: first.html, %d bytes", len(text.encode()))
    files.append(File.generated(config, "living/first.html", content=text))
    return files
