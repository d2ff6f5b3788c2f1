"""Draw the pictures of docs/gallery.md by running its code.

    python scripts/gallery.py

Each block of the page that assigns `figure` is run for a light page, a dark page and a paper's
column; the comment below the block, `<!-- name -->`, names its pictures in docs/gallery. The
pictures are put into the page below the comment.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

import vene_widgets as vw

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURES = DOCS / "gallery.md", DOCS / "gallery"
BLOCK = re.compile(
    r"```python\n(?P<code>.*?)```(?:\n\n<!-- (?P<name>\w+) -->\n)?",
    re.S,
)
STYLES: dict[str, tuple[str, Any, int]] = {
    "light": ("light", None, 110),
    "dark": ("dark", None, 110),
    "paper": ("light", vw.theme_paper(columns=1), 220),
}
"""Style -> the page's `style` and `look`, and the picture's resolution."""


def figures(styles: tuple[str, ...] = tuple(STYLES)) -> Iterator[tuple[str, str, bytes]]:
    """Name, style and PNG of every figure of the page, drawn now."""
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if not block["name"]:
            if "figure" not in names:  # the runs that all blocks share
                exec(block["code"], names)  # noqa: S102  # code of this repository
            continue
        for style in styles:
            names["style"], names["look"], dpi = STYLES[style]
            exec(block["code"], names)  # noqa: S102  # code of this repository
            figure = names["figure"]
            if names["look"] is not None and block["name"] != "result":
                figure = figure + names["look"]
            yield block["name"], style, vw.figures.png(figure, dpi=dpi)


def tags(name: str) -> str:
    """The pictures of a figure, as HTML: light and dark side by side, the paper's below."""
    return "".join(
        f'<img src="gallery/{name}_{style}.png" alt="{name}, {style}" width="49%">\n'
        for style in STYLES
    )


def main() -> None:
    """Draw all pictures, and put them into the page."""
    PICTURES.mkdir(exist_ok=True)
    for name, style, png in figures():
        picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(96)
        picture.save(PICTURES / f"{name}_{style}.png", optimize=True)
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(
        r"<!-- (\w+) -->\n(?:<img .*>\n)*",
        lambda found: f"<!-- {found[1]} -->\n{tags(found[1])}",
        text,
    )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
