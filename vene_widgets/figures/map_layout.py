"""MapLayout: the layout of a sweep's map."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vene_widgets.figures.heading import SMALL, heading, title_width
from vene_widgets.figures.labels import label, width_of
from vene_widgets.figures.targets import panel_titles
from vene_widgets.tables.number_text import percent_number, points

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.figures.room import Room
    from vene_widgets.tables.metrics import Metric

LINE = 0.14
"""Height in inches that a line of labels needs."""

WIDEST = 9.0
"""Most inches of panels in a row, unless there is more room."""

GAP = 0.14
"""Between panels, in inches."""


@dataclass(frozen=True)
class Column:
    """One column of a sweep's map: a position, or several at which nothing can have an effect."""

    positions: tuple[int, ...]
    label: str


class MapLayout:
    """Layout of a sweep's map: what its parts and its size both depend on. Lengths in inches.

    Args:
        data: from `frames.sweep_frame`.
        metric: what the map shows.
        title, setup: of the figure.
        room: to lay it out for; None for as much as it needs.
        named: title of the one panel of data with one target, or of several by `target_id`; None
            for those of `panel_titles`.

    Attributes:
        layers: those of the frame, ascending; of a map of one layer's heads, the heads.
        panels: target id -> title of its panel.
        columns: from left to right. Leading positions where no effect is possible share one.
        every: columns per x label; the last one has one.
        numbers: text of each shown row's value, in the order of `data`.
        has_numbers: whether the tiles are large enough for their numbers.
        text_size: of these, or of the minus signs in print, in points.
        has_upright_labels: whether the x labels are upright, because they are too wide.
        row: height of a layer.
        panels_across: panels per row.
        bar: height of the colour bar.
        heading: what stands above the panels.
        size: width and height of the figure.
    """

    def __init__(
        self,
        data: pd.DataFrame,
        metric: Metric,
        title: str | None = None,
        setup: str | None = None,
        room: Room | None = None,
        named: str | Mapping[int, str] | None = None,
    ) -> None:
        self.layers = sorted(int(row) for row in data[rows_of(data)].unique())
        if named is None:
            self.panels = panel_titles(data, metric)
        elif not isinstance(named, str):
            self.panels = {**named}
        else:
            self.panels = {int(data["target_id"].iloc[0]): named}
        data = data[data["target_id"].isin(self.panels)]
        first = data.drop_duplicates("position").sort_values("position")
        pairs = [(int(p), label(t)) for p, t in zip(first["position"], first["label"], strict=True)]
        folded = _shared_start(data, [position for position, _ in pairs])
        pairs = pairs[len(folded) :]
        count = len(pairs) + bool(folded)
        flat, upright = _columns(pairs, folded, "\n"), _columns(pairs, folded, "  ")
        widest = max(width_of([c.label], SMALL) for c in flat)
        titles = width_of(self.panels.values(), SMALL) + 0.1
        sides = 0.6 + max(0.6, width_of([axis_title(metric)], SMALL)) + 0.3
        several = len(self.panels) > 1

        self.has_upright_labels = widest > 0.85 or (widest + 0.12) * count > 6
        if room is None:
            tile = 0.18 if self.has_upright_labels else max(0.42, widest + 0.12)
            panel = max(tile * count, titles)
            self.panels_across = _panels_across(len(self.panels), WIDEST, panel)
        else:
            tile = 0.18 if self.has_upright_labels else max(0.3, widest + 0.08)
            inside = room.width - sides
            self.panels_across = _panels_across(
                len(self.panels), inside, max(tile * count, titles) + GAP
            )
            panel = max(inside / self.panels_across - GAP, titles if several else 0.0, 1.0)
            self.has_upright_labels |= panel < (widest + 0.08) * count
        width = sides + self.panels_across * (panel + GAP)
        tile = panel / count
        self.columns = upright if self.has_upright_labels else flat
        self.every = max(1, math.ceil(LINE / tile)) if self.has_upright_labels else 1
        below = width_of([c.label for c in upright], SMALL) if self.has_upright_labels else 0.28
        if room is None and title:
            width = max(width, title_width(title))
        only = None if several else next(iter(self.panels.values()))
        self.heading = heading(title, setup, only, width)

        # Layers that the sweep leaves out keep their place on the axis.
        span = self.layers[-1] - self.layers[0] + 1
        down = math.ceil(len(self.panels) / self.panels_across)
        around = 0.27 + below + self.heading.height + down * (0.1 + 0.25 * several)
        self.row = max(1.2 / span, 0.25 if span <= 16 else 0.13)
        if room:
            room_for_rows = (room.height - around) / down / span
            self.row = min(self.row, max(0.6 / span, room_for_rows))
        self.numbers = number_texts(data[metric.column], metric)
        self.has_numbers = self.row >= LINE and width_of(self.numbers, SMALL) + 0.06 <= tile
        self.text_size = SMALL if self.has_numbers else min(SMALL, sign_size(tile))
        self.bar = min(1.5, max(0.7, self.row * span))
        self.size = round(width, 2), round(around + down * span * self.row, 2)

    def x_breaks(self) -> list[int]:
        """Columns that have a label, the last one among them."""
        last = len(self.columns) - 1
        return sorted(range(last, -1, -self.every))


def sign_size(tile: float) -> float:
    """Size of type in points at which a minus sign is as wide as a tile, in inches."""
    return 72 * tile / 0.84


