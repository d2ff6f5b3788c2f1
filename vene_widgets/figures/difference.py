"""difference_panel: before and after."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.labels import escape, kl_words, label, points
from vene_widgets.figures.layout import SMALL, TEXT, composed, size_of
from vene_widgets.figures.needs import checked, token_labels
from vene_widgets.figures.scales import NO_MINOR, step_of


def difference_panel(
    frame: pd.DataFrame,
    title: str | None = None,
    before: str = "base",
    after: str = "intervened",
) -> p9.ggplot:
    """What an intervention moved: P before and after of each token, largest |KL part| on top.

    Args:
        frame: from `frames.difference_frame`.
        title: above the figure.
        before, after: what the two distributions are called.

    Raises:
        RequestError: the frame is empty or lacks a column.

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
    data = checked(frame, "difference_panel")
    tokens = token_labels(data)
    reach = max(data["before"].max(), data["after"].max())
    data = data.assign(
        row=range(len(data), 0, -1),
        colour=np.where(data["delta"] < 0, theme.DOWN, theme.UP),
        change=[points(delta) for delta in data["delta"]],
    )
    step = step_of(reach)
    breaks = [step * i for i in range(int(reach / step + 1e-9) + 1)]
    return composed(
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
            caption=escape(kl_words(frame, before, after)),
            x="P(next token), %",
            y="",
        ),
        theme.theme_vene(TEXT),
        theme.sized(*size_of(frame, "difference_panel", title)),
        p9.theme(axis_title_y=p9.element_blank()),
    )
