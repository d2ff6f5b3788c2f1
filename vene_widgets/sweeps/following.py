"""follow(): the tokens that a sweep's table follows, from what a user wrote or from the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.tables.followed import Followed, follow_sets, follow_tokens
from vene_widgets.tables.statistics import default_targets, probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.planning import SweepPlan

Targets: TypeAlias = (
    "Mapping[str, Sequence[str | int] | str | int] | Sequence[str | int] | str | int | None"
)
"""Tokens to follow, as users write them: one, several, or sets by name."""


def follow(
    plan: SweepPlan, targets: Targets, base_logits: Tensor, source_logits: Tensor
) -> tuple[Followed, int]:
    """The tokens to follow, or sets of them, and which one is `Sweep.target`.

    Args:
        plan: the sweep.
        targets: as in `sweep`.
        base_logits, source_logits: `(vocabulary,)` of the plain runs.

    Raises:
        RequestError: no target, one that is no token, or an empty set.
    """
    if targets is None:
        target, other = default_targets(probabilities(base_logits), probabilities(source_logits))
        copies = OPERATORS[plan.intervention].needs_source
        return follow_tokens((other, target)), target if copies else int(base_logits.argmax())
    if isinstance(targets, Mapping):
        followed = followed_sets(plan.model, cast("Mapping[object, Any]", targets))
    else:
        # Followed once: sums over the rows of a table count each token once.
        ids = tuple(dict.fromkeys(plan.model.resolve_tokens(targets, "target")))
        if not ids:
            raise RequestError("targets must name at least one token, got none.")
        followed = follow_tokens(ids)
    return followed, followed.keys[0]


def followed_sets(model: LanguageModel, targets: Mapping[object, Any]) -> Followed:
    """Sets of tokens by name.

    Raises:
        RequestError: no set, an empty one, a name that is no text, or a token in two sets.
    """
    sets: dict[str, tuple[int, ...]] = {}
    for name, tokens in targets.items():
        if not isinstance(name, str) or not name:
            raise RequestError(f"targets: the name of a set must be a text, got {shown(name)}.")
        # Probabilities are added, so that the order of a set's tokens does not matter.
        has_no_order = isinstance(tokens, (set, frozenset))
        given: Any = sorted(cast("set[Any]", tokens), key=str) if has_no_order else tokens
        try:
            ids = tuple(dict.fromkeys(model.resolve_tokens(given, "target")))
        except RequestError as error:
            raise RequestError(f"targets[{shown(name)}]: {error}") from None
        if not ids:
            raise RequestError(f"targets[{shown(name)}] must name at least one token, got none.")
        for other, before in sets.items():
            if both := set(ids) & set(before):
                text = model.token_text(min(both))
                raise RequestError(
                    f"targets[{shown(name)}] and targets[{shown(other)}] both have "
                    f"{shown(text)}: a token belongs to one set."
                )
        sets[name] = ids
    if not sets:
        raise RequestError("targets must name at least one set of tokens, got none.")
    return follow_sets(sets)