def rows_of(data: pd.DataFrame) -> str:
    """The column of a sweep's frame that a map's rows are: `head` if it is of one layer's heads."""
    if "head" in data.columns and data["layer"].nunique() == 1 and data["head"].nunique() > 1:
        return "head"
    return "layer"


def has_head_columns(data: pd.DataFrame) -> bool:
    """Whether the columns of a map are heads: of several, in several layers."""
    return data["head"].nunique() > 1 and rows_of(data) != "head"


def number_texts(values: pd.Series[float], metric: Metric) -> list[str]:
    """A map's values as its tiles show them: probabilities in percent, two significant digits."""
    if metric.name == "rank":
        return [str(int(value)) for value in values.fillna(0)]
    if metric.name == "probability":
        return [percent_number(value) for value in values.fillna(0.0)]
    if metric.name == "delta":
        return [points(value) for value in values.fillna(0.0)]
    if metric.scale == "share":
        return [f"{round(v, 2) + 0.0:g}".replace("-", "−") for v in values.fillna(0.0)]
    return [f"{value:+.2g}".replace("-", "−").removeprefix("+") for value in values.fillna(0.0)]


def mean_texts(means: pd.Series[float], metric: str) -> list[str]:
    """Means over pairs as tiles show them; probabilities and their changes count in percent."""
    unit, sign = _unit(metric), "+" if metric == "delta" else ""
    texts: list[str] = []
    for mean in means.astype(float):
        text = "" if math.isnan(mean) else short_number(unit * mean)
        texts.append(f"{sign}{text}" if mean > 0 and text.strip(".0") else text)
    return texts


def interval_texts(data: pd.DataFrame, metric: str) -> list[str]:
    """Intervals as tiles show them: `.97–1.0`; empty where there is none.

    If both ends are the same number of two digits, it is the larger distance from the mean.
    """
    unit = _unit(metric)
    texts: list[str] = []
    for row in (unit * data[["low", "mean", "high"]].astype(float)).itertuples(index=False):
        low, mean, high = (float(value) for value in row)
        ends = [short_number(end) for end in (low, high)]
        if not (math.isfinite(low) and math.isfinite(high)):
            texts.append("")
        elif ends[0] == ends[1]:
            reach = max(high - mean, mean - low)
            texts.append("±0" if reach < 1e-9 else f"±{_rounded_up(reach)}")
        else:
            texts.append((" to " if ends[1].startswith("−") else "–").join(ends))
    return texts


def short_number(value: float) -> str:
    """A mean or an end of its interval in at most four characters and a sign: `.99`, `1.0`, `12`.

    Between −1 and 1 it has two decimals and no leading zero.
    """
    size = abs(value)
    text = f"{size:.2f}" if size < 0.995 else f"{size:.1f}" if size < 9.95 else f"{size:.0f}"
    text = text.removeprefix("0")
    return f"−{text}" if value < 0 and text.strip(".0") else text


def _rounded_up(size: float) -> str:
    """A small size with one digit: `.003`; `<.001` for less than that."""
    if size < 0.001:
        return "<.001"
    step = 10.0 ** math.floor(math.log10(size) + 1e-9)
    return f"{math.ceil(size / step - 1e-6) * step:.3g}".removeprefix("0")


def _unit(metric: str) -> float:
    return 100.0 if metric in ("probability", "delta") else 1.0


def axis_title(metric: Metric) -> str:
    """Title of a metric's colour bar, with the unit of its numbers."""
    if metric.name == "probability":
        return f"{metric.title}, %"
    return f"{metric.title}, points" if metric.name == "delta" else metric.axis


def layer_breaks(layers: list[int], row: float = 0.25) -> list[int]:
    """Layers that have a label: all if they are high enough for it, else every second or fifth.

    Of layers so low that this is not enough every tenth has one, and so on; the last always has.

    Args:
        layers: ascending.
        row: height of a layer in inches.
    """
    first, last = layers[0], layers[-1]
    steps = (1, 2, 5, 10, 20, 50, 100)
    step = next((s for s in steps if s * row >= LINE), steps[-1])
    if last - first >= 16:
        step = max(step, 5)
    if step == 1:
        return layers
    # Not those close to the last: their labels would touch the last one's.
    return [layer for layer in range(first, last - step // 2) if layer % step == 0] + [last]


def _panels_across(count: int, width: float, panel: float) -> int:
    """Panels per row, in as few rows as fit, with equally many in each."""
    most = max(1, min(count, int(width / panel)))
    return math.ceil(count / math.ceil(count / most))


def _columns(
    pairs: list[tuple[int, str]], folded: tuple[int, ...], between: str
) -> tuple[Column, ...]:
    """The columns with their labels: the token, and its position after `between`."""
    shared = f"{len(folded)} in{between[:1]}common"
    return (
        *((Column(folded, shared),) if folded else ()),
        *(Column((position,), f"{text}{between}{position}") for position, text in pairs),
    )


def _shared_start(data: pd.DataFrame, positions: list[int]) -> tuple[int, ...]:
    """The leading positions where no effect is possible in any row, if there are several."""
    if "effect_possible" not in data.columns:
        return ()
    may: Any = data["effect_possible"].groupby(data["position"]).any()
    shared = tuple(itertools.takewhile(lambda position: not may[position], positions))
    return shared if 1 < len(shared) < len(positions) else ()
