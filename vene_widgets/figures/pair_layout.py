"""PairLayout: the layout of a map of means over pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vene_widgets.figures.heading import SMALL, heading, height_of, setup_lines, title_width
from vene_widgets.figures.labels import width_of
from vene_widgets.figures.map_layout import GAP, LINE, sign_size
from vene_widgets.figures.scales import RECOVERY_ENDS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from vene_widgets.figures.pair_panels import Arranged
    from vene_widgets.figures.room import Room

WIDEST, LEAST = 7.5, 5.0
"""Inches of panels in a row, and the least width of a figure, unless its room is given."""

MOST_INTERVALS, MOST_NUMBERS = 100, 300
"""Tiles of a figure up to which they show intervals, and numbers."""

BOTH, LOWEST, SECOND = 0.34, 0.27, 0.88
"""Height in inches of a tile with an interval, and the least; the interval's part of the type."""

NARROWEST = 0.085
"""Width in inches of tiles that keeps a figure of many panels within two rows of them."""


class PairLayout:
    """Layout of a map of means, in inches.

    Args:
        data: the tiles, with their texts.
        arranged: panels and columns.
        legend: width of the colour bar's title.
        title, setup, label: of the figure; the label stands above the panels.
        notes: lines of the caption, given whether tiles have numbers, and intervals.
        room: to lay it out for; None for as much as it needs.

    Attributes:
        layers: ascending; of a map of one layer's heads, the heads.
        labels: of the columns.
        is_upright: whether they are upright, because they are too wide.
        has_numbers, has_intervals: whether the tiles have room for them.
        text_size: of numbers, or of the minus signs in print, in points.
        row: height of a layer.
        across: panels per row.
        bar: height of the colour bar.
        heading, caption: what stands above the panels and below.
        size: width and height of the figure.
    """

    def __init__(
        self,
        data: pd.DataFrame,
        arranged: Arranged,
        legend: float,
        title: str | None,
        setup: str,
        label: str | None,
        notes: Callable[[bool, bool], list[str]],
        room: Room | None,
    ) -> None:
        self.layers = sorted(int(row) for row in arranged.data[arranged.rows].unique())
        columns, panels = arranged.columns, len(arranged.titles)
        count, span = len(columns.flat), self.layers[-1] - self.layers[0] + 1
        live, tiles = data[~data["hatch"]], panels * count * span
        number = width_of(["0", *live["number"]], SMALL) + 0.06
        both = max(number, SECOND * width_of(["0", *live["under"]], SMALL) + 0.08)
        flat, several = width_of(columns.flat, SMALL) + 0.08, panels > 1
        titles = width_of(arranged.titles.values(), SMALL) + 0.1 if several else 0.0
        may_have_intervals = tiles <= MOST_INTERVALS and any(live["under"])
        sides = 0.9 + max(legend, 0.25 + width_of(RECOVERY_ENDS, SMALL))
        inside = WIDEST if room is None else room.width - sides - GAP

        # The first of these widths that fits: everything, no intervals, upright labels, neither.
        wanted = [max(0.42, number, flat), max(0.3, number)] if tiles <= MOST_NUMBERS else []
        if may_have_intervals:
            wanted = [max(0.42, both, flat), max(0.3, both), *wanted]
        tile = next((each for each in (*wanted, 0.2) if each * count <= inside), 0.18)
        panel = max(tile * count, titles)
        most = max(1, min(panels, 3, int((inside + GAP) / (panel + GAP))))
        if room is not None and panels > 2 * most:
            most = min(3, int((inside + GAP) / (max(NARROWEST * count, titles) + GAP))) or 1
        self.across = math.ceil(panels / math.ceil(panels / most))
        if room is not None:
            panel = max(titles, inside / self.across - GAP)
        width, tile = sides + self.across * (panel + GAP), panel / count
        if room is None:
            width = max(width, title_width(title or ""), LEAST)
        self.is_upright = flat > tile + 1e-9 and columns.title != "head"
        self.labels = columns.upright if self.is_upright else columns.flat
        self._every = max(1, math.ceil((LINE if self.is_upright else flat) / tile - 1e-9))
        self.heading = heading(title, setup, label, width)

        lines = max(text.count("\n") for text in columns.flat) + 1
        below = width_of(columns.upright, SMALL) if self.is_upright else 0.14 * lines
        down = math.ceil(panels / self.across)
        around = 0.27 + below + self.heading.height + down * (0.1 + 0.25 * several)
        fits = may_have_intervals and both <= tile + 1e-9
        self.row = max(0.8 / span, BOTH if fits else 0.13 if span > 16 else 0.25 if wanted else 0.2)
        if tile < LINE or (room is not None and down > 2):
            self.row = min(self.row, LINE)
        is_low = room is not None and math.isfinite(room.height)
        around += height_of(len(_lines(notes(True, True), width, is_low)))
        if room is not None:
            rows = (room.height - around) / down / span
            self.row = min(self.row, max(0.6 / span, rows))
        self.has_intervals = fits and self.row >= LOWEST
        self.has_numbers = bool(wanted) and self.row >= LINE and number <= tile + 1e-9
        notes_of = notes(self.has_numbers, self.has_intervals)
        self.caption = "\n".join(_lines(notes_of, width, is_low))
        self.text_size = SMALL if self.has_numbers else min(SMALL, sign_size(tile))
        self.bar = min(1.5, max(0.7, self.row * span))
        self.size = round(width, 2), round(around + down * span * self.row, 2)

    def x_breaks(self) -> list[int]:
        """Columns that have a label, the last one among them."""
        last = len(self.labels) - 1
        if not self.is_upright:  # numbers of heads
            return [*range(0, last + 1, self._every)]
        return sorted(range(last, -1, -self._every))


def _lines(notes: list[str], width: float, is_low: bool) -> list[str]:
    """A caption's lines in a figure of some width; each note begins one unless height is scarce."""
    notes = [" · ".join(notes)] if is_low else notes
    return [line for note in notes for line in setup_lines(note, width)]
