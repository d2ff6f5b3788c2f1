"""sweep_map: a metric over layer x token position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import TEXT
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import LINE, MapLayout, rows_of
from vene_widgets.figures.needs import validate_frame
from vene_widgets.figures.notes import cell_notes, links
from vene_widgets.figures.palette import Palette, palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_scale
from vene_widgets.tables.metrics import METRICS, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from plotnine.ggplot import PlotAddable

FAINTEST = 0.05
"""Smallest decrease that gets a minus sign, as a fraction of the scale; less is almost white."""

HATCHED = "hatched: no effect possible"
"""What hatching means, below a map."""

MUTED = "pale, corner marked: within the range of a control"
"""What muted tiles are, below a map."""


def sweep_map(
    frame: pd.DataFrame,
    metric: str = "probability",
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
    href: str | None = None,
) -> p9.ggplot:
    """A sweep: layer x token position, one tile per intervention, one panel per target.

    Of several heads of one layer, the rows are the heads. Tiles at which no effect is possible are
    hatched; if the prompts begin alike, the tokens that they share stand in one column. Tiles that
    are large enough show their numbers.

    In an SVG each tile has a tooltip with its layer, position, token and exact value.

    Args:
        frame: from `frames.sweep_frame`.
        metric: a key of `METRICS`; differences are coloured symmetrically around 0.
            `logit_difference` needs a frame with two targets; of two that are compared with each
            other the first has a panel.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.
        href: link of each tile in an SVG: a template such as
            `"https://example.org/?layer={layer}&position={position}"`, filled with the frame's
            columns.

    Raises:
        RequestError: the frame is empty or lacks a required column, the metric is unknown or needs
            another target, an unknown style, or `href` is invalid.

    Example:
        >>> import vene_widgets as vw
        >>> sweep = vw.sweep(vw.load(), "The capital of Spain is", "The capital of Italy is")
        >>> figure = vw.figures.sweep_map(sweep.frame, metric="delta")
    """
    info, palette = METRICS[choose(metric, METRICS, "metric")], palette_of(style)
    data = validate_frame(frame, "sweep_map")
    require_targets(data, info)
    return tile_map(data, info, title, setup=setup, palette=palette, href=href)


def tile_map(
    data: pd.DataFrame,
    info: Metric,
    title: str | None,
    *,
    setup: str | None,
    palette: Palette,
    href: str | None = None,
    named: str | Mapping[int, str] | None = None,
) -> p9.ggplot:
    """The tiles of `sweep_map`, and of maps of other numbers of the same cells.

    Args:
        data: rows of a sweep, one per cell and target, checked. Rows that are `muted` are drawn
            pale, with a marked corner; those with a `note` have it as their tooltip.
        info: what the tiles show.
        title, setup, href: as in `sweep_map`.
        palette: the colours.
        named: label of the one panel of a frame with one target, or of several by `target_id`; None
            for the metric and the base run's value.
    """
    frame, natural, rows = data, MapLayout(data, info, named=named), rows_of(data)
    data = data[data["target_id"].isin(natural.panels)]
    limits, values = fill_limits(data, info)
    # Swept positions side by side, also if the sweep leaves some out.
    columns = {p: i for i, column in enumerate(natural.columns) for p in column.positions}
    panels = natural.panels
    data = data.assign(
        value=values,
        href=links(data, href),
        sign=signs(values, info, limits[1]),
        column=data["position"].map(columns),
        hatch=hatched(data),
        number=natural.numbers,
        panel=pd.Categorical(data["target_id"].map(panels), [*panels.values()]),
    )
    ran, missing = data[data["value"].notna()], data[data["value"].isna()]
    if "note" not in ran.columns:
        ran = ran.assign(note=cell_notes(ran, info))
    # Of positions that share a column one tile is drawn.
    ran = ran.drop_duplicates(["panel", rows, "column"])
    caption = caption_of(ran, missing)

    def make(room: Room | None) -> Made:
        layout = MapLayout(frame, info, title, setup, room, named)
        breaks = layout.x_breaks()
        parts: list[PlotAddable] = [
            map_tile(
                ran,
                palette,
                size=0.3 if layout.row >= LINE else 0.12,
                text_size=layout.text_size,
            ),
            fill_scale(info, limits, palette, layout.bar),
            p9.scale_x_continuous(
                **NO_MINOR,
                breaks=breaks,
                labels=[layout.columns[n].label for n in breaks],
                limits=(-0.5, len(layout.columns) - 0.5),
                expand=(0, 0),
            ),
            layer_scale(layout.layers, layout.row),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                caption=caption,
                x="token position",
                y=rows,
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
        ]
        if len(missing):
            parts.append(missing_marks(missing, palette, layout.row))
        if len(panels) > 1:
            parts.append(p9.facet_wrap("panel", ncol=layout.panels_across))
        tiles = ran if layout.has_numbers else ran.assign(number="")
        labels = theme.x_labels(layout.has_upright_labels)
        plot = compose_plot(tiles, p9.aes("column", rows), *parts)
        return plot, lambda scale: labels + theme.colour_bar(scale * layout.bar)

    return arrangeable(make)


def signs(values: NDArray[np.floating[Any]], metric: Metric, largest: float) -> NDArray[np.int_]:
    """-1 for clear decreases of a metric of differences, else 0; `largest` ends the scale."""
    return np.where(metric.diverging & (values < -FAINTEST * largest), -1, 0)


def caption_of(ran: pd.DataFrame, missing: pd.DataFrame) -> str | None:
    """What the marks of a map mean, if it has some: hatched tiles, and cells that were not run."""
    said = [HATCHED] if ran["hatch"].any() else []
    said += [MUTED] if is_muted(ran) and ran["muted"].any() else []
    said += ["×  not run"] if len(missing) else []
    return "     ".join(said) or None


def missing_marks(missing: pd.DataFrame, palette: Palette, row: float) -> p9.geom_point:
    """Crosses at cells that were not run; `row` is a layer's height in inches."""
    size = min(1.2, 8 * row)
    return p9.geom_point(data=missing, shape="x", color=palette.quiet, size=size, stroke=0.35)


