"""result: the two panels of one experiment, side by side or one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, shown
from vene_widgets.figures import theme
from vene_widgets.figures.difference import difference_panel
from vene_widgets.figures.heading import height_of, lettered, subtitle
from vene_widgets.figures.heatmap import token_heatmap
from vene_widgets.figures.layout import MARGINS, below, beside
from vene_widgets.figures.needs import validate_frame
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
    if isinstance(look, Fitted):
        look = look.of_panel()
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
    plots, own = [heatmap, panel], [plot.theme.getp("figure_size") for plot in (heatmap, panel)]
    # Of one size, so that a theme gives both the same type.
    largest = theme.sized(max(w for w, _ in own), max(h for _, h in own))
    plots = [plot + largest if look is None else plot + largest + look for plot in plots]
    sizes = [plot.theme.getp("figure_size") for plot in plots]
    type_size = cast(Any, plots[0].theme).getp(("plot_subtitle", "size"))
    width = max(w for w, _ in sizes) * (1 if stacked else 2) - MARGINS
    lines = subtitle(setup, None, width, type_size) or ""
    more = height_of(setup, False, width, type_size)
    made: list[p9.ggplot] = []
    for n, (plot, (w, h)) in enumerate(zip(plots, sizes, strict=True)):
        own = lettered(n, str(plot.labels.subtitle))
        # Side by side, the second panel leaves room for the lines above both.
        above = lines if n == 0 else "" if stacked else "\n" * lines.count("\n") + " "
        text = f"{above}\n{own}" if lines and (n == 0 or not stacked) else own
        made.append(plot + p9.labs(subtitle=text) + theme.sized(w, round(h + more, 2)))
    return below(*made) if stacked else beside(*made)
