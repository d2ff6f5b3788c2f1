"""A map with every token of the vocabulary, for a page that any token can be asked of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 64 * 2**20
"""Bytes that the readings may take in a page."""

EACH = 30
"""About so many bytes are written for one token in one cell: a probability and a rank."""


def check(cells: int, vocabulary: int) -> None:
    """See to it that a page stays one that a browser opens.

    Raises:
        RequestError: it would be larger than `LARGEST`.
    """
    if cells * vocabulary * EACH > LARGEST:
        raise RequestError(
            f"a page with all {vocabulary} tokens in {cells} tiles would take about "
            f"{cells * vocabulary * EACH / 2**20:.0f} MB; {LARGEST // 2**20} MB are allowed. Leave "
            "every_token out: the likeliest tokens of every tile are there in any case."
        )


def with_every_token(
    map_: dict[str, Any],
    rows: Iterable[Tensor],
    base: Tensor,
    source: Tensor,
    label: Callable[[int], str],
) -> dict[str, Any]:
    """The same map, its targets first, then all other tokens by id.

    Args:
        map_: `messages.Map` as a dict, filled.
        rows: per layer, the cells' logits `(positions, vocabulary)`.
        base, source: logits `(vocabulary,)` of the plain runs.
        label: a token's text made visible.
    """
    known = [target["token_id"] for target in map_["targets"]]
    rest = sorted(set(range(len(base))) - set(known))
    p_base, p_source = (logits.double().softmax(-1) for logits in (base, source))
    targets = [
        {
            "token_id": token,
            "label": label(token),
            "base": p_base[token].item(),
            "source": p_source[token].item(),
            "request": None,
        }
        for token in rest
    ]
    readings = [pair for row in rows for pair in _readings(row.cpu(), rest)]
    cells = [
        {
            **cell,
            "probabilities": [*cell["probabilities"], *probabilities],
            "ranks": [*cell["ranks"], *ranks],
        }
        for cell, (probabilities, ranks) in zip(map_["cells"], readings, strict=True)
    ]
    return {**map_, "targets": [*map_["targets"], *targets], "cells": cells}


def _readings(logits: Tensor, tokens: list[int]) -> list[tuple[list[float], list[int]]]:
    """Probabilities and ranks of some tokens, per row; equal logits rank by id, lower first."""
    order = torch.sort(logits, dim=-1, descending=True, stable=True).indices
    ranks = torch.empty_like(order)
    ranks.scatter_(-1, order, torch.arange(1, logits.shape[-1] + 1).expand_as(order))
    p = logits.double().softmax(-1)
    pairs = zip(p[:, tokens].tolist(), ranks[:, tokens].tolist(), strict=True)
    return list(pairs)
