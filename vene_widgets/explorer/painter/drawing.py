"""Figure orders -> plotnine figures, pictures and files."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vene_widgets.errors import choose
from vene_widgets.explorer.painter.orders import THEMES, Drawing, DrawnFiles, FigureOrder, Picture

if TYPE_CHECKING:
    import pandas as pd
    import plotnine as p9
    from plotnine.composition import Compose

SCREEN_DPI = 110
"""Resolution of the screen's pictures."""

CSS_DPI = 96
"""CSS pixels per inch."""


def compose(order: FigureOrder) -> p9.ggplot | Compose:
    """Build the plotnine figure of an order: one plot, or two side by side for `result`.

    Raises:
        RequestError: an unknown theme, or a frame that lacks a column.
    """
    from vene_widgets import figures

    theme = _theme(order)
    options = {**order.options, "style": "dark" if order.theme == "dark" else "light"}
    if order.kind == "result":
        frames = order.frames["token_heatmap"], order.frames["difference_panel"]
        return figures.result(*frames, **options, look=theme)
    frame = order.frames[order.kind]
    plot = getattr(figures, figure_of(order.kind, frame))(frame, **options)
    return plot if theme is None else plot + theme


def figure_of(kind: str, frame: pd.DataFrame) -> str:
    """The name of the function that draws a kind of figure: maps of all heads have their own."""
    from vene_widgets.figures.map_layout import has_head_columns

    return "head_map" if kind == "sweep_map" and has_head_columns(frame) else kind


def _theme(order: FigureOrder) -> p9.theme | None:
    """The theme to add to an order's plots; None to keep their own."""
    if not isinstance(order.theme, str):
        return order.theme
    name = choose(order.theme, THEMES, "theme", "A plotnine theme is valid too.")
    if name in ("screen", "dark"):
        return None
    from vene_widgets.figures.paper import theme_paper, theme_slide

    return theme_slide() if name == "slide" else theme_paper()


def draw(order: FigureOrder, dpi: int = SCREEN_DPI) -> Drawing:
    """Draw an order with plotnine: its files if it lists formats, else the screen's picture."""
    from vene_widgets import figures

    if order.formats:
        return draw_files(order)
    png = figures.png(compose(order), dpi=dpi)
    width, height = struct.unpack(">II", png[16:24])  # the PNG header's own size fields
    options = {name: value for name, value in order.options.items() if name != "setup"}
    alt = " ".join(
        # A result's options belong to its difference panel.
        figures.alt_text(frame, kind, **(options if kind != "token_heatmap" else {}))
        for kind, frame in order.frames.items()
    )
    return Picture(png, round(width * CSS_DPI / dpi), round(height * CSS_DPI / dpi), alt)


def draw_files(order: FigureOrder) -> DrawnFiles:
    """Draw an order's files, one per format."""
    from vene_widgets import figures

    plot = compose(order)
    return DrawnFiles({name: figures.as_bytes(plot, name, order.dpi) for name in order.formats})
