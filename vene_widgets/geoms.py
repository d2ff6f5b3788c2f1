"""Two marks that are one plotnine layer each, where several layers would draw the same.

A layer's bookkeeping (data, scales, positions) costs more than its drawing, and a figure on the
screen is awaited. Legends are not made: both figures say everything in their tiles and rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from matplotlib.collections import LineCollection
from plotnine import geom_tile
from plotnine.geoms.geom import geom

from vene_widgets.theme import ink_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = math.sqrt(math.pi)
"""Points of line per unit of plotnine's sizes."""

LINE, AFTER, BEFORE = 1.1, (2.6, 0.3), (2.2, 0.6)
"""In plotnine's sizes: the line; both dots and their edges."""


class NumberedTile(geom_tile):
    """A tile with a text on it, black or white, whichever is read better on its fill.

    Aesthetics: those of `geom_tile`, and `label`. Parameter: `text_size` in points.
    """

    REQUIRED_AES: ClassVar[set[str]] = {"x", "y", "label"}
    DEFAULT_PARAMS: ClassVar[dict[str, Any]] = {**geom_tile.DEFAULT_PARAMS, "text_size": 8.0}

    def draw_panel(self, data: Any, panel_params: Any, coord: Any, ax: Axes) -> None:
        """The tiles, then their texts."""
        super().draw_panel(data, panel_params, coord, ax)
        inks = {fill: ink_on(fill) for fill in data["fill"].unique()}
        data = coord.transform(data, panel_params)
        inks_of = [inks[fill] for fill in data["fill"]]
        _write(self, ax, data[["x", "y"]], data["label"], inks_of, "center")


class Change(geom):
    """A line from a hollow dot, before, to a filled one, after; and in a column how much it is.

    Aesthetics: `x` before and `xend` after, `y`, `color`, `label`. Parameters: `column`, the x at
    which labels end, and `text_size` in points.
    """

    REQUIRED_AES: ClassVar[set[str]] = {"x", "xend", "y", "label"}
    DEFAULT_AES: ClassVar[dict[str, Any]] = {"color": "black"}
    DEFAULT_PARAMS: ClassVar[dict[str, Any]] = {
        **geom_tile.DEFAULT_PARAMS,
        "text_size": 8.0,
        "column": 1.0,
    }

    def draw_panel(self, data: Any, panel_params: Any, coord: Any, ax: Axes) -> None:
        """The lines, on them the dots of after, then those of before, hollow: they may meet."""
        y = data["y"]
        points = data.assign(yend=y, xmax=self.params["column"], ymax=y)  # all three, for flips
        data = coord.transform(points, panel_params)
        z, colours = self.params["zorder"], list(data["color"])
        before, after = (data[names].to_numpy(float) for names in (["x", "y"], ["xend", "yend"]))
        ax.add_collection(
            LineCollection(
                list(zip(before, after, strict=True)), colors=colours, linewidths=LINE * WIDTH,
                capstyle="butt", zorder=z,
            )
        )  # fmt: skip
        for dots, fills, (size, edge) in ((after, colours, AFTER), (before, "white", BEFORE)):
            ax.scatter(
                *dots.T, s=math.pi * (size + edge) ** 2, marker="o", facecolor=fills,
                edgecolor=colours, linewidth=edge * WIDTH, zorder=z,
            )  # fmt: skip
        _write(self, ax, data[["xmax", "ymax"]], data["label"], colours, "right")


def _write(
    mark: geom, ax: Axes, where: Any, labels: Sequence[str], colours: Sequence[str], ha: Any
) -> None:
    """One text per row, as `geom_text` does it."""
    for (x, y), label, colour in zip(where.to_numpy(), labels, colours, strict=True):
        ax.text(
            x, y, label, size=mark.params["text_size"], color=colour, ha=ha, va="center",
            linespacing=1.2, clip_on=True, zorder=mark.params["zorder"],
        )  # fmt: skip
