"""TokenLayout: the layout of figures whose rows are tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vene_widgets.figures.heading import MARGINS, SMALL, heading, title_width
from vene_widgets.figures.labels import label, width_of
from vene_widgets.figures.needs import run_names, token_labels
from vene_widgets.tables.number_text import percent_number

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.figures.room import Room

ROW = 0.235
"""Height of a token's row in inches."""

LOWEST_ROW = 0.145
"""The same where height is scarce: labels almost touch."""

_LEGEND_KEY = 0.5
"""Width of a legend's mark and gaps, in inches."""


class TokenLayout:
    """Layout of a figure whose rows are tokens, in inches.

    Args:
        data: what the figure is drawn from.
        kind: `token_heatmap`, `difference_panel` or `distribution_dots`.
        title, setup: of the figure.
        named: the panel's label; None without.
        room: to lay it out for; None for as much as it needs.

    Attributes:
        size: width and height of the figure.
        heading: what stands above the panel.
        has_upright_runs: whether the runs' names are upright, because they are too wide.
        legend_columns: names of runs per line of the legend.
    """

    def __init__(
        self,
        data: pd.DataFrame,
        kind: str,
        title: str | None = None,
        setup: str | None = None,
        named: str | None = None,
        room: Room | None = None,
    ) -> None:
        tokens = token_labels(data)
        labels, count = width_of(tokens.values(), SMALL), len(tokens)
        self.has_upright_runs, self.legend_columns = False, 1
        row, below = ROW, 0.3
        if kind == "difference_panel":
            least, width, below = labels + 2.5, labels + 3.4, 0.8
        else:
            runs = column_names(data)
            widest, lines = width_of(runs, SMALL), 1 + max(run.count("\n") for run in runs)
            if kind == "token_heatmap":
                number = width_of(map(percent_number, data["probability"]), SMALL) + 0.06
                least = labels + 0.25 + len(runs) * number
                width = labels + 0.25 + len(runs) * max(0.62, widest + 0.14)
                width = max(width, labels + 1.6)
                if room and (room.width - labels - 0.25) / len(runs) < widest + 0.06:
                    # Lines of an upright name stand side by side.
                    self.has_upright_runs = True
                    least = max(least, labels + 0.25 + len(runs) * 0.15 * lines)
                    below += widest - 0.15
                else:
                    below += 0.135 * (lines - 1)
            else:
                key = widest + _LEGEND_KEY
                least, width = labels + 2.2, labels + max(3.4, min(len(runs) * key, 5.6) + 0.3)
                across = (room.width if room else width) - labels - 0.3  # it is above the panel
                if sum(width_of([run], SMALL) + _LEGEND_KEY for run in runs) <= across:
                    self.legend_columns = len(runs)
                else:
                    self.legend_columns = max(1, int(across / key))
                legend = 0.16 * lines * math.ceil(len(runs) / self.legend_columns)
                row += 0.055 * max(0, len(runs) - 2)  # a row holds one dot below the other
                below += 0.59 + legend
        if room is None and title:
            width = max(width, title_width(title))
        if room is None and named:
            width = max(width, width_of([named], SMALL) + MARGINS)
        if room:
            width = max(room.width, least)
        self.heading = heading(title, setup, named, width)
        rest = below + self.heading.height
        if room:
            row = min(row, max(LOWEST_ROW, (room.height - rest) / count))
        self.size = round(width, 2), round(rest + row * count, 2)


def column_names(data: pd.DataFrame) -> list[str]:
    """Names of the columns of a token frame's figure: runs of equal probabilities share one.

    Such a column has the runs' names one below the other, joined by `=`.
    """
    return list(dict.fromkeys(shared_names(data).values()))


def shared_names(data: pd.DataFrame) -> dict[str, str]:
    """Run -> name of the column or mark that it shares with the runs it equals, token by token."""
    names: dict[tuple[Any, ...], list[str]] = {}
    for run in run_names(data):
        own = data[data["run"] == run]
        key = tuple(sorted(zip(own["token_id"], own["probability"], strict=True)))
        names.setdefault(key, []).append(run)
    return {
        run: "\n= ".join(label(each) for each in group) for group in names.values() for run in group
    }
