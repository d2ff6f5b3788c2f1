"""Plain sentences about results: templates filled with a run's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vene_widgets import frames


@dataclass(frozen=True)
class Change:
    """What a sentence is about: next-token probabilities (0..1) before and after.

    Attributes:
        base_token, source_token: the most likely next token of the base and of the source run.
        base_before, base_after: probability of the base's token, in the base run and afterwards.
        source_before, source_after: the same for the source's token.
        best_token, best_after: the most likely token afterwards and its probability.
    """

    base_token: str
    base_before: float
    base_after: float
    source_token: str
    source_before: float
    source_after: float
    best_token: str
    best_after: float


def percent(probability: float) -> str:
    """A probability as a percentage with enough digits to be told from 0 and from 100."""
    value = 100 * probability
    if value == 0:
        return "0 %"
    if value < 0.001:
        return "<0.001 %"
    if value < 1:
        return f"{value:.2g} %"
    if 99.95 <= value < 100:
        return ">99.9 %"
    return f"{value:.1f} %"


def quoted(token: str) -> str:
    """A token in quotes without the space that most words begin with."""
    return f"“{frames.visible(token.strip() or token)}”"


def copied(
    token: str, source_token: str, component: str, layer: int, head: int | None = None
) -> str:
    """The deed of one interchange slot: what was copied, into what, and where."""
    where = f"after block {layer}"
    if component != "block_output":
        where = f"at {component} of layer {layer}" + ("" if head is None else f", head {head}")
    return f"Copying {quoted(source_token)} into {quoted(token)} {where}"


def several(live: int, skipped: int) -> str:
    """The deed of many slots together."""
    more = f" ({skipped} skipped)" if skipped else ""
    return f"Running {live} slots together{more}"


def sentence(deed: str, change: Change) -> str:
    """What an intervention did to the answer, with the probabilities before and after.

    Args:
        deed: the sentence's beginning, from `copied` or `several`.
        change: the numbers.
    """
    c = change
    base = f"{quoted(c.base_token)} {percent(c.base_before)} → {percent(c.base_after)}"
    source = f"{quoted(c.source_token)} {percent(c.source_before)} → {percent(c.source_after)}"
    if c.best_token == c.base_token:
        rest = "" if c.source_token == c.base_token else f"; {source}"
        return f"{deed} left the answer at {base}{rest}."
    if c.best_token == c.source_token:
        return (
            f"{deed} moved the answer from {quoted(c.base_token)} to {quoted(c.source_token)}: "
            f"{source}, {base}."
        )
    return (
        f"{deed} moved the answer from {quoted(c.base_token)} to {quoted(c.best_token)} "
        f"({percent(c.best_after)}), which neither prompt gives: {base}, {source}."
    )


def nothing_live(slots: int, token: str, probability: float) -> str:
    """What stands there when no slot acts."""
    why = "Nothing is swapped yet" if not slots else f"All {slots} slots are skipped"
    return f"{why}: the base answers {quoted(token)} ({percent(probability)}). Click a tile."


def nothing_can_change(token: str) -> str:
    """Why tiles before the first differing token do nothing."""
    return (
        f"Base and source agree up to and including {quoted(token)}, so the states there are the "
        "same and copying changes nothing."
    )


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
