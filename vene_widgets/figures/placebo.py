"""placebo_map: a map beside its controls, what they explain muted."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vene_widgets.errors import RequestError
from vene_widgets.figures.heading import lettered
from vene_widgets.figures.heads import head_tiles
from vene_widgets.figures.labels import label
from vene_widgets.figures.map_layout import has_head_columns
from vene_widgets.figures.maps import tile_map
from vene_widgets.figures.notes import exact
from vene_widgets.figures.palette import palette_of
from vene_widgets.tables.columns import FRAMES
from vene_widgets.tables.metrics import METRICS, Metric
from vene_widgets.tables.number_text import significant

if TYPE_CHECKING:
    import plotnine as p9


def placebo_map(
    frame: pd.DataFrame,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """The changes of a sweep beside those of its controls, a panel each, on one scale.

    A control's tiles show the draw that changes most there. Tiles of the sweep that are within the
    range of a control are pale with a marked corner. Of several heads it is layer x head, at the
    position with the largest change.

    Args:
        frame: from `vw.placebo(...).summarize(...)`; of several targets, the first one is shown.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: no such frame, or an unknown style.

    Example:
        >>> import vene_widgets as vw
        >>> swept = vw.sweep(vw.load(), "The capital of Spain is", "The capital of Italy is")
        >>> figure = vw.figures.placebo_map(vw.placebo(swept, draws=1).frame)
    """
    palette = palette_of(style)
    data: Any = _validated(frame)
    targets = [label(str(one)) for one in data["target_label"].unique()]
    info = change_metric(str(data["metric"].iloc[0]), *targets[:2])
    data = data[data["target_id"] == data["target_id"].iloc[0]].reset_index(drop=True)
    of_heads = has_head_columns(data)
    where = ""
    if of_heads:
        sizes = data["exact"].abs().fillna(0)
        position = int(data["position"].iloc[int(sizes.to_numpy().argmax())])
        data = data[data["position"] == position]
        where = f" at {label(str(data['label'].iloc[0]))}, position {position}"
    parts, titles = [_exact_part(data)], {0: f"real map{where}"}
    rows: Any
    for number, (name, rows) in enumerate(data.groupby("control", sort=False), 1):
        draws = int(rows["draws"].iloc[0])
        titles[number] = f"{str(name).replace('_', ' ')}, largest of {draws}"
        larger = rows["most"].fillna(0).abs() >= rows["least"].fillna(0).abs()
        shown = rows.assign(change=rows["most"].where(larger, rows["least"]), muted=False)
        parts.append(shown.assign(panel_number=number))
    tiles = pd.concat(parts, ignore_index=True)
    tiles = tiles.assign(note=_notes(tiles, info))
    panels = {n: lettered(n, text) for n, text in titles.items()}
    if of_heads:
        tiles = tiles.assign(position=tiles["panel_number"])
        named = info.title
        return head_tiles(
            tiles, info, named, title, setup=setup, palette=palette, change="change", panels=panels
        )
    tiles = tiles.assign(target_id=tiles["panel_number"])
    return tile_map(tiles, info, title, setup=setup, palette=palette, named=panels)


def change_metric(name: str, target: str, contrast: str = "") -> Metric:
    """A metric of maps as its change from the base run, in the column `change`.

    Args:
        name: a key of `METRICS`.
        target, contrast: labels of the tokens.
    """
    info = METRICS["delta" if name == "probability" else name]
    said = info.title.replace("(t)", f"({target})").replace("(u)", f"({contrast})")
    said = re.sub(r"\bof t\b", f"of {target}", said).replace("against u", f"against {contrast}")
    is_level = name in ("logit_difference", "kl_source", "rank")
    return replace(
        info,
        name=info.name if name != "rank" else "log_ratio",
        title=f"Δ {said}" if is_level else said,
        unit="" if name == "rank" else info.unit,
        scale="difference" if is_level else info.scale,
        range=info.range if not is_level else (None, None),
        column="change",
    )


def _exact_part(data: Any) -> pd.DataFrame:
    """The real map's tiles, muted where a control explains them."""
    cells = ["head", "layer", "position"]
    explained = data.groupby(cells, sort=False, dropna=False)["within"].transform("any")
    first = data["control"] == data["control"].iloc[0]
    own = data.assign(change=data["exact"], muted=explained & data["effect_possible"])
    return own[first].assign(panel_number=0)


def _notes(tiles: pd.DataFrame, info: Metric) -> list[str]:
    """Tooltip of each tile: where, the change, and of a control its range."""
    notes: list[str] = []
    for row in tiles.to_dict("records"):
        head = "" if pd.isna(row["head"]) else f", head {row['head']}"
        place = f"layer {row['layer']}{head}, position {row['position']}: {row['label']}"
        value = "not defined" if np.isnan(row["change"]) else exact(row["change"])
        if row["panel_number"]:
            least, most = (significant(row[end]) for end in ("least", "most"))
            value += f"\n{row['control']}: {least} to {most} in {row['draws']} draws"
        notes.append(f"{place}\n{info.title} = {value}")
    return notes


def _validated(frame: object) -> pd.DataFrame:
    """The frame, if the figure can be drawn from it.

    Raises:
        RequestError: no DataFrame, a missing column, or no rows.
    """
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"placebo_map: expected the .frame of vw.placebo(...), got a {type(frame).__name__}."
        )
    if missing := [column for column in FRAMES["placebo_frame"] if column not in frame.columns]:
        raise RequestError(
            f"placebo_map: the frame lacks the columns {', '.join(map(repr, missing))}; expected "
            "those of vw.placebo(...).frame."
        )
    if frame.empty:
        raise RequestError("placebo_map: the frame is empty; expected at least one row.")
    return frame
