"""sweep_map: layer x token position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.errors import choose
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.labels import escape
from vene_widgets.figures.layout import SMALL, TEXT, MapPlan, composed, size_of
from vene_widgets.figures.needs import checked
from vene_widgets.figures.notes import cell_notes, links
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_breaks
from vene_widgets.tables.metrics import METRICS

FAINTEST = 0.05
"""In parts of the scale: what is less is too pale to be taken for more, and gets no minus sign."""


def sweep_map(
    frame: pd.DataFrame,
    metric: str = "probability",
    title: str | None = None,
    *,
    href: str | None = None,
) -> p9.ggplot:
    """A sweep: layer x token position, one tile per intervention, one panel per target.

    In an SVG each tile says its token, place and exact value when it is pointed at.

    Args:
        frame: from `frames.sweep_frame`.
        metric: one of `metrics.METRICS`; differences are coloured symmetrically around 0.
        title: above the figure.
        href: for each tile, where its SVG leads: a template such as
            `"https://example.org/?layer={layer}&position={position}"`, filled with the frame's
            columns.

    Raises:
        RequestError: the frame is empty or lacks a column, the metric is not known, or `href` names
            a column that the frame lacks.

    Example:
        >>> import vene_widgets as vw
        >>> sweep = vw.sweep(vw.load(), "The capital of Spain is", "The capital of Italy is")
        >>> figure = vw.figures.sweep_map(sweep.frame, metric="delta")
    """
    shown = METRICS[choose(metric, METRICS, "metric")]
    data = checked(frame, "sweep_map")
    if not shown.of_target:
        data = data[data["target_id"] == data["target_id"].iloc[0]]
    limits, values = fill_limits(data, shown)
    plan = MapPlan(data, shown)
    columns = {position: i for i, position in enumerate(plan.labels)}
    data = data.assign(
        value=values,
        href=links(data, href),
        sign=np.where(values < -FAINTEST * limits[1], -1, 0) if shown.diverging else 0,
        column=data["position"].map(columns),
        panel=pd.Categorical(data["target_id"].map(plan.panels), [*plan.panels.values()]),
    )
    ran, missing = data[data["value"].notna()], data[data["value"].isna()]
    ran = ran.assign(note=cell_notes(ran, shown))
    parts: list[Any] = [
        geoms.Tile(
            p9.aes(fill="value", note="note", href="href", sign="sign"),
            color="white",
            size=0.3 if plan.wide_rows else 0.12,
            text_size=SMALL,
        ),
        fill_scale(shown, limits),
        p9.scale_x_continuous(
            **NO_MINOR,
            breaks=[*columns.values()],
            labels=[*plan.labels.values()],
            limits=(-0.5, len(columns) - 0.5),
            expand=(0, 0),
        ),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=layer_breaks(plan.layers),
            limits=(plan.layers[0] - 0.5, plan.layers[-1] + 0.5),
            expand=(0, 0),
        ),
        p9.labs(title=escape(title), x="token at the position that was changed", y="layer"),
        theme.theme_vene(TEXT),
        theme.sized(*size_of(frame, "sweep_map", title, metric)),
        p9.theme(panel_grid_major_y=p9.element_blank()),
    ]
    if len(missing):
        parts += [
            p9.geom_point(data=missing, shape="x", color="#a9adb1", size=0.8, stroke=0.3),
            p9.labs(caption="×  not run"),
        ]
    if len(plan.panels) > 1:
        parts.append(p9.facet_wrap("panel", ncol=plan.across))
    elif shown.of_target:
        parts.append(p9.labs(subtitle=next(iter(plan.panels.values()))))
    if plan.turned:
        parts.append(p9.theme(axis_text_x=p9.element_text(rotation=90)))
    return composed(ran, p9.aes("column", "layer"), *parts)
