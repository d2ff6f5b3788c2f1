"""token_heatmap: P(token) as tokens x runs."""

from __future__ import annotations

import pandas as pd
import plotnine as p9

from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import SMALL, TEXT
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.needs import token_labels, validate_frame
from vene_widgets.figures.notes import links, token_notes
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import ceiling
from vene_widgets.figures.token_layout import TokenLayout, shared_names
from vene_widgets.tables.number_text import percent_number


def token_heatmap(
    frame: pd.DataFrame,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
    href: str | None = None,
) -> p9.ggplot:
    """Next-token probabilities of several runs: tokens x runs, the number in every tile.

    Runs with equal probabilities share a column, which names them all. In an SVG each tile has a
    tooltip with its token, id, run and exact value.

    Args:
        frame: from `frames.token_frame`.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.
        href: link of each tile in an SVG: a template such as
            `"https://example.org/?id={token_id}"`, filled with the frame's columns.

    Raises:
        RequestError: the frame is empty or lacks a required column, an unknown style, or
            `href` is invalid.

    Example:
        >>> import vene_widgets as vw
        >>> model = vw.load()
        >>> prompts = {"base": "The capital of Spain is", "source": "The capital of Italy is"}
        >>> runs = {name: vw.run(model, vw.Experiment(base=text)) for name, text in prompts.items()}
        >>> logits = {name: run.logits[-1] for name, run in runs.items()}
        >>> frame = vw.frames.token_frame(logits, model.token_text, k=4)
        >>> figure = vw.figures.token_heatmap(frame, title="Two capitals")
    """
    palette = palette_of(style)
    data = validate_frame(frame, "token_heatmap")
    top = ceiling(data["probability"].max())
    tokens, shared = token_labels(data), shared_names(data)
    # One run of those that share a column is drawn.
    drawn = [*{name: run for run, name in reversed(shared.items())}.values()][::-1]
    rows = data[data["run"].isin(drawn)]
    rows = rows.assign(
        number=[percent_number(p) for p in rows["probability"]],
        key=rows["token_id"].astype(str),
        note=token_notes(rows),
        href=links(rows, href),
    )

    def make(room: Room | None) -> Made:
        layout = TokenLayout(data, "token_heatmap", title, setup, "P(next token), %", room)
        plot = compose_plot(
            rows,
            p9.aes("run", "key", fill="probability", label="number", note="note", href="href"),
            geoms.Tile(color=palette.edge, size=0.6, text_size=SMALL),
            p9.scale_fill_gradientn(palette.sequential, limits=(0, top), guide=None),
            p9.scale_x_discrete(limits=drawn, labels=[shared[r] for r in drawn], expand=(0, 0)),
            p9.scale_y_discrete(
                limits=[*tokens][::-1], labels=[*tokens.values()][::-1], expand=(0, 0)
            ),
            # No colour bar: every tile shows its number.
            p9.labs(title=layout.heading.title, subtitle=layout.heading.subtitle, x="", y=""),
            theme.theme_vene(TEXT, palette),
            theme.sized(*layout.size),
            p9.theme(axis_title=p9.element_blank()),
        )
        return plot, lambda scale: theme.x_labels(layout.has_upright_runs)

    return arrangeable(make)
