"""Sizes of figures, figures beside each other, and plots made of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotnine as p9

from vene_widgets.errors import choose
from vene_widgets.figures import theme
from vene_widgets.figures.map_layout import MapLayout
from vene_widgets.figures.needs import NEEDS, validate_frame
from vene_widgets.figures.token_layout import TokenLayout
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from plotnine.composition import Compose
    from plotnine.ggplot import PlotAddable


def size_of(
    frame: pd.DataFrame,
    kind: str,
    title: str | None = None,
    metric: str = "probability",
    setup: str | None = None,
) -> tuple[float, float]:
    """Width and height in inches at which no two labels of a figure overlap.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function, a key of `NEEDS`.
        title: the figure's title; the figure is at least as wide.
        metric: of a `sweep_map`.
        setup: what was run; it is broken into lines of the figure's width.

    Raises:
        RequestError: an unknown kind or metric, or a frame without the required columns.
    """
    data = validate_frame(frame, choose(kind, NEEDS, "figure"))
    if kind == "sweep_map":
        info = METRICS[choose(metric, METRICS, "metric")]
        return MapLayout(data, info, title, setup).size
    named = None if kind == "distribution_dots" else "P"
    return TokenLayout(data, kind, title, setup, named).size


def beside(left: p9.ggplot, right: p9.ggplot) -> Compose:
    """Put two figures side by side, as one composition with room for both.

    Example:
        >>> import vene_widgets as vw
        >>> model = vw.load()
        >>> prompts = {"base": "The capital of Spain is", "source": "The capital of Italy is"}
        >>> runs = {name: vw.run(model, vw.Experiment(base=text)) for name, text in prompts.items()}
        >>> logits = {name: run.logits[-1] for name, run in runs.items()}
        >>> frame = vw.frames.token_frame(logits, model.token_text, k=4)
        >>> moved = vw.frames.difference_frame(*logits.values(), model.token_text, k=4)
        >>> heatmap, panel = vw.figures.token_heatmap(frame), vw.figures.difference_panel(moved)
        >>> figure = vw.figures.beside(heatmap, panel)
    """
    sizes = [plot.theme.getp("figure_size") for plot in (left, right)]
    # plotnine gives both plots equal room, so the composition is twice as wide as the wider one.
    size = theme.sized(2 * max(width for width, _ in sizes), max(height for _, height in sizes))
    return (left + size) | (right + size)


def below(upper: p9.ggplot, lower: p9.ggplot) -> Compose:
    """Put two figures one below the other, as one composition with room for both."""
    sizes = [plot.theme.getp("figure_size") for plot in (upper, lower)]
    # As in `beside`: both get equal room.
    size = theme.sized(max(width for width, _ in sizes), 2 * max(height for _, height in sizes))
    return (upper + size) / (lower + size)


def compose_plot(data: pd.DataFrame, mapping: p9.aes, *parts: PlotAddable) -> p9.ggplot:
    """Build a plot from its parts, added in place: every `+` would copy the whole plot."""
    plot = p9.ggplot(data, mapping)
    plot += list(parts)
    return plot
