"""Results as English sentences, all in this module.

Templates are filled with the numbers of a run; objects of the engine hold no sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vene_widgets.experiments.components import site_words
from vene_widgets.tables.number_text import percent as percent
from vene_widgets.tables.number_text import significant
from vene_widgets.tables.token_text import visible


@dataclass(frozen=True)
class ProbabilityChange:
    """Next-token probabilities, 0 to 1, before and after a change.

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


def quoted(token: str) -> str:
    """A token in quotes, without the space that most words begin with."""
    return f"“{visible(token.strip() or token)}”"


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
        prompts: number of prompts of a `mean`.
        target: the source whose run it changes (serial mode); None for the base.
        positions: number of positions that it changes.
        is_last: whether its only position is the prompt's last token.
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
    target: str | None = None
    positions: int = 1
    is_last: bool = False


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


# End of a sentence by intervention, after the site, for interchanges in another basis.
_QUALIFIERS = {
    "vanilla": "",
    "rotated_space": "in a rotated space",
    "low_rank_rotated_space": "in a low-rank rotated space",
    "sigmoid_mask": "through a sigmoid mask",
    "boundless_rotated_space": "in a boundless rotated space",
    "pca_rotated_space": "in a space of principal components",
}

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
    differs = a.positions == 1 and a.source_token not in (None, a.token)
    if qualifier is None:
        verb = _VERBS.get(a.intervention, "Applying {name} to {part}{token}")
    else:
        verb = "Patching {part}{token} with {source}" if differs else "Patching {part}{token}"
    what = verb.format(
        name=a.intervention,
        part="" if a.subspace is None else f"{_part(a.subspace)} of ",
        source=_source_words(a),
        token=quoted(a.token) if differs and qualifier is not None else _token_words(a),
        prompts=_prompts(a.prompts),
    )
    ending = [site_words(a.component, a.layer, a.head)]
    if a.target is not None:
        ending.append(f"in the run of {quoted(a.target)}")
    if qualifier:
        ending.append(qualifier)
    if a.strength != 1:
        ending.append(f"at strength {a.strength:g}")
    return " ".join([what, *ending])


def _token_words(action: SlotAction) -> str:
    """What a slot changes: `“Spain”`, `the last token (“is”)`, `3 tokens`."""
    if action.positions > 1:
        return f"{action.positions} tokens"
    return f"the last token ({quoted(action.token)})" if action.is_last else quoted(action.token)


def _source_words(action: SlotAction) -> str:
    """What a slot reads from its source: `“Italy”`, `3 tokens of the source`."""
    if action.source_token is None:
        return ""
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
    """Two or more slots in words: `2 slots together`, `2 slots (1 skipped)`."""
    if skipped:
        return f"{live + skipped} slots ({skipped} skipped)"
    return f"{live} slots together"


def sentence(action: str, change: ProbabilityChange, *, plural: bool = False) -> str:
    """State how the prediction changes, with the probabilities before and after.

    Args:
        action: the subject, from `describe_patch`, `describe` or `several`.
        change: the probabilities.
        plural: whether the subject is several slots.
    """
    c = change
    s = "" if plural else "s"
    base_change = f"{percent(c.base_before)} → {percent(c.base_after)}"
    base = f"{quoted(c.base_token)} {base_change}"
    source = f"{quoted(c.source_token)} {percent(c.source_before)} → {percent(c.source_after)}"
    is_same = c.source_token == c.base_token
    if c.best_token == c.base_token:
        rest = "" if is_same else f"; {source}"
        return f"{action} leave{s} the prediction at {quoted(c.base_token)}: {base_change}{rest}."
    turned = f"{action} turn{s} {quoted(c.base_token)} into {quoted(c.best_token)}"
    if c.best_token == c.source_token:
        return f"{turned}: {source}, {base}."
    if is_same:
        return f"{turned} ({percent(c.best_after)}): {base}."
    return f"{turned} ({percent(c.best_after)}), the answer of neither prompt: {base}, {source}."


