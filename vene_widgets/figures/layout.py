"""Sizes of figures from the lengths of their labels, and the layout of a sweep's map."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotnine as p9

from vene_widgets.errors import choose
from vene_widgets.figures import theme
from vene_widgets.figures.heading import height_of, lettered, subtitle
from vene_widgets.figures.labels import distinct_labels, label, width_of
from vene_widgets.figures.needs import NEEDS, run_names, token_labels, validate_frame
from vene_widgets.tables.metrics import METRICS, Metric
from vene_widgets.tables.number_text import percent, percent_number, points

if TYPE_CHECKING:
    from plotnine.composition import Compose
    from plotnine.ggplot import PlotAddable

TEXT, SMALL = 9, 8.1
"""Sizes of type in points, as in `theme_vene`: base size; labels and numbers."""

MARGINS = 0.2
"""Left and right margin of a figure together, in inches."""

_ROW = 0.235
"""Height of one token's row, in inches."""


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
    label = True  # a line above the panel
    if kind == "sweep_map":
        layout = MapLayout(data, METRICS[choose(metric, METRICS, "metric")])
        (width, height), label = layout.size, len(layout.panels) == 1
    else:
        tokens = token_labels(data)
        labels = width_of(tokens.values(), SMALL)
        height = 0.3 + _ROW * len(tokens)
        if kind == "token_heatmap":
            runs = column_names(data)
            lines = max(run.count("\n") for run in runs)
            width = labels + 0.25 + len(runs) * max(0.62, width_of(runs, SMALL) + 0.14)
            width, height = max(width, labels + 1.6), height + 0.135 * lines
        elif kind == "difference_panel":
            width, height = labels + 3.4, height + 0.5
        else:
            runs = column_names(data)
            gap = 0.055 * max(0, len(runs) - 2)  # a token's row holds one dot below the other
            legend = sum(width_of([run], SMALL) + 0.35 for run in runs)
            width, label = max(labels + 3.4, legend + 0.4), False
            height += 0.75 + gap * len(tokens)
    if title:
        width = max(width, width_of([title], 1.25 * TEXT) + 0.3)
    above = (0.3 if title else 0.08) + height_of(setup, label, width - MARGINS, SMALL)
    return round(width, 2), round(height + above, 2)


def heading_of(size: tuple[float, float], setup: str | None, label: str | None) -> str | None:
    """The lines below the title of a figure of this size."""
    return subtitle(setup, label, size[0] - MARGINS, SMALL)


def column_names(data: pd.DataFrame) -> list[str]:
    """Names of the columns of a token frame's figure: runs of equal probabilities share one.

    Such a column has the runs' names one below the other, joined by `=`.
    """
    return list(dict.fromkeys(shared_names(data).values()))


def shared_names(data: pd.DataFrame) -> dict[str, str]:
    """Run -> name of the column or mark that it shares with the runs it equals, token by token."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for run in run_names(data):
        own = data[data["run"] == run]
        key = tuple(sorted(zip(own["token_id"], own["probability"], strict=True)))
        names.setdefault(key, []).append(run)
    return {
        run: "\n= ".join(label(each) for each in group) for group in names.values() for run in group
    }


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


def rows_of(data: pd.DataFrame) -> str:
    """The column of a sweep's frame that a map's rows are: `head` if it is of one layer's heads."""
    if "head" in data.columns and data["layer"].nunique() == 1 and data["head"].nunique() > 1:
        return "head"
    return "layer"


@dataclass(frozen=True)
class Column:
    """One column of a sweep's map: a position, or several at which nothing can have an effect."""

    positions: tuple[int, ...]
    label: str


