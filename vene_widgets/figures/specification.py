"""specification_plot: the effect of one finding under every choice, and the choices below it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotnine as p9
from matplotlib.ticker import MaxNLocator

from vene_widgets.errors import RequestError, shown
from vene_widgets.figures import theme
from vene_widgets.figures.heading import wrap
from vene_widgets.figures.layout import compose_plot
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.scales import NO_MINOR

CHOICES = {
    "direction": {"restore": "restore", "corrupt": "corrupt"},
    "wrong": {"swap": "swap", "zero": "zero", "mean": "mean", "noise": "noise"},
    "window": {},
    "metric": {
        "logit_difference": "logit difference",
        "probability": "probability",
        "log_probability": "log probability",
    },
    "template": {},
}
"""Columns of the frame from top to bottom, and their values in words. Of the others, windows are
numbers of layers, and templates are texts; those are shown if there are several."""

EFFECT_ROWS = 9
"""Height of the part with the effects, in rows of the part with the choices."""

WIDTH, ROW = 6.5, 0.2
"""In inches: of the figure, and of one row."""

NEEDED = ("direction", "wrong", "window", "metric", "effect")

LONGEST = 30
"""Characters of a template that are shown."""


def specification_plot(
    frame: pd.DataFrame,
    *,
    site: str = "",
    agreement: tuple[int, int] | None = None,
    title: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """A specification curve: effects in order, and below each the choices that it stands for.

    After Simonsohn, Simmons & Nelson 2020, "Specification curve analysis".

    Args:
        frame: `SpecificationCurve.frame`: `direction`, `wrong`, `window`, `metric` and `effect`, a
            share of the difference between the plain runs; several rows per choice for several
            pairs. `template`, if it has several.
        site: what was changed, in words.
        agreement: how many specifications have the same sign, and how many there are.
        title: above the figure.
        style: `light` or `dark`.

    Raises:
        RequestError: the frame is empty or lacks a column, or an unknown style.
    """
    if missing := [name for name in NEEDED if name not in frame.columns]:
        raise RequestError(
            f"specification_plot: the frame lacks column {shown(missing[0])}; it needs "
            f"{', '.join(NEEDED)}."
        )
    if frame.empty:
        raise RequestError("specification_plot: the frame has no rows.")
    palette = palette_of(style)
    data = frame.sort_values("effect", kind="stable", ignore_index=True)
    count = len(data)
    names, marks, row = _choices(data)
    bottom = row + 1.4  # of the effects; a gap between the two parts
    low, high = min(0.0, float(data["effect"].min())), max(1.0, float(data["effect"].max()))
    scale = EFFECT_ROWS / (high - low)

    def at(effect: Any) -> Any:
        return bottom + (effect - low) * scale

    ticks = [
        float(value)
        for value in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        if low <= value <= high
    ]
    breaks = {at(value): f"{100 * value:.0f} %".replace("-", "−") for value in ticks} | names
    points = pd.DataFrame(
        {
            "place": range(1, count + 1),
            "row": at(data["effect"]),
            "colour": [palette.up if effect > 0 else palette.down for effect in data["effect"]],
        }
    )
    zero = pd.DataFrame({"x": [0.0], "xend": [count + 1.0], "y": [at(0.0)], "yend": [at(0.0)]})
    said = [site] if site else []
    if agreement is not None:
        said.append(f"same sign in {agreement[0]} of {agreement[1]} specifications")
    said.append("effect: share of what the two plain runs differ by")
    lines = [line for part in said for line in wrap(part, WIDTH - 0.2, 8.1)]
    segment = p9.aes(x="x", xend="xend", y="y", yend="yend")
    width = max(0.6, min(2.6, 110 / count))
    return compose_plot(
        points,
        p9.aes("place", "row"),
        p9.geom_segment(segment, data=zero, inherit_aes=False, color=palette.quiet, size=0.5),
        p9.geom_point(p9.aes(color="colour"), size=width, stroke=0),
        p9.geom_point(data=marks, color=palette.ink, size=width, stroke=0, shape="s"),
        p9.scale_color_identity(guide=None),
        p9.scale_x_continuous(**NO_MINOR, breaks=[], limits=(0, count + 1), expand=(0, 0)),
        p9.scale_y_continuous(
            **NO_MINOR,
            breaks=[*breaks],
            labels=[*breaks.values()],
            limits=(0.3, bottom + EFFECT_ROWS + 0.4),
            expand=(0, 0),
        ),
        p9.labs(x="", y="", title=title, subtitle="\n".join(lines)),
        theme.theme_vene(palette=palette),
        theme.sized(WIDTH, round(ROW * (bottom + EFFECT_ROWS) + 0.2 * (len(lines) + 1), 2)),
    )


def _choices(data: pd.DataFrame) -> tuple[dict[float, str], pd.DataFrame, float]:
    """The part with the choices, from the bottom up.

    Returns:
        Row -> its name; a mark for each specification's choices (`place`, `row`); the highest row.
    """
    names: dict[float, str] = {}
    rows: dict[tuple[str, Any], float] = {}
    row = 0.0
    several = "template" in data and data["template"].nunique() > 1
    shown_columns = [name for name in CHOICES if name != "template" or several]
    for column in reversed(shown_columns):
        words = CHOICES[column]
        present: list[Any] = [*dict.fromkeys(data[column])]
        known: list[Any] = [value for value in words if value in present] or sorted(present)
        for value in reversed(known):
            row += 1
            rows[column, value] = row
            names[row] = words.get(value) or _spelled(column, value)
        row += 0.6  # between two choices
    marks = [
        {"place": place, "row": rows[column, value]}
        for column in shown_columns
        for place, value in enumerate(data[column], 1)
    ]
    return names, pd.DataFrame(marks), row - 0.6


def _spelled(column: str, value: Any) -> str:
    """A number of layers, or a template, in words."""
    if column == "template":
        text = str(value)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return f"{value} layer{'' if value == 1 else 's'}"
