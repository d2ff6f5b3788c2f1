"""Geoms that draw in one plotnine layer what would otherwise take several.

A layer's bookkeeping (data, scales, positions) costs more time than its drawing, and the screen
waits for the figure. There are no legends: tiles and rows are labelled themselves.

Tiles carry notes, which `figures.svg` turns into titles and links; other formats leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast
from weakref import WeakKeyDictionary

from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from plotnine import geom_tile
from plotnine.geoms.geom import geom

from vene_widgets.figures.theme import ink_on

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotnine.coords.coord import coord as Coord  # noqa: N812  # it is a class
    from plotnine.iapi import panel_view

WIDTH = math.sqrt(math.pi)
"""Points of line width per unit of plotnine's sizes."""

LINE, AFTER, BEFORE = 1.1, (2.6, 0.3), (2.2, 0.6)
"""Sizes of `BeforeAfter` in plotnine's units: the line; each dot and its edge."""


@dataclass(frozen=True)
class Note:
    """Tooltip and link of a tile.

    Attributes:
        title: the tooltip.
        href: the address that a click opens; empty for no link.
    """

    title: str
    href: str = ""


NOTES: WeakKeyDictionary[Artist, list[Note]] = WeakKeyDictionary()
"""Collection of tiles -> one note per tile, in drawing order."""


class Tile(geom_tile):
    """A tile with a tooltip and a link.

    Aesthetics: those of `geom_tile`; `note` and `href`, texts; `sign`, a number. Parameters:
    `signs` puts a minus on tiles whose `sign` is below 0, for print without colour; `text_size` in
    points and the font `family` are those of the minus.
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

    def draw_panel(
        self, data: pd.DataFrame, panel_params: panel_view, coord: Coord, ax: Axes
    ) -> None:
        """Draw the tiles, then the minus signs."""
        before = len(ax.collections)
        super().draw_panel(data, panel_params, coord, ax)
        added = [*ax.collections][before:]
        # One collection holds all tiles unless the coordinates are not linear: no notes then.
        if len(added) == 1 and any(data["note"]):
            NOTES[added[0]] = [Note(*each) for each in zip(data["note"], data["href"], strict=True)]
        if self.params["signs"]:
            below = data[data["sign"] < 0]
            self._label_tiles(below, ["−"] * len(below), panel_params, coord, ax)

    def _label_tiles(
        self,
        data: pd.DataFrame,
        labels: Sequence[str],
        panel_params: panel_view,
        coord: Coord,
        ax: Axes,
    ) -> None:
        """Draw one text per tile, black or white, whichever contrasts more with its fill."""
        inks = {fill: ink_on(fill) for fill in data["fill"].unique()}
        data = coord.transform(data, panel_params)
        colours = [inks[fill] for fill in data["fill"]]
        _draw_texts(self, ax, data[["x", "y"]], labels, colours, "center")


class NumberedTile(Tile):
    """A tile with a text on it. Aesthetics: those of `Tile`, and `label`."""

    REQUIRED_AES: ClassVar[set[str]] = {"x", "y", "label"}

    def draw_panel(
        self, data: pd.DataFrame, panel_params: panel_view, coord: Coord, ax: Axes
    ) -> None:
        """Draw the tiles, then their texts."""
        super().draw_panel(data, panel_params, coord, ax)
        self._label_tiles(data, [*data["label"]], panel_params, coord, ax)


class BeforeAfter(geom):
    """A line from a hollow dot (before) to a filled dot (after), and a column of labels.

    Aesthetics: `x` before and `xend` after, `y`, `color`, `label`. Parameters: `column`, the x at
    which labels end, `text_size` in points, and the font `family`.
    """

    # Not ClassVar: plotnine declares these as instance variables.
    REQUIRED_AES: set[str] = {"x", "xend", "y", "label"}  # noqa: RUF012
    DEFAULT_AES: dict[str, Any] = {"color": "black"}  # noqa: RUF012
    DEFAULT_PARAMS: dict[str, Any] = {  # noqa: RUF012
        **geom_tile.DEFAULT_PARAMS,
        "text_size": 8.0,
        "family": None,
        "column": 1.0,
    }

    def draw_panel(
        self, data: pd.DataFrame, panel_params: panel_view, coord: Coord, ax: Axes
    ) -> None:
        """Draw the lines, then the filled dots, then the hollow ones, as two dots may coincide."""
        y = data["y"]
        # Every x gets its own y, so that `coord_flip` turns all three points.
        points = data.assign(yend=y, xmax=self.params["column"], ymax=y)
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
            # Sizes in points squared and points, computed as plotnine's geom_point does.
            cast(Any, ax).scatter(
                *dots.T, s=math.pi * (size + edge) ** 2, marker="o", facecolor=fills,
                edgecolor=colours, linewidth=edge * WIDTH, zorder=z,
            )  # fmt: skip
        _draw_texts(self, ax, data[["xmax", "ymax"]], [*data["label"]], colours, "right")


def _draw_texts(
    mark: geom,
    ax: Axes,
    points: pd.DataFrame,
    labels: Sequence[str],
    colours: Sequence[str],
    align: str,
) -> None:
    """Draw one text per row of `points`, x and y in the axes' data units, as `geom_text` does."""
    font = {"family": mark.params["family"]} if mark.params["family"] else {}
    for (x, y), label, colour in zip(points.to_numpy(), labels, colours, strict=True):
        cast(Any, ax).text(
            x, y, label, size=mark.params["text_size"], color=colour, ha=align, va="center",
            linespacing=1.2, clip_on=True, zorder=mark.params["zorder"], **font,
        )  # fmt: skip
