"""generation_plot: generated texts, one above the other, a tile per token."""

from __future__ import annotations

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, shown
from vene_widgets.figures import geoms, theme
from vene_widgets.figures.heading import SMALL, heading, title_width
from vene_widgets.figures.labels import label, width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.needs import run_names
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.scales import NO_MINOR
from vene_widgets.tables.number_text import percent, percent_number

NEEDED = ("run", "step", "position", "token_id", "label", "probability")
"""Columns that the figure reads."""

WIDTH, LEAST_WIDTH = 6.5, 3.6
"""Most inches that the figure is wide, and the least."""

ROW, GAP = 0.36, 0.5
"""Height of a tile in inches; space between two lines of text, in tiles."""

MOST_STEPS = 120
"""Tokens of each text that are drawn; the figure says so if there are more."""


def generation_plot(
    frame: pd.DataFrame,
    *,
    setup: str | None = None,
    title: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Generated texts, one above the other: a tile per token, coloured by its probability.

    Tokens of one step are in one column. A vertical line stands before the first step at which the
    texts differ. In an SVG each tile has a tooltip with its token, id, position and probability.

    Args:
        frame: `Generation.frame`: `run`, `step`, `position`, `token_id`, `label`, `probability`.
        setup: what was run, in a line below the title.
        title: above the figure.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a column, or an unknown style.
    """
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise RequestError(
            f"generation_plot: the frame lacks column {shown(missing[0])}; it needs "
            f"{', '.join(NEEDED)}."
        )
    if frame.empty:
        raise RequestError("generation_plot: the frame has no rows.")
    palette = palette_of(style)
    runs = run_names(frame)
    data = frame[frame["step"] < MOST_STEPS]
    names = {run: label(run) for run in runs}
    texts = [label(text) for text in data["label"]]
    tile = max(0.55, width_of(texts, SMALL) + 0.12)
    left = width_of(names.values(), SMALL) + 0.3
    steps = int(data["step"].max()) + 1
    across = max(1, min(steps, int((WIDTH - left) / tile)))
    lines = -(-steps // across)
    height = len(runs) + GAP  # of a line of text, in tiles
    row_of = {run: n for n, run in enumerate(runs)}
    tiles = pd.DataFrame(
        {
            "x": [step % across for step in data["step"]],
            "y": [
                -(step // across) * height - row_of[run]
                for step, run in zip(data["step"], data["run"], strict=True)
            ],
            "probability": data["probability"].to_numpy(),
            "text": texts,
            "number": [percent_number(p) for p in data["probability"]],
            "note": [
                f"{run}, position {position}: {text} (id {token_id}), P = {percent(p)}"
                for run, position, text, token_id, p in zip(
                    data["run"],
                    data["position"],
                    data["label"],
                    data["token_id"],
                    data["probability"],
                    strict=True,
                )
            ],
            "href": "",
        }
    )
    breaks = {-line * height - row_of[run]: names[run] for line in range(lines) for run in runs}
    apart = _first_difference(frame)
    said = "P(token), %, under each token"
    marks = pd.DataFrame({"x": [], "y": [], "yend": []}, dtype=float)
    if apart is not None and apart < steps:
        top = -(apart // across) * height
        marks.loc[0] = [apart % across - 0.5, top + 0.55, top - len(runs) + 0.45]
        said += " · line: first step at which the texts differ"
    if (longest := int(frame["step"].max()) + 1) > steps:
        said += f" · first {steps} of {longest} tokens"
    width = max(left + tile * across + 0.2, LEAST_WIDTH, min(WIDTH, title_width(title or "")))
    above = heading(title, setup, said, width)
    # The figure may be wider than its tiles, for the heading.
    end = max(across, (width - left - 0.2) / tile) - 0.5
    tall = lines * height - GAP
    texts_of = {"label": "text", "under": "number", "note": "note", "href": "href"}
    segment = p9.aes(x="x", xend="x", y="y", yend="yend")
    return compose_plot(
        tiles,
        p9.aes("x", "y", fill="probability", **texts_of),
        geoms.PairTile(color=palette.edge, size=0.6, text_size=SMALL, page=palette.page),
        p9.geom_segment(segment, data=marks, inherit_aes=False, color=palette.ink, size=0.9),
        p9.scale_fill_gradientn(palette.sequential, limits=(0, 1), guide=None),
        p9.scale_x_continuous(**NO_MINOR, breaks=[], limits=(-0.56, end), expand=(0, 0)),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=[*breaks],
            labels=[*breaks.values()],
            limits=(0.44 - tall, 0.56),
            expand=(0, 0),
        ),
        p9.labs(title=above.title, subtitle=above.subtitle, x="", y=""),
        theme.theme_vene(palette=palette),
        theme.sized(round(width, 2), round(above.height + ROW * (tall + 0.12) + 0.12, 2)),
        p9.theme(axis_title=p9.element_blank()),
    )


def _first_difference(frame: pd.DataFrame) -> int | None:
    """The first step at which the runs' tokens differ, or at which one of them has ended."""
    runs = run_names(frame)
    if len(runs) < 2:
        return None
    by_step = frame.groupby("step")["token_id"].agg(["nunique", "size"])
    differs = (by_step["nunique"] > 1) | (by_step["size"] < len(runs))
    return int(by_step.index[differs].min()) if differs.any() else None
