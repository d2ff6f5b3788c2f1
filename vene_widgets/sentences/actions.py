"""What a slot does, in words: the subject of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vene_widgets.experiments.components import site_words
from vene_widgets.sentences.words import joined, quoted


@dataclass(frozen=True)
class SlotAction:
    """What a sentence needs to describe one slot.

    Attributes:
        token: the token at its first position, in the run that it changes.
        component, layer, head: its site.
        source_token: the token at its first source position; None if it reads no source.
        intervention: the operator's name.
        strength: 0 leaves the base's state, 1 is the intervention in full.
        subspace: a name, a range or dims; None for all coordinates.
        prompts: number of prompts whose mean is read.
        minus: number of prompts whose mean is subtracted from it.
        vector: length of the vector that is read; 0 for none.
        source_layer: the layer that is read; None for the slot's own.
        averaged: the tokens that it is over, if the prompts are not as long as the base: one
            position then names different words.
        target: the source whose run it changes (serial mode); None for the base.
        positions: number of positions that it changes.
        is_last: whether its only position is the prompt's last token.
        keys: of attention weights, the tokens that they attend to; positions are the queries.
    """

    token: str
    component: str
    layer: int
    head: int | None = None
    source_token: str | None = None
    intervention: str = "vanilla"
    strength: float = 1.0
    subspace: str | Sequence[int] | None = None
    prompts: int = 0
    minus: int = 0
    vector: int = 0
    source_layer: int | None = None
    averaged: tuple[str, ...] = ()
    target: str | None = None
    positions: int = 1
    is_last: bool = False
    keys: tuple[str, ...] = ()


# Start of a sentence by intervention, before the site; `{part}` is the subspace, or empty.
_VERBS = {
    "addition": "Adding {part}{source} to {token}",
    "subtraction": "Subtracting {part}{source} from {token}",
    "zero": "Zeroing {part}{token}",
    "mean": "Setting {part}{token} to its mean over {prompts}",
    "noise": "Adding noise to {part}{token}",
    "collect": "Collecting {part}{token}",
}


def operator(intervention: str, prompts: int = 0) -> str:
    """The operator of a map in words: `patch`, `zero`, `mean over 2 prompts`."""
    name = "patch" if intervention == "vanilla" else intervention
    return f"{name} over {_prompts(prompts)}" if prompts else name


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count} prompts"


def reading(prompts: int, minus: int, vector: int) -> str:
    """What a slot reads instead of a source, in words; empty if it reads a source.

    Args:
        prompts, minus: numbers of prompts whose mean is read, and of those whose is subtracted.
        vector: length of the vector that is read; 0 for none.
    """
    if vector:
        return f"a vector of {vector} number{'' if vector == 1 else 's'}"
    if minus:
        return f"a difference of means ({_prompts(prompts)} − {minus})"
    return f"the mean of {_prompts(prompts)}" if prompts else ""


def _averaged(tokens: Sequence[str]) -> str:
    """The tokens that a mean is over, in brackets: ` (“Italy” and “N”)`."""
    distinct = [quoted(token) for token in dict.fromkeys(tokens)]
    if len(distinct) > _MOST_TOKENS:
        distinct = [*distinct[: _MOST_TOKENS - 1], f"{len(distinct) - _MOST_TOKENS + 1} more"]
    return f" ({joined(distinct)})" if distinct else ""


# End of a sentence by intervention, after the site, for interchanges in another basis.
_QUALIFIERS = {
    "vanilla": "",
    "rotated_space": "in a rotated space",
    "low_rank_rotated_space": "in a low-rank rotated space",
    "sigmoid_mask": "through a sigmoid mask",
    "boundless_rotated_space": "in a boundless rotated space",
    "pca_rotated_space": "in a space of principal components",
}
_MOST_TOKENS = 4
"""Different tokens of a mean that a sentence names."""

_MOST_DIMS = 6
"""Dims that a sentence lists one by one; of more it states the number."""


def describe_patch(
    token: str,
    source_token: str,
    component: str,
    layer: int,
    head: int | None = None,
    *,
    is_last: bool = False,
) -> str:
    """One interchange slot in words: base token, source token and site."""
    return describe(SlotAction(token, component, layer, head, source_token, is_last=is_last))


def describe(action: SlotAction) -> str:
    """A slot in words, for instance `Patching “Spain” with “Italy” after block 0`."""
    a = action
    qualifier = _QUALIFIERS.get(a.intervention)
    own = "" if a.intervention == "mean" else reading(a.prompts, a.minus, a.vector)
    is_other = a.source_layer is not None or a.source_token not in (None, a.token)
    differs = bool(own) or (a.positions == 1 and is_other)
    differs = a.source_token is not None if a.keys else differs
    if qualifier is None:
        verb = _VERBS.get(a.intervention, "Applying {name} to {part}{token}")
    else:
        verb = "Patching {part}{token} with {source}" if differs else "Patching {part}{token}"
    what = verb.format(
        name=a.intervention,
        part="" if a.subspace is None else f"{_part(a.subspace)} of ",
        source=own or _source_words(a),
        token=(
            quoted(a.token)
            if differs and not own and not a.keys and qualifier is not None
            else _token_words(a)
        ),
        prompts=_prompts(a.prompts) + _averaged(a.averaged),
    )
    ending = [site_words(a.component, a.layer, a.head)]
    if a.target is not None:
        ending.append(f"in the run of {quoted(a.target)}")
    if qualifier:
        ending.append(qualifier)
    if a.source_layer is not None:
        ending.append(f"(read at layer {a.source_layer})")
    if a.strength != 1:
        ending.append(f"at strength {a.strength:g}".replace("-", "−"))
    return " ".join([what, *ending])


def _token_words(action: SlotAction) -> str:
    """What a slot changes: `“Spain”`, `the last token (“is”)`, `3 tokens`.

    Of attention weights: `the weight from “is” to “Spain”`, `12 weights`.
    """
    if action.keys:
        count = action.positions * len(action.keys)
        if count > 1:
            return f"{count} weights"
        return f"the weight from {quoted(action.token)} to {quoted(action.keys[0])}"
    if action.positions > 1:
        return f"{action.positions} tokens"
    return f"the last token ({quoted(action.token)})" if action.is_last else quoted(action.token)


def _source_words(action: SlotAction) -> str:
    """What a slot reads from its source: `“Italy”`, `3 tokens of the source`."""
    if action.source_token is None:
        return ""
    if action.keys:
        return "the source’s"
    if action.positions > 1:
        return f"{action.positions} tokens of the source"
    return quoted(action.source_token)


def _part(subspace: str | Sequence[int]) -> str:
    """A subspace in words: `subspace a`, `dims 0:2`, `dims 0, 3 and 5`, `12 dims`."""
    if isinstance(subspace, str):
        return f"dims {subspace}" if ":" in subspace else f"subspace {subspace}"
    if len(subspace) > _MOST_DIMS:
        return f"{len(subspace)} dims"
    return f"{'dim' if len(subspace) == 1 else 'dims'} {joined([str(dim) for dim in subspace])}"


def several(live: int, skipped: int) -> str:
    """The live slots of several in words: `2 slots together`, `1 slot (1 more skipped)`."""
    if skipped:
        return f"{live} slot{'' if live == 1 else 's'} ({skipped} more skipped)"
    return f"{live} slots together"


def beside_held(action: str, held: int) -> str:
    """Held slots and the one that is tried beside them: `A held slot and patching “Spain” …`."""
    slots = "A held slot" if held == 1 else f"{held} held slots"
    return f"{slots} and {action[0].lower()}{action[1:]}"
