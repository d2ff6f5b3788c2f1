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
from matplotlib.colors import to_hex, to_rgb
from matplotlib.path import Path
from plotnine import geom_tile
from plotnine.geoms.geom import geom

from vene_widgets.figures.theme import contrast, ink_on

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotnine.coords.coord import coord as Coord  # noqa: N812  # it is a class
    from plotnine.iapi import panel_view

WIDTH = math.sqrt(math.pi)
"""Points of line width per unit of plotnine's sizes."""

LINE, AFTER, BEFORE, GRID = 1.1, (2.6, 0.3), (2.2, 0.6), 0.5
"""Sizes of `BeforeAfter` in plotnine's units: the line; each dot and its edge; a row's line."""

HATCHES = 5
"""Density of hatching in matplotlib's words, lines per tile; `files` sets their width."""

PALE, CORNER = 0.7, (3.2, 5.0)
"""Muted tiles: how much of the page is in their fill; their corner in points, small and large."""

READABLE = 4.5
"""Least contrast ratio of a text with its background."""

LINES, SECOND, SMALLEST = (0.17, -0.21), 0.8, 5.0
"""Two texts on a tile: their heights above its centre; size of the second, and the least size."""


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
    """A tile with a text on it, a tooltip and a link.

    Aesthetics: those of `geom_tile`; `label`, the text; `note` and `href`, texts; `sign`, a number;
    `hatch`, true for a tile that is hatched instead of filled, without a text. Parameters: `signs`
    puts a minus on tiles whose `sign` is below 0, for print without colour; `text_size` in points
    and the font `family` are those of texts; `hatch_color`, and `page` behind a hatched tile;
    `scale` of the hatching.
    """

    DEFAULT_AES: ClassVar[dict[str, Any]] = {
        **geom_tile.DEFAULT_AES,
        "label": "",
        "note": "",
        "href": "",
        "sign": 0,
        "hatch": False,
    }
    DEFAULT_PARAMS: ClassVar[dict[str, Any]] = {
        **geom_tile.DEFAULT_PARAMS,
        "text_size": 8.0,
        "family": None,
        "signs": False,
        "hatch_color": "#c2c8cf",
        "page": "#ffffff",
        "scale": 1.0,
    }

    def draw_panel(
        self, data: pd.DataFrame, panel_params: panel_view, coord: Coord, ax: Axes
    ) -> None:
        """Draw the tiles, then their texts or minus signs."""
        is_hatched = data["hatch"].astype(bool)
        for part in (data[~is_hatched], data[is_hatched]):
            if part.empty:
                continue
            before = len(ax.collections)
            super().draw_panel(part, panel_params, coord, ax)
            added = [*ax.collections][before:]
            # One collection holds all tiles unless the coordinates are not linear: no notes then.
            if len(added) == 1 and any(part["note"]):
                notes = zip(part["note"], part["href"], strict=True)
                NOTES[added[0]] = [Note(*each) for each in notes]
            if part["hatch"].iloc[0]:
                for collection in added:
                    cast(Any, collection).set(
                        facecolor=self.params["page"],
                        edgecolor=self.params["hatch_color"],
                        # The pattern keeps its size on a larger figure, so it has fewer lines.
                        hatch="/" * max(2, round(HATCHES / self.params["scale"])),
                        linewidth=0,
                    )
        filled = data[~is_hatched]
        texts = filled["label"].astype(str)
        if self.params["signs"]:
            texts = texts.where((texts != "") | (filled["sign"] >= 0), "−")
        shown = filled[texts != ""]
        self._label_tiles(shown, [*texts[texts != ""]], panel_params, coord, ax)

    def _label_tiles(
        self,
        data: pd.DataFrame,
        labels: Sequence[str],
        panel_params: panel_view,
        coord: Coord,
        ax: Axes,
    ) -> None:
        """Draw one text per tile, black or white, whichever contrasts more with its fill."""
        inks = {fill: ink_on(to_hex(fill)) for fill in data["fill"].unique()}
        data = coord.transform(data, panel_params)
        colours = [inks[fill] for fill in data["fill"]]
        _draw_texts(self, ax, data[["x", "y"]], labels, colours, "center")


