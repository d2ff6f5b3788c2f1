"""Frames -> plotnine figures: one function per figure, and the same result in words.

Every function takes a frame from `frames` and returns a `ggplot`, to be changed and saved as any
other. Nothing is drawn before `png`, `svg` or the notebook asks for it. Tokens are told apart by
id; texts are only labels.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotnine as p9
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vene_widgets import geoms, theme
from vene_widgets.errors import RequestError, choose
from vene_widgets.metrics import METRICS, Metric

Kind = Literal["token_heatmap", "difference_panel", "sweep_map", "distribution_dots"]

_SWEEP = "layer position label target_id target_label base_probability best_id best_probability"
NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "token_heatmap": ("token_frame", ("run", "token_id", "label", "probability")),
    "distribution_dots": ("token_frame", ("run", "token_id", "label", "probability")),
    "difference_panel": (
        "difference_frame",
        ("token_id", "label", "before", "after", "delta", "kl", "rank_before", "rank_after"),
    ),
    "sweep_map": ("sweep_frame", (*_SWEEP.split(), *(m.column for m in METRICS.values()))),
}
"""What each figure is drawn from: the function that makes the frame, and the columns it reads."""

LONGEST = 18
"""Characters of a label that are shown; longer ones end in `…`."""

_TEXT, _SMALL = 9, 8.1  # points, as in theme_vene
_ROW = 0.235  # inches of one token's row
_NO_MINOR: dict[str, Any] = {"minor_breaks": ()}  # the theme draws none, but ticks cost their time


def token_heatmap(frame: pd.DataFrame, title: str | None = None) -> p9.ggplot:
    """Next-token probabilities of several runs: tokens x runs, the number in every tile.

    Args:
        frame: from `frames.token_frame`.
        title: above the figure.

    Raises:
        RequestError: the frame is empty or lacks a column.
    """
    data = _checked(frame, "token_heatmap")
    top = _ceiling(data["probability"].max())
    runs, tokens = _runs(data), _token_labels(data)
    data = data.assign(
        number=[_percent(p) for p in data["probability"]],
        key=data["token_id"].astype(str),
    )
    return _plot(
        data,
        p9.aes("run", "key", fill="probability", label="number"),
        geoms.NumberedTile(color="white", size=0.6, text_size=_SMALL),
        p9.scale_fill_gradientn(theme.SEQUENTIAL, limits=(0, top), guide=None),
        p9.scale_x_discrete(limits=runs, labels=[_label(run) for run in runs], expand=(0, 0)),
        p9.scale_y_discrete(limits=[*tokens][::-1], labels=[*tokens.values()][::-1], expand=(0, 0)),
        # Every tile says its number, so a colour bar would only repeat them.
        p9.labs(title=_escape(title), subtitle="P(next token), %", x="", y=""),
        theme.theme_vene(_TEXT),
        theme.sized(*size_of(data, "token_heatmap", title)),
        p9.theme(panel_grid_major_y=p9.element_blank(), axis_title=p9.element_blank()),
    )


def difference_panel(
    frame: pd.DataFrame,
    title: str | None = None,
    before: str = "base",
    after: str = "intervened",
) -> p9.ggplot:
    """What an intervention moved: P before and after of each token, largest |KL part| on top.

    Args:
        frame: from `frames.difference_frame`.
        title: above the figure.
        before, after: what the two distributions are called.

    Raises:
        RequestError: the frame is empty or lacks a column.
    """
    data = _checked(frame, "difference_panel")
    tokens = _token_labels(data)
    reach = max(data["before"].max(), data["after"].max())
    data = data.assign(
        row=range(len(data), 0, -1),
        colour=np.where(data["delta"] < 0, theme.DOWN, theme.UP),
        change=[_points(delta) for delta in data["delta"]],
    )
    step = _step(reach)
    breaks = [step * i for i in range(int(reach / step + 1e-9) + 1)]
    return _plot(
        data,
        p9.aes("before", "row", xend="after", color="colour", label="change"),
        geoms.Change(column=1.27 * reach, text_size=_SMALL),
        p9.scale_color_identity(guide=None),
        p9.scale_x_continuous(
            **_NO_MINOR,
            breaks=breaks,
            labels=[f"{100 * x:.3g}" for x in breaks],
            limits=(0, 1.27 * reach),
            expand=(0.02, 0),
        ),
        p9.scale_y_continuous(
            **_NO_MINOR,
            breaks=list(range(1, len(data) + 1)),
            labels=[*tokens.values()][::-1],
            limits=(0.5, len(data) + 0.5),
            expand=(0, 0),
        ),
        p9.labs(
            title=_escape(title),
            subtitle=f"○ {_label(before)}   ● {_label(after)}   at the right: ΔP in % points",
            caption=_escape(_kl_words(frame, before, after)),
            x="P(next token), %",
            y="",
        ),
        theme.theme_vene(_TEXT),
        theme.sized(*size_of(frame, "difference_panel", title)),
        p9.theme(axis_title_y=p9.element_blank()),
    )


def sweep_map(
    frame: pd.DataFrame, metric: str = "probability", title: str | None = None
) -> p9.ggplot:
    """A sweep: layer x token position, one tile per intervention, one panel per target.

    Args:
        frame: from `frames.sweep_frame`.
        metric: one of `metrics.METRICS`; differences are coloured symmetrically around 0.
        title: above the figure.

    Raises:
        RequestError: the frame is empty or lacks a column, or the metric is not known.
    """
    shown = METRICS[choose(metric, METRICS, "metric")]
    data = _checked(frame, "sweep_map")
    if not shown.of_target:
        data = data[data["target_id"] == data["target_id"].iloc[0]]
    limits, values = _fill_limits(data, shown)
    plan = _MapPlan(data, shown)
    columns = {position: i for i, position in enumerate(plan.labels)}
    data = data.assign(
        value=values,
        column=data["position"].map(columns),
        panel=pd.Categorical(data["target_id"].map(plan.panels), [*plan.panels.values()]),
    )
    ran, missing = data[data["value"].notna()], data[data["value"].isna()]
    parts: list[Any] = [
        p9.geom_tile(p9.aes(fill="value"), color="white", size=0.3 if plan.wide_rows else 0.12),
        _fill_scale(shown, limits),
        p9.scale_x_continuous(
            **_NO_MINOR,
            breaks=[*columns.values()],
            labels=[*plan.labels.values()],
            limits=(-0.5, len(columns) - 0.5),
            expand=(0, 0),
        ),
        p9.scale_y_continuous(
            **_NO_MINOR,
            breaks=_layer_breaks(plan.layers),
            limits=(plan.layers[0] - 0.5, plan.layers[-1] + 0.5),
            expand=(0, 0),
        ),
        p9.labs(title=_escape(title), x="token at the position that was changed", y="layer"),
        theme.theme_vene(_TEXT),
        theme.sized(*size_of(frame, "sweep_map", title, metric)),
        p9.theme(panel_grid_major_y=p9.element_blank()),
    ]
    if len(missing):
        parts += [
            p9.geom_point(data=missing, shape="x", color="#a9adb1", size=0.8, stroke=0.3),
            p9.labs(caption="×  not run"),
        ]
    if len(plan.panels) > 1:
        parts.append(p9.facet_wrap("panel", ncol=plan.across))
    elif shown.of_target:
        parts.append(p9.labs(subtitle=next(iter(plan.panels.values()))))
    if plan.turned:
        parts.append(p9.theme(axis_text_x=p9.element_text(rotation=90)))
    return _plot(ran, p9.aes("column", "layer"), *parts)


def distribution_dots(
    frame: pd.DataFrame, floor: float = 1e-5, title: str | None = None
) -> p9.ggplot:
    """Next-token probabilities on a log axis with a fixed floor: a dot per token and run.

    Dots, because the length of a bar on a log axis has no meaning; a fixed floor, so that two
    figures can be compared.

    Args:
        frame: from `frames.token_frame`.
        floor: smallest probability shown; smaller ones stand on it, unfilled.
        title: above the figure.

    Raises:
        RequestError: the frame is empty or lacks a column, or the floor is not in (0, 1).
    """
    data = _checked(frame, "distribution_dots")
    if not 0 < floor < 1:
        raise RequestError(f"floor={floor} does not fit; a probability between 0 and 1 is needed.")
    tokens, runs = _token_labels(data), _runs(data)
    colours, shapes = theme.run_styles(runs)
    names = [_label(run) for run in runs]
    rows = {key: len(tokens) - i for i, key in enumerate(tokens)}
    gap = min(0.2, 0.7 / len(runs))
    offset = {run: gap * ((len(runs) - 1) / 2 - i) for i, run in enumerate(runs)}
    data = data.assign(
        row=data["token_id"].astype(str).map(rows)
        + data["run"].astype(str).map(offset).astype(float),
        value=data["probability"].clip(lower=floor),
        strength=np.where(data["probability"] < floor, 0.3, 1.0),
        floor=floor,
    )
    decades = [10.0**d for d in range(math.ceil(math.log10(floor) - 1e-9), 1)]
    below = bool((data["probability"] < floor).any())
    return _plot(
        data,
        p9.aes("value", "row", color="run"),
        p9.geom_segment(
            p9.aes(x="floor", xend="value", yend="row"), size=0.4, alpha=0.35, show_legend=False
        ),
        p9.geom_point(p9.aes(shape="run", alpha="strength"), size=2.1, stroke=0),
        # Equal names and labels make one legend of the two scales.
        p9.scale_color_manual([colours[run] for run in runs], breaks=runs, labels=names),
        p9.scale_shape_manual([shapes[run] for run in runs], breaks=runs, labels=names),
        p9.scale_alpha_identity(guide=None),
        p9.scale_x_log10(
            **_NO_MINOR,
            breaks=decades,
            labels=[f"{100 * decade:.6g}" for decade in decades],
            limits=(floor, 1),
            expand=(0.02, 0),
        ),
        p9.scale_y_continuous(
            **_NO_MINOR,
            breaks=[*rows.values()],
            labels=[*tokens.values()],
            limits=(0.4, len(tokens) + 0.6),
            expand=(0, 0),
        ),
        p9.labs(
            title=_escape(title),
            x="P(next token), %, log scale",
            y="",
            caption=f"Pale, at the left edge: less than {100 * floor:.3g} %" if below else None,
        ),
        theme.theme_vene(_TEXT),
        theme.sized(*size_of(data, "distribution_dots", title)),
        p9.theme(
            axis_title_y=p9.element_blank(),
            panel_grid_major_x=p9.element_line(color=theme.FAINT, size=0.6),
            panel_grid_major_y=p9.element_blank(),
            legend_position="top",
            legend_title=p9.element_blank(),
        ),
    )


def size_of(
    frame: pd.DataFrame, kind: str, title: str | None = None, metric: str = "probability"
) -> tuple[float, float]:
    """Width and height in inches at which no label of a figure meets another.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function, a key of `NEEDS`.
        title: the figure's title, which has to fit.
        metric: of a `sweep_map`.

    Raises:
        RequestError: an unknown kind or metric, or a frame that does not fit the kind.
    """
    data = _checked(frame, choose(kind, NEEDS, "figure"))
    above = 0.3 if title else 0.08
    if kind == "sweep_map":
        width, height = _MapPlan(data, METRICS[choose(metric, METRICS, "metric")]).size
        height += above
    else:
        tokens = _token_labels(data)
        labels = _width(tokens.values(), _SMALL)
        height = above + 0.3 + _ROW * len(tokens)
        if kind == "token_heatmap":
            runs = _runs(data)
            width = labels + 0.25 + len(runs) * max(0.62, _width(runs, _SMALL) + 0.14)
            width, height = max(width, labels + 1.6), height + 0.25
        elif kind == "difference_panel":
            width, height = labels + 3.4, height + 0.75
        else:
            runs = _runs(data)
            gap = 0.055 * max(0, len(runs) - 2)  # runs stand below each other within a row
            legend = sum(_width([run], _SMALL) + 0.35 for run in runs)
            width = max(labels + 3.4, legend + 0.4)
            height += 0.75 + gap * len(tokens)
    if title:
        width = max(width, _width([title], 1.25 * _TEXT) + 0.3)
    return round(width, 2), round(height, 2)


def beside(left: p9.ggplot, right: p9.ggplot) -> Any:
    """Two figures side by side, as one composition with room for both."""
    sizes = [plot.theme.getp("figure_size") for plot in (left, right)]
    size = theme.sized(2 * max(width for width, _ in sizes), max(height for _, height in sizes))
    return (left + size) | (right + size)


def png(plot: Any, dpi: float = 110) -> bytes:
    """Draw a figure or composition as PNG; no pyplot figure stays open."""
    file = io.BytesIO()
    with _drawn(plot, dpi) as figure:
        # Straight to the canvas: `savefig` lays the figure out and draws it twice. Zlib's usual
        # level 6 takes twice the time of 3, for files that are no smaller.
        FigureCanvasAgg(figure).print_png(file, pil_kwargs={"compress_level": 3})
    return file.getvalue()


def svg(plot: Any) -> str:
    """Draw a figure or composition as SVG with real text; equal figures give equal files."""
    file = io.BytesIO()
    with _drawn(plot, 72) as figure:
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _shorter(file.getvalue().decode())


def _shorter(text: str) -> str:
    """The same SVG in fewer bytes: coordinates to 0.01 points, the font named once, no indents.

    Verdana has DejaVu's widths, for screens that lack it.
    """
    fonts = ", ".join([*theme.families(), "Verdana", "sans-serif"])
    text = re.sub(r"(<text [^>]*)font-family: [^;]*; ", r"\1", text)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    text = text.replace("<svg ", f'<svg font-family="{fonts}" ', 1)
    number = re.compile(r"(\d+\.\d\d)\d+")
    places = re.compile(r' (?:d|x|y|width|height|transform|style)="[^"]*"')
    text = places.sub(lambda place: number.sub(r"\1", place[0]).replace(" \n", ""), text)
    return re.sub(r"\n +<", "\n<", text)


@contextmanager
def _drawn(plot: Any, dpi: float) -> Iterator[Figure]:
    """The matplotlib figure of a plot; plotnine has closed it for pyplot already."""
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "vene_widgets"}
    with warnings.catch_warnings(), mpl.rc_context(settings):
        # A title may hold characters that no font here has; labels never do (theme.drawable).
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
        yield (plot + p9.theme(dpi=dpi)).draw()


def alt_text(
    frame: pd.DataFrame,
    kind: str,
    metric: str = "probability",
    before: str = "base",
    after: str = "intervened",
) -> str:
    """A figure's result in words with its numbers, for readers who do not see it.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function, a key of `NEEDS`.
        metric: of a `sweep_map`.
        before, after: as given to `difference_panel`.

    Raises:
        RequestError: an unknown kind or metric, or a frame that does not fit the kind.
    """
    data = _checked(frame, choose(kind, NEEDS, "figure"))
    if kind == "sweep_map":
        return _sweep_words(data, METRICS[choose(metric, METRICS, "metric")])
    if kind == "difference_panel":
        moved = [
            f"{row.label} {_percent(row.before)} % to {_percent(row.after)} % (rank "
            f"{row.rank_before} to {row.rank_after})"
            for row in data.head(5).itertuples()
        ]
        return (
            f"Next-token probabilities, {before} to {after}, by contribution to the KL divergence: "
            f"{'; '.join(moved)}. {_kl_words(frame, before, after)}."
        )
    parts = []
    for run in _runs(data):
        best = data[data["run"] == run].nlargest(3, "probability")
        tokens = ", ".join(
            f"{row.label} {_percent(row.probability)} %" for row in best.itertuples()
        )
        parts.append(f"{run}: {tokens}")
    count = data["token_id"].nunique()
    return f"Next-token probabilities of {count} tokens. Most likely in {'; in '.join(parts)}."


def _sweep_words(data: Any, metric: Metric) -> str:
    """Where a sweep's values are smallest and largest, and where each target is the answer."""
    layers, positions = sorted(data["layer"].unique()), data["position"].nunique()
    words = [f"Map of {metric.title} over {_layers(layers)} and {positions} token positions."]
    say = _saying(metric)
    for n, (target, cells) in enumerate(data.groupby("target_id", sort=False)):
        ran = cells[cells[metric.column].notna()]
        if ran.empty:
            return f"{words[0]} No cell was run."
        values = ran[metric.column].astype(float)
        least, most = (ran.loc[i] for i in (values.idxmin(), values.idxmax()))
        name = ran["target_label"].iloc[0]
        base = f"{name} ({_percent(ran['base_probability'].iloc[0])} % in the base run)"
        if n == 0 or metric.of_target:
            words.append(
                (f"For {base}: from" if metric.of_target else "From")
                + f" {say(least[metric.column])} at {_place(least)}, layer {least['layer']},"
                + f" to {say(most[metric.column])} at {_place(most)}, layer {most['layer']}."
            )
        won = ran[ran["best_id"] == target]
        where = [
            f"{_place(part.iloc[0])} in {_layers(sorted(part['layer']))}"
            for _, part in won.groupby("position")
        ]
        more = f" and {len(where) - 6} more positions" if len(where) > 6 else ""
        words.append(
            f"{name} is the most likely token in {len(won)} of {len(ran)} cells"
            + (f": {'; '.join(where[:6])}{more}." if where else ".")
        )
    return " ".join(words)


