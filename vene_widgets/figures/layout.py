"""Sizes of figures from the lengths of their labels, and the layout of a sweep's map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd
import plotnine as p9

from vene_widgets.errors import choose
from vene_widgets.figures import theme
from vene_widgets.figures.labels import distinct_labels, label, width_of
from vene_widgets.figures.needs import NEEDS, run_names, token_labels, validate_frame
from vene_widgets.tables.metrics import METRICS, Metric
from vene_widgets.tables.number_text import percent

if TYPE_CHECKING:
    from plotnine.composition import Compose
    from plotnine.ggplot import PlotAddable

TEXT, SMALL = 9, 8.1
"""Sizes of type in points, as in `theme_vene`: base size; labels and numbers."""

_ROW = 0.235
"""Height of one token's row, in inches."""


def size_of(
    frame: pd.DataFrame, kind: str, title: str | None = None, metric: str = "probability"
) -> tuple[float, float]:
    """Width and height in inches at which no two labels of a figure overlap.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function, a key of `NEEDS`.
        title: the figure's title; the figure is at least as wide.
        metric: of a `sweep_map`.

    Raises:
        RequestError: an unknown kind or metric, or a frame without the required columns.
    """
    data = validate_frame(frame, choose(kind, NEEDS, "figure"))
    above = 0.3 if title else 0.08
    if kind == "sweep_map":
        width, height = MapLayout(data, METRICS[choose(metric, METRICS, "metric")]).size
        height += above
    else:
        tokens = token_labels(data)
        labels = width_of(tokens.values(), SMALL)
        height = above + 0.3 + _ROW * len(tokens)
        if kind == "token_heatmap":
            runs = run_names(data)
            width = labels + 0.25 + len(runs) * max(0.62, width_of(runs, SMALL) + 0.14)
            width, height = max(width, labels + 1.6), height + 0.25
        elif kind == "difference_panel":
            width, height = labels + 3.4, height + 0.75
        else:
            runs = run_names(data)
            gap = 0.055 * max(0, len(runs) - 2)  # a token's row holds one dot below the other
            legend = sum(width_of([run], SMALL) + 0.35 for run in runs)
            width = max(labels + 3.4, legend + 0.4)
            height += 0.75 + gap * len(tokens)
    if title:
        width = max(width, width_of([title], 1.25 * TEXT) + 0.3)
    return round(width, 2), round(height, 2)


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


def rows_of(data: pd.DataFrame) -> str:
    """The column of a sweep's frame that a map's rows are: `head` if it is of one layer's heads."""
    if "head" in data.columns and data["layer"].nunique() == 1 and data["head"].nunique() > 1:
        return "head"
    return "layer"


class MapLayout:
    """Layout of a sweep's map: what its parts and its size both depend on.

    Args:
        data: from `frames.sweep_frame`; rows of one target only if the metric has none.
        metric: what the map shows.

    Attributes:
        layers: those of the frame, ascending; of a map of one layer's heads, the heads.
        panels: target id -> title of its panel.
        labels: position -> label on the x axis.
        has_rotated_labels: whether the x labels are upright, because they are too wide.
        has_tall_rows: whether the layers are few enough for tall rows.
        panels_across: panels per row.
        size: width and height in inches, without a title.
    """

    def __init__(self, data: pd.DataFrame, metric: Metric) -> None:
        self.layers = sorted(int(row) for row in data[rows_of(data)].unique())
        self.panels = _panel_titles(data, metric)
        first = data.drop_duplicates("position").sort_values("position")
        pairs = [(int(p), label(t)) for p, t in zip(first["position"], first["label"], strict=True)]
        widest = width_of([text for _, text in pairs], SMALL)
        self.has_rotated_labels = widest > 0.85 or (widest + 0.12) * len(pairs) > 6
        # Token, then position: on one line if rotated, else one below the other.
        template = "{1}  {0}" if self.has_rotated_labels else "{1}\n{0}"
        self.labels = {position: template.format(position, text) for position, text in pairs}
        tile = 0.18 if self.has_rotated_labels else max(0.42, widest + 0.12)
        below = width_of(self.labels.values(), SMALL) if self.has_rotated_labels else 0.28

        # All lengths in inches. Layers that the sweep leaves out keep their place on the axis.
        count = self.layers[-1] - self.layers[0] + 1
        self.has_tall_rows = count <= 16
        rows = max(1.2, count * (0.25 if self.has_tall_rows else 0.13))
        titles = (width_of([title], TEXT) + 0.1 for title in self.panels.values())
        panel = max(tile * len(pairs), *titles)
        # At most 9 inches of panels in a row.
        self.panels_across = max(1, min(len(self.panels), int(9 / panel)))
        panels_down = math.ceil(len(self.panels) / self.panels_across)
        colour_bar = max(0.6, width_of([metric.axis], SMALL)) + 0.3
        self.size = (
            0.6 + self.panels_across * (panel + 0.14) + colour_bar,
            0.65 + below + panels_down * (rows + 0.35),
        )


def _panel_titles(data: pd.DataFrame, metric: Metric) -> dict[int, str]:
    """Target id -> title of its panel: the metric of that target, and its P in the base run."""
    if not metric.of_target:
        return {int(data["target_id"].iloc[0]): metric.title}
    first = data.drop_duplicates("target_id")
    texts = dict(zip(first["target_id"].astype(str), first["target_label"], strict=True))
    labels = distinct_labels(texts)
    was = "base" if metric.name == "probability" else "base P"
    return {
        int(key): f"{metric.title.replace('(t)', f'({text})').replace('of t', f'of {text}')}, "
        f"{was} {percent(base)}"
        for (key, text), base in zip(labels.items(), first["base_probability"], strict=True)
    }


def compose_plot(data: pd.DataFrame, mapping: p9.aes, *parts: PlotAddable) -> p9.ggplot:
    """Build a plot from its parts, added in place: every `+` would copy the whole plot."""
    plot = p9.ggplot(data, mapping)
    plot += list(parts)
    return plot
