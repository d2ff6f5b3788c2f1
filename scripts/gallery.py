"""Draw the pictures of docs/gallery.md and docs/classics.md by running their code.

    python scripts/gallery.py

Each block of a page that assigns `figure` is run for a light page, a dark page and, in the gallery,
a paper's column; the comment below the block, `<!-- name -->`, names its pictures, in a folder with
the page's name. They are put into the page below the comment.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

import vene_widgets as vw

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURES = DOCS / "gallery.md", DOCS / "gallery"
CLASSICS = DOCS / "classics.md"
NOT_RUN = "<!-- not run: needs SmolLM2 -->\n"
BLOCK = re.compile(
    rf"(?P<not_run>{NOT_RUN})?" + r"```python\n(?P<code>.*?)```(?:\n\n<!-- (?P<name>\w+) -->\n)?",
    re.S,
)
STYLES: dict[str, tuple[str, Any, int]] = {
    "light": ("light", None, 110),
    "dark": ("dark", None, 110),
    "paper": ("light", vw.theme_paper(columns=1), 220),
}
"""Style -> the page's `style` and `look`, and the picture's resolution."""


def styles_of(page: Path) -> tuple[str, ...]:
    """The styles that a page shows."""
    return tuple(STYLES) if page == PAGE else ("light", "dark")


def figures(
    styles: tuple[str, ...] = tuple(STYLES), page: Path = PAGE
) -> Iterator[tuple[str, str, bytes]]:
    """Name, style and PNG of every figure of a page, drawn now."""
    names: dict[str, Any] = {}
    has_smollm2 = vw.available().set_index("name")["ready"]["smollm2"] and len(styles) > 1
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if not block["name"]:
            if "figure" not in names:  # the runs that all blocks share
                exec(block["code"], names)  # noqa: S102  # code of this repository
            continue
        if block["not_run"] and not has_smollm2:
            continue
        for style in styles:
            names["style"], names["look"], dpi = STYLES[style]
            # A block that stands alone names its style.
            code = block["code"].replace('style="light"', "style=style")
            exec(code, names)  # noqa: S102  # code of this repository
            figure = names["figure"]
            if names["look"] is not None and block["name"] != "result":
                figure = figure + names["look"]
            yield block["name"], style, vw.figures.png(figure, dpi=dpi)


def tags(name: str, page: Path = PAGE) -> str:
    """The pictures of a figure, as HTML: light and dark side by side, the paper's below."""
    return "".join(
        f'<img src="{page.stem}/{name}_{style}.png" alt="{name}, {style}" width="49%">\n'
        for style in styles_of(page)
    )


def main() -> None:
    """Draw all pictures of the pages that are named, else of both, and put them into the pages."""
    named = [DOCS / f"{name}.md" for name in sys.argv[1:]]
    for page in named or (PAGE, CLASSICS):
        draw(page)


def draw(page: Path) -> None:
    """Draw the pictures of a page, and put them into it."""
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name, style, png in figures(styles_of(page), page):
        picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(96)
        picture.save(folder / f"{name}_{style}.png", optimize=True)
    text = page.read_text(encoding="utf-8")
    text = re.sub(
        r"<!-- (\w+) -->\n(?:<img .*>\n)*",
        lambda found: f"<!-- {found[1]} -->\n{tags(found[1], page)}",
        text,
    )
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
