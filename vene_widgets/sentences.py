"""Results as English sentences, all in this module.

Templates are filled with the numbers of a run; objects of the engine hold no sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def percent(probability: float) -> str:
    """A probability as a percentage, with enough digits to distinguish it from 0 and from 100."""
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
    """A token in quotes, without the space that most words begin with."""
    return f"“{visible(token.strip() or token)}”"


@dataclass(frozen=True)
class SlotAction:
    """What a sentence needs to describe one slot.

    Attributes:
        token: the token at its position, in the run that it changes.
        component, layer, head: its site.
        source_token: the token at its source position; None if it reads no source.
        intervention: the operator's name.
        strength: 0 leaves the base's state, 1 is the intervention in full.
        subspace: a name, a range or dims; None for all coordinates.
        prompts: number of prompts of a `mean`.
        target: the source whose run it changes (serial mode); None for the base.
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


# Start of a sentence by intervention, before the site; `{part}` is the subspace, or empty.
_VERBS = {
    "addition": "Adding {part}{source} to {token}",
    "subtraction": "Subtracting {part}{source} from {token}",
    "zero": "Zeroing {part}{token}",
    "mean": "Setting {part}{token} to its mean over {prompts}",
    "noise": "Adding noise to {part}{token}",
    "collect": "Collecting {part}{token}",
}

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


def describe_copy(
    token: str, source_token: str, component: str, layer: int, head: int | None = None
) -> str:
    """One interchange slot in words: source token, base token and site."""
    return describe(SlotAction(token, component, layer, head, source_token))


def describe(action: SlotAction) -> str:
    """A slot in words, for instance `Zeroing “Spain” after block 0`."""
    where = f"after block {action.layer}"
    if action.component != "block_output":
        head = "" if action.head is None else f", head {action.head}"
        where = f"at {action.component} of layer {action.layer}{head}"
    if action.target is not None:
        where += f" in the run of {quoted(action.target)}"
    qualifier = _QUALIFIERS.get(action.intervention)
    ending: list[str] = []
    if qualifier is not None:
        verb = "Copying {part}{source} into {token}"
    else:
        verb = _VERBS.get(action.intervention, "Applying {name} to {part}{token}")
    if qualifier:
        ending.append(qualifier)
    if action.strength != 1:
        ending.append(f"at strength {action.strength:g}")
    what = verb.format(
        name=action.intervention,
        part="" if action.subspace is None else f"{_part(action.subspace)} of ",
        source="" if action.source_token is None else quoted(action.source_token),
        token=quoted(action.token),
        prompts="1 prompt" if action.prompts == 1 else f"{action.prompts} prompts",
    )
    return " ".join([what, where, *ending])


def _part(subspace: str | Sequence[int]) -> str:
    """A subspace in words: `subspace a`, `dims 0:2`, `dims 0, 3 and 5`, `12 dims`."""
    if isinstance(subspace, str):
        return f"dims {subspace}" if ":" in subspace else f"subspace {subspace}"
    if len(subspace) > _MOST_DIMS:
        return f"{len(subspace)} dims"
    return f"{'dim' if len(subspace) == 1 else 'dims'} {joined([str(dim) for dim in subspace])}"


def several(live: int, skipped: int) -> str:
    """Slots in words by their number, if they are several or one is too long to describe."""
    more = f" ({skipped} skipped)" if skipped else ""
    return f"Running 1 slot{more}" if live == 1 else f"Running {live} slots together{more}"


def sentence(action: str, change: ProbabilityChange) -> str:
    """State how the answer changed, with the probabilities before and after.

    Args:
        action: start of the sentence, from `describe_copy`, `describe` or `several`.
        change: the probabilities.
    """
    c = change
    base = f"{quoted(c.base_token)} {percent(c.base_before)} → {percent(c.base_after)}"
    source = f"{quoted(c.source_token)} {percent(c.source_before)} → {percent(c.source_after)}"
    if c.best_token == c.base_token:
        rest = "" if c.source_token == c.base_token else f"; {source}"
        return f"{action} left the answer at {base}{rest}."
    if c.best_token == c.source_token:
        return (
            f"{action} moved the answer from {quoted(c.base_token)} to {quoted(c.source_token)}: "
            f"{source}, {base}."
        )
    if c.source_token == c.base_token:
        return (
            f"{action} moved the answer from {quoted(c.base_token)} to {quoted(c.best_token)} "
            f"({percent(c.best_after)}): {base}."
        )
    return (
        f"{action} moved the answer from {quoted(c.base_token)} to {quoted(c.best_token)} "
        f"({percent(c.best_after)}), which neither prompt gives: {base}, {source}."
    )


