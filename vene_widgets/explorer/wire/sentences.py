"""Plain sentences about results: templates filled with a run's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vene_widgets.tables import frames


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


@dataclass(frozen=True)
class Deed:
    """What one slot does, for the beginning of a sentence.

    Attributes:
        token: the token at its position, in the run that it acts on.
        component, layer, head: where.
        source_token: the token that it reads from; None for interventions that read none.
        intervention: the operator's name.
        strength: 0 leaves the base's state, 1 is the intervention in full.
        subspace: a name, a range or dims; None for all coordinates.
        prompts: how many prompts a mean is taken over.
        target: the source on whose run it acts (serial mode); None for the base.
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


# What stands before the place, `{part}` being the subspace in words or nothing.
_VERBS = {
    "addition": "Adding {part}{source} to {token}",
    "subtraction": "Subtracting {part}{source} from {token}",
    "zero": "Zeroing {part}{token}",
    "mean": "Setting {part}{token} to its mean over {prompts}",
    "noise": "Adding noise to {part}{token}",
    "collect": "Collecting {part}{token}",
}

# An interchange that is not a plain one says so after the place.
_MANNERS = {
    "vanilla": "",
    "rotated_space": "in a rotated space",
    "low_rank_rotated_space": "in a low-rank rotated space",
    "sigmoid_mask": "through a sigmoid mask",
    "boundless_rotated_space": "in a boundless rotated space",
    "pca_rotated_space": "in a space of principal components",
}

_MOST_DIMS = 6
"""Dims that a sentence lists one by one; more are counted."""


def copied(
    token: str, source_token: str, component: str, layer: int, head: int | None = None
) -> str:
    """The deed of one interchange slot: what was copied, into what, and where."""
    return done(Deed(token, component, layer, head, source_token))


def done(deed: Deed) -> str:
    """What a slot does, in words: “Zeroing “Spain” after block 0”."""
    where = f"after block {deed.layer}"
    if deed.component != "block_output":
        head = "" if deed.head is None else f", head {deed.head}"
        where = f"at {deed.component} of layer {deed.layer}{head}"
    if deed.target is not None:
        where += f" in the run of {quoted(deed.target)}"
    manner, more = _MANNERS.get(deed.intervention), []
    if manner is not None:
        verb = "Copying {part}{source} into {token}"
    else:
        verb = _VERBS.get(deed.intervention, "Applying {name} to {part}{token}")
    if manner:
        more.append(manner)
    if deed.strength != 1:
        more.append(f"at strength {deed.strength:g}")
    what = verb.format(
        name=deed.intervention,
        part="" if deed.subspace is None else f"{_part(deed.subspace)} of ",
        source="" if deed.source_token is None else quoted(deed.source_token),
        token=quoted(deed.token),
        prompts="1 prompt" if deed.prompts == 1 else f"{deed.prompts} prompts",
    )
    return " ".join([what, where, *more])


def _part(subspace: str | Sequence[int]) -> str:
    """A subspace in words: “subspace a”, “dims 0:2”, “dims 0, 3 and 5”, “12 dims”."""
    if isinstance(subspace, str):
        return f"dims {subspace}" if ":" in subspace else f"subspace {subspace}"
    if len(subspace) > _MOST_DIMS:
        return f"{len(subspace)} dims"
    return f"{'dim' if len(subspace) == 1 else 'dims'} {joined([str(dim) for dim in subspace])}"


def several(live: int, skipped: int) -> str:
    """The deed of slots that are too many, or too large, for a sentence about each."""
    more = f" ({skipped} skipped)" if skipped else ""
    return f"Running 1 slot{more}" if live == 1 else f"Running {live} slots together{more}"


def sentence(deed: str, change: Change) -> str:
    """What an intervention did to the answer, with the probabilities before and after.

    Args:
        deed: the sentence's beginning, from `copied`, `done` or `several`.
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
    if c.source_token == c.base_token:
        return (
            f"{deed} moved the answer from {quoted(c.base_token)} to {quoted(c.best_token)} "
            f"({percent(c.best_after)}): {base}."
        )
    return (
        f"{deed} moved the answer from {quoted(c.base_token)} to {quoted(c.best_token)} "
        f"({percent(c.best_after)}), which neither prompt gives: {base}, {source}."
    )


def nothing_live(slots: int, has_source: bool, token: str, probability: float) -> str:
    """What stands there when no slot acts, and what to do about it."""
    if slots:
        why = "The slot is skipped" if slots == 1 else f"All {slots} slots are skipped"
        then = "Unskip it." if slots == 1 else "Unskip one."
    else:
        why = "Nothing is swapped yet"
        then = "Click a tile." if has_source else "Click a tile to zero it."
    return f"{why}: the base answers {quoted(token)} ({percent(probability)}). {then}"


def all_idle(deed: str, live: int, reached: bool, token: str, probability: float) -> str:
    """What stands there when every live slot was meant to change something and none did.

    Args:
        deed: from `done` or `several`.
        live: how many slots.
        reached: whether any of them was reached by the forward pass.
        token, probability: the base's answer, which is the answer still.
    """
    it, them = ("it", "it") if live == 1 else ("they", "them")
    why = (
        f"what {it} would put there is there already"
        if reached
        else f"the forward pass never reached {them}"
    )
    return (
        f"{deed} changed nothing: {why}. The answer is still the base’s, "
        f"{quoted(token)} ({percent(probability)})."
    )


def nothing_can_change(token: str) -> str:
    """Why tiles before the first differing token do nothing."""
    return (
        f"Base and source agree up to and including {quoted(token)}, so the states there are the "
        "same and copying changes nothing. Other operators, such as zero, may still act here."
    )


def nothing_came_in(token: str) -> str:
    """Why tiles before the first attention do nothing where the tokens are equal."""
    return (
        f"Base and source both have {quoted(token)} here, and before the first attention nothing "
        "of other tokens has come in: the states are the same and copying changes nothing. Other "
        "operators, such as zero, may still act here."
    )


def out_of_reach(token: str, layer: int) -> str:
    """Why tiles of the last block before the last position do nothing, whatever is done there."""
    return (
        f"Block {layer} is the last one, and what it makes of {quoted(token)} reaches no later "
        "position: the answer is read at the last one, so nothing done here can change it."
    )


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
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
    """What became of one slot, and why when that was nothing.

    Args:
        reason: one of `explorer.messages.ReceiptReason`.
        rows: how many vectors were replaced.
        size: norm of the change, in the site's own units.
        token: for `prefix`, the token up to which the prompts agree.
        by: for `replaced`, the later slot.
        acts_on: the run that it acts on.
    """
    return _RECEIPTS[reason].format(
        vectors="1 vector" if rows == 1 else f"{rows} vectors",
        size=size,
        token=quoted(token),
        by=by,
        acts_on=acts_on,
    )
