"""circuit_bars: the metric with all heads, with only a circuit, without it, and without heads."""

from __future__ import annotations

import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError
from vene_widgets.figures.bars import signed_bars

NEEDED = ("heads_kept", "value", "faithfulness")


def circuit_bars(
    frame: pd.DataFrame,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """The metric of the four runs of a circuit as bars, each with its faithfulness in percent.

    Args:
        frame: from `Circuit.frame`.
        title: above the figure.
        setup: what was run, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a column, or an unknown style.
    """
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise RequestError(f"circuit_bars needs column {missing[0]!r}: draw it from Circuit.frame.")
    if frame.empty:
        raise RequestError("circuit_bars: the frame has no rows.")
    values = [float(value) for value in frame["value"]]
    texts: list[str] = []
    for value, share in zip(values, frame["faithfulness"].astype(float), strict=True):
        percent = f" ({100 * share:.0f} %)" if share == share else ""  # NaN
        texts.append(f"{value:.3g}{percent}".replace("-", "−"))
    return signed_bars(
        [*map(str, frame["heads_kept"])],
        values,
        "metric (share of the whole model's)",
        texts=texts,
        title=title,
        setup=setup,
        style=style,
    )