def nothing_live(slots: int, has_source: bool, token: str, probability: float) -> str:
    """State why no slot is live, and what to do.

    Args:
        slots: number of slots, all of them skipped.
        has_source: whether the experiment has a source.
        token, probability: the base's prediction.
    """
    if slots:
        why = "The only slot is skipped" if slots == 1 else f"All {slots} slots are skipped"
        then = "Unskip it" if slots == 1 else "Unskip one"
        then += " to see its effect."
    else:
        why = "No slots yet"
        then = f"Click a tile to {'patch' if has_source else 'zero'} it."
    return f"{why}. {_prediction(token, probability)} {then}"


def all_idle(
    action: str, reached: bool, token: str, probability: float, *, plural: bool = False
) -> str:
    """State why no live slot has an effect.

    Args:
        action: from `describe` or `several`.
        reached: whether the forward pass reaches any of the slots.
        token, probability: the base's prediction, which is unchanged.
        plural: whether the subject is several slots.
    """
    if plural:
        why = (
            "the states are already the same"
            if reached
            else "the forward pass reaches none of their sites"
        )
    else:
        why = (
            "the state is already this one"
            if reached
            else "the forward pass does not reach this site"
        )
    have = "have" if plural else "has"
    return f"{action} {have} no effect: {why}. {_prediction(token, probability)}"


def _prediction(token: str, probability: float) -> str:
    """The base's prediction as a sentence."""
    return f"The model predicts {quoted(token)} ({percent(probability)})."


def nothing_can_change(token: str) -> str:
    """Explain why tiles before the first differing token have no effect; `token` precedes it."""
    return f"Base and source are identical up to {quoted(token)}, so patching here has no effect."


def nothing_came_in(token: str) -> str:
    """Explain why tiles before the first attention have no effect if the tokens are equal."""
    return (
        f"Base and source both have {quoted(token)} here and no attention precedes this site, so "
        "patching has no effect."
    )


def out_of_reach(layer: int) -> str:
    """Explain why tiles of the last block have no effect before the last position."""
    return (
        f"Nothing after block {layer} reads this position; the prediction is read at the last "
        "token."
    )


def joined(names: Sequence[str]) -> str:
    """A list in words: `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


_RECEIPTS = {
    "changed": "Replaced {vectors} (‖Δ‖ = {size}).",
    "collected": "Collected {vectors}; changed nothing.",
    "skipped": "Skipped.",
    "unreached": "No effect: the forward pass does not reach this site.",
    "weak": "No effect: the strength is 0.",
    "prefix": "No effect: {acts_on} and source are identical up to {token}.",
    "same": "No effect: the state is already this one.",
    "replaced": "Replaced {vectors} (‖Δ‖ = {size}), but slot {by} overwrites this state.",
    "unread": (
        "Replaced {vectors} (‖Δ‖ = {size}), but nothing after this block reads this position."
    ),
}


def receipt(
    reason: str,
    rows: int = 0,
    size: float = 0.0,
    token: str = "",
    by: int | None = None,
    acts_on: str = "base",
) -> str:
    """State what one slot did, or why it had no effect.

    Args:
        reason: a key of `_RECEIPTS` (`explorer.wire.messages.ReceiptReason`).
        rows: number of replaced vectors.
        size: Euclidean norm of the change, in the site's own units.
        token: for `prefix`, the last token up to which the prompts agree.
        by: for `replaced`, index of the later slot.
        acts_on: the run that the slot changes.
    """
    return _RECEIPTS[reason].format(
        vectors="1 vector" if rows == 1 else f"{rows} vectors",
        size=significant(size),
        token=quoted(token),
        by=by,
        acts_on=acts_on,
    )


def verdict(
    name: str, max_abs: float, tolerance: float, first_divergence: int | None, scope: str
) -> str:
    """State how the logits of two runs compare.

    Args:
        name: `bit-equal`, `allclose` or `different`.
        max_abs: largest absolute difference of a logit.
        tolerance: absolute and relative tolerance of `allclose`, in logits.
        first_divergence: first layer whose output differs; None if no layer's does.
        scope: the compared positions, `all positions` or `last position`.
    """
    if name == "bit-equal":
        return f"Bit-equal: every logit is identical ({scope})."
    where = (
        "identical after every block"
        if first_divergence is None
        else f"first differs at layer {first_divergence}"
    )
    kind = f"Equal within {significant(tolerance)}" if name == "allclose" else "Different"
    return f"{kind}: max abs logit difference {significant(max_abs)}; {where} ({scope})."
