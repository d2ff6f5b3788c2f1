"""theme_paper: any figure of this package in a paper's column, small, embedded, safe in grey."""

from __future__ import annotations

from typing import Any, cast

import plotnine as p9

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures import theme

COLUMNS = {1: 3.25, 2: 6.75}
"""Width in inches of one column, and of the text over two, as ICML's and ACL's pages have them."""

SMALLEST = 5.0
"""Points below which type is not made smaller, whatever the width."""

SHRINKING = 0.85
"""How much smaller type may become, so that a figure fits one column rather than two."""

_TEXTS = {
    **dict.fromkeys(("axis_text_x", "axis_text_y", "axis_title_x", "axis_title_y"), 0.9),
    **dict.fromkeys(("legend_text", "legend_title", "plot_caption", "plot_subtitle"), 0.9),
    "plot_title": 1.15,
    "strip_text": 1.0,
}
"""Sizes of texts in parts of the base size."""

_SCREEN = 9  # points, for which the sizes of figures are made


class theme_paper(p9.theme):  # noqa: N801  # plotnine's themes are named so
    """A theme for print: a column wide, small type, fonts that publishers take. Add it last.

    The height follows the type, and type shrinks, to 5 points at least, where labels need it. PDF
    embeds its fonts as Type 42 (TrueType), which can be searched. Nothing is told by colour alone:
    fills are even steps of lightness, runs have shapes, and tiles of a map of differences get a
    minus sign below 0, as both ends of that scale are equally dark.

    Args:
        base_size: of the type, in points.
        family: `sans` (DejaVu Sans), `serif` (STIX, which looks like Times), or an installed font.
        columns: 1 or 2; None is the smaller one that the labels fit in.
        svg_text: as text, which can be searched and changed but needs the font, or as paths.

    Raises:
        RequestError: a font that is not installed, no such number of columns, or a size below 5.

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
    ) -> None:
        if columns not in (None, *COLUMNS):
            raise RequestError(f"columns {columns!r} is not known; valid: 1, 2, or None to choose.")
        if not base_size >= SMALLEST:
            raise RequestError(
                f"base_size {base_size!r} does not fit; {SMALLEST:g} points or more can be read."
            )
        named = {"sans": theme.SANS, "serif": theme.SERIF}
        if family not in named:
            choose(
                family, sorted({*named, *theme.installed()}), "family", "These are installed here."
            )
        self._base, self._columns = base_size, columns
        self._families = theme.families(named.get(family, family))
        super().__init__(svg_usefonts=svg_text)
        self.themeables.update(_look(base_size, self._families).themeables)

    def __radd__(self, other: Any) -> Any:
        """Fit a figure: plotnine asks this of a theme that is added, and hands a copy over."""
        if isinstance(other, p9.theme):
            return super().__radd__(other)
        width, height = other.theme.getp("figure_size")
        wanted = self._base / _SCREEN
        columns = self._columns or (1 if width * wanted * SHRINKING <= COLUMNS[1] else 2)
        scale = max(min(wanted, COLUMNS[columns] / width), SMALLEST / _SCREEN)
        blank = [name for name in _TEXTS if other.theme.themeables.is_blank(name)]
        other = super().__radd__(other)
        other.theme = other.theme.add_theme(
            _look(_SCREEN * scale, self._families)
            + theme.sized(COLUMNS[columns], round(height * scale, 2))
            + p9.theme(**cast(Any, {name: p9.element_blank() for name in blank}))
        )
        other.theme._rcParams = {**other.theme._rcParams, "pdf.fonttype": 42}  # for plot.save
        for layer in other.layers:
            params = layer.geom.params
            if "family" in params and "text_size" in params:  # a mark of `geoms`
                params |= {
                    "family": self._families,
                    "text_size": params["text_size"] * scale,
                    "signs": True,
                }
        return other


def _look(size: float, families: Any) -> p9.theme:
    """Type of one size, and no background."""
    sizes = {name: p9.element_text(size=part * size) for name, part in _TEXTS.items()}
    background = p9.element_rect(fill="none", color="none")
    text = p9.element_text(family=families, size=size)
    return p9.theme(text=text, plot_background=background, **cast(Any, sizes))
