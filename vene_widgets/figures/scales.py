"""Scales that figures share, their limits and breaks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import plotnine as p9

from vene_widgets.figures.map_layout import LINE, axis_title, layer_breaks
from vene_widgets.figures.palette import Palette
from vene_widgets.tables.metrics import Metric

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from plotnine.ggplot import PlotAddable

NO_MINOR: dict[str, Any] = {"minor_breaks": ()}
"""Arguments of a scale: the theme draws no minor breaks, but plotnine would compute them."""

DECADES = 30.0
"""An axis of probabilities is logarithmic if the largest is more than this times the smallest."""

FLOOR = 1e-7
"""Smallest probability of a logarithmic axis; smaller ones are drawn there."""

FAINT_RECOVERY = 0.02
"""Decreases of recovery up to this are drawn like 0: they need no colours of their own."""

RECOVERY_ENDS = ("0 = base", "1 = source")
"""What recovery is in the plain runs."""


def layer_scale(layers: list[int], row: float) -> PlotAddable:
    """The y axis of a map: a row per layer, labels as `layer_breaks` says.

    Args:
        layers: ascending.
        row: height of a layer in inches.
    """
    return p9.scale_y_continuous(
        **NO_MINOR,
        breaks=layer_breaks(layers, row),
        limits=(layers[0] - 0.5, layers[-1] + 0.5),
        expand=(0, 0),
    )


def ceiling(value: float, most: float = 1.0) -> float:
    """Round up to a multiple of half the leading digit's unit, as the end of a scale.

    Args:
        value: largest value on the scale; 0.37 gives 0.4, 0.31 gives 0.35.
        most: upper limit of the result.

    Returns:
        1 if the value is 0 or NaN.
    """
    if not value > 1e-12:  # also NaN
        return 1.0
    # Tolerances keep a value that is a multiple already, whatever its rounding.
    power = 10.0 ** math.floor(math.log10(value) - 1e-9)
    return min(math.ceil(2 * value / power - 1e-9) / 2 * power, most)


def probability_limit(largest: float) -> float:
    """Where a scale of probabilities ends: at 1, or if all are below 0.1, at 1, 2 or 5 × 10ⁿ.

    The map on the screen ends at the same number.
    """
    if not 1e-12 < largest < 0.1:  # also NaN
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest) + 1e-9)
    step = next(s for s in (1, 2, 5, 10) if s >= largest / power - 1e-9)
    return float(f"{step * power:.6g}")


def step_of(reach: float) -> float:
    """Distance of the breaks on a scale from 0 to `reach`: two to four of them besides 0."""
    power = 10.0 ** math.floor(math.log10(reach))
    return next(s * power for s in (0.2, 0.25, 0.5, 1, 2, 2.5) if reach / (s * power) < 4.6)


def fill_limits(
    data: pd.DataFrame, metric: Metric
) -> tuple[tuple[float, float], NDArray[np.floating[Any]]]:
    """Limits of the fill scale, and the values clipped to them, NaN for cells that were not run.

    Args:
        data: a sweep's rows.
        metric: what is shown of them.
    """
    values = data[metric.column].astype("Float64").to_numpy(float, na_value=np.nan)
    if metric.scale == "share":
        return recovery_limits(values)
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if len(finite) else 0.0
    if metric.name == "rank":
        return (1.0, max(10.0, largest)), values
    is_probability = metric.range[1] == 1.0  # or a difference of probabilities
    top = probability_limit(largest) if is_probability else ceiling(largest, math.inf)
    limits = (-top, top) if metric.diverging else (0.0, top)
    return limits, np.clip(values, *limits)


def fill_scale(
    metric: Metric, limits: tuple[float, float], palette: Palette, bar: float
) -> PlotAddable:
    """The fill scale of a metric, with its colour bar; probabilities are in percent.

    Args:
        metric: what is shown.
        limits: of the values.
        palette: the colours.
        bar: height of the colour bar in inches; a low one has fewer numbers.
    """
    if metric.scale == "share":
        return recovery_scale(limits, palette)
    guide = p9.guide_colorbar(display="rectangles", nbin=25)
    options: dict[str, Any] = {"limits": limits, "guide": guide, "name": axis_title(metric)}
    if metric.name == "rank":
        # Logarithmic, rank 1 darkest: the difference of ranks 1 and 2 matters more than of 101
        # and 102.
        steps = (1, 2, 5) if limits[1] < 100 else (1,)
        breaks = [s * 10.0**d for d in range(5) for s in steps if s * 10.0**d <= limits[1]]
        return p9.scale_fill_gradientn(
            palette.sequential[::-1],
            trans="log10",
            breaks=breaks,
            labels=[f"{b:.0f}" for b in breaks],
            **options,
        )
    colours = palette.diverging if metric.diverging else palette.sequential
    step, sides = step_of(limits[1]), 2 if metric.diverging else 1
    if sides * int(limits[1] / step + 1e-9) * LINE > bar:
        step *= 2
    count = int(limits[1] / step + 1e-9)
    breaks = [step * n for n in range(-count if metric.diverging else 0, count + 1)]
    sign, unit = "+" if metric.diverging else "", 100 if metric.range[1] == 1.0 else 1
    labels = [f"{unit * b:{sign}.3g}".replace("-", "−") if b else "0" for b in breaks]
    return p9.scale_fill_gradientn(colours, breaks=breaks, labels=labels, **options)


def recovery_limits(
    values: NDArray[np.floating[Any]],
) -> tuple[tuple[float, float], NDArray[np.floating[Any]]]:
    """Limits of a scale of recovery, and the values clipped to them.

    It goes from 0, the base run, to 1, the source run, or from −1 if there are clear decreases.
    A value has the same colour on both.
    """
    low = -1.0 if np.nanmin(values, initial=0.0) < -FAINT_RECOVERY else 0.0
    return (low, 1.0), np.clip(values, low, 1.0)


def recovery_scale(limits: tuple[float, float], palette: Palette) -> PlotAddable:
    """The fill scale of recovery: both plain runs are named on its bar."""
    breaks = [-1.0, 0.0, 1.0] if limits[0] < 0 else [0.0, 0.5, 1.0]
    names = {-1.0: "−1", 0.0: RECOVERY_ENDS[0], 1.0: RECOVERY_ENDS[1]}
    options: dict[str, Any] = {
        "limits": limits,
        "breaks": breaks,
        "labels": [names.get(each, f"{each:g}") for each in breaks],
        "guide": p9.guide_colorbar(display="rectangles", nbin=25),
        "name": "recovery",
    }
    colours = palette.diverging if limits[0] < 0 else palette.sequential
    return p9.scale_fill_gradientn(colours, **options)


def probability_axis(smallest: float, largest: float) -> tuple[bool, float, float, list[float]]:
    """An axis of probabilities: log where they span decades, else from 0.

    Args:
        smallest: the smallest one above 0; NaN if there is none.
        largest: the largest one.

    Returns:
        Whether it is logarithmic, its first and its last value, and its breaks.
    """
    if not smallest < largest / DECADES:  # also NaN
        top = ceiling(largest)
        step = step_of(top)
        # A tolerance, as float division may end just below an integer.
        return False, 0.0, top, [step * i for i in range(int(top / step + 1e-9) + 1)]
    low = math.floor(math.log10(max(smallest, FLOOR)) + 1e-9)
    high = math.ceil(math.log10(largest) - 1e-9)
    every = 1 if high - low < 6 else 2
    return True, 10.0**low, 10.0**high, [10.0**d for d in range(high, low - 1, -every)][::-1]
