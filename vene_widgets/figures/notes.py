"""Tooltips and links of a figure's tiles: first as texts, then as elements of the SVG."""

from __future__ import annotations

import html
import re
import string
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pandas as pd
from matplotlib.collections import PolyCollection

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures.geoms import NOTES, Note
from vene_widgets.figures.map_layout import rows_of
from vene_widgets.tables.metrics import Metric
from vene_widgets.tables.number_text import significant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARK = "vene-note-"
"""Prefix of the addresses and ids by which `add_titles` finds tiles and numbers in an SVG."""


def exact(value: float) -> str:
    """A number with all the digits that distinguish it from its neighbours."""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def token_notes(data: pd.DataFrame) -> list[str]:
    """Tooltip of each row of a token frame: token, id, run, exact value."""
    rows = zip(data["label"], data["token_id"], data["run"], data["probability"], strict=True)
    return [f"{text} (id {key})\nrun: {run}\nP = {exact(p)}" for text, key, run, p in rows]


def cell_notes(data: pd.DataFrame, metric: Metric) -> list[str]:
    """Tooltip of each row of a sweep: layer, position, token there, target, exact value."""
    ids = data["token_id"] if "token_id" in data.columns else [None] * len(data)
    columns = ("layer", "position", "label", "target_label", "target_id", metric.column)
    rows = data[list(columns)].itertuples(index=False, name=None)
    row = rows_of(data)
    heads = [f", head {head}" for head in data["head"]] if row == "head" else [""] * len(data)
    notes: list[str] = []
    for head, token_id, (layer, position, label, target, target_id, value) in zip(
        heads, ids, rows, strict=True
    ):
        token = label if token_id is None else f"{label} (id {token_id})"
        of_target = f"\nt = {target} (id {target_id})" if metric.of_target else ""
        unit = f" {metric.unit}" if metric.unit and metric.name != "rank" else ""
        reading = f"{metric.title} = {exact(value)}{unit}"
        notes.append(f"layer {layer}{head}, position {position}: {token}{of_target}\n{reading}")
    return notes


def mean_notes(data: pd.DataFrame, confidence: float | None, title: str) -> list[str]:
    """Tooltip of each row of a summary over pairs: where, mean, interval, pairs, control.

    p and q are said with the control that they are about, and not without one.

    Args:
        data: rows of `PairSweep.summary`.
        confidence: of the intervals; None if unknown.
        title: of the metric.
    """
    level = "interval" if confidence is None else f"{100 * confidence:g} % interval"
    notes: list[str] = []
    for row in data.to_dict("records"):
        head = "" if pd.isna(row["head"]) else f", head {row['head']}"
        n = f"n = {row['n']:,} pairs, {row['units']:,} independent"
        lines = [
            f"layer {row['layer']}{head}, {place_words(row['label'], row['place'])}",
            f"{row['role']}: mean {title} = {exact(row['mean'])}",
            f"{level}: {significant(row['low'])} to {significant(row['high'])}, {n}",
        ]
        if isinstance(row["control"], str) and not pd.isna(row["control_q"]):
            lines.append(
                f"{row['control']}: mean {significant(row['control_mean'])}, difference "
                f"p = {significant(row['control_p'])}, q = {significant(row['control_q'])}"
            )
        notes.append("\n".join(lines))
    return notes


def place_words(label: str, place: str) -> str:
    """A place of a sweep over pairs: `␣is, position 4`, `position 3`, or its name."""
    return f"{label}, position {place}" if place.isdigit() and place not in label else label


def links(data: pd.DataFrame, template: str | None) -> list[str] | str:
    """Link of each row: the template with the row's values, quoted for URLs.

    Only http, https and relative addresses are allowed, and quoting keeps a token's text from
    changing the address around it.

    Args:
        data: the frame's rows.
        template: a text with column names in braces; None or empty for no links.

    Raises:
        RequestError: an invalid template, an unknown field, or another scheme.
    """
    if not template:
        return ""
    try:
        parts = [*string.Formatter().parse(template)]
    except ValueError as error:
        raise RequestError(
            f"href {template!r} is not a valid template: {error}. Write fields as in "
            "'https://example.org/?id={token_id}', and double any other brace."
        ) from None
    if urlsplit(parts[0][0] if parts else "").scheme not in ("", "http", "https"):
        raise RequestError(
            f"href {template!r} is not the address of a web page; it must begin with 'https://', "
            "'http://', '/' or '#', or be relative."
        )
    for _, field, spec, conversion in parts:
        if field is not None:
            choose(field, data.columns, "field of href")
            if spec or conversion:
                raise RequestError(
                    f"href {template!r} formats {field!r}; a field must be a bare name in braces."
                )
    columns = {field: data[field] for _, field, _, _ in parts if field is not None}
    addresses: list[str] = []
    for n in range(len(data)):
        values = {name: _quote(column.iloc[n]) for name, column in columns.items()}
        addresses.append("".join(text + values.get(field or "", "") for text, field, _, _ in parts))
    return addresses


def _quote(value: object) -> str:
    """A value quoted for a URL, `/` included; lone surrogates become question marks."""
    return quote(str(value), safe="", errors="replace")


def mark_tiles(figure: Figure) -> list[Note]:
    """Give every tile with a note an address, by which `add_titles` finds it in the figure's SVG.

    Returns:
        The notes; the tile with the address `vene-note-3` has the fourth one.
    """
    notes: list[Note] = []
    for ax in figure.axes:
        tiles = [
            c for c in ax.collections if isinstance(c, PolyCollection) and NOTES.get(c) is not None
        ]
        for collection in tiles:
            own = NOTES[collection]
            collection.set_urls([f"{_MARK}{len(notes) + n}" for n in range(len(own))])
            notes += own
        # Ids must be unique within the file; the number of notes so far differs between panels.
        for n, text in enumerate(ax.texts if tiles else ()):
            text.set_gid(f"{_MARK}text-{len(notes)}-{n}")
    return notes


def add_titles(svg: str, notes: list[Note]) -> str:
    """Turn the marks of `mark_tiles` into titles and links.

    Numbers on tiles let the pointer through, so that the tile below shows its tooltip.
    """

    def tile(mark: re.Match[str]) -> str:
        note = notes[int(mark[1])]
        title = f"<title>{_escape(note.title)}</title>"
        if not note.href:
            return f"<g>{title}{mark[2]}</g>"
        href = _escape(note.href)
        return f'<a href="{href}" target="_blank" rel="noopener">{title}{mark[2]}</a>'

    # matplotlib writes a tile with an address as a link around its path.
    svg = re.sub(rf'<a xlink:href="{_MARK}(\d+)"[^>]*>\s*(.*?)\s*</a>', tile, svg, flags=re.DOTALL)
    return re.sub(rf'<g id="{_MARK}text-[^"]*">', '<g pointer-events="none">', svg)


def _escape(text: str) -> str:
    """Escape a text for XML; characters that XML may not hold are replaced."""
    return html.escape("".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in text))
