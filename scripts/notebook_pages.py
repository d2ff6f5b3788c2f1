"""An executed notebook as a Markdown page, its explorers as living pages."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Rendered:
    """A notebook's page.

    Attributes:
        markdown: text of the page.
        files: what it refers to, by name: pictures as bytes, living pages as text.
    """

    markdown: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)


def render(notebook: Any, stem: str) -> Rendered:
    """Render an executed notebook.

    Args:
        notebook: from `nbformat.read`; its metadata has `living_pages`, texts by model id.
        stem: of its file; names of further files begin with it.
    """
    page = Rendered()
    living: dict[str, str] = notebook.metadata["living_pages"]
    parts = ["---\nhide: [toc]\n---", ""]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("<details>", '<details markdown="1">'))
        elif cell.cell_type == "code":
            parts.append(_fenced(cell.source, "python"))
            parts += [_output(output, living, page, stem) for output in cell.outputs]
        if len(parts) == 3:  # below the title and the introduction
            parts.append(f"[Download this notebook]({stem}.ipynb){{: download }}")
    page.markdown = "\n\n".join(part for part in parts if part) + "\n"
    return page


def _output(output: Any, living: dict[str, str], page: Rendered, stem: str) -> str:
    if output.output_type == "stream":
        return _fenced(output.text.rstrip(), "text")
    data = output.data
    number = len(page.files) + 1
    if WIDGET in data:
        text = living.get(data[WIDGET]["model_id"])
        if text is None:
            return "*Widgets, shown in a running notebook.*{: .vene-note }"
        name = f"{stem}-{number}.html"
        page.files[name] = text
        return f'<iframe class="vene-living" src="{name}" title="A saved explorer"></iframe>'
    if "image/png" in data:
        name = f"{stem}-{number}.png"
        page.files[name] = base64.b64decode(data["image/png"])
        alt = data["text/plain"] if not data["text/plain"].startswith("<") else "Figure"
        return f"![{alt}]({name}){{: .vene-figure }}"
    if "text/html" in data:
        if "vene-static" in data["text/html"]:  # the living page above shows the same
            return ""
        # A blank line would end the HTML block.
        table = re.sub(r"\n\s*\n", "\n", data["text/html"])
        return f'<div class="vene-output">\n{table}\n</div>'
    return _fenced(data["text/plain"], "text")


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