# ---- private ------------------------------------------------------------------------------------


def _checked(frame: Any, kind: str) -> Any:
    """The frame, refused when a figure cannot be drawn from it (`Any`: rows have no types)."""
    maker, needs = NEEDS[kind]
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"{kind} takes a DataFrame from frames.{maker}, not a {type(frame).__name__}."
        )
    if missing := [column for column in needs if column not in frame.columns]:
        raise RequestError(
            f"{kind} lacks the columns {', '.join(map(repr, missing))}; it is drawn from "
            f"frames.{maker}, whose columns {', '.join(map(repr, needs))} it needs."
        )
    if frame.empty:
        raise RequestError(f"{kind} has nothing to draw: the frame from frames.{maker} is empty.")
    return frame


def _runs(data: Any) -> list[str]:
    """Names of the runs that occur, in their order."""
    run = data["run"]
    present = list(dict.fromkeys(run))
    if isinstance(run.dtype, pd.CategoricalDtype):
        return [name for name in run.cat.categories if name in set(present)]
    return present


def _token_labels(data: Any) -> dict[str, str]:
    """Token id as text -> label for the axis, in the frame's order; equal labels get their id."""
    first = data.drop_duplicates("token_id")
    return _distinct(dict(zip(first["token_id"].astype(str), first["label"], strict=True)))


