"""theme_paper and theme_slide: figures that fit a paper's column, and figures that fill a slide."""

from __future__ import annotations

import math
from collections import UserList
from copy import copy
from typing import Any, cast

import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import theme
from vene_widgets.figures.heading import SMALL, TEXT
from vene_widgets.figures.room import Room, arrange, can_arrange

COLUMNS = {1: 3.25, 2: 6.75}
"""Number of columns -> width in inches, as on ICML's and ACL's pages."""

NARROWEST, _ONE_COLUMN = 30.0, 120 / 25.4
"""The least width in millimetres, and the width in inches up to which panels are stacked."""

SLIDE = (12.4, 6.3)
"""Width and height in inches of what a slide of 13.33 × 7.5 inches (16 : 9) has room for."""

SMALLEST, SMALLEST_ON_SLIDE = 5.0, 14.0
"""Smallest type in points of a figure in print and on a slide: that of labels and numbers."""

SMALLEST_BASE = 5.6
"""Smallest base size in points; labels are 0.9 of it."""

SHRINKING = 0.85
"""Factor by which type may shrink so that a figure fits one column instead of two."""

_TEXTS = {
    **dict.fromkeys(("axis_text_x", "axis_text_y", "axis_title_x", "axis_title_y"), 0.9),
    **dict.fromkeys(("legend_text", "legend_title", "plot_caption", "plot_subtitle"), 0.9),
    "plot_title": 1.15,
    "strip_text": 0.9,
}
"""Element of a theme -> its size of type, as a fraction of the base size."""

_KEY = 18
"""plotnine's size of a legend's key, in points; a colour bar is as wide and five times as high."""

_SCREEN, _LABELS = TEXT, SMALL
"""Sizes of type in points for which figures are laid out: base size, and labels."""


class Fitted(p9.theme):
    """A theme that lays a figure out for a width, and scales its type, lines and marks to it."""

    most: float = math.inf
    """The largest factor of the type."""

    def __init__(self, base_size: float, family: str, svg_text: bool, signs: bool) -> None:
        named = {"sans": theme.SANS, "serif": theme.SERIF}
        if family not in named:
            choose(
                family, sorted({*named, *theme.installed()}), "family", "These are installed here."
            )
        self._base, self._signs = base_size, signs
        self._families = theme.families(named.get(family, family))
        cast(Any, super()).__init__(svg_usefonts=svg_text)
        themeables = cast(Any, self).themeables
        themeables.update(cast(Any, _type_theme(base_size, self._families, signs)).themeables)

    _fills = True
    """Whether a figure is as wide as its room, however small it could be."""

    @property
    def is_stacked(self) -> bool:
        """Whether two panels stand one below the other."""
        return False

    def of_panel(self, above: float = 0.0) -> Fitted:
        """The theme of each of two panels that share the room, less some inches above them."""
        raise NotImplementedError

    def _room(self, width: float, height: float, fits: bool) -> tuple[float, float, float]:
        """The room of a figure whose own size is given: width, height, factor of its type.

        Args:
            width, height: its own size in inches.
            fits: whether it can be laid out for the room. Others shrink.
        """
        raise NotImplementedError

    def __radd__(self, other: Any) -> Any:
        """Fit a figure; for `figure + theme`, plotnine passes a copy of it."""
        add = cast(Any, super()).__radd__
        if isinstance(other, p9.theme):
            return add(other)
        width, height, scale = self._room(*other.theme.getp("figure_size"), fits=can_arrange(other))
        scale = min(scale, self.most)
        # Setting the type of a blank element would show it, so these become blank again.
        blank = [name for name in _TEXTS if other.theme.themeables.is_blank(name)]
        plot = add(other)
        look = arrange(plot, Room(width / scale, height / scale))
        wide, high = plot.theme.getp("figure_size")
        if can_arrange(plot):  # its labels need this much: smaller type, if there is less
            scale *= min(1.0, (width + 0.01) / (wide * scale), (height + 0.01) / (high * scale))
        if self._fills or not can_arrange(plot):
            wide = width / scale
        plot.theme = plot.theme.add_theme(
            _type_theme(_SCREEN * scale, self._families, self._signs)
            + theme.sized(round(wide * scale, 2), round(high * scale, 2))
            + p9.theme(legend_key_size=_KEY * scale)
            + look(scale)
            + p9.theme(**cast(Any, {name: p9.element_blank() for name in blank}))
        )
        # For the plot's own `save`; `figures.pdf` sets it anyway.
        plot.theme._rcParams = {**plot.theme._rcParams, "pdf.fonttype": 42}
        for layer in plot.layers:
            params = layer.geom.params
            if "family" in params and "text_size" in params:  # a geom of `geoms`
                params |= {
                    "family": self._families,
                    "text_size": max(SMALLEST, params["text_size"] * scale),
                    "scale": params.get("scale", 1.0) * scale,
                    "signs": self._signs,
                }
            elif "size" in layer.geom.aes_params:
                layer.geom.aes_params["size"] *= scale
        return plot


