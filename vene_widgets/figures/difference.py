"""difference_panel: P(token) before and after a change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import SMALL, TEXT
from vene_widgets.figures.labels import kl_text, label
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.needs import token_labels, validate_frame
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR, probability_axis
from vene_widgets.figures.token_layout import TokenLayout
from vene_widgets.tables.number_text import NO_BREAK, percent, points

_COLUMN = 0.27
"""Room for the column of changes, as a fraction of the axis."""


def difference_panel(
    frame: pd.DataFrame,
    title: str | None = None,
    before: str = "base",
    after: str = "intervened",
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """The tokens that an intervention changed: P before and after, in the frame's order.

    `frames.difference_frame` puts the largest |ΔP| first; the first row is on top. The axis is
    logarithmic if the probabilities span decades. Lines and numbers are blue for more and orange
    for less.

    Args:
        frame: from `frames.difference_frame`.
        title: above the figure.
        before, after: names of the two distributions.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a required column, or an unknown style.

    Example:
        >>> import vene_widgets as vw
        >>> model = vw.load()
        >>> prompts = "The capital of Spain is", "The capital of Italy is"
        >>> spain, italy = (vw.run(model, vw.Experiment(base=text)) for text in prompts)
        >>> frame = vw.frames.difference_frame(
        ...     spain.logits[-1], italy.logits[-1], model.token_text, k=6
        ... )
        >>> figure = vw.figures.difference_panel(frame, before="Spain", after="Italy")
    """
    palette = palette_of(style)
    data = validate_frame(frame, "difference_panel")
    tokens = token_labels(data)
    values = data[["before", "after"]].to_numpy(float)
    above = values[values > 0]
    is_log, low, high, breaks = probability_axis(
        float(above.min()) if len(above) else math.nan, float(values.max())
    )
    start, end = (math.log10(low), math.log10(high)) if is_log else (low, high)
    column = end + _COLUMN * (end - start)
    data = data.assign(
        row=range(len(data), 0, -1),
        colour=np.where(data["delta"] < 0, palette.down, palette.up),
        change=[points(delta) for delta in data["delta"]],
        before=data["before"].clip(lower=low),
        after=data["after"].clip(lower=low),
    )
    named_before, named_after = label(before), label(after)
    lines = [kl_text(frame, named_before, named_after)]
    if is_log and (values < low).any():
        lines.append(f"At the left edge: less than {percent(low)}")
    # Within a name and its mark, and within a phrase, no line ends.
    named = "   ".join(
        text.replace(" ", NO_BREAK)
        for text in (f"○ {named_before}", f"● {named_after}", "  right: ΔP, points")
    )
    x: dict[str, Any] = {
        **NO_MINOR,
        "breaks": breaks,
        "labels": [f"{100 * value:.6g}" for value in breaks],
        "limits": (low, 10**column if is_log else column),
        "expand": (0.02, 0),
    }

    def make(room: Room | None) -> Made:
        layout = TokenLayout(data, "difference_panel", title, setup, named, room)
        plot = compose_plot(
            data,
            p9.aes("before", "row", xend="after", color="colour", label="change"),
            geoms.BeforeAfter(
                column=column,
                span=(start, end),
                line_color=palette.faint,
                page=palette.page,
                text_size=SMALL,
                na_rm=True,
            ),
            p9.scale_color_identity(guide=None),
            p9.scale_x_log10(**x) if is_log else p9.scale_x_continuous(**x),
            p9.scale_y_continuous(
                **NO_MINOR,
                breaks=list(range(1, len(data) + 1)),
                labels=[*tokens.values()][::-1],
                limits=(0.5, len(data) + 0.5),
                expand=(0, 0),
            ),
            p9.labs(
                title=layout.heading.title,
                subtitle=layout.heading.subtitle,
                caption="\n".join(lines),
                x="P(next token), %, log scale" if is_log else "P(next token), %",
                y="",
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
            p9.theme(axis_title_y=p9.element_blank()),
        )
        return plot, lambda scale: p9.theme()

    return arrangeable(make)
