"""Panels and columns of a map of means over pairs: the rows it shows, and what they are called."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vene_widgets.figures.heading import lettered
from vene_widgets.figures.labels import label
from vene_widgets.figures.map_layout import rows_of, short_number
from vene_widgets.figures.notes import place_words
from vene_widgets.tables.metrics import METRICS, Metric
from vene_widgets.tables.number_text import percent, points

if TYPE_CHECKING:
    import pandas as pd

OF_CONTRAST = ("recovery", "logit_difference")
"""Metrics that set the target against its contrast, whose map is the same or its mirror image."""

MOST_PANELS = 6
"""Places that a map of heads shows, those with the largest effects."""


@dataclass(frozen=True)
class Columns:
    """The columns of a map: places, or heads.

    Attributes:
        title: of the axis.
        flat, upright: labels of each column, by how they are drawn.
    """

    title: str
    flat: list[str]
    upright: list[str]


@dataclass(frozen=True)
class Arranged:
    """What a map of means shows.

    Attributes:
        data: the rows shown, with `panel`, a key of `titles`, and `column`, an index of `columns`.
        rows: the column of `data` that the map's rows are: `layer` or `head`.
        titles: of the panels.
        columns: of every panel.
        hidden: how many places have no panel, because others have larger effects.
    """

    data: pd.DataFrame
    rows: str
    titles: dict[str, str]
    columns: Columns
    hidden: int = 0


def metric_of(name: str) -> Metric:
    """A metric of means over pairs, in the column `mean`."""
    if name != "recovery":
        return replace(METRICS[name], column="mean")
    return replace(METRICS["logit_difference"], title="recovery", unit="", column="mean")


def arrange_means(data: pd.DataFrame, metric: str) -> Arranged:
    """Sort a summary into panels: layer x place per token, or layer x head per place.

    Args:
        data: from `PairSweep.summary`.
        metric: what the means are of.
    """
    rows = rows_of(data)
    by_head = rows == "layer" and data["head"].nunique() > 1
    if by_head or metric in OF_CONTRAST:
        first = str(data["role"].iloc[0])
        data = data[data["role"] == first]
    if by_head:
        return _by_place(data, rows, metric)
    columns, at = _places(data)
    titles = {str(role): _role_title(part, metric) for role, part in _groups(data, "role")}
    return Arranged(data.assign(panel=data["role"], column=at), rows, _lettered(titles), columns)


def _by_place(data: pd.DataFrame, rows: str, metric: str) -> Arranged:
    """Layer x head: a panel for each place where something changes, at most `MOST_PANELS`."""
    level = 0.0 if metric == "recovery" else data["base_mean"]
    size: Any = (data["mean"] - level).abs().where(data["effect_possible"], 0)
    largest: Any = size.groupby(data["place"], sort=False).max().fillna(0)
    kept = {*largest.sort_values(ascending=False, kind="stable").index[:MOST_PANELS]}
    shown = [place for place in largest.index if place in kept and largest[place] > 0]
    hidden = int((largest > 0).sum()) - len(shown)
    data = data[data["place"].isin(shown or [*kept])]
    heads = sorted(map(int, data["head"].unique()))
    titles = _lettered(
        {
            str(place): place_words(label(str(part["label"].iloc[0])), str(place))
            for place, part in _groups(data, "place")
        }
    )
    at = data["head"].map({head: n for n, head in enumerate(heads)}).astype(int)
    names = [str(head) for head in heads]
    data = data.assign(panel=data["place"], column=at)
    return Arranged(data, rows, titles, Columns("head", names, names), hidden)


def panel_label(arranged: Arranged, metric: str) -> str | None:
    """The line above the panels: of one panel its title, of several places what they all show."""
    only = next(iter(arranged.titles.values())) if len(arranged.titles) == 1 else None
    if arranged.columns.title != "head":
        return only
    shown = _role_title(arranged.data, metric)
    return f"{shown}; {only}" if only else shown


def _role_title(data: pd.DataFrame, metric: str) -> str:
    """What a panel shows, with the plain runs' means: `P(target), base 1.2 %, source 94 %`."""
    role = str(data["role"].iloc[0])
    if metric == "recovery":
        return f"recovery of logit({role}) − logit(contrast)"
    text = METRICS[metric].title.replace("(t)", f"({role})").replace("(u)", "(contrast)")
    own = {"probability": percent, "delta": points}.get(metric, short_number)
    for run in ("base", "source"):
        mean = float(data[f"{run}_mean"].iloc[0])
        is_zero = run == "base" and metric in ("delta", "log_ratio")
        if math.isfinite(mean) and not is_zero:
            text += f", {run} {own(mean)}"
    return text


def _places(data: pd.DataFrame) -> tuple[Columns, pd.Series[int]]:
    """The columns of places, and the column of each row; leading idle places share one."""
    may: Any = data["effect_possible"].groupby(data["place"], sort=False).any()
    places = [*may.index]
    idle = len([*itertools.takewhile(lambda place: not may[place], places)])
    folded = idle if 1 < idle < len(places) else 0
    flat, upright = ([f"{folded} in{gap}common"] if folded else [] for gap in ("\n", " "))
    named: Any = data.drop_duplicates("place").set_index("place")["label"]
    for place in places[folded:]:
        text, gap = str(named[place]), "  "
        parts = [label(text), *([place] if place.isdigit() else [])]
        if text == f"position {place}":  # the pairs have different tokens there
            parts, gap = ["position", place], " "
        flat.append("\n".join(parts))
        upright.append(gap.join(parts))
    at = {place: max(0, n - folded + bool(folded)) for n, place in enumerate(places)}
    return Columns("token position", flat, upright), data["place"].map(at).astype(int)


def _groups(data: pd.DataFrame, column: str) -> Iterable[tuple[Any, pd.DataFrame]]:
    """The parts of a table by a column's values, in the order of the table."""
    groups: Any = data.groupby(column, sort=False)
    return groups


def _lettered(titles: dict[str, str]) -> dict[str, str]:
    if len(titles) == 1:
        return titles
    return {key: lettered(n, text) for n, (key, text) in enumerate(titles.items())}
