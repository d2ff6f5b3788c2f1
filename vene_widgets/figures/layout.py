"""How large a figure has to be for its labels, and how a map is laid out."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotnine as p9

from vene_widgets.errors import choose
from vene_widgets.figures import theme
from vene_widgets.figures.labels import distinct, label, percent, width_of
from vene_widgets.figures.needs import NEEDS, checked, runs_of, token_labels
from vene_widgets.tables.metrics import METRICS, Metric

TEXT, SMALL = 9, 8.1  # points, as in theme_vene
_ROW = 0.235  # inches of one token's row


def size_of(
    frame: pd.DataFrame, kind: str, title: str | None = None, metric: str = "probability"
) -> tuple[float, float]:
    """Width and height in inches at which no label of a figure meets another.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function, a key of `NEEDS`.
        title: the figure's title, which has to fit.
        metric: of a `sweep_map`.

    Raises:
        RequestError: an unknown kind or metric, or a frame that does not fit the kind.
    """
    data = checked(frame, choose(kind, NEEDS, "figure"))
    above = 0.3 if title else 0.08
    if kind == "sweep_map":
        width, height = MapPlan(data, METRICS[choose(metric, METRICS, "metric")]).size
        height += above
    else:
        tokens = token_labels(data)
        labels = width_of(tokens.values(), SMALL)
        height = above + 0.3 + _ROW * len(tokens)
        if kind == "token_heatmap":
            runs = runs_of(data)
            width = labels + 0.25 + len(runs) * max(0.62, width_of(runs, SMALL) + 0.14)
            width, height = max(width, labels + 1.6), height + 0.25
        elif kind == "difference_panel":
            width, height = labels + 3.4, height + 0.75
        else:
            runs = runs_of(data)
            gap = 0.055 * max(0, len(runs) - 2)  # runs stand below each other within a row
            legend = sum(width_of([run], SMALL) + 0.35 for run in runs)
            width = max(labels + 3.4, legend + 0.4)
            height += 0.75 + gap * len(tokens)
    if title:
        width = max(width, width_of([title], 1.25 * TEXT) + 0.3)
    return round(width, 2), round(height, 2)


def beside(left: p9.ggplot, right: p9.ggplot) -> Any:
    """Two figures side by side, as one composition with room for both.

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
    size = theme.sized(2 * max(width for width, _ in sizes), max(height for _, height in sizes))
    return (left + size) | (right + size)


class MapPlan:
    """How a sweep's map is laid out: everything that both its parts and its size depend on.

    Attributes:
        layers: those of the frame, sorted.
        panels: target id -> title of its panel.
        labels: position -> label on the x axis.
        turned: whether these stand upright.
        wide_rows: whether the layers are few.
        across: panels next to each other.
        size: width and height in inches, without a title.
    """

    def __init__(self, data: Any, metric: Metric) -> None:
        self.layers = sorted(int(layer) for layer in data["layer"].unique())
        self.panels = _panels(data, metric)
        first = data.drop_duplicates("position").sort_values("position")
        pairs = [(int(p), label(t)) for p, t in zip(first["position"], first["label"], strict=True)]
        widest = width_of([text for _, text in pairs], SMALL)
        self.turned = widest > 0.85 or (widest + 0.12) * len(pairs) > 6
        join = "{1}  {0}" if self.turned else "{1}\n{0}"
        self.labels = {position: join.format(position, text) for position, text in pairs}
        tile = 0.18 if self.turned else max(0.42, widest + 0.12)
        below = width_of(self.labels.values(), SMALL) if self.turned else 0.28

        count = self.layers[-1] - self.layers[0] + 1
        self.wide_rows = count <= 16
        rows = max(1.2, count * (0.25 if self.wide_rows else 0.13))
        each = max(tile * len(pairs), *(width_of([p], TEXT) + 0.1 for p in self.panels.values()))
        self.across = max(1, min(len(self.panels), int(9 / each)))
        down = math.ceil(len(self.panels) / self.across)
        bar = max(0.6, width_of([metric.axis], SMALL)) + 0.3
        self.size = (
            0.6 + self.across * (each + 0.14) + bar,
            0.65 + below + down * (rows + 0.35),
        )


def _panels(data: Any, metric: Metric) -> dict[int, str]:
    """Target id -> the title of its panel."""
    if not metric.of_target:
        return {int(data["target_id"].iloc[0]): metric.title}
    first = data.drop_duplicates("target_id")
    labels = distinct(dict(zip(first["target_id"].astype(str), first["target_label"], strict=True)))
    was = "base" if metric.name == "probability" else "base P"
    return {
        int(key): f"{metric.title.replace('(t)', f'({label})').replace('of t', f'of {label}')}, "
        f"{was} {percent(base)} %"
        for (key, label), base in zip(labels.items(), first["base_probability"], strict=True)
    }


def composed(data: Any, mapping: Any, *parts: Any) -> p9.ggplot:
    """A plot with all its parts added in place: every `+` copies the whole plot."""
    plot = p9.ggplot(data, mapping)
    plot += list(parts)
    return plot
