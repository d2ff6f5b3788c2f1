"""sweep_map: a metric over layer x token position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose, shown
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.labels import escape
from vene_widgets.figures.layout import (
    SMALL,
    TEXT,
    MapLayout,
    compose_plot,
    heading_of,
    rows_of,
    size_of,
)
from vene_widgets.figures.needs import validate_frame
from vene_widgets.figures.notes import cell_notes, links
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_breaks
from vene_widgets.tables.metrics import METRICS, Metric

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

FAINTEST = 0.05
"""Smallest decrease that gets a minus sign, as a fraction of the scale; less is almost white."""


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
            `logit_difference` needs a frame with two targets.
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
    if not info.of_target:  # the same for every target: one panel is enough
        first = int(data["target_id"].iloc[0])
        data = data[data["target_id"] == first]
    limits, values = fill_limits(data, info)
    layout, rows = MapLayout(data, info), rows_of(data)
    # Swept positions side by side, also if the sweep leaves some out.
    columns = {p: i for i, column in enumerate(layout.columns) for p in column.positions}
    may = data.get("effect_possible", pd.Series(True, index=data.index))
    size = size_of(frame, "sweep_map", title, metric, setup)
    data = data.assign(
        value=values,
        href=links(data, href),
        sign=np.where(values < -FAINTEST * limits[1], -1, 0) if info.diverging else 0,
        column=data["position"].map(columns),
        hatch=~may.astype(bool),
        number=layout.numbers if layout.has_numbers else "",
        panel=pd.Categorical(data["target_id"].map(layout.panels), [*layout.panels.values()]),
    )
    ran, missing = data[data["value"].notna()], data[data["value"].isna()]
    ran = ran.assign(note=cell_notes(ran, info))
    # Of positions that share a column one tile is drawn.
    ran = ran.drop_duplicates(["panel", rows, "column"])
    captions = ["hatched: no effect possible"] if ran["hatch"].any() else []
    captions += ["×  not run"] if len(missing) else []
    only = next(iter(layout.panels.values())) if len(layout.panels) == 1 else None
    parts: list[PlotAddable] = [
        geoms.Tile(
            p9.aes(
                fill="value", label="number", note="note", href="href", sign="sign", hatch="hatch"
            ),
            color=palette.edge,
            size=0.3 if layout.has_tall_rows else 0.12,
            text_size=SMALL,
            hatch_color=palette.hatch,
            page=palette.page,
        ),
        fill_scale(info, limits, palette),
        p9.scale_x_continuous(
            **NO_MINOR,
            breaks=list(range(len(layout.columns))),
            labels=[column.label for column in layout.columns],
            limits=(-0.5, len(layout.columns) - 0.5),
            expand=(0, 0),
        ),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=layer_breaks(layout.layers),
            limits=(layout.layers[0] - 0.5, layout.layers[-1] + 0.5),
            expand=(0, 0),
        ),
        p9.labs(
            title=escape(title),
            subtitle=heading_of(size, setup, only),
            caption="     ".join(captions) or None,
            x="token position",
            y=rows,
        ),
        theme.theme_vene(TEXT, palette),
        theme.sized(*size),
    ]
    if len(missing):
        parts.append(
            p9.geom_point(data=missing, shape="x", color=palette.hatch, size=0.8, stroke=0.3)
        )
    if only is None:
        parts.append(p9.facet_wrap("panel", ncol=layout.panels_across))
    if layout.has_rotated_labels:
        parts.append(p9.theme(axis_text_x=p9.element_text(rotation=90)))
    return compose_plot(ran, p9.aes("column", rows), *parts)


def require_targets(data: pd.DataFrame, metric: Metric) -> None:
    """Check that a metric of two tokens has both: without, every cell would look as if not run.

    Args:
        data: from `frames.sweep_frame`.
        metric: what is to be shown of it.

    Raises:
        RequestError: the metric compares two targets, and the sweep followed one.
    """
    if not metric.of_pair or data[metric.column].notna().any() or data["best_id"].isna().all():
        return
    followed = shown(str(data["target_label"].iloc[0]))
    raise RequestError(
        f"metric {metric.name!r} compares two target tokens, but the sweep followed one, "
        f"{followed}: name a second one, as in sweep(..., targets=[' Rome', ' Madrid'])."
    )
