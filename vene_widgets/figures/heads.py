"""head_map: a metric over layer x head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import theme
from vene_widgets.figures.heading import (
    SMALL,
    TEXT,
    heading,
    lettered,
    title_width,
)
from vene_widgets.figures.labels import label, width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import (
    GAP,
    LINE,
    axis_title,
    number_texts,
    sign_size,
)
from vene_widgets.figures.maps import (
    caption_of,
    hatched,
    map_tile,
    missing_marks,
    require_targets,
    signs,
)
from vene_widgets.figures.needs import validate_frame
from vene_widgets.figures.notes import cell_notes
from vene_widgets.figures.palette import Palette, palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_scale
from vene_widgets.figures.targets import shown_targets
from vene_widgets.tables.metrics import METRICS, Metric

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

_LEVELS = ("probability", "logit_difference", "rank")
"""Metrics that have a value in the base run; others are changes from it."""

MOST_PANELS = 6
"""Positions that a figure shows, those with the largest change of probability."""


def head_map(
    frame: pd.DataFrame,
    metric: str = "delta",
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """A sweep over heads: layer x head, one panel per position, of the frame's first target.

    Positions at which no head changes anything are left out; tiles at which no effect is possible
    are hatched.

    Args:
        frame: from `frames.sweep_frame`, `head` filled; several heads one below the other.
        metric: a key of `METRICS`.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty, lacks a column or has no heads, or an unknown metric or
            style.

    Example:
        >>> import vene_widgets as vw
        >>> pair = "The capital of Spain is", "The capital of Italy is"
        >>> swept = vw.sweep(
        ...     vw.load(), *pair, "head_value_output", head="all", positions=" Spain"
        ... )
        >>> figure = vw.figures.head_map(swept.frame)
    """
    info, palette = METRICS[choose(metric, METRICS, "metric")], palette_of(style)
    data = validate_frame(frame, "sweep_map")
    if data["head"].isna().any():
        raise RequestError(
            "head_map needs a frame with heads: sweep a per-head component with head='all'."
        )
    require_targets(data, info)
    target, shown = next(iter(shown_targets(data, info).items()))
    named = f"{shown.name}, {shown.base}" if info.name in _LEVELS else shown.name
    data = data[data["target_id"] == target]
    return head_tiles(data, info, named, title, setup=setup, palette=palette)


def head_tiles(
    data: pd.DataFrame,
    info: Metric,
    named: str,
    title: str | None,
    *,
    setup: str | None,
    palette: Palette,
    change: str = "delta",
    panels: Mapping[int, str] | None = None,
) -> p9.ggplot:
    """The tiles of `head_map`, and of maps of other numbers of the same cells.

    Args:
        data: rows of a sweep over heads, one per cell, checked; `muted` and `note` as in
            `maps.tile_map`.
        info: what the tiles show.
        named: what it is of, in a line above the panels.
        title, setup: as in `head_map`.
        palette: the colours.
        change: column by whose size positions are chosen.
        panels: titles of other panels than positions, by `position`.
    """
    limits, values = fill_limits(data, info)
    data = data.assign(
        value=values,
        column=data["head"].astype(int),
        hatch=hatched(data),
        number=number_texts(data[info.column], info),
        sign=signs(values, info, limits[1]),
        href="",
    )
    if panels is None:
        positions = moving_positions(data, change)
        data = data[data["position"].isin(positions)]
        first: Any = data.drop_duplicates("position").set_index("position")["label"]
        panels = {p: f"{label(str(first[p]))}, position {p}" for p in positions}
        if len(panels) > 1:
            panels = {p: lettered(n, text) for n, (p, text) in enumerate(panels.items())}
    titles = [*panels.values()]
    data = data.assign(panel=pd.Categorical(data["position"].map(panels), titles))
    ran, missing = data[data["value"].notna()], data[data["value"].isna()]
    if "note" not in ran.columns:
        ran = ran.assign(note=cell_notes(ran, info))
    only = titles[0] if len(titles) == 1 else None
    named = f"{named}; {only}" if only else named
    heads, layers = (sorted(map(int, data[name].unique())) for name in ("column", "layer"))

    caption = caption_of(ran, missing)

    def make(room: Room | None) -> Made:
        layout = HeadLayout(
            layers, heads, titles, [*ran["number"]], info, title, setup, named, room
        )
        parts: list[PlotAddable] = [
            map_tile(ran, palette, size=0.3, text_size=layout.text_size),
            fill_scale(info, limits, palette, layout.bar),
            p9.scale_x_continuous(
                **NO_MINOR,
                breaks=heads[:: layout.every],
                limits=(heads[0] - 0.5, heads[-1] + 0.5),
                expand=(0, 0),
            ),
            layer_scale(layers, layout.row),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                caption=caption,
                x="head",
                y="layer",
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
        ]
        if len(missing):
            parts.append(missing_marks(missing, palette, layout.row))
        if only is None:
            parts.append(p9.facet_wrap("panel", ncol=layout.across))
        tiles = ran if layout.has_numbers else ran.assign(number="")
        plot = compose_plot(tiles, p9.aes("column", "layer"), *parts)
        return plot, lambda scale: theme.colour_bar(scale * layout.bar)

    return arrangeable(make)


def moving_positions(data: pd.DataFrame, column: str = "delta") -> list[int]:
    """The positions with the largest values of a column; all if there is no change."""
    change: Any = data[column].abs().where(~data["hatch"], 0)
    size: Any = change.groupby(data["position"]).max().fillna(0)
    largest: Any = size.sort_values(ascending=False, kind="stable")
    # Where no head changes anything there is nothing to see.
    moving: Any = largest[largest > 0] if (largest > 0).any() else largest
    return sorted(int(p) for p in moving.index[:MOST_PANELS])


class HeadLayout:
    """Layout of a map of heads, in inches.

    Args:
        layers, heads: ascending.
        panels: titles of the panels.
        numbers: texts of the tiles.
        metric: what the map shows.
        title, setup: of the figure.
        named: the label above the panels.
        room: to lay it out for; None for as much as it needs.

    Attributes:
        across: panels per row.
        every: heads per x label.
        has_numbers: whether the tiles are large enough for their numbers.
        text_size: of these, or of the minus signs in print, in points.
        row: height of a layer.
        bar: height of the colour bar.
        heading: what stands above the panels.
        size: width and height of the figure.
    """

    def __init__(
        self,
        layers: list[int],
        heads: list[int],
        panels: list[str],
        numbers: list[str],
        metric: Metric,
        title: str | None,
        setup: str | None,
        named: str,
        room: Room | None,
    ) -> None:
        several, count = len(panels) > 1, heads[-1] - heads[0] + 1
        span = layers[-1] - layers[0] + 1
        number = max(0.3, width_of(numbers, SMALL) + 0.06)
        is_small = count <= 16 and span <= 16
        wanted = max(0.42, number + 0.02) if is_small else 0.2
        titles = width_of(panels, SMALL) + 0.1 if several else 0.0
        sides = 0.6 + max(0.6, width_of([axis_title(metric)], SMALL)) + 0.3
        self.across = min(3, len(panels))
        if room is None:
            panel = max(wanted * count, titles)
        else:
            inside = room.width - sides
            most = self.across
            # Without numbers rather than more than two rows of panels.
            for tile in (min(wanted, number), min(wanted, 0.2)):
                least = max(tile * count, titles)
                self.across = max(1, min(most, int(inside / (least + GAP))))
                if math.ceil(len(panels) / self.across) <= 2:
                    break
            panel = max(inside / self.across - GAP, titles, 1.0)
        width = max(sides + self.across * (panel + GAP), 3.2)
        if room is None:
            width = max(width, title_width(title or ""), width_of([named], SMALL) + 0.3)
        self.heading = heading(title, setup, named, width)

        tile, down = panel / count, math.ceil(len(panels) / self.across)
        self.every = next(n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n * tile >= 0.22)
        self.row = max(0.6 / span, 0.25 if is_small else 0.2)
        around = 0.62 + self.heading.height + down * (0.1 + 0.25 * several)
        if room:
            self.row = min(self.row, max(0.6 / span, (room.height - around) / down / span))
        self.has_numbers = is_small and self.row >= LINE and number <= tile
        self.text_size = SMALL if self.has_numbers else min(SMALL, sign_size(tile))
        self.bar = min(1.5, max(0.7, self.row * span))
        self.size = round(width, 2), round(around + down * span * self.row, 2)
