"""An executed notebook as a Markdown page, its explorers as living pages."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass, field
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


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
    """Render a notebook that was executed with its widgets' state.

    Args:
        notebook: from `nbformat.read`.
        stem: of its file; names of further files begin with it.
    """
    page = Rendered()
    widgets = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    parts = ["---\nhide: [toc]\n---", ""]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("<details>", '<details markdown="1">'))
        elif cell.cell_type == "code":
            parts.append(_fenced(cell.source, "python"))
            parts += [_output(output, widgets, page, stem) for output in cell.outputs]
        if len(parts) == 3:  # below the title and the introduction
            parts.append(f"[Download this notebook]({stem}.ipynb){{: download }}")
    page.markdown = "\n\n".join(part for part in parts if part) + "\n"
    return page


def _output(output: Any, widgets: Any, page: Rendered, stem: str) -> str:
    if output.output_type == "stream":
        return _fenced(output.text.rstrip(), "text")
    data = output.data
    number = len(page.files) + 1
    if WIDGET in data:
        model = widgets[data[WIDGET]["model_id"]]
        if "scene" not in model["state"]:
            return "*Widgets, shown in a running notebook.*{: .vene-note }"
        name = f"{stem}-{number}.html"
        page.files[name] = living_page(model, data["text/plain"])
        title = html.escape(f"Saved explorer: {data['text/plain']}")
        return f'<iframe class="vene-living" src="{name}" title="{title}"></iframe>'
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


def living_page(model: Any, sentence: str) -> str:
    """A saved page of an explorer from the state that a notebook holds of it.

    Args:
        model: an entry of the notebook's widget state.
        sentence: the result in words.
    """
    from vene_widgets.explorer import Explorer
    from vene_widgets.explorer.export.page import page

    state = model["state"]
    traits = {name: state[name] for name in Explorer.class_trait_names(page=True) if name in state}
    for buffer in model.get("buffers", []):
        *path, last = buffer["path"]
        place: Any = traits if path and path[0] in traits else {}
        for step in path:
            place = place[step]
        place[last] = base64.b64decode(buffer["data"])
    sentence = state["answer"].get("sentence", sentence)
    return page(traits, sentence, sentence)


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