class MapLayout:
    """Layout of a sweep's map: what its parts and its size both depend on.

    Args:
        data: from `frames.sweep_frame`; rows of one target only if the metric has none.
        metric: what the map shows.

    Attributes:
        layers: those of the frame, ascending; of a map of one layer's heads, the heads.
        panels: target id -> title of its panel.
        columns: from left to right. Leading positions where no effect is possible share one.
        numbers: text of each row's value, in the order of `data`.
        has_numbers: whether the tiles are large enough for their numbers.
        has_rotated_labels: whether the x labels are upright, because they are too wide.
        has_tall_rows: whether the layers are few enough for tall rows.
        panels_across: panels per row.
        size: width and height in inches, without what is above the panels.
    """

    def __init__(self, data: pd.DataFrame, metric: Metric) -> None:
        self.layers = sorted(int(row) for row in data[rows_of(data)].unique())
        self.panels = _panel_titles(data, metric)
        first = data.drop_duplicates("position").sort_values("position")
        pairs = [(int(p), label(t)) for p, t in zip(first["position"], first["label"], strict=True)]
        folded = _shared_start(data, [position for position, _ in pairs])
        pairs = pairs[len(folded) :]
        widest = width_of([text for _, text in pairs], SMALL) if pairs else 0.4
        count = len(pairs) + bool(folded)
        self.has_rotated_labels = widest > 0.85 or (widest + 0.12) * count > 6
        # Token, then position: on one line if rotated, else one below the other.
        template = "{1}  {0}" if self.has_rotated_labels else "{1}\n{0}"
        in_common = "{} in common" if self.has_rotated_labels else "{} in\ncommon"
        self.columns = [
            *([Column(folded, in_common.format(len(folded)))] if folded else []),
            *(Column((position,), template.format(position, text)) for position, text in pairs),
        ]
        labels = [column.label for column in self.columns]
        tile = 0.18 if self.has_rotated_labels else max(0.42, width_of(labels, SMALL) + 0.12)
        below = width_of(labels, SMALL) if self.has_rotated_labels else 0.28

        # All lengths in inches. Layers that the sweep leaves out keep their place on the axis.
        span = self.layers[-1] - self.layers[0] + 1
        self.has_tall_rows = span <= 16
        self.numbers = number_texts(data[metric.column], metric)
        self.has_numbers = self.has_tall_rows and width_of(self.numbers, SMALL) + 0.06 <= tile
        rows = max(1.2, span * (0.25 if self.has_tall_rows else 0.13))
        titles = (width_of([title], SMALL) + 0.1 for title in self.panels.values())
        panel = max(tile * count, *titles)
        # At most 9 inches of panels in a row.
        self.panels_across = max(1, min(len(self.panels), int(9 / panel)))
        panels_down = math.ceil(len(self.panels) / self.panels_across)
        colour_bar = max(0.6, width_of([axis_title(metric)], SMALL)) + 0.3
        self.size = (
            0.6 + self.panels_across * (panel + 0.14) + colour_bar,
            0.35
            + below
            + panels_down * (rows + 0.1)
            + (panels_down * 0.25 * (len(self.panels) > 1)),
        )


def _shared_start(data: pd.DataFrame, positions: list[int]) -> tuple[int, ...]:
    """The leading positions where no effect is possible in any row, if there are several."""
    if "effect_possible" not in data.columns:
        return ()
    may: Any = data["effect_possible"].groupby(data["position"]).any()
    shared = tuple(itertools.takewhile(lambda position: not may[position], positions))
    return shared if 1 < len(shared) < len(positions) else ()


def number_texts(values: pd.Series[float], metric: Metric) -> list[str]:
    """A map's values as its tiles show them: probabilities in percent, two significant digits."""
    if metric.name == "rank":
        return [str(int(value)) for value in values.fillna(0)]
    if metric.name == "probability":
        return [percent_number(value) for value in values.fillna(0.0)]
    if metric.name == "delta":
        return [points(value) for value in values.fillna(0.0)]
    return [f"{value:+.2g}".replace("-", "−").removeprefix("+") for value in values.fillna(0.0)]


def axis_title(metric: Metric) -> str:
    """Title of a metric's colour bar, with the unit of its numbers."""
    if metric.name == "probability":
        return f"{metric.title}, %"
    return f"{metric.title}, points" if metric.name == "delta" else metric.axis


def _panel_titles(data: pd.DataFrame, metric: Metric) -> dict[int, str]:
    """Target id -> title of its panel: the metric of that target, and its P in the base run.

    Several panels have letters.
    """
    if not metric.of_target:
        return {int(data["target_id"].iloc[0]): metric.title}
    first = data.drop_duplicates("target_id")
    texts = dict(zip(first["target_id"].astype(str), first["target_label"], strict=True))
    labels = distinct_labels(texts)
    was = "base" if metric.name == "probability" else "base P"
    titles = [
        f"{metric.title.replace('(t)', f'({text})').replace('of t', f'of {text}')}, "
        f"{was} {percent(base)}"
        for text, base in zip(labels.values(), first["base_probability"], strict=True)
    ]
    if len(titles) > 1:
        titles = [lettered(n, title) for n, title in enumerate(titles)]
    return dict(zip(map(int, labels), titles, strict=True))


def compose_plot(data: pd.DataFrame, mapping: p9.aes, *parts: PlotAddable) -> p9.ggplot:
    """Build a plot from its parts, added in place: every `+` would copy the whole plot."""
    plot = p9.ggplot(data, mapping)
    plot += list(parts)
    return plot
