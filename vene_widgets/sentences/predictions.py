"""Predictions: how slots change them, or why they do not."""

from __future__ import annotations

from dataclasses import dataclass

from vene_widgets.sentences.words import quoted
from vene_widgets.tables.number_text import percent


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


def sentence(action: str, change: ProbabilityChange, *, plural: bool = False, held: int = 0) -> str:
    """State how the prediction changes, with the probabilities before and after.

    Args:
        action: the subject, from `describe_patch`, `describe` or `several`.
        change: the probabilities.
        plural: whether the subject is several slots.
        held: number of slots in place before and after; the base run is then the one with them.
    """
    c = change
    if held:
        action = f"With {held} slot{'' if held == 1 else 's'} held, {action[0].lower()}{action[1:]}"
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
    # The base's own answer is unknown here with held slots: the run with them has another.
    neither = "" if held else ", the answer of neither prompt"
    return f"{turned} ({percent(c.best_after)}){neither}: {base}, {source}."


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


def no_distribution() -> str:
    """State that a run gave no prediction."""
    return "The logits are NaN or infinite here, so there is no prediction."
