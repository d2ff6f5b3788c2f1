"""Texts as figures show them: shortened and drawable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vene_widgets.figures import theme
from vene_widgets.tables.metrics import Metric
from vene_widgets.tables.number_text import NO_BREAK, percent, points, significant

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 18
"""Most characters of a label; a longer text is cut and ends in `…`."""


WIDEST = 12.0
"""Greatest width of a label, in heights of its type: wide letters are cut sooner."""


def label(text: str) -> str:
    """Shorten a text and make it drawable: no missing glyphs, no mathematics.

    A character that no font has is drawn as its escape, which counts as several characters.
    """
    drawn, whole = "", theme.drawable(text)
    for character in text:
        longer = drawn + theme.drawable(character)
        if _is_too_long(longer if longer == whole else f"{longer}…"):
            return f"{drawn}…".replace("$", r"\$")
        drawn = longer
    return drawn.replace("$", r"\$")


def _is_too_long(drawn: str) -> bool:
    return len(drawn) > LONGEST or theme.text_width(drawn, 72) > WIDEST


def escape(title: str | None) -> str | None:
    """Escape dollar signs, between which matplotlib would typeset mathematics."""
    return None if title is None else title.replace("$", r"\$")


def distinct_labels(texts: dict[str, str]) -> dict[str, str]:
    """Labels of texts by key; equal labels get their key as a suffix."""
    labels = {key: label(text) for key, text in texts.items()}
    drawn = list(labels.values())
    return {
        key: text if drawn.count(text) == 1 else f"{text} #{key}" for key, text in labels.items()
    }


def width_of(texts: Iterable[str], size: float) -> float:
    """Width in inches of the widest of some texts at `size` points."""
    return max(theme.text_width(text.replace(r"\$", "$"), size) for text in texts)


def value_text(metric: Metric, value: float) -> str:
    """A metric's value with its unit, for a sentence."""
    if metric.name == "probability":
        return percent(value)
    if metric.name == "delta":
        return f"{points(value)}{NO_BREAK}points"
    if metric.name == "rank":
        return f"rank {int(value)}"
    return f"{significant(value)}{NO_BREAK}{metric.unit}"


def kl_text(frame: pd.DataFrame, before: str, after: str) -> str:
    """The KL divergence of a difference frame, or if that is unknown, its tokens' part of it."""
    whole = frame.attrs.get("kl_divergence")
    if whole is None:
        return f"Tokens shown: {significant(frame['kl'].sum())} nats of KL({after} ‖ {before})"
    return f"KL({after} ‖ {before}) = {significant(whole)} nats"


def position_text(row: pd.Series[Any]) -> str:
    """The token of a sweep's row, and its position in parentheses."""
    return f"{row['label']} ({row['position']})"


def layer_text(layers: Sequence[int]) -> str:
    """Ascending layer numbers as ranges: `layers 0–3, 5` for 0, 1, 2, 3, 5."""
    ranges: list[list[int]] = []
    for layer in layers:
        if ranges and layer == ranges[-1][-1] + 1:
            ranges[-1].append(layer)
        else:
            ranges.append([layer])
    listed = ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in ranges)
    return f"layer{'s' if len(layers) > 1 else ''} {listed}"
