"""result: the two panels of one experiment, side by side or one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import plotnine as p9
from plotnine.themes.elements import margin

from vene_widgets.errors import RequestError, shown
from vene_widgets.figures import theme
from vene_widgets.figures.difference import difference_panel
from vene_widgets.figures.heading import LETTERS, SMALL, height_of, setup_lines
from vene_widgets.figures.heatmap import token_heatmap
from vene_widgets.figures.layout import below, beside
from vene_widgets.figures.needs import validate_frame
from vene_widgets.figures.palette import Palette, palette_of
from vene_widgets.figures.paper import Fitted

if TYPE_CHECKING:
    from plotnine.composition import Compose


def result(
    tokens: pd.DataFrame,
    difference: pd.DataFrame,
    before: str = "base",
    after: str = "intervened",
    *,
    setup: str | None = None,
    style: str = "light",
    look: p9.theme | None = None,
) -> Compose:
    """One experiment in two panels: **a**, P of every run; **b**, P before and after.

    Both have the tokens of the difference, in its order, so that a row is one token in both.

    Args:
        tokens: from `frames.token_frame`, with every token of `difference`; others are left out.
        difference: from `frames.difference_frame`.
        before, after: names of the two distributions of `difference`.
        setup: what was run, in a line above both.
        style: `light` or `dark`.
        look: a plotnine theme for both panels. `theme_paper(columns=1)` puts b below a.

    Raises:
        RequestError: a frame is empty or lacks a required column, or an unknown style.
    """
    stacked = isinstance(look, Fitted) and look.is_stacked
    difference = validate_frame(difference, "difference_panel")
    tokens = validate_frame(tokens, "token_heatmap")
    known = set(tokens["token_id"])
    if missing := [row.label for row in difference.itertuples() if row.token_id not in known]:
        raise RequestError(
            f"result: tokens lacks {shown(missing[0])} of difference; make it with "
            "frames.token_frame(..., also=difference['token_id'])."
        )
    order = {token: n for n, token in enumerate(difference["token_id"])}
    rows = tokens[tokens["token_id"].isin(order)]
    rows = rows.sort_values("token_id", key=lambda ids: ids.map(order), kind="stable")
    heatmap = token_heatmap(rows, style=style)
    panel = difference_panel(difference, before=before, after=after, style=style)
    if not stacked:
        # The rows have their names at the left panel.
        panel += p9.theme(axis_text_y=p9.element_blank())
    own = [plot.theme.getp("figure_size") for plot in (heatmap, panel)]
    # Of one size, so that a theme gives both the same type.
    largest = theme.sized(max(w for w, _ in own), max(h for _, h in own))
    plots = [heatmap + largest, panel + largest]
    above: list[str] = []
    if not isinstance(look, Fitted):
        plots = plots if look is None else [plot + look for plot in plots]
        above = setup_lines(setup, _widest(plots, stacked), _type_size(plots[0]))
    else:
        room, fitted = look.of_panel(), plots
        for _ in range(3):  # smaller type needs less room for the lines above, and the other way
            fitted = [plot + room for plot in plots]
            size = min(map(_type_size, fitted))
            above = setup_lines(setup, _widest(fitted, stacked), size)
            room = look.of_panel(_height_above(above, size))
            room.most = size / SMALL
        plots = [plot + room for plot in plots]
    return _composed(plots, above, stacked, palette_of(style))


def _composed(plots: list[p9.ggplot], above: list[str], stacked: bool, palette: Palette) -> Compose:
    """The lettered panels, with lines above both."""
    size = _type_size(plots[0])
    more = _height_above(above, size)
    made: list[p9.ggplot] = []
    for n, plot in enumerate(plots):
        width, height = plot.theme.getp("figure_size")
        # The letter is a text of its own, as it is bold: left of the label, below the other lines.
        own = f"      {plot.labels.subtitle}"
        # Side by side, the second panel leaves room for the lines above both.
        lines = above if n == 0 else [] if stacked else [" "] * len(above)
        text = "\n".join([*lines, *([" "] if lines else []), own])
        down = theme.LINE_SPACING * size * text.count("\n")
        letter = p9.element_text(
            size=size,
            weight="bold",
            color=palette.ink,
            linespacing=theme.LINE_SPACING,
            margin=margin(t=down, unit="pt"),
        )
        look = p9.theme(
            plot_tag=letter, plot_tag_location="plot", plot_tag_position="topleft"
        ) + theme.sized(width, round(height + more, 2))
        made.append(plot + p9.labs(subtitle=text, tag=LETTERS[n]) + look)
    return below(*made) if stacked else beside(*made)


def _type_size(plot: p9.ggplot) -> float:
    """Size of the type of a plot's labels, in points."""
    return cast(Any, plot.theme).getp(("plot_subtitle", "size"))


def _widest(plots: list[p9.ggplot], stacked: bool) -> float:
    """Width in inches of two panels together."""
    return max(plot.theme.getp("figure_size")[0] for plot in plots) * (1 if stacked else 2)


def _height_above(lines: list[str], size: float) -> float:
    """Height in inches of the lines above both panels, with an empty one below them."""
    return height_of(len(lines) + bool(lines), size) - (0.1 if lines else 0)
