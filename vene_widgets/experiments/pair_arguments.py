"""pairs_of(), lone_tokens(): prompts and targets as methods on one pair or several take them."""

from __future__ import annotations

from collections.abc import Sequence

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.fields import as_prompt, as_prompts
from vene_widgets.experiments.pairs import Pair, Target, read_pairs


def pairs_of(base: object, source: object) -> tuple[Pair, ...]:
    """Pairs of prompts as methods take them: one or equally many of each, or a table as `base`.

    Raises:
        RequestError: no prompts, unequal numbers of them, or no table.
    """
    if source is None and not isinstance(base, str):
        return read_pairs(base)
    bases = as_prompts(base)
    sources = (None,) * len(bases) if source is None else as_prompts(source)
    if len(bases) != len(sources) or not bases:
        raise RequestError(
            f"base has {len(bases)} prompts and source {len(sources)}: expected equally many, at "
            "least one."
        )
    return tuple(
        Pair(as_prompt(one), None if other is None else as_prompt(other), (), {}, {})
        for one, other in zip(bases, sources, strict=True)
    )


def lone_tokens(targets: Sequence[Target]) -> tuple[str | int, ...]:
    """Targets where no set can be followed.

    Raises:
        RequestError: one of them is a set.
    """
    found = tuple(target for target in targets if not isinstance(target, tuple))
    if len(found) < len(targets):
        several = next(target for target in targets if isinstance(target, tuple))
        raise RequestError(
            f"targets must be one token each here, got the set {shown(several)}: sets are followed "
            "by sweep, sweep_pairs and specification_curve."
        )
    return found
