"""Room: the size that a figure is laid out for, and how a theme lays it out again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import plotnine as p9

from vene_widgets.figures.heading import wrap_title


@dataclass(frozen=True)
class Room:
    """Space for a figure, in inches at the size of type of the screen.

    Attributes:
        width: of the figure. It becomes wider only if its labels would overlap otherwise.
        height: the most it should have.
    """

    width: float
    height: float = math.inf


Made = tuple[p9.ggplot, Callable[[float], p9.theme]]
"""A figure, and for a factor of its type those parts of its theme that depend on the room."""


def arrangeable(make: Callable[[Room | None], Made]) -> p9.ggplot:
    """A figure that `arrange` can lay out again.

    Args:
        make: builds the figure for a room; for None, as large as it needs to be.
    """
    plot, look = make(None)
    mine = cast(Any, plot)
    mine += look(1.0)
    for scale in mine.scales:
        scale.is_own = True
    # plotnine copies a plot's attributes with it.
    mine.make, mine.own_subtitle = make, mine.labels.subtitle
    mine.own_caption = mine.labels.caption
    return mine


def can_arrange(plot: p9.ggplot) -> bool:
    """Whether a figure was made by `arrangeable`."""
    return hasattr(plot, "make")


def arrange(plot: p9.ggplot, room: Room) -> Callable[[float], p9.theme]:
    """Lay a figure out for a room, in place: heading, caption, panels, labels, numbers.

    Whatever was added to the figure since it was made stays. Of a figure of another maker, only
    the title is broken into lines.

    Returns:
        For a factor of its type, the parts of its theme that depend on the room.
    """
    mine = cast(Any, plot)
    if isinstance(title := mine.labels.title, str):
        mine.labels.title = wrap_title(title, room.width)
    if not can_arrange(plot):
        return lambda scale: p9.theme()
    fresh, look = mine.make(room)
    mine.data = fresh.data
    for layer, own in zip(mine.layers, fresh.layers, strict=False):  # others were added later
        layer._data = own._data
        if "text_size" in layer.geom.params:
            layer.geom.params["text_size"] = own.geom.params["text_size"]
    mine.facet = fresh.facet
    for n, scale in enumerate(mine.scales):
        if getattr(scale, "is_own", False):
            [mine.scales[n]] = [s for s in fresh.scales if s.aesthetics == scale.aesthetics]
            mine.scales[n].is_own = True
    if mine.labels.subtitle == mine.own_subtitle:
        mine.labels.subtitle = fresh.labels.subtitle
    if mine.labels.caption == mine.own_caption:
        mine.labels.caption = fresh.labels.caption
    size = p9.theme(figure_size=fresh.theme.getp("figure_size"))
    mine.theme = mine.theme.add_theme(size)
    return look
