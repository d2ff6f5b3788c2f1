"""signed_bars: named numbers as horizontal bars from 0, increases blue, decreases orange."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotnine as p9

from vene_widgets.figures import theme
from vene_widgets.figures.heading import SMALL, TEXT, heading
from vene_widgets.figures.labels import escape, width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.scales import NO_MINOR

WIDTH, ROW = 5.0, 0.22
"""In inches: of the figure, and of one bar with the gap to the next."""


def signed_bars(
    names: Sequence[str],
    values: Sequence[float],
    axis: str,
    *,
    texts: Sequence[str] | None = None,
    errors: Sequence[float] | None = None,
    title: str | None = None,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Bars from top to bottom in the order of the names, each with its number at its end.

    Args:
        names, values: of the bars, equally many.
        axis: title of the axis.
        texts: what stands at the ends; None for the values with three significant digits.
        errors: half lengths of error bars, equally many; None for none.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.
    """
    palette, count = palette_of(style), len(names)
    said = [f"{v:+.3g}".replace("-", "−") for v in values] if texts is None else list(texts)
    spread = [0.0] * count if errors is None else errors
    data = pd.DataFrame(
        {
            "row": range(count, 0, -1),
            "value": values,
            "low": [v - e for v, e in zip(values, spread, strict=True)],
            "high": [v + e for v, e in zip(values, spread, strict=True)],
            "text": [escape(theme.drawable(one)) or "" for one in said],
            "colour": [palette.up if value >= 0 else palette.down for value in values],
        }
    )
    low, high = min(0.0, *data["low"], 0.0), max(0.0, *data["high"], 0.0)
    width = WIDTH
    above = heading(title, setup, None, width)
    # Room for the numbers beside the bars, in units of the axis.
    inside = width - 0.5 - width_of(names, SMALL)
    beside = width_of(said, SMALL) + 0.12
    reach = (high - low) or 1.0
    sides = (low < 0) + (high > 0) or 1
    unit = reach / max(0.5, inside - sides * beside)
    limits = (low - beside * unit * (low < 0), high + beside * unit * (high > 0 or low == 0))
    gap = 0.05 * unit
    drawn = theme.drawable
    return compose_plot(
        data,
        p9.aes("value", "row"),
        p9.geom_rect(
            p9.aes(xmin=0, xmax="value", ymin="row - 0.34", ymax="row + 0.34", fill="colour"),
            size=0,
        ),
        p9.geom_segment(
            p9.aes("x", "y", xend="xend", yend="yend"),
            pd.DataFrame({"x": [0.0], "xend": [0.0], "y": [0.4], "yend": [count + 0.6]}),
            inherit_aes=False,
            color=palette.quiet,
            size=0.4,
        ),
        *(
            [p9.geom_errorbarh(p9.aes(xmin="low", xmax="high"), height=0.3, color=palette.ink)]
            if errors is not None
            else []
        ),
        *(
            p9.geom_text(
                p9.aes(end, label="text"),
                data[mask],
                ha=side,
                nudge_x=move,
                size=SMALL,
                color=palette.ink,
            )
            for mask, end, side, move in (
                (data["value"] >= 0, "high", "left", gap),
                (data["value"] < 0, "low", "right", -gap),
            )
            if mask.any()
        ),
        p9.scale_fill_identity(guide=None),
        p9.scale_x_continuous(**NO_MINOR, breaks=[0], labels=["0"], limits=limits, expand=(0, 0)),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=[*data["row"]],
            labels=[escape(drawn(name)) or "" for name in names],
            limits=(0.4, count + 0.6),
            expand=(0, 0),
        ),
        p9.labs(title=above.title, subtitle=above.subtitle, x=axis, y=""),
        theme.theme_vene(TEXT, palette),
        theme.sized(width, round(above.height + 0.5 + ROW * count, 2)),
    )
