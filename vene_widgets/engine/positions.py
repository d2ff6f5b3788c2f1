"""Positions as users write them -> ints, and how the positions of two prompts are paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from vene_widgets.models import Token


def resolve_positions(
    positions: int | tuple[int | str, ...] | str,
    tokens: tuple[Token, ...],
    field: str,
    prompt: str,
    *,
    distinct: bool = False,
) -> tuple[int, ...]:
    """Turn positions as a user may write them into ints from 0.

    Args:
        positions: an int (negative counts from the end), several, or a token's text.
        tokens: the prompt's tokens.
        field: the field's name, for error messages.
        prompt: which prompt it is about, for error messages.
        distinct: refuse a position that is named twice: nothing is written in one place twice.

    Raises:
        RequestError: out of range, named twice, or a text that does not occur exactly once.
    """
    listed = ", ".join(f"{token.index} {token.text!r}" for token in tokens)
    if isinstance(positions, str):
        found = [token.index for token in tokens if token.text == positions]
        if len(found) != 1:
            count = "does not occur" if not found else f"occurs {len(found)} times, at {found},"
            raise RequestError(
                f"{field} {positions!r} {count} in the {prompt}: a token's text must occur exactly "
                f"once; give its index instead. Tokens: {listed}."
            )
        return (found[0],)
    given = (positions,) if isinstance(positions, int) else positions
    count = len(tokens)
    resolved: list[int] = []
    for position in given:
        if not isinstance(position, int):
            raise RequestError(
                f"{field} {position!r} is not an int. Valid: an int, a list of ints, or one "
                f"token's text. Tokens: {listed}."
            )
        if not -count <= position < count:
            raise RequestError(
                f"{field} {position} is out of range: the {prompt} has {count} tokens, "
                f"0 to {count - 1} (or -{count} to -1 from the end). Tokens: {listed}."
            )
        resolved.append(position % count)
    if distinct and len(set(resolved)) != len(resolved):
        raise RequestError(f"{field} {list(given)} names a position twice in the {prompt}.")
    return tuple(resolved)


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
    shorter = min(n, m)
    left = 0
    while left < shorter and base[left].id == source[left].id:
        left += 1
    right = 0
    while right < shorter - left and base[n - 1 - right].id == source[m - 1 - right].id:
        right += 1
    middle = [min(i, max(m - right - 1, 0)) for i in range(left, n - right)]
    return (*range(left), *middle, *range(m - right, m))