def _distinct(labels: dict[str, str]) -> dict[str, str]:
    shown = {key: _label(label) for key, label in labels.items()}
    texts = list(shown.values())
    return {
        key: text if texts.count(text) == 1 else f"{text} #{key}" for key, text in shown.items()
    }


def _label(text: str) -> str:
    """A text as matplotlib draws it: shortened, no missing glyphs, no mathematics."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return theme.drawable(short).replace("$", r"\$")


def _escape(title: str | None) -> str | None:
    return None if title is None else title.replace("$", r"\$")


def _plot(data: Any, mapping: Any, *parts: Any) -> p9.ggplot:
    """A plot with all its parts added in place: every `+` copies the whole plot."""
    plot = p9.ggplot(data, mapping)
    plot += list(parts)
    return plot


class _MapPlan:
    """How a sweep's map is laid out: everything that both its parts and its size depend on.

    Attributes:
        layers: those of the frame, sorted.
        panels: target id -> title of its panel.
        labels: position -> label on the x axis.
        turned: whether these stand upright.
        wide_rows: whether the layers are few.
        across: panels next to each other.
        size: width and height in inches, without a title.
    """

    def __init__(self, data: Any, metric: Metric) -> None:
        self.layers = sorted(int(layer) for layer in data["layer"].unique())
        self.panels = _panels(data, metric)
        first = data.drop_duplicates("position").sort_values("position")
        pairs = [
            (int(p), _label(t)) for p, t in zip(first["position"], first["label"], strict=True)
        ]
        widest = _width([text for _, text in pairs], _SMALL)
        self.turned = widest > 0.85 or (widest + 0.12) * len(pairs) > 6
        join = "{1}  {0}" if self.turned else "{1}\n{0}"
        self.labels = {position: join.format(position, text) for position, text in pairs}
        tile = 0.18 if self.turned else max(0.42, widest + 0.12)
        below = _width(self.labels.values(), _SMALL) if self.turned else 0.28

        count = self.layers[-1] - self.layers[0] + 1
        self.wide_rows = count <= 16
        rows = max(1.2, count * (0.25 if self.wide_rows else 0.13))
        each = max(tile * len(pairs), *(_width([p], _TEXT) + 0.1 for p in self.panels.values()))
        self.across = max(1, min(len(self.panels), int(9 / each)))
        down = math.ceil(len(self.panels) / self.across)
        bar = max(0.6, _width([metric.axis], _SMALL)) + 0.3
        self.size = (
            0.6 + self.across * (each + 0.14) + bar,
            0.65 + below + down * (rows + 0.35),
        )


def _panels(data: Any, metric: Metric) -> dict[int, str]:
    """Target id -> the title of its panel."""
    if not metric.of_target:
        return {int(data["target_id"].iloc[0]): metric.title}
    first = data.drop_duplicates("target_id")
    labels = _distinct(
        dict(zip(first["target_id"].astype(str), first["target_label"], strict=True))
    )
    was = "base" if metric.name == "probability" else "base P"
    return {
        int(key): f"{metric.title.replace('(t)', f'({label})').replace('of t', f'of {label}')}, "
        f"{was} {_percent(base)} %"
        for (key, label), base in zip(labels.items(), first["base_probability"], strict=True)
    }


def _fill_limits(data: Any, metric: Metric) -> tuple[tuple[float, float], Any]:
    """Limits of the fill scale, and the values within them."""
    values = data[metric.column].astype("Float64").to_numpy(float, na_value=np.nan)
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if len(finite) else 0.0
    if metric.name == "rank":
        return (1.0, max(10.0, largest)), values
    top = _ceiling(largest) if metric.range == (0.0, 1.0) else _ceiling(largest, math.inf)
    limits = (-top, top) if metric.diverging else (0.0, top)
    return limits, np.clip(values, *limits)


def _fill_scale(metric: Metric, limits: tuple[float, float]) -> Any:
    bar = p9.guide_colorbar(display="rectangles", nbin=25)
    options: dict[str, Any] = {"limits": limits, "guide": bar, "name": metric.axis}
    if metric.name == "rank":
        steps = (1, 2, 5) if limits[1] < 100 else (1,)
        breaks = [s * 10.0**d for d in range(5) for s in steps if s * 10.0**d <= limits[1]]
        return p9.scale_fill_gradientn(
            theme.SEQUENTIAL[::-1],
            trans="log10",
            breaks=breaks,
            labels=[f"{b:.0f}" for b in breaks],
            **options,
        )
    palette = theme.DIVERGING if metric.diverging else theme.SEQUENTIAL
    step = _step(limits[1])
    counts = range(-int(limits[1] / step + 1e-9), int(limits[1] / step + 1e-9) + 1)
    breaks = [step * n for n in counts if n >= 0 or metric.diverging]
    sign = "+" if metric.diverging else ""
    labels = [f"{b:{sign}.3g}".replace("-", "−") if b else "0" for b in breaks]
    return p9.scale_fill_gradientn(palette, breaks=breaks, labels=labels, **options)


def _layer_breaks(layers: Sequence[int]) -> list[int]:
    """Every layer while they are few, else every fifth and the last."""
    first, last = int(min(layers)), int(max(layers))
    if last - first < 16:
        return [int(layer) for layer in layers]
    return [layer for layer in range(first, last - 2) if layer % 5 == 0] + [last]


def _ceiling(value: float, most: float = 1.0) -> float:
    """The next multiple of half the leading digit's unit, at most `most`: the end of a scale."""
    if not value > 1e-12:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value) - 1e-9)
    return min(math.ceil(2 * value / power - 1e-9) / 2 * power, most)


