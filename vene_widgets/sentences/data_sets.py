"""Sentences about a data set of pairs: what was averaged over what, and what one tile says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vene_widgets.sentences.words import joined
from vene_widgets.tables.number_text import NO_BREAK, significant

LEAST = 0.001
"""A p or q below this is said to be below it."""


@dataclass(frozen=True)
class TileNumbers:
    """One tile's numbers, as texts with their unit, or as they are.

    Attributes:
        title: of the metric.
        mean, low, high: in the metric's unit.
        n: pairs.
        q: corrected p; None if it is not known yet.
        control: what took the source's place in the closest control; None if none has run.
        control_mean: in the metric's unit.
        control_q: of no difference between effect and control.
        is_explained: whether the control explains the effect.
    """

    title: str
    mean: str
    low: str
    high: str
    n: int
    q: float | None
    control: str | None
    control_mean: str
    control_q: float | None
    is_explained: bool


def data_facts(
    pairs: int,
    counted: int,
    units: tuple[int, str] | None,
    left_out: int,
    confidence: float,
    controls: Sequence[str],
) -> str:
    """How a map of means was made, in one line.

    Args:
        pairs: of the data set.
        counted: those that the means are over.
        units: how many independent units, and what one of them is; None if pairs are independent.
        left_out: pairs that do not count.
        confidence: of the intervals.
        controls: what took the source's place in each.
    """
    of = "" if counted + left_out == pairs else f"{counted:,} of "
    unit = "" if units is None else f" ({units[0]:,} {units[1]}{'s' if units[0] != 1 else ''})"
    parts = [f"{of}{pairs:,} pairs{unit}"]
    if counted:
        parts.append(f"{left_out:,} left out" if left_out else "none left out")
    parts.append(f"{significant(100 * confidence)}{NO_BREAK}% bootstrap interval")
    parts.append("Benjamini-Hochberg")
    word = "controls" if len(controls) > 1 else "control"
    parts.append(f"{word}: {joined(controls) if controls else 'none'}")
    return ", ".join(parts)


def data_tile(numbers: TileNumbers | None) -> str:
    """One tile's mean, interval, n, q and control; None where no effect is possible."""
    if numbers is None:
        return "No effect possible in any pair."
    one = numbers
    found = [
        f"Mean {one.title} {one.mean}, interval {one.low} to {one.high}, "
        f"{one.n:,} pair{'s' if one.n != 1 else ''}"
    ]
    if one.q is not None:
        found[0] += f", q{NO_BREAK}{probability(one.q)}"
    if one.control is None:
        return found[0] + "; no control."
    control = f"Control, {one.control}: {one.control_mean}"
    if one.control_q is not None:
        known = f"q{NO_BREAK}{probability(one.control_q)}"
        control += (
            f", which explains the effect ({known})"
            if one.is_explained
            else f"; the effect is larger ({known})"
        )
    return f"{found[0]}. {control}."


def probability(p: float) -> str:
    """A p or q with its sign: `= 0.02`, `< 0.001`."""
    sign, value = ("<", LEAST) if p < LEAST else ("=", float(f"{p:.2g}"))
    return f"{sign}{NO_BREAK}{significant(value)}"