class PairTile(Tile):
    """A `Tile` with a smaller second text below the first, and a muted look.

    More aesthetics: `under`, the second text; `muted`, true for a pale tile whose upper right
    corner is marked. Parameter: `quiet`, the colour of marks and of muted texts.
    """

    DEFAULT_AES: ClassVar[dict[str, Any]] = {**Tile.DEFAULT_AES, "under": "", "muted": False}
    DEFAULT_PARAMS: ClassVar[dict[str, Any]] = {**Tile.DEFAULT_PARAMS, "quiet": "#59616b"}

    def draw_panel(
        self, data: pd.DataFrame, panel_params: panel_view, coord: Coord, ax: Axes
    ) -> None:
        """Draw the tiles and their texts, then the corners of muted tiles."""
        muted = data["muted"].astype(bool) & ~data["hatch"].astype(bool)
        pale = [_mixed(fill, self.params["page"], PALE) for fill in data["fill"]]
        data = data.assign(fill=data["fill"].where(~muted, pale))
        super().draw_panel(data, panel_params, coord, ax)
        if muted.any():
            at = coord.transform(data[muted], panel_params)
            points = CORNER[int(data["under"].ne("").any())] * self.params["scale"]
            cast(Any, ax).scatter(
                at["xmax"], at["ymax"], s=(2 * points) ** 2,
                marker=Path([(0, 0), (-1, 0), (0, -1), (0, 0)], closed=True),
                color=self.params["quiet"], linewidth=0, zorder=self.params["zorder"],
            )  # fmt: skip

    def _label_tiles(
        self,
        data: pd.DataFrame,
        labels: Sequence[str],
        panel_params: panel_view,
        coord: Coord,
        ax: Axes,
    ) -> None:
        """Draw the texts, the second one below the first."""
        under, quiet = data["under"].astype(str), self.params["quiet"]
        inks = [
            quiet
            if is_muted and contrast(quiet, to_hex(fill)) >= READABLE
            else ink_on(to_hex(fill))
            for fill, is_muted in zip(data["fill"], data["muted"], strict=True)
        ]
        points = coord.transform(data, panel_params)[["x", "y"]]
        both = (under != "").to_numpy(float)
        upper = points.assign(y=points["y"] + LINES[0] * both)
        lower = points.assign(y=points["y"] + LINES[1] * both)
        _draw_texts(self, ax, upper, labels, inks, "center")
        size = max(SMALLEST, SECOND * self.params["text_size"])
        _draw_texts(self, ax, lower, [*under], inks, "center", size)


def _mixed(colour: str, other: str, part: float) -> str:
    """A colour with some part of another in it."""
    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    red, green, blue = ((1 - part) * one + part * two for one, two in pairs)
    return to_hex((red, green, blue))


class BeforeAfter(geom):
    """A line from a hollow dot (before) to a filled dot (after), and a column of labels.

    Aesthetics: `x` before and `xend` after, `y`, `color`, `label`. Parameters: `span`, the x from
    and to which each row's faint line goes, `column`, the x at which labels end, both as the scale
    transforms them; `line_color` of that line, `page` inside a hollow dot, `scale` of lines and
    dots, `text_size` in points, and the font `family`.
    """

    # Not ClassVar: plotnine declares these as instance variables.
    REQUIRED_AES: set[str] = {"x", "xend", "y", "label"}  # noqa: RUF012
    DEFAULT_AES: dict[str, Any] = {"color": "black"}  # noqa: RUF012
    DEFAULT_PARAMS: dict[str, Any] = {  # noqa: RUF012
        **geom_tile.DEFAULT_PARAMS,
        "text_size": 8.0,
        "family": None,
        "column": 1.0,
        "span": (0.0, 1.0),
        "line_color": "#e4e7eb",
        "page": "#ffffff",
        "scale": 1.0,
    }

    def draw_panel(
        self, data: pd.DataFrame, panel_params: panel_view, coord: Coord, ax: Axes
    ) -> None:
        """Draw the lines, then the filled dots, then the hollow ones, as two dots may coincide."""
        y, (low, high) = data["y"], self.params["span"]
        # Every x gets its own y, so that `coord_flip` turns all points.
        ends = data.assign(x=low, xend=high, yend=y)
        points = data.assign(yend=y, xmax=self.params["column"], ymax=y)
        data, ends = coord.transform(points, panel_params), coord.transform(ends, panel_params)
        z, colours, scale = self.params["zorder"], list(data["color"]), self.params["scale"]
        before, after = (data[names].to_numpy(float) for names in (["x", "y"], ["xend", "yend"]))
        left, right = (ends[names].to_numpy(float) for names in (["x", "y"], ["xend", "yend"]))
        for pairs, ink, width in (
            (zip(left, right, strict=True), self.params["line_color"], GRID),
            (zip(before, after, strict=True), colours, LINE),
        ):
            ax.add_collection(
                LineCollection(
                    list(pairs),
                    colors=ink,
                    linewidths=width * WIDTH * scale,
                    capstyle="butt",
                    zorder=z,
                )
            )
        for dots, fills, (size, edge) in (
            (after, colours, AFTER),
            (before, self.params["page"], BEFORE),
        ):
            # Sizes in points squared and points, computed as plotnine's geom_point does.
            cast(Any, ax).scatter(
                *dots.T, s=math.pi * (scale * (size + edge)) ** 2, marker="o", facecolor=fills,
                edgecolor=colours, linewidth=edge * WIDTH * scale, zorder=z,
            )  # fmt: skip
        _draw_texts(self, ax, data[["xmax", "ymax"]], [*data["label"]], colours, "right")


def _draw_texts(
    mark: geom,
    ax: Axes,
    points: pd.DataFrame,
    labels: Sequence[str],
    colours: Sequence[str],
    align: str,
    size: float | None = None,
) -> None:
    """Draw one text per row of `points`, x and y in the axes' data units, as `geom_text` does."""
    font = {"family": mark.params["family"]} if mark.params["family"] else {}
    for (x, y), label, colour in zip(points.to_numpy(), labels, colours, strict=True):
        cast(Any, ax).text(
            x, y, label, size=size or mark.params["text_size"], color=colour, ha=align, va="center",
            linespacing=1.2, clip_on=True, zorder=mark.params["zorder"], **font,
        )  # fmt: skip
