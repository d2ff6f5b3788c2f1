"""A map with every token of the vocabulary, for pages that can show any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vene_widgets.errors import RequestError
from vene_widgets.explorer.wire.numbers import float_rows, floats, int_rows
from vene_widgets.tables.statistics import probabilities, ranks_of

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 64 * 2**20
"""Largest size of a map's numbers in a page."""

BYTES_PER_TOKEN = 30
"""Approximate size of one token's probability and rank in one cell, as JSON."""


def check_page_size(cells: int, vocabulary: int) -> None:
    """Refuse pages too large for a browser.

    Raises:
        RequestError: the map's numbers would exceed `MAX_BYTES`.
    """
    size = cells * vocabulary * BYTES_PER_TOKEN
    if size > MAX_BYTES:
        raise RequestError(
            f"a page with all {vocabulary} tokens in {cells} tiles would take about "
            f"{size / 2**20:.0f} MB; the limit is {MAX_BYTES // 2**20} MB. Omit every_token: a "
            "page always contains the likeliest tokens of every tile."
        )


def with_full_vocabulary(
    map_: dict[str, Any],
    rows: Iterable[Tensor],
    base: Tensor,
    source: Tensor,
    label: Callable[[int], str],
) -> dict[str, Any]:
    """Add every other token of the vocabulary to a map, by id, after its own targets.

    Args:
        map_: a finished `messages.Map` as a dict.
        rows: per row of the map, its cells' logits `(positions, vocabulary)`.
        base, source: logits `(vocabulary,)` of the plain runs.
        label: a token's text made visible.

    Returns:
        The extended map; the given one is unchanged.
    """
    known = {target["token_id"] for target in map_["targets"]}
    rest = [token for token in range(len(base)) if token not in known]
    p_base, p_source = floats(probabilities(base)), floats(probabilities(source))
    targets: list[dict[str, Any]] = [
        {
            "token_id": token,
            "label": label(token),
            "base": p_base[token],
            "source": p_source[token],
            "request": None,
        }
        for token in rest
    ]
    more_p: list[list[float]] = []
    more_ranks: list[list[int]] = []
    for row in rows:
        more_p += float_rows(probabilities(row)[:, rest])
        more_ranks += int_rows(ranks_of(row.cpu(), rest))
    cells = [
        {**cell, "probabilities": [*cell["probabilities"], *p], "ranks": [*cell["ranks"], *ranks]}
        for cell, p, ranks in zip(map_["cells"], more_p, more_ranks, strict=True)
    ]
    return {**map_, "targets": [*map_["targets"], *targets], "cells": cells}
