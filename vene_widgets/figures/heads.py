"""head_map: a metric over layer x head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.labels import escape, label
from vene_widgets.figures.layout import SMALL, TEXT, compose_plot
from vene_widgets.figures.maps import require_targets
from vene_widgets.figures.needs import validate_frame
from vene_widgets.figures.notes import cell_notes
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_breaks
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

MOST_PANELS = 6
"""Positions that a figure shows, those with the largest change of probability."""


def head_map(frame: pd.DataFrame, metric: str = "delta", title: str | None = None) -> p9.ggplot:
    """A sweep over heads: layer x head, one panel per position, of the frame's first target.

    Positions at which no head changes anything are left out.

    Args:
        frame: from `frames.sweep_frame`, `head` filled; several heads one below the other.
        metric: a key of `METRICS`.
        title: above the figure.

    Raises:
        RequestError: the frame is empty, lacks a column or has no heads; an unknown metric.

    Example:
        >>> import vene_widgets as vw
        >>> pair = "The capital of Spain is", "The capital of Italy is"
        >>> swept = vw.sweep(
        ...     vw.load(), *pair, "head_value_output", head="all", positions=" Spain"
        ... )
        >>> figure = vw.figures.head_map(swept.frame)
    """
    info = METRICS[choose(metric, METRICS, "metric")]
    data = validate_frame(frame, "sweep_map")
    if data["head"].isna().any():
        raise RequestError(
            "head_map needs a frame with heads: sweep a per-head component with head='all'."
        )
    require_targets(data, info)
    target = data["target_label"].iloc[0]
    data = cast("pd.DataFrame", data[data["target_id"] == data["target_id"].iloc[0]])
    limits, values = fill_limits(data, info)
    data = data.assign(value=values, column=data["head"].astype(int), sign=0, href="")
    size: Any = data["delta"].abs().groupby(data["position"]).max().fillna(0)
    largest: Any = size.sort_values(ascending=False, kind="stable")
    # Where no head changes anything there is nothing to see.
    moving: Any = largest[largest > 0] if (largest > 0).any() else largest
    positions = sorted(int(p) for p in moving.index[:MOST_PANELS])
    data = data[data["position"].isin(positions)]
    first: Any = data.drop_duplicates("position").set_index("position")["label"]
    panels = {p: f"{p}  {label(str(first[p]))}" for p in positions}
    data = data.assign(panel=pd.Categorical(data["position"].map(panels), [*panels.values()]))
    ran = data[data["value"].notna()]
    ran = ran.assign(note=cell_notes(ran, info))
    heads, layers = sorted(data["column"].unique()), sorted(int(n) for n in data["layer"].unique())
    across = min(3, len(panels))
    width = 0.9 + across * (0.4 + 0.42 * len(heads)) + 0.9
    height = 0.8 + -(-len(panels) // across) * (0.45 + 0.25 * len(layers))
    of_target = f" of {target}" if info.of_target else ""
    parts: list[PlotAddable] = [
        geoms.Tile(
            p9.aes(fill="value", note="note", href="href", sign="sign"),
            color="white",
            size=0.3,
            text_size=SMALL,
        ),
        fill_scale(info, limits),
        p9.scale_x_continuous(
            **NO_MINOR, breaks=heads, limits=(heads[0] - 0.5, heads[-1] + 0.5), expand=(0, 0)
        ),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=layer_breaks(layers),
            limits=(layers[0] - 0.5, layers[-1] + 0.5),
            expand=(0, 0),
        ),
        p9.labs(title=escape(title), subtitle=escape(info.title + of_target), x="head", y="layer"),
        p9.facet_wrap("panel", ncol=across),
        theme.theme_vene(TEXT),
        theme.sized(round(max(width, 3.2), 2), round(height, 2)),
        p9.theme(panel_grid_major=p9.element_blank()),
    ]
    return compose_plot(ran, p9.aes("column", "layer"), *parts)
