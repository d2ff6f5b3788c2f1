"""Positions as users write them -> ints, and how the positions of two prompts are paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError, closest, shown
from vene_widgets.experiments.fields import as_positions, position_slice
from vene_widgets.experiments.token_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vene_widgets.experiments.fields import Where
    from vene_widgets.models import Token

LISTED_TOKENS = 24
"""Most tokens of a prompt that an error lists."""


def resolve_positions(
    positions: Where,
    tokens: tuple[Token, ...],
    field: str,
    prompt: str,
    *,
    distinct: bool = False,
) -> tuple[int, ...]:
    """Turn positions as a user may write them into ints from 0.

    Args:
        positions: an int (negative counts from the end), a token's text as it is shown, several of
            them, a slice (as Python's: what it reaches beyond the prompt is left out), or `"all"`.
        tokens: the prompt's tokens.
        field: the field's name, for error messages.
        prompt: which prompt it is about, for error messages.
        distinct: refuse a position that is named twice: nothing is written in one place twice.

    Raises:
        RequestError: out of range, named twice, a text that does not occur exactly once, or a slice
            without positions.
    """
    try:
        given = as_positions(positions)
    except RequestError as error:
        raise RequestError(f"{field}: {error}. Tokens: {_listed(tokens)}.") from None
    if isinstance(given, str) and (part := position_slice(given)) is not None:
        found = tuple(range(len(tokens)))[part]
        if not found:
            raise RequestError(
                f"{field} {shown(given)} has no positions in the {prompt}, which has {len(tokens)} "
                f"tokens. Tokens: {_listed(tokens)}."
            )
        return found
    several = given if isinstance(given, tuple) else (given,)
    has_texts = any(isinstance(position, str) for position in several)
    by_text = _positions_by_text(tokens) if has_texts else {}
    resolved = tuple(_resolve_one(one, tokens, by_text, field, prompt) for one in several)
    if distinct and len(set(resolved)) != len(resolved):
        raise RequestError(
            f"{field} {shown(list(several))} names a position twice in the {prompt}."
        )
    return resolved


def source_positions(
    position: int | tuple[int | str, ...] | str, resolved: Sequence[int]
) -> int | tuple[int | str, ...] | str:
    """The source positions of a slot that gives none: the same as in the base, as written.

    Negative positions, slices and `"all"` count in the source itself. A token's text stands for its
    index in the base.

    Args:
        position: the base positions as a request stores them.
        resolved: the same as ints from 0.
    """
    if isinstance(position, int):
        return position
    if isinstance(position, str):
        return tuple(resolved) if position_slice(position) is None else position
    return tuple(
        index if isinstance(written, str) else written
        for written, index in zip(position, resolved, strict=True)
    )


def _resolve_one(
    position: int | str,
    tokens: tuple[Token, ...],
    by_text: Mapping[str, list[int]],
    field: str,
    prompt: str,
) -> int:
    """One position as an int from 0."""
    if isinstance(position, str):
        found = by_text.get(position, ())
        if len(found) == 1:
            return found[0]
        raise RequestError(
            f"{field} {shown(position)} {_text_problem(position, tokens, found, prompt)} "
            f"Tokens: {_listed(tokens)}."
        )
    count = len(tokens)
    if not -count <= position < count:
        raise RequestError(
            f"{field} {shown(position)} is out of range: the {prompt} has {count} tokens, "
            f"0 to {count - 1} (or -{count} to -1 from the end). Tokens: {_listed(tokens)}."
        )
    return position % count


def _positions_by_text(tokens: tuple[Token, ...]) -> dict[str, list[int]]:
    """The positions of each text in a prompt: exact texts, and `visible` ones that are none."""
    exact: dict[str, list[int]] = {}
    shown_as: dict[str, list[int]] = {}
    for token in tokens:
        exact.setdefault(token.text, []).append(token.index)
        shown_as.setdefault(visible(token.text), []).append(token.index)
    return {**shown_as, **exact}


def _text_problem(text: str, tokens: tuple[Token, ...], found: Sequence[int], prompt: str) -> str:
    """Why a text stands for no position, and what was probably meant."""
    if found:
        return (
            f"occurs {len(found)} times, at {shown(found)}, in the {prompt}: a token's text must "
            "occur exactly once; give its index instead."
        )
    problem = f"does not occur in the {prompt}: expected the text of one of its tokens, or an index"
    parts = [token.text for token in tokens if token.text.startswith(f"{text}(1/")]
    if text and len(parts) == 1:
        start = next(token.index for token in tokens if token.text == parts[0])
        count = int(parts[0].rpartition("/")[2].rstrip(")")) if parts[0].endswith(")") else 1
        several = [token.text for token in tokens[start : start + count]]
        return f"{problem}. Did you mean {shown(several)}?"
    guess = closest(text, dict.fromkeys(token.text for token in tokens))
    return f"{problem}." if guess is None else f"{problem}. Did you mean {shown(guess)}?"


def _listed(tokens: tuple[Token, ...]) -> str:
    """A prompt's tokens as an error lists them: the first and the last of a long one."""
    texts = [f"{token.index} {shown(token.text, 40)}" for token in tokens[:LISTED_TOKENS]]
    if len(tokens) > LISTED_TOKENS:
        half = LISTED_TOKENS // 2
        ends = [f"{token.index} {shown(token.text, 40)}" for token in tokens[-half:]]
        texts = [*texts[:half], "…", *ends]
    return ", ".join(texts)


def align(base: tuple[Token, ...], source: tuple[Token, ...]) -> tuple[int, ...]:
    """For each base position, the source position that a sweep pairs it with.

    Prompts of equal length pair one to one. Otherwise the common prefix pairs from the left, the
    common suffix from the right, and the tokens in between in order; if the source has fewer of
    them, the rest pair with its last one.

    Returns:
        Source positions, one per base position.
    """
    n, m = len(base), len(source)
    if n == m:
        return tuple(range(n))
    left, right = common_ends(base, source)
    middle = [min(i, max(m - right - 1, 0)) for i in range(left, n - right)]
    return (*range(left), *middle, *range(m - right, m))


def common_ends(base: Sequence[Token], source: Sequence[Token]) -> tuple[int, int]:
    """How many tokens two prompts share at their beginning, and of the rest at their end."""
    shorter = min(len(base), len(source))
    left = 0
    while left < shorter and base[left].id == source[left].id:
        left += 1
    right = 0
    while right < shorter - left and base[-1 - right].id == source[-1 - right].id:
        right += 1
    return left, right
