"""token_heatmap: P(token) as tokens x runs."""

from __future__ import annotations

import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.labels import escape, label
from vene_widgets.figures.layout import SMALL, TEXT, compose_plot, size_of
from vene_widgets.figures.needs import run_names, token_labels, validate_frame
from vene_widgets.figures.notes import links, token_notes
from vene_widgets.figures.scales import ceiling
from vene_widgets.tables.number_text import percent_number


def token_heatmap(
    frame: pd.DataFrame, title: str | None = None, *, href: str | None = None
) -> p9.ggplot:
    """Next-token probabilities of several runs: tokens x runs, the number in every tile.

    In an SVG each tile has a tooltip with its token, id, run and exact value.

    Args:
        frame: from `frames.token_frame`.
        title: above the figure.
        href: link of each tile in an SVG: a template such as
            `"https://example.org/?id={token_id}"`, filled with the frame's columns.

    Raises:
        RequestError: the frame is empty or lacks a required column, or `href` is invalid.

    Example:
        >>> import vene_widgets as vw
        >>> model = vw.load()
        >>> prompts = {"base": "The capital of Spain is", "source": "The capital of Italy is"}
        >>> runs = {name: vw.run(model, vw.Experiment(base=text)) for name, text in prompts.items()}
        >>> logits = {name: run.logits[-1] for name, run in runs.items()}
        >>> frame = vw.frames.token_frame(logits, model.token_text, k=4)
        >>> figure = vw.figures.token_heatmap(frame, title="Two capitals")
    """
    data = validate_frame(frame, "token_heatmap")
    top = ceiling(data["probability"].max())
    runs, tokens = run_names(data), token_labels(data)
    data = data.assign(
        number=[percent_number(p) for p in data["probability"]],
        key=data["token_id"].astype(str),
        note=token_notes(data),
        href=links(data, href),
    )
    return compose_plot(
        data,
        p9.aes("run", "key", fill="probability", label="number", note="note", href="href"),
        geoms.NumberedTile(color="white", size=0.6, text_size=SMALL),
        p9.scale_fill_gradientn(theme.SEQUENTIAL, limits=(0, top), guide=None),
        p9.scale_x_discrete(limits=runs, labels=[label(run) for run in runs], expand=(0, 0)),
        p9.scale_y_discrete(limits=[*tokens][::-1], labels=[*tokens.values()][::-1], expand=(0, 0)),
        # No colour bar: every tile shows its number.
        p9.labs(title=escape(title), subtitle="P(next token), %", x="", y=""),
        theme.theme_vene(TEXT),
        theme.sized(*size_of(data, "token_heatmap", title)),
        p9.theme(panel_grid_major_y=p9.element_blank(), axis_title=p9.element_blank()),
    )
