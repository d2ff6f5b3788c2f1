"""pair_map: means over pairs of prompts, layer x place or layer x head, with their uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import SMALL, TEXT
from vene_widgets.figures.labels import width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import (
    LINE,
    axis_title,
    interval_texts,
    mean_texts,
)
from vene_widgets.figures.maps import HATCHED, missing_marks, signs
from vene_widgets.figures.needs import validate_summary
from vene_widgets.figures.notes import mean_notes
from vene_widgets.figures.pair_layout import PairLayout
from vene_widgets.figures.pair_panels import Arranged, arrange_means, metric_of, panel_label
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import (
    NO_MINOR,
    fill_limits,
    fill_scale,
    layer_scale,
    recovery_limits,
    recovery_scale,
)
from vene_widgets.figures.setup_lines import controls_words, means_words, pairs_setup
from vene_widgets.tables.number_text import significant

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

OVER = 0.005
"""How far beyond its scale a mean of recovery must be for the figure to say so."""


def pair_map(summary: pd.DataFrame, title: str | None = None, *, style: str = "light") -> p9.ggplot:
    """A sweep over pairs: the mean at each layer x place, and how certain it is.

    Of several heads it is layer x head, one panel per place, of the target only. Probabilities and
    their changes have a panel per token followed; `recovery` and `logit_difference` compare the
    target with its contrast and have one. Large tiles show the mean and below it its bootstrap
    interval. Tiles whose effect a control explains are pale with a marked corner; tiles at which no
    effect is possible are hatched. The figure says how many pairs the means are over, how many
    were left out, and which controls ran.

    In an SVG each tile has a tooltip with its numbers.

    Args:
        summary: from `PairSweep.summary` or `PairSweep.summarize`.
        title: above the figure.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty, lacks a column or has several metrics, or an unknown
            style.

    Example:
        >>> import vene_widgets as vw
        >>> spain, italy = "The capital of Spain is", "The capital of Italy is"
        >>> pairs = [
        ...     {"base": spain, "source": italy, "targets": (" Rome", " Madrid")},
        ...     {"base": italy, "source": spain, "targets": (" Madrid", " Rome")},
        ... ]
        >>> swept = vw.sweep_pairs(vw.load(), pairs, controls=())
        >>> figure = vw.figures.pair_map(swept.summary)
    """
    palette, name = palette_of(style), str(validate_summary(summary)["metric"].iloc[0])
    info, confidence = metric_of(name), summary.attrs.get("confidence")
    arranged = arrange_means(summary, name)
    data, rows, titles = arranged.data, arranged.rows, arranged.titles
    means = data["mean"].to_numpy(float)
    limits, values = recovery_limits(means) if name == "recovery" else fill_limits(data, info)
    muted = data["explained"] & data["effect_possible"] & data["control"].notna()
    data = data.assign(
        value=values,
        hatch=~data["effect_possible"].astype(bool),
        muted=muted,
        number=mean_texts(data["mean"], name),
        under=interval_texts(data, name),
        note=mean_notes(data, confidence, info.title),
        sign=np.where(muted, 0, signs(values, info, limits[1])),
        panel=pd.Categorical(data["panel"].map(titles), [*titles.values()]),
    )
    # Of places that share a column one tile is drawn.
    data = data.drop_duplicates(["panel", rows, "column"])
    ran, missing = data[data["value"].notna()], data[data["value"].isna()]
    setup, label = pairs_setup(summary), panel_label(arranged, name)
    controls = controls_words(summary, bool(ran["muted"].any()))
    marks = _marks(ran, missing, name, arranged)

    def notes(has_numbers: bool, has_intervals: bool) -> list[str]:
        return [means_words(confidence, has_numbers, has_intervals), controls, *marks]

    def make(room: Room | None) -> Made:
        layout = PairLayout(
            ran, arranged, width_of([axis_title(info)], SMALL), title, setup, label, notes, room
        )
        breaks = layout.x_breaks()
        fill = fill_scale(info, limits, palette, layout.bar)
        tile = geoms.PairTile(
            p9.aes(
                fill="value", label="number", under="under", note="note", sign="sign",
                hatch="hatch", muted="muted",
            ),
            color=palette.edge,
            size=0.3 if layout.row >= LINE else 0.12,
            text_size=layout.text_size,
            hatch_color=palette.hatch,
            page=palette.page,
            quiet=palette.quiet,
        )  # fmt: skip
        parts: list[PlotAddable] = [
            tile,
            recovery_scale(limits, palette) if name == "recovery" else fill,
            p9.scale_x_continuous(
                **NO_MINOR,
                breaks=breaks,
                labels=[layout.labels[n] for n in breaks],
                limits=(-0.5, len(layout.labels) - 0.5),
                expand=(0, 0),
            ),
            layer_scale(layout.layers, layout.row),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                caption=layout.caption,
                x=arranged.columns.title,
                y=rows,
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
            p9.theme(plot_caption=p9.element_text(linespacing=theme.LINE_SPACING)),
        ]
        if len(missing):
            parts.append(missing_marks(missing, palette, layout.row))
        if len(titles) > 1:
            parts.append(p9.facet_wrap("panel", ncol=layout.across))
        tiles = ran if layout.has_numbers else ran.assign(number="")
        tiles = tiles if layout.has_intervals else tiles.assign(under="")
        upright = theme.x_labels(layout.is_upright)
        plot = compose_plot(tiles, p9.aes("column", rows), *parts)
        return plot, lambda scale: upright + theme.colour_bar(scale * layout.bar)

    return arrangeable(make)


def _marks(ran: pd.DataFrame, missing: pd.DataFrame, metric: str, arranged: Arranged) -> list[str]:
    """A line on what the other marks of a map mean and what it does not show, if there is any."""
    said = [HATCHED] if ran["hatch"].any() else []
    said += ["×  no pair has a value"] if len(missing) else []
    if arranged.hidden:
        shown = len(arranged.titles)
        said.append(f"{shown} of {shown + arranged.hidden} places, those with the largest effects")
    if metric == "recovery" and len(ran):
        least, most = float(ran["mean"].min()), float(ran["mean"].max())
        ends = [("1", most, most > 1 + OVER), ("−1", least, least < -1 - OVER)]
        said += [
            f"beyond the scale: {significant(mean)}, coloured as {end}"
            for end, mean, is_over in ends
            if is_over
        ]
    return [" · ".join(said)] if said else []
