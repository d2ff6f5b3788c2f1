"""Pairs of prompts that several classics share."""

from __future__ import annotations

from typing import TypeAlias

Pair: TypeAlias = tuple[str, str, str, str]
"""A base, a source, and what follows the source and the base."""


def _capitals() -> tuple[Pair, ...]:
    """Four pairs of countries, each in both directions."""
    found: list[Pair] = []
    for one, other in (
        (("Spain", " Madrid"), ("Italy", " Rome")),
        (("France", " Paris"), ("Japan", " Tokyo")),
        (("Greece", " Athens"), ("Cuba", " Havana")),
        (("Portugal", " Lisbon"), ("China", " Beijing")),
    ):
        for (base, wrong), (source, right) in ((one, other), (other, one)):
            found.append((f"The capital of {base} is", f"The capital of {source} is", right, wrong))
    return tuple(found)


def _names(start: str) -> tuple[Pair, ...]:
    """The eight prompts of TransformerLens' demos, each with its neighbour as the base.

    Args:
        start: what every prompt begins with; TransformerLens prepends GPT-2's end of text.
    """
    found: list[Pair] = []
    for text, one, other in (
        ("When John and Mary went to the shops,{} gave the bag to", " Mary", " John"),
        ("When Tom and James went to the park,{} gave the ball to", " Tom", " James"),
        ("When Dan and Sid went to the shops,{} gave an apple to", " Dan", " Sid"),
        ("After Martin and Amy went to the park,{} gave a drink to", " Martin", " Amy"),
    ):
        for right, wrong in ((one, other), (other, one)):
            found.append((start + text.format(right), start + text.format(wrong), right, wrong))
    return tuple(found)


CAPITALS = _capitals()
NAMES = _names("")
NAMES_AFTER_START = _names("<|endoftext|>")