def map_tile(data: pd.DataFrame, palette: Palette, *, size: float, text_size: float) -> geoms.Tile:
    """The tiles of a map, some of them muted if the data say which.

    Args:
        data: rows of a sweep.
        palette: the colours.
        size: of the edges.
        text_size: of the numbers, in points.
    """
    look: dict[str, Any] = {
        "color": palette.edge,
        "size": size,
        "text_size": text_size,
        "hatch_color": palette.hatch,
        "page": palette.page,
    }
    if not is_muted(data):
        return geoms.Tile(tile_aes(), **look)
    return geoms.PairTile(tile_aes(muted="muted"), quiet=palette.quiet, **look)


def is_muted(data: pd.DataFrame) -> bool:
    """Whether data say which of their tiles are muted."""
    return "muted" in data.columns


def tile_aes(**more: str) -> p9.aes:
    """The aesthetics of a map's tiles."""
    return p9.aes(
        fill="value", label="number", note="note", href="href", sign="sign", hatch="hatch",
        **more,
    )  # fmt: skip


def hatched(data: pd.DataFrame) -> pd.Series[bool]:
    """Whether no effect is possible, of each of a sweep's rows."""
    if "effect_possible" not in data.columns:
        return pd.Series(False, index=data.index)
    return ~data["effect_possible"].astype(bool)


def require_targets(data: pd.DataFrame, metric: Metric) -> None:
    """Check that a metric of two tokens has both: without, every cell would look as if not run.

    Args:
        data: from `frames.sweep_frame`.
        metric: what is to be shown of it.

    Raises:
        RequestError: the metric compares two targets, and the sweep followed one; or it compares
            with a source, and there is none whose answer is another one.
    """
    if metric.of_source and (
        metric.column not in data.columns
        or (data[metric.column].isna().all() and data["best_id"].notna().any())
    ):
        raise RequestError(
            f"metric {metric.name!r} compares with the source run: it needs a source whose answer "
            "differs from the base's, and two targets."
        )
    if not metric.of_pair or data[metric.column].notna().any() or data["best_id"].isna().all():
        return
    followed = shown(str(data["target_label"].iloc[0]))
    raise RequestError(
        f"metric {metric.name!r} compares two target tokens, but the sweep followed one, "
        f"{followed}: name a second one, as in sweep(..., targets=[' Rome', ' Madrid'])."
    )
