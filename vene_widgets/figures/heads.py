"""head_map: a metric over layer x head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import height_of, lettered
from vene_widgets.figures.labels import escape, label, width_of
from vene_widgets.figures.layout import (
    MARGINS,
    SMALL,
    TEXT,
    compose_plot,
    heading_of,
    number_texts,
)
from vene_widgets.figures.maps import require_targets
from vene_widgets.figures.needs import validate_frame
from vene_widgets.figures.notes import cell_notes
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.scales import NO_MINOR, fill_limits, fill_scale, layer_breaks
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

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
    target = data["target_label"].iloc[0]
    data = cast("pd.DataFrame", data[data["target_id"] == data["target_id"].iloc[0]])
    limits, values = fill_limits(data, info)
    may: Any = data.get("effect_possible", pd.Series(True, index=data.index))
    data = data.assign(
        value=values,
        column=data["head"].astype(int),
        hatch=~may.astype(bool),
        number=number_texts(data[info.column], info),
        sign=0,
        href="",
    )
    may_move: Any = data["delta"].abs().where(~data["hatch"], 0)
    size: Any = may_move.groupby(data["position"]).max().fillna(0)
    largest: Any = size.sort_values(ascending=False, kind="stable")
    # Where no head changes anything there is nothing to see.
    moving: Any = largest[largest > 0] if (largest > 0).any() else largest
    positions = sorted(int(p) for p in moving.index[:MOST_PANELS])
    data = data[data["position"].isin(positions)]
    first: Any = data.drop_duplicates("position").set_index("position")["label"]
    panels = {p: f"{label(str(first[p]))}, position {p}" for p in positions}
    if len(panels) > 1:
        panels = {p: lettered(n, text) for n, (p, text) in enumerate(panels.items())}
    data = data.assign(panel=pd.Categorical(data["position"].map(panels), [*panels.values()]))
    ran = data[data["value"].notna()]
    ran = ran.assign(note=cell_notes(ran, info))
    heads, layers = sorted(data["column"].unique()), sorted(int(n) for n in data["layer"].unique())
    across = min(3, len(panels))
    has_numbers = len(heads) <= 16 and len(layers) <= 16
    number = max(0.42, width_of(ran["number"], SMALL) + 0.08) if has_numbers else 0.2
    row = 0.25 if has_numbers else 0.2
    width = round(max(0.9 + across * (0.4 + number * len(heads)) + 0.9, 3.2), 2)
    named = info.title.replace("(t)", f"({label(target)})").replace("of t", f"of {label(target)}")
    only = next(iter(panels.values())) if len(panels) == 1 else None
    heading = f"{named}; {only}" if only else named
    if title:
        width = max(width, width_of([title], 1.25 * TEXT) + 0.3)
    height = 0.65 + -(-len(panels) // across) * (0.3 * (only is None) + 0.1 + row * len(layers))
    height += (0.3 if title else 0.0) + height_of(setup, True, width - MARGINS, SMALL)
    size = (width, round(height, 2))
    if not has_numbers:
        ran = ran.assign(number="")
    parts: list[PlotAddable] = [
        geoms.Tile(
            p9.aes(
                fill="value", label="number", note="note", href="href", sign="sign", hatch="hatch"
            ),
            color=palette.edge,
            size=0.3,
            text_size=SMALL,
            hatch_color=palette.hatch,
            page=palette.page,
        ),
        fill_scale(info, limits, palette),
        p9.scale_x_continuous(
            **NO_MINOR, breaks=heads, limits=(heads[0] - 0.5, heads[-1] + 0.5), expand=(0, 0)
        ),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=layer_breaks(layers),
            limits=(layers[0] - 0.5, layers[-1] + 0.5),
            expand=(0, 0),
        ),
        p9.labs(
            title=escape(title),
            subtitle=heading_of(size, setup, heading),
            caption="hatched: no effect possible" if ran["hatch"].any() else None,
            x="head",
            y="layer",
        ),
        theme.theme_vene(TEXT, palette),
        theme.sized(*size),
    ]
    if only is None:
        parts.append(p9.facet_wrap("panel", ncol=across))
    return compose_plot(ran, p9.aes("column", "layer"), *parts)
