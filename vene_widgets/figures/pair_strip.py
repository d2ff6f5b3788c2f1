"""pair_strip: the pairs behind one tile of a `pair_map`, a dot each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import plotnine as p9

from vene_widgets.errors import RequestError, shown
from vene_widgets.figures import theme
from vene_widgets.figures.heading import MARGINS, SMALL, TEXT, heading
from vene_widgets.figures.labels import width_of
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.map_layout import axis_title
from vene_widgets.figures.needs import PAIR_METRICS
from vene_widgets.figures.notes import place_words
from vene_widgets.figures.pair_panels import metric_of
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.room import Made, Room, arrangeable
from vene_widgets.figures.scales import NO_MINOR
from vene_widgets.tables.number_text import NO_BREAK, significant

if TYPE_CHECKING:
    from plotnine.ggplot import PlotAddable

WIDTH, HEIGHT, DOT = 5.0, 1.6, 0.055
"""Inches: width of the figure, height of the dots' panel, and the width of a dot's column."""

MOST_NAMED, FENCE = 5, 1.5
"""Outliers that are named; they are further from the quartiles than this many of their ranges."""

REACH = 1.0
"""How far the axis goes beyond the middle 98 % and the plain runs, as a part of what they span."""

TOP, NAMES = 1.0, -1.5
"""Heights: where dots end at most, above and below their middle; where outliers are named."""


def pair_strip(
    values: pd.Series[float],
    *,
    reference: Mapping[Any, Any] | pd.Series[Any] | None = None,
    title: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """The pairs behind one tile of a `pair_map`: a dot each, stacked where they are close.

    Lines mark the plain base and source runs. The outliers have the numbers of their rows, for
    `PairSweep.pair`; those too far away for the axis are triangles at its end.

    Args:
        values: from `PairSweep.values`: one number per pair, by the pair's row.
        reference: the tile's row of `PairSweep.summary`, for its mean, its interval and the means
            of the plain runs. Without it the mean is that of the values, without an interval,
            and only `recovery` and changes have lines.
        title: above the figure.
        style: `light` or `dark`.

    Raises:
        RequestError: no Series of a known metric, no finite value, or a reference of another
            metric or without the columns.

    Example:
        >>> import vene_widgets as vw
        >>> spain, italy = "The capital of Spain is", "The capital of Italy is"
        >>> pairs = [
        ...     {"base": spain, "source": italy, "targets": (" Rome", " Madrid")},
        ...     {"base": italy, "source": spain, "targets": (" Madrid", " Rome")},
        ... ]
        >>> swept = vw.sweep_pairs(vw.load(), pairs, controls=())
        >>> figure = vw.figures.pair_strip(swept.values(3, "4"))
    """
    palette, metric = palette_of(style), _checked(values)
    row = _checked_reference(reference, metric)
    confidence = reference.attrs.get("confidence") if isinstance(reference, pd.Series) else None
    unit = 100.0 if metric in ("probability", "delta") else 1.0
    kept: Any = unit * values[np.isfinite(values.to_numpy(float))].astype(float)
    mean, low, high = (unit * float(row.get(name, np.nan)) for name in ("mean", "low", "high"))
    if row.empty:
        mean = float(kept.mean())
    lines = _lines(row, metric, unit)
    ends = [at for at in (*lines.values(), mean, low, high) if np.isfinite(at)]
    left, right = _limits(kept, ends)
    far = _outliers(kept)
    setup = _setup(values, kept, row, (mean, low, high), confidence, bool(far))
    runs = pd.DataFrame({"x": [*lines.values()], "label": [*lines], "y": TOP + 0.22})
    estimate = pd.DataFrame({"x": [mean], "low": [low], "high": [high], "y": [-TOP - 0.3]})
    dot = 1.7 if len(kept) <= 60 else 1.3 if len(kept) <= 400 else 0.9
    axis = "recovery (0 = base, 1 = source)" if metric == "recovery" else ""

    def make(room: Room | None) -> Made:
        width = WIDTH if room is None else room.width
        above, inside = heading(title, setup, None, width), width - MARGINS
        dots: Any = _stacked(kept, (left, right), max(10, int(inside / DOT)))
        side: Any = np.sign(dots["value"] - dots["x"])
        names = _named(dots.loc[far], 1.16 * (right - left) / inside, (left, right))
        own: dict[str, Any] = {"inherit_aes": False, "na_rm": True}
        parts: list[PlotAddable] = [
            p9.geom_segment(
                p9.aes("x", -TOP - 0.1, xend="x", yend=TOP + 0.15), runs, color=palette.quiet,
                size=0.4, **own,
            ),
            p9.geom_text(
                p9.aes("x", "y", label="label"), runs, color=palette.quiet, size=SMALL,
                va="bottom", **own,
            ),
            p9.geom_point(data=dots[side == 0], color=palette.up, size=dot, stroke=0, alpha=0.7),
            p9.geom_point(data=dots[side < 0], color=palette.down, size=1.8, stroke=0, shape="<"),
            p9.geom_point(data=dots[side > 0], color=palette.down, size=1.8, stroke=0, shape=">"),
            p9.geom_segment(
                p9.aes("x", "y", xend="at", yend=NAMES), names, color=palette.hatch, size=0.25,
                **own,
            ),
            p9.geom_text(
                p9.aes("at", NAMES, label="label"), names, color=palette.ink, size=SMALL,
                va="top", **own,
            ),
            p9.geom_segment(
                p9.aes("low", "y", xend="high", yend="y"), estimate, color=palette.ink, size=0.9,
                **own,
            ),
            p9.geom_point(
                p9.aes("x", "y"), estimate, color=palette.ink, size=1.9, stroke=0, shape="D", **own
            ),
            p9.scale_x_continuous(
                **NO_MINOR,
                limits=(left, right),
                expand=(0.08, 0),
                labels=lambda breaks: [significant(float(each)) for each in breaks],
            ),
            p9.scale_y_continuous(
                **NO_MINOR, limits=(NAMES - 0.35 * bool(far), TOP + 0.6), breaks=(), expand=(0, 0)
            ),
            p9.labs(
                title=above.title,
                subtitle=above.subtitle,
                x=axis or axis_title(metric_of(metric)),
            ),
            theme.theme_vene(TEXT, palette),
            theme.sized(round(width, 2), round(above.height + HEIGHT + 0.5, 2)),
            p9.theme(
                axis_title_y=p9.element_blank(),
                panel_grid_major_x=p9.element_line(color=palette.faint, size=0.5),
            ),
        ]  # fmt: skip
        return compose_plot(dots, p9.aes("x", "y"), *parts), lambda scale: p9.theme()

    return arrangeable(make)


def _checked(values: Any) -> str:
    """The metric of some values.

    Raises:
        RequestError: no Series, no known metric, or no finite value.
    """
    if not isinstance(values, pd.Series):
        raise RequestError(
            f"pair_strip: expected a Series from PairSweep.values, got {type(values).__name__}."
        )
    if values.name not in PAIR_METRICS:
        raise RequestError(
            f"pair_strip: the Series' name must be a metric, {', '.join(map(repr, PAIR_METRICS))}, "
            f"got {values.name!r}."
        )
    found = cast(Any, values)
    if not np.isfinite(found.to_numpy(float)).any():
        raise RequestError(
            f"pair_strip: the Series has {len(found)} values and none is finite; expected at "
            "least one."
        )
    return str(found.name)


def _checked_reference(reference: Any, metric: str) -> pd.Series[Any]:
    """A tile's row of the summary; empty for None.

    Raises:
        RequestError: no such row, or one of another metric.
    """
    if reference is None:
        return pd.Series(dtype=object)
    if not isinstance(reference, Mapping | pd.Series):
        raise RequestError(
            "pair_strip: reference must be a row of PairSweep.summary, as in "
            f"summary.iloc[0], got {type(reference).__name__}."
        )
    row: Any = pd.Series(dict(cast(Any, reference)), dtype=object)
    needed = ("metric", "mean", "low", "high", "base_mean", "source_mean", "n", "units")
    if missing := [name for name in needed if name not in row.index]:
        raise RequestError(
            f"pair_strip: reference lacks {', '.join(map(repr, missing))}; expected a row of "
            "PairSweep.summary."
        )
    if row["metric"] != metric:
        raise RequestError(
            f"pair_strip: reference is of metric {shown(row['metric'])} and the values are of "
            f"{shown(metric)}; expected the same."
        )
    return row


def _lines(row: pd.Series[Any], metric: str, unit: float) -> dict[str, float]:
    """The metric in the plain runs by their names; those that coincide share a line."""
    known = {"recovery": {"base": 0.0, "source": 1.0}, "probability": {}, "logit_difference": {}}
    found = known.get(metric, {"base": 0.0})
    if not row.empty:
        found = {run: unit * float(row[f"{run}_mean"]) for run in ("base", "source")}
    found = {run: at for run, at in found.items() if np.isfinite(at)}
    if len({*found.values()}) < len(found):
        return {" = ".join(found): next(iter(found.values()))}
    return found


def _limits(values: Any, others: list[float]) -> tuple[float, float]:
    """Ends of the axis: all values, unless a few are far beyond the others and the plain runs."""
    core = [*np.quantile(values, [0.01, 0.99]), *others]
    low, high = float(min(core)), float(max(core))
    reach = REACH * ((high - low) or 1.0)
    return max(low - reach, min(low, values.min())), min(high + reach, max(high, values.max()))


def _outliers(values: Any) -> list[Any]:
    """The index of the furthest values beyond Tukey's fences, at most `MOST_NAMED` of them."""
    first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
    fence = FENCE * (third - first)
    out = values[(values < first - fence - 1e-9) | (values > third + fence + 1e-9)]
    order: Any = (out - middle).abs().sort_values(ascending=False, kind="stable")
    return [*order.index[:MOST_NAMED]]


