"""Named positions of pairs of prompts -> ints, aligned between prompts of unequal lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vene_widgets.engine.positions import align, common_ends, resolve_positions
from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.pairs import SOURCE_PREFIX, Pair

if TYPE_CHECKING:
    from vene_widgets.models import Token

NAMES = {
    "first": "the first token",
    "changed": "the last token of the stretch in which base and source differ",
    "last": "the last token",
}
"""Positions that every pair has by name."""

Tokens = tuple["Token", ...]


def place_columns(places: Sequence[str | int], columns: Sequence[str]) -> tuple[str, ...]:
    """Those of some places that are columns of the pairs."""
    return tuple(place for place in places if isinstance(place, str) and place in columns)


def resolve_places(
    pair: Pair, base: Tokens, source: Tokens, places: Sequence[str | int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where some places are in one pair.

    Args:
        pair: the pair; its own places come before `NAMES`, and those before texts of tokens.
        base, source: its tokens.
        places: names, texts of tokens, or indices.

    Returns:
        Positions in the base, and their partners in the source, from 0. A place without a partner
        of its own gets the one that `engine.positions.align` pairs it with; the last token of the
        stretch in which the prompts differ is paired with the last one of that stretch.

    Raises:
        RequestError: a place that a prompt lacks, or two places that are one position.
    """
    found = [_in_base(pair, place, base, source) for place in places]
    if len(set(found)) < len(found):
        again = next(n for n, position in enumerate(found) if position in found[:n])
        raise RequestError(
            f"positions {shown(places[found.index(found[again])])} and {shown(places[again])} are "
            f"both position {found[again]} of the base {shown(pair.base, 60)}."
        )
    partners: list[int] = []
    paired = align(base, source)
    last, source_last = _changed(base, source)
    for place, position in zip(places, found, strict=True):
        if isinstance(place, str) and place in pair.source_places:
            name = f"{SOURCE_PREFIX}{place}"
            partners.append(_written(pair.source_places[place], source, name, "source"))
        elif place == "last" and place not in pair.places:
            partners.append(len(source) - 1)
        else:
            is_last = position == last and source_last >= 0
            partners.append(source_last if is_last else paired[position])
    return tuple(found), tuple(partners)


def _in_base(pair: Pair, place: str | int, base: Tokens, source: Tokens) -> int:
    """The base position of one place."""
    if isinstance(place, str):
        if place in pair.places:
            return _written(pair.places[place], base, place, "base")
        if place == "first":
            return 0
        if place == "last":
            return len(base) - 1
        if place == "changed":
            position, _ = _changed(base, source)
            if position < 0:
                raise RequestError(
                    f"position 'changed' needs a token in which the base {shown(pair.base, 60)} "
                    f"differs from its source {shown(pair.source or '', 60)}."
                )
            return position
    return _written(place, base, "position", "base")


def _changed(base: Tokens, source: Tokens) -> tuple[int, int]:
    """The last tokens of the stretch in which two prompts differ; -1 where there is none."""
    left, right = common_ends(base, source)
    last, source_last = len(base) - right - 1, len(source) - right - 1
    return (last if last >= left else -1), (source_last if source_last >= left else -1)


def _written(written: str | int, tokens: Tokens, name: str, prompt: str) -> int:
    """A position as a table holds it: an index, or a text, of which the last token counts.

    Raises:
        RequestError: out of range, or a text that does not occur exactly once.
    """
    if isinstance(written, str) and (ends := _ends_of(written, tokens)):
        if len(ends) == 1:
            return ends[0]
        raise RequestError(
            f"{name} {shown(written)} occurs {len(ends)} times in the {prompt}, ending at "
            f"{shown(ends)}: it must occur exactly once; give the index of its token instead."
        )
    return resolve_positions(written, tokens, name, prompt)[0]


def _ends_of(text: str, tokens: Tokens) -> list[int]:
    """The last tokens of every place where whole tokens make up a text, with or without a space."""
    wanted = text.strip()
    ends: list[int] = []
    for start, token in enumerate(tokens):
        if not wanted or not token.text.strip() or not wanted.startswith(token.text.strip()):
            continue
        joined = ""
        for end in range(start, len(tokens)):
            joined += tokens[end].text
            if joined.strip() == wanted:
                ends.append(end)
                break
            if len(joined) > len(text) + 1:
                break
    return ends