class theme_paper(Fitted):  # noqa: N801
    """A theme for print: one or two columns wide, small type, embedded fonts. Add it last.

    Panels, labels and the lines above are laid out for the width. Type shrinks a little if labels
    are then side by side; otherwise panels stand one below the other, labels are upright, and
    numbers are left out of tiles that are too small. No type has less than 5 points. PDF embeds its
    fonts as Type 42 (TrueType), which can be searched. No information is in colour alone: fills are
    even steps of lightness, and runs differ in shape. On a map of differences, where both ends of
    the scale are equally dark, tiles below 0 get a minus sign.

    Args:
        base_size: size of the type, in points.
        family: `sans` (DejaVu Sans), `serif` (STIX, similar to Times), or an installed font.
        columns: 1 or 2; None for the smaller one that the labels fit in. Of a figure of two panels
            (`figures.result`) 1 puts the second one below the first.
        width: in millimetres, instead of a number of columns; up to 120 counts as one column.
        svg_text: True writes an SVG's texts as text, which can be searched and edited but depends
            on the font; False writes them as paths.

    Raises:
        RequestError: a font that is not installed, another number of columns, both a width and a
            number of columns, a width below 30, or a size below 5.6.

    Example:
        >>> import vene_widgets as vw
        >>> run = vw.run(vw.load(), vw.Experiment(base="The capital of Spain is"))
        >>> frame = vw.frames.token_frame({"base": run.logits[-1]}, run.model.token_text)
        >>> figure = vw.figures.token_heatmap(frame) + vw.theme_paper(family="serif", columns=1)
        >>> figure.theme.getp("figure_size")[0]
        3.25
    """

    def __init__(
        self,
        base_size: float = 7,
        family: str = "sans",
        columns: int | None = None,
        svg_text: bool = True,
        *,
        width: float | None = None,
    ) -> None:
        if width is not None and (columns is not None or not width >= NARROWEST):  # also NaN
            raise RequestError(
                f"width must be at least {NARROWEST:g} mm and without columns, got width="
                f"{width!r}, columns={columns!r}."
            )
        if columns not in (None, *COLUMNS):
            raise RequestError(
                "columns must be 1, 2, or None for the smaller one that the labels fit in, got "
                f"{columns!r}."
            )
        if not base_size >= SMALLEST_BASE:  # also NaN
            raise RequestError(
                f"base_size must be at least {SMALLEST_BASE:g} points, got {base_size!r}."
            )
        super().__init__(base_size, family, svg_text, signs=True)
        self.columns = columns
        self._width = None if width is None else width / 25.4
        if self._width is not None:
            self.columns = 1 if self._width <= _ONE_COLUMN else 2

    @property
    def is_stacked(self) -> bool:
        return self.columns == 1

    def of_panel(self, above: float = 0.0) -> theme_paper:
        panel = copy(self)
        panel.columns = 1
        if self._width is not None and not self.is_stacked:
            panel._width = self._width / 2
        return panel

    def _room(self, width: float, height: float, fits: bool) -> tuple[float, float, float]:
        wanted = self._base / _SCREEN
        columns = self.columns or (1 if width * wanted * SHRINKING <= COLUMNS[1] else 2)
        room = self._width or COLUMNS[columns]
        scale = max(min(wanted, room / width), SMALLEST / _LABELS)
        if fits and scale < SHRINKING * wanted:  # panels one below the other, upright labels
            scale = wanted
        return room, math.inf, scale


class theme_slide(Fitted):  # noqa: N801
    """A theme for slides: as large as a slide of 16 : 9 has room for below its title. Add it last.

    A PNG of `dpi=144` fits a projector of 1920 × 1080. Type has at least 14 points, unless there
    are too many tokens for it. The background is the figure's
    own: make figures with `style="dark"` for dark slides.

    Args:
        family: `sans` (DejaVu Sans), `serif` (STIX, similar to Times), or an installed font.
        width, height: the largest size in inches.
        svg_text: as in `theme_paper`.

    Raises:
        RequestError: a font that is not installed, or a size that is not above 0.
    """

    def __init__(
        self,
        family: str = "sans",
        width: float = SLIDE[0],
        height: float = SLIDE[1],
        svg_text: bool = True,
    ) -> None:
        if not (width > 0 and height > 0):
            raise RequestError(
                f"width and height must be above 0 inches, got {width!r} and {height!r}."
            )
        super().__init__(_SCREEN, family, svg_text, signs=False)
        self._largest = (width, height)

    def of_panel(self, above: float = 0.0) -> theme_slide:
        panel = copy(self)
        panel._largest = (self._largest[0] / 2, self._largest[1] - above)
        return panel

    def _room(self, width: float, height: float, fits: bool) -> tuple[float, float, float]:
        most, high = self._largest
        scale = max(min(most / width, high / height), SMALLEST_ON_SLIDE / _LABELS)
        return min(most, width * scale), high, scale


def _type_theme(size: float, families: UserList[str], bare: bool) -> p9.theme:
    """A theme with all type relative to one base size, in points; bare has no background."""
    sizes: dict[str, Any] = {
        name: p9.element_text(size=part * size) for name, part in _TEXTS.items()
    }
    if bare:
        sizes["plot_background"] = p9.element_rect(fill="none", color="none")
    text = p9.element_text(family=cast(Any, families), size=size)
    return p9.theme(text=text, **cast(Any, sizes))
