"""Room: the size that a figure is laid out for, and how a theme lays it out again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import plotnine as p9

from vene_widgets.figures.heading import wrap



@dataclass(frozen=True)
class Room:
    """Space for a figure, in inches at the size of type of the screen.

    Attributes:
        width: of the figure.
        height: the most it may be; None for as high as it likes.
    """

    width: float
    height: float | None = None


TITLE = 1.25
"""Width of a bold title's type, relative to plain type of the base size."""


def arrangeable(
    make: Callable[[Room | None], tuple[p9.ggplot, p9.theme]],
) -> p9.ggplot:
    """A figure that `arrange` can lay out again.

    Args:
        make: builds the figure for a room, or for as much as it likes; and the parts of its theme
            that depend on the room, besides the size.
    """
    plot, look = make(None)
    mine = cast(Any, plot + look)
    for scale in mine.scales:
        scale.is_own = True
    # plotnine copies a plot's attributes with it.
    mine.make, mine.own_subtitle = make, mine.labels.subtitle
    return mine


def arrange(plot: p9.ggplot, room: Room, base_size: float) -> None:
    """Lay a figure out for a room, in place: breaks of lines, panels, labels, numbers on tiles.

    What was added to the figure since it was made stays. A figure of other makers only has its
    title broken into lines.

    Args:
        plot: from a figure function.
        room: in inches at `base_size`.
        base_size: of the figure's type, in points.
    """
    mine = cast(Any, plot)
    if isinstance(title := mine.labels.title, str):
        mine.labels.title = "\n".join(wrap(title, room.width - 0.3, TITLE * base_size))
    if (make := getattr(plot, "make", None)) is None:
        return
    fresh, look = make(room)
    mine.data = fresh.data
    for layer, own in zip(mine.layers, fresh.layers, strict=False):
        layer.data = own.data
    mine.facet = fresh.facet
    for n, scale in enumerate(mine.scales):
        if getattr(scale, "is_own", False):
            [mine.scales[n]] = [s for s in fresh.scales if s.aesthetics == scale.aesthetics]
            mine.scales[n].is_own = True
    if mine.labels.subtitle == mine.own_subtitle:
        mine.labels.subtitle = fresh.labels.subtitle
    mine.theme = mine.theme.add_theme(look + p9.theme(figure_size=fresh.theme.getp("figure_size")))
