"""What a figure's tiles say and where they lead: texts for the marks, then elements of the SVG."""

from __future__ import annotations

import html
import re
import string
from typing import Any
from urllib.parse import quote, urlsplit

from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures.geoms import NOTES, Note
from vene_widgets.tables.metrics import Metric

_MARK = "vene-note-"


def exact(value: Any) -> str:
    """A number with every digit that tells it from its neighbours."""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def token_notes(data: Any) -> list[str]:
    """What each row of a token frame says: token, id, run, exact value."""
    rows = zip(data["label"], data["token_id"], data["run"], data["probability"], strict=True)
    return [f"{text} (id {key})\nrun: {run}\nP = {exact(p)}" for text, key, run, p in rows]


def cell_notes(data: Any, metric: Metric) -> list[str]:
    """What each row of a sweep says: where, the token there, the target, exact value."""
    ids = data["token_id"] if "token_id" in data.columns else [None] * len(data)
    columns = ("layer", "position", "label", "target_label", "target_id", metric.column)
    notes = []
    for key, row in zip(ids, data[list(columns)].itertuples(index=False, name=None), strict=True):
        layer, position, text, target, target_id, value = row
        token = text if key is None else f"{text} (id {key})"
        of = f"\nt = {target} (id {target_id})" if metric.of_target else ""
        unit = f" {metric.unit}" if metric.unit and metric.name != "rank" else ""
        said = f"{metric.title} = {exact(value)}{unit}"
        notes.append(f"layer {layer}, position {position}: {token}{of}\n{said}")
    return notes


def links(data: Any, template: str | None) -> list[str] | str:
    """Each row's address, its values quoted, so that no token can be more than a part of it.

    Raises:
        RequestError: a template with an unknown field, or that leads to no web page.
    """
    if not template:
        return ""
    try:
        parts = [*string.Formatter().parse(template)]
    except ValueError as error:
        raise RequestError(
            f"href {template!r} is no template: {error}. Write fields as in "
            "'https://example.org/?id={token_id}', and braces twice."
        ) from None
    if urlsplit(parts[0][0] if parts else "").scheme not in ("", "http", "https"):
        raise RequestError(
            f"href {template!r} leads to no web page; it has to begin with 'https://', 'http://', "
            "'/', '#', or be relative."
        )
    for _, field, spec, conversion in parts:
        if field is not None:
            choose(field, data.columns, "field of href")
            if spec or conversion:
                raise RequestError(
                    f"href {template!r} formats {field!r}; a field is its bare name in braces."
                )
    columns = {field: data[field] for _, field, _, _ in parts if field is not None}
    filled = []
    for n in range(len(data)):
        values = {name: _quoted(column.iloc[n]) for name, column in columns.items()}
        filled.append("".join(text + values.get(field or "", "") for text, field, _, _ in parts))
    return filled


def _quoted(value: Any) -> str:
    return quote(str(value), safe="", errors="replace")


def marked(figure: Figure) -> list[Note]:
    """Prepare a drawn figure: tiles with notes get an address that `titled` finds in its SVG."""
    found: list[Note] = []
    for ax in figure.axes:
        tiles = [
            c for c in ax.collections if isinstance(c, PolyCollection) and NOTES.get(c) is not None
        ]
        for collection in tiles:
            notes = NOTES[collection]
            collection.set_urls([f"{_MARK}{len(found) + n}" for n in range(len(notes))])
            found += notes
        for n, text in enumerate(ax.texts if tiles else ()):
            text.set_gid(f"{_MARK}text-{len(found)}-{n}")
    return found


def titled(svg: str, notes: list[Note]) -> str:
    """Give marked tiles their titles and links; numbers on them let the pointer through."""

    def tile(found: re.Match[str]) -> str:
        note = notes[int(found[1])]
        title = f"<title>{_escaped(note.title)}</title>"
        if not note.href:
            return f"<g>{title}{found[2]}</g>"
        href = _escaped(note.href)
        return f'<a href="{href}" target="_blank" rel="noopener">{title}{found[2]}</a>'

    svg = re.sub(rf'<a xlink:href="{_MARK}(\d+)"[^>]*>\s*(.*?)\s*</a>', tile, svg, flags=re.DOTALL)
    return re.sub(rf'<g id="{_MARK}text-[^"]*">', '<g pointer-events="none">', svg)


def _escaped(text: str) -> str:
    """A text for XML, without the characters that it cannot hold."""
    return html.escape("".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in text))
