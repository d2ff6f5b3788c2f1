"""Marks that are one plotnine layer each, where several layers would draw the same.

A layer's bookkeeping (data, scales, positions) costs more than its drawing, and a figure on the
screen is awaited. Legends are not made: the figures say everything in their tiles and rows.

Tiles carry notes, which `figures.svg` makes titles and links of; other formats leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from plotnine import geom_tile
from plotnine.geoms.geom import geom

from vene_widgets.figures.theme import ink_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = math.sqrt(math.pi)
"""Points of line per unit of plotnine's sizes."""

LINE, AFTER, BEFORE = 1.1, (2.6, 0.3), (2.2, 0.6)
"""In plotnine's sizes: the line; both dots and their edges."""


@dataclass(frozen=True)
class Note:
    """What a tile says when it is pointed at, and where it leads when it is clicked."""

    title: str
    href: str = ""


NOTES: WeakKeyDictionary[Artist, list[Note]] = WeakKeyDictionary()
"""One note per tile of a collection, in the order in which they are drawn."""


class Tile(geom_tile):
    """A tile that can say more than it shows.

    Aesthetics: those of `geom_tile`; `note` and `href`, texts; `sign`, a number. Parameters:
    `signs` puts a minus on tiles whose `sign` is below 0, for print without colour; it is
    `text_size` points large, of the font `family`.
    """

    DEFAULT_AES: ClassVar[dict[str, Any]] = {
        **geom_tile.DEFAULT_AES,
        "note": "",
        "href": "",
        "sign": 0,
    }
    DEFAULT_PARAMS: ClassVar[dict[str, Any]] = {
        **geom_tile.DEFAULT_PARAMS,
        "text_size": 8.0,
        "family": None,
        "signs": False,
    }

    def draw_panel(self, data: Any, panel_params: Any, coord: Any, ax: Axes) -> None:
        """The tiles, then the minus signs."""
        before = len(ax.collections)
        super().draw_panel(data, panel_params, coord, ax)
        drawn = [*ax.collections][before:]
        if len(drawn) == 1 and any(data["note"]):  # other coordinates draw each tile by itself
            NOTES[drawn[0]] = [Note(*each) for each in zip(data["note"], data["href"], strict=True)]
        if self.params["signs"]:
            below = data[data["sign"] < 0]
            self._number(below, ["−"] * len(below), panel_params, coord, ax)

    def _number(
        self, data: Any, labels: Sequence[str], panel_params: Any, coord: Any, ax: Axes
    ) -> None:
        """One text per tile, black or white, whichever is read better on its fill."""
        inks = {fill: ink_on(fill) for fill in data["fill"].unique()}
        data = coord.transform(data, panel_params)
        inks_of = [inks[fill] for fill in data["fill"]]
        _write(self, ax, data[["x", "y"]], labels, inks_of, "center")


class NumberedTile(Tile):
    """A tile with a text on it. Aesthetics: those of `Tile`, and `label`."""

    REQUIRED_AES: ClassVar[set[str]] = {"x", "y", "label"}

    def draw_panel(self, data: Any, panel_params: Any, coord: Any, ax: Axes) -> None:
        """The tiles, then their texts."""
        super().draw_panel(data, panel_params, coord, ax)
        self._number(data, data["label"], panel_params, coord, ax)


class BeforeAfter(geom):
    """A line from a hollow dot, before, to a filled one, after; and in a column how much it is.

    Aesthetics: `x` before and `xend` after, `y`, `color`, `label`. Parameters: `column`, the x at
    which labels end, `text_size` in points, and the font `family`.
    """

    REQUIRED_AES: ClassVar[set[str]] = {"x", "xend", "y", "label"}
    DEFAULT_AES: ClassVar[dict[str, Any]] = {"color": "black"}
    DEFAULT_PARAMS: ClassVar[dict[str, Any]] = {
        **geom_tile.DEFAULT_PARAMS,
        "text_size": 8.0,
        "family": None,
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
    font = {"family": mark.params["family"]} if mark.params["family"] else {}
    for (x, y), label, colour in zip(where.to_numpy(), labels, colours, strict=True):
        ax.text(
            x, y, label, size=mark.params["text_size"], color=colour, ha=ha, va="center",
            linespacing=1.2, clip_on=True, zorder=mark.params["zorder"], **font,
        )  # fmt: skip