def _stacked(values: Any, limits: tuple[float, float], bins: int) -> pd.DataFrame:
    """The dots: `value`, `x` within the limits, `y` from −TOP to TOP; stacks of close values.

    Dots of one column stand around the middle, ever closer where there are many.
    """
    # In random order, as sorted ones would make slanting lines.
    values = values.iloc[np.random.default_rng(0).permutation(len(values))]
    x = values.clip(*limits)
    width = (limits[1] - limits[0]) / bins
    column = np.floor((x - limits[0]) / width).astype(int)
    place: Any = column.groupby(column).cumcount()
    count: Any = column.groupby(column).transform("size")
    step = min(DOT / HEIGHT * 3, 2 * TOP / max(1, int(count.max()) - 1))
    y = (place - (count - 1) / 2) * step
    return pd.DataFrame({"value": values, "x": x, "y": y})


def _named(far: pd.DataFrame, inch: float, limits: tuple[float, float]) -> pd.DataFrame:
    """The numbers of outliers' rows side by side below the dots, each as close to its own as fits.

    Args:
        far: the outliers' dots.
        inch: units of x per inch.
        limits: of x.
    """
    far = far.sort_values("x", kind="stable")
    texts = [str(index) for index in far.index]
    widths = [inch * (width_of([text], SMALL) + 0.07) for text in texts]
    at = [float(x) for x in far["x"]]
    for n in range(1, len(at)):
        at[n] = max(at[n], at[n - 1] + (widths[n - 1] + widths[n]) / 2)
    end = limits[1]
    for n in range(len(at) - 1, -1, -1):
        at[n] = min(at[n], end)
        end = at[n] - (widths[n] + widths[n - 1]) / 2
    return far.assign(label=texts, at=at)[["x", "y", "label", "at"]]


def _setup(
    values: pd.Series[float],
    kept: Any,
    row: pd.Series[Any],
    estimate: tuple[float, float, float],
    confidence: float | None,
    named: bool,
) -> str:
    """Which tile, how many pairs, the mean and its interval, and what is not drawn."""
    mean, low, high = (significant(each) for each in estimate)
    parts: list[str] = []
    if {"layer", "label", "place"} <= {*row.index}:
        head = "" if pd.isna(row.get("head")) else f", head {row['head']}"
        parts.append(f"layer {row['layer']}{head}, {place_words(row['label'], row['place'])}")
    n = f"n = {len(kept):,} pair{'' if len(kept) == 1 else 's'}"
    parts.append(n if row.empty else f"{n}, {row['units']:,} independent")
    if np.isfinite(estimate[1:]).all():
        level = "" if confidence is None else f"{100 * confidence:g}{NO_BREAK}% "
        parts.append(f"diamond: mean {mean}, {level}bootstrap interval {low} to {high}")
    else:
        parts.append(f"diamond: mean {mean}")
    if named:
        parts.append("numbers: rows of the furthest pairs")
    if lacking := len(values) - len(kept):
        parts.append(f"{lacking:,} without a value")
    return " · ".join(parts)