def nothing_live(slots: int, has_source: bool, token: str, probability: float) -> str:
    """State why no slot is live, and what to do.

    Args:
        slots: number of slots, all of them skipped.
        has_source: whether the experiment has a source.
        token, probability: the base's answer.
    """
    if slots:
        why = "The slot is skipped" if slots == 1 else f"All {slots} slots are skipped"
        then = "Unskip it." if slots == 1 else "Unskip one."
    else:
        why = "Nothing is swapped yet"
        then = "Click a tile." if has_source else "Click a tile to zero it."
    return f"{why}: the base answers {quoted(token)} ({percent(probability)}). {then}"


def all_idle(action: str, live: int, reached: bool, token: str, probability: float) -> str:
    """State why no live slot changed anything.

    Args:
        action: from `describe` or `several`.
        live: number of live slots.
        reached: whether the forward pass reached any of them.
        token, probability: the base's answer, which is unchanged.
    """
    it, them = ("it", "it") if live == 1 else ("they", "them")
    why = (
        f"what {it} would put there is there already"
        if reached
        else f"the forward pass never reached {them}"
    )
    return (
        f"{action} changed nothing: {why}. The answer is still the base’s, "
        f"{quoted(token)} ({percent(probability)})."
    )


def nothing_can_change(token: str) -> str:
    """Explain why tiles before the first differing token have no effect; `token` precedes it."""
    return (
        f"Base and source agree up to and including {quoted(token)}, so the states there are the "
        "same and copying changes nothing. Other operators, such as zero, may still act here."
    )


def nothing_came_in(token: str) -> str:
    """Explain why tiles before the first attention have no effect if the tokens are equal."""
    return (
        f"Base and source both have {quoted(token)} here, and before the first attention nothing "
        "of other tokens has come in: the states are the same and copying changes nothing. Other "
        "operators, such as zero, may still act here."
    )


def out_of_reach(token: str, layer: int) -> str:
    """Explain why tiles of the last block have no effect before the last position."""
    return (
        f"Block {layer} is the last one, and what it makes of {quoted(token)} reaches no later "
        "position: the answer is read at the last one, so nothing done here can change it."
    )


def joined(names: Sequence[str]) -> str:
    """A list in words: `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


_RECEIPTS = {
    "changed": "It replaced {vectors}: a change of norm {size:.4g}.",
    "collected": "It collected {vectors} and changed nothing, as it should.",
    "skipped": "Skipped: it does nothing and keeps its number.",
    "unreached": "It changed nothing: the forward pass never reached its place.",
    "weak": "It changed nothing: at strength 0 the state that is there stays.",
    "prefix": (
        "It changed nothing: {acts_on} and source agree up to and including {token}, so their "
        "states here are the same."
    ),
    "same": "It changed nothing: what it would put here is here already.",
    "replaced": (
        "It replaced {vectors} (norm {size:.4g}), but slot {by} at the same place replaced that in "
        "turn."
    ),
    "unread": (
        "It replaced {vectors} (norm {size:.4g}), but after this layer nothing carries that to the "
        "last token, where the answer is read."
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
    """State what one slot did, or why it did nothing.

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
        size=size,
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
        return f"Bit-equal: the same number in every logit ({scope})."
    where = (
        "only after the last block"
        if first_divergence is None
        else f"first at the output of layer {first_divergence}"
    )
    largest = f"largest difference of a logit {max_abs:.3g}, {where} ({scope})."
    return (
        f"Equal within {tolerance:g}: {largest}" if name == "allclose" else f"Different: {largest}"
    )
