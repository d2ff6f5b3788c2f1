"""difference_panel: P(token) before and after a change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.labels import escape, kl_text, label
from vene_widgets.figures.layout import SMALL, TEXT, compose_plot, size_of
from vene_widgets.figures.needs import token_labels, validate_frame
from vene_widgets.figures.scales import NO_MINOR, step_of
from vene_widgets.tables.number_text import points


def difference_panel(
    frame: pd.DataFrame,
    title: str | None = None,
    before: str = "base",
    after: str = "intervened",
) -> p9.ggplot:
    """The tokens that an intervention changed: P before and after, in the frame's order.

    `frames.difference_frame` puts the largest |ΔP| first; the first row is on top.

    Args:
        frame: from `frames.difference_frame`.
        title: above the figure.
        before, after: names of the two distributions.

    Raises:
        RequestError: the frame is empty or lacks a required column.

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
    data = validate_frame(frame, "difference_panel")
    tokens = token_labels(data)
    reach = max(data["before"].max(), data["after"].max())
    data = data.assign(
        row=range(len(data), 0, -1),
        colour=np.where(data["delta"] < 0, theme.DOWN, theme.UP),
        change=[points(delta) for delta in data["delta"]],
    )
    step = step_of(reach)
    # A tolerance, as float division may end just below an integer.
    breaks = [step * i for i in range(int(reach / step + 1e-9) + 1)]
    # The axis ends at 1.27 times the largest probability, to leave room for the column of changes.
    return compose_plot(
        data,
        p9.aes("before", "row", xend="after", color="colour", label="change"),
        geoms.BeforeAfter(column=1.27 * reach, text_size=SMALL),
        p9.scale_color_identity(guide=None),
        p9.scale_x_continuous(
            **NO_MINOR,
            breaks=breaks,
            labels=[f"{100 * x:.3g}" for x in breaks],
            limits=(0, 1.27 * reach),
            expand=(0.02, 0),
        ),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=list(range(1, len(data) + 1)),
            labels=[*tokens.values()][::-1],
            limits=(0.5, len(data) + 0.5),
            expand=(0, 0),
        ),
        p9.labs(
            title=escape(title),
            subtitle=f"○ {label(before)}   ● {label(after)}   at the right: ΔP in % points",
            caption=escape(kl_text(frame, before, after)),
            x="P(next token), %",
            y="",
        ),
        theme.theme_vene(TEXT),
        theme.sized(*size_of(frame, "difference_panel", title)),
        p9.theme(axis_title_y=p9.element_blank()),
    )