def _step(reach: float) -> float:
    """Distance of the breaks on a scale from 0 to `reach`: two to five of them."""
    power = 10.0 ** math.floor(math.log10(reach))
    return next(s * power for s in (0.2, 0.25, 0.5, 1, 2, 2.5) if reach / (s * power) < 4.6)


def _percent(probability: float) -> str:
    """A probability in percent with one decimal, never rounded to 0 or to 100."""
    value = 100 * probability
    if 0 < value < 0.05:
        return "<0.1"
    return ">99.9" if 99.95 <= value < 100 else f"{value:.1f}".replace("100.0", "100")


def _points(delta: float) -> str:
    """A difference of probabilities in percent points, with its sign."""
    if 0 < abs(delta) < 0.0005:
        return "+<0.1" if delta > 0 else "−<0.1"
    return "0.0" if delta == 0 else f"{100 * delta:+.1f}".replace("-", "−")


def _saying(metric: Metric) -> Callable[[Any], str]:
    """How a metric's value is said in words."""
    if metric.name == "probability":
        return lambda value: f"{_percent(float(value))} %"
    if metric.name == "delta":
        return lambda value: f"{_points(float(value))} % points"
    if metric.name == "rank":
        return lambda value: f"rank {int(value)}"
    return lambda value: f"{float(value):.3g} {metric.unit}".replace("-", "−")


def _kl_words(frame: pd.DataFrame, before: str, after: str) -> str:
    whole = frame.attrs.get("kl_divergence")
    if whole is None:
        return f"Tokens shown: {frame['kl'].sum():.3g} nats of KL({after} ‖ {before})"
    return f"KL({after} ‖ {before}) = {whole:.3g} nats"


def _place(row: Any) -> str:
    return f"{row['label']} ({row['position']})"


def _layers(numbers: Sequence[int]) -> str:
    """`layers 0–3, 5` for 0, 1, 2, 3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    listed = ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)
    return f"layer{'s' if len(numbers) > 1 else ''} {listed}"


def _width(texts: Any, size: float) -> float:
    """Width in inches of the widest of some texts."""
    return max(theme.text_width(text.replace(r"\$", "$"), size) for text in texts)
