"""attribution_check_map: exact effects and their estimates, side by side in every tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.attribution import (
    effect_metric,
    metric_words,
    validate_attribution,
)
from vene_widgets.figures.heading import (
    MARGINS,
    SMALL,
    TEXT,
    Heading,
    height_of,
    lettered,
    wrap,
)
from vene_widgets.figures.heads import HeadLayout, moving_positions
from vene_widgets.figures.labels import label
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import MapLayout, has_head_columns, rows_of, sign_size
from vene_widgets.figures.maps import HATCHED, hatched, signs, tile_aes
from vene_widgets.figures.notes import exact
from vene_widgets.figures.palette import Palette, palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_scale
from vene_widgets.tables.attribution import correlations
from vene_widgets.tables.number_text import NO_BREAK, percent

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

    from vene_widgets.tables.metrics import Metric

TILE = 0.92
"""Width and height of a tile of two halves, as a fraction of its cell."""

HALVES = {"exact": -TILE / 4, "estimate": TILE / 4}
"""Column of each half, and its distance from the tile's centre."""


def attribution_check_map(
    frame: pd.DataFrame,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Exact effects beside their estimates: in each tile the exact one left, the estimate right.

    Both have one scale. False negatives are ringed, and the correlations are printed above the
    map. Of several heads it is layer x head, one panel per position, of those with the largest
    exact effects.

    Args:
        frame: from `vw.attribute(...).against(...).frame`.
        title: above the figure.
        setup: what was done, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: no such frame, or an unknown style.

    Example:
        >>> import vene_widgets as vw
        >>> model, pair = vw.load(), ("The capital of Spain is", "The capital of Italy is")
        >>> check = vw.attribute(model, *pair).against(vw.sweep(model, *pair))
        >>> figure = vw.figures.attribution_check_map(check.frame)
    """
    palette = palette_of(style)
    data = validate_attribution(frame, "attribution_check_map", "attribution_check_frame")
    info = effect_metric(data.attrs, "exact", "change")
    named = f"change of {metric_words(data)}; {_agreement(data)}"
    data = data.assign(hatch=hatched(data))
    of_heads, rows = has_head_columns(data), rows_of(data)
    if of_heads:
        data = data[data["position"].isin(moving_positions(data, "exact"))]
    both = pd.concat([data.assign(exact=data[half]) for half in HALVES])
    limits, _ = fill_limits(both, info)

    def make(room: Room | None) -> Made:
        layout = (_heads if of_heads else _tokens)(data, info, named, title, setup, room)
        placed = data.assign(column=layout.columns, panel=layout.panels)
        # Of positions that share a column one tile is drawn.
        placed = placed.drop_duplicates(["panel", rows, "column"])
        tiles = _halves(placed, limits, info)
        caption = _caption(data, layout.size[0])
        parts: list[PlotAddable] = [
            geoms.Tile(
                p9.aes(width="width", **tile_aes()),
                height=TILE,
                size=0,
                text_size=min(SMALL, sign_size(layout.tile / 2)),
                hatch_color=palette.hatch,
                page=palette.page,
            ),
            fill_scale(info, limits, palette, layout.bar),
            p9.scale_x_continuous(
                **NO_MINOR,
                breaks=layout.breaks,
                labels=layout.labels,
                limits=(layout.first - 0.5, layout.last + 0.5),
                expand=(0, 0),
            ),
            layer_scale(layout.layers, layout.row),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                caption="\n".join(caption),
                x="head" if of_heads else "token position",
                y=rows,
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(layout.size[0], round(layout.size[1] + height_of(len(caption) - 1), 2)),
            p9.theme(plot_caption=p9.element_text(linespacing=theme.LINE_SPACING)),
        ]
        if placed["false_negative"].any():
            parts.append(_rings(placed[placed["false_negative"]], palette))
        if placed["panel"].nunique() > 1:
            parts.append(p9.facet_wrap("panel", ncol=layout.across))
        plot = compose_plot(tiles, p9.aes("x", rows), *parts)
        upright = theme.x_labels(layout.is_upright)
        return plot, lambda scale: upright + theme.colour_bar(scale * layout.bar)

    return arrangeable(make)


@dataclass(frozen=True)
class _Layout:
    """Layout of the map, from that of a map of tokens or of heads.

    Attributes:
        columns, panels: of each row of the data.
        breaks, labels: of the x axis.
        first, last: columns.
        layers: ascending.
        across: panels per row.
        is_upright: whether the x labels are.
        tile, row, bar: width of a column, height of a layer and of the colour bar, in inches.
        heading: what stands above the panels.
        size: width and height of the figure.
    """

    columns: list[int]
    panels: Any
    breaks: list[int]
    labels: list[str]
    first: int
    last: int
    layers: list[int]
    across: int
    is_upright: bool
    tile: float
    row: float
    bar: float
    heading: Heading
    size: tuple[float, float]


def _tokens(
    data: pd.DataFrame,
    info: Metric,
    named: str,
    title: str | None,
    setup: str | None,
    room: Room | None,
) -> _Layout:
    """The layout of a map over token positions."""
    own = MapLayout(data, info, title, setup, room, named)
    columns = {p: n for n, column in enumerate(own.columns) for p in column.positions}
    breaks = own.x_breaks()
    return _Layout(
        columns=[columns[int(position)] for position in data["position"]],
        panels="",
        breaks=breaks,
        labels=[own.columns[n].label for n in breaks],
        first=0,
        last=len(own.columns) - 1,
        layers=own.layers,
        across=1,
        is_upright=own.has_upright_labels,
        tile=own.size[0] / (len(own.columns) + 3),
        row=own.row,
        bar=own.bar,
        heading=own.heading,
        size=own.size,
    )


def _heads(
    data: pd.DataFrame,
    info: Metric,
    named: str,
    title: str | None,
    setup: str | None,
    room: Room | None,
) -> _Layout:
    """The layout of a map over heads, one panel per position."""
    first: Any = data.drop_duplicates("position").set_index("position")["label"]
    positions = sorted(int(position) for position in first.index)
    panels = {p: f"{label(str(first[p]))}, position {p}" for p in positions}
    if len(panels) > 1:
        panels = {p: lettered(n, text) for n, (p, text) in enumerate(panels.items())}
    else:
        named = f"{named}; {panels[positions[0]]}"
    heads, layers = (sorted(int(n) for n in data[name].unique()) for name in ("head", "layer"))
    own = HeadLayout(layers, heads, [*panels.values()], ["0"], info, title, setup, named, room)
    breaks = heads[:: own.every]
    return _Layout(
        columns=[int(head) for head in data["head"]],
        panels=pd.Categorical(data["position"].map(panels), [*panels.values()]),
        breaks=breaks,
        labels=[str(head) for head in breaks],
        first=heads[0],
        last=heads[-1],
        layers=layers,
        across=own.across,
        is_upright=False,
        tile=own.size[0] / own.across / (len(heads) + 2),
        row=own.row,
        bar=own.bar,
        heading=own.heading,
        size=own.size,
    )


def _halves(data: pd.DataFrame, limits: tuple[float, float], info: Metric) -> pd.DataFrame:
    """Rows of the tiles' halves; a tile that is hatched is whole."""
    live, idle = data[~data["hatch"]], data[data["hatch"]]
    parts: list[pd.DataFrame] = []
    for rows, name, offset in (
        *((live, name, offset) for name, offset in HALVES.items()),
        (idle, "exact", 0.0),
    ):
        values = rows[name].clip(*limits).to_numpy(float)
        places = zip(rows["layer"], rows["head"], rows["position"], rows["label"], strict=True)
        parts.append(
            rows.assign(
                x=rows["column"] + offset,
                width=TILE / 2 if offset else TILE,
                value=values,
                sign=signs(values, info, limits[1]),
                number="",
                href="",
                note=[
                    f"layer {layer}{'' if pd.isna(head) else f', head {head}'}, position "
                    f"{position}: {text}\n{name} = {exact(value)}"
                    for (layer, head, position, text), value in zip(places, rows[name], strict=True)
                ],
            )
        )
    return pd.concat(parts)


def _rings(missed: pd.DataFrame, palette: Palette) -> p9.geom_tile:
    """Rings around the tiles of false negatives."""
    return p9.geom_tile(
        p9.aes(x="column"), missed, fill=None, color=palette.ink, size=0.9, width=TILE, height=TILE
    )


def _agreement(data: pd.DataFrame) -> str:
    """The correlations, and the number of cells that they are over."""
    r, rho, cells = correlations(data)
    if math.isnan(r):
        return f"{cells} cells"
    gap = NO_BREAK
    return f"r{gap}={gap}{_coefficient(r)}, ρ{gap}={gap}{_coefficient(rho)}, {cells}{gap}cells"


def _coefficient(value: float) -> str:
    """A correlation with two decimals."""
    return f"{value:.2f}".replace("-", "−")


def _caption(data: pd.DataFrame, width: float) -> list[str]:
    """What halves, rings and hatching mean, in lines of a figure that is `width` inches wide."""
    said = ["left half: exact, right half: estimated"]
    if missed := int(data["false_negative"].sum()):
        known: Mapping[Any, Any] = data.attrs
        rule = "exact effect large, estimate too small"
        if "share" in known and "kept" in known:
            share, kept = (percent(known[name]) for name in ("share", "kept"))
            rule = f"exact effect at least {share} of the largest, estimate below {kept} of it"
        said.append(f"ringed ({missed}): {rule}")
    if data["hatch"].any():
        said.append(HATCHED)
    return wrap("\n".join(said), width - MARGINS, SMALL)
