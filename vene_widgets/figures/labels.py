"""Texts and numbers as figures show them: shortened, drawable, never rounded to 0 or to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from vene_widgets.figures import theme
from vene_widgets.tables.metrics import Metric

LONGEST = 18
"""Characters of a label that are shown; longer ones end in `…`."""


def label(text: str) -> str:
    """A text as matplotlib draws it: shortened, no missing glyphs, no mathematics."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return theme.drawable(short).replace("$", r"\$")


def escape(title: str | None) -> str | None:
    """A title as it is: matplotlib would take what stands between dollars for mathematics."""
    return None if title is None else title.replace("$", r"\$")


def distinct(labels: dict[str, str]) -> dict[str, str]:
    """Labels as they are drawn, by key; equal ones get their key."""
    shown = {key: label(text) for key, text in labels.items()}
    texts = list(shown.values())
    return {
        key: text if texts.count(text) == 1 else f"{text} #{key}" for key, text in shown.items()
    }


def width_of(texts: Any, size: float) -> float:
    """Width in inches of the widest of some texts."""
    return max(theme.text_width(text.replace(r"\$", "$"), size) for text in texts)


def percent(probability: float) -> str:
    """A probability in percent with one decimal, never rounded to 0 or to 100."""
    value = 100 * probability
    if 0 < value < 0.05:
        return "<0.1"
    return ">99.9" if 99.95 <= value < 100 else f"{value:.1f}".replace("100.0", "100")


def points(delta: float) -> str:
    """A difference of probabilities in percent points, with its sign."""
    if 0 < abs(delta) < 0.0005:
        return "+<0.1" if delta > 0 else "−<0.1"
    return "0.0" if delta == 0 else f"{100 * delta:+.1f}".replace("-", "−")


def saying(metric: Metric) -> Callable[[Any], str]:
    """How a metric's value is said in words."""
    if metric.name == "probability":
        return lambda value: f"{percent(float(value))} %"
    if metric.name == "delta":
        return lambda value: f"{points(float(value))} % points"
    if metric.name == "rank":
        return lambda value: f"rank {int(value)}"
    return lambda value: f"{float(value):.3g} {metric.unit}".replace("-", "−")


def kl_words(frame: pd.DataFrame, before: str, after: str) -> str:
    """The KL divergence of a difference, or as much of it as its tokens hold."""
    whole = frame.attrs.get("kl_divergence")
    if whole is None:
        return f"Tokens shown: {frame['kl'].sum():.3g} nats of KL({after} ‖ {before})"
    return f"KL({after} ‖ {before}) = {whole:.3g} nats"


def place(row: Any) -> str:
    """The token of a sweep's row, and its position."""
    return f"{row['label']} ({row['position']})"


def layer_words(numbers: Sequence[int]) -> str:
    """`layers 0–3, 5` for 0, 1, 2, 3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    listed = ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)
    return f"layer{'s' if len(numbers) > 1 else ''} {listed}"
