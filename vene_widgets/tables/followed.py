"""Followed: the tokens that a table follows, one by one or as sets that count as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vene_widgets.tables.statistics import CellStatistics
from vene_widgets.tables.token_text import visible


@dataclass(frozen=True)
class Followed:
    """What a table follows: tokens, or named sets of tokens.

    The probability of a set is the sum of its tokens', its rank that of its likeliest one.

    Attributes:
        keys: of each target, the token's id, or of sets -1, -2, …
        members: of each target, the ids of its tokens.
        names: of sets, their names; empty for tokens.
    """

    keys: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    names: Mapping[int, str] = field(default_factory=dict["int", "str"])

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all tokens, target by target."""
        return tuple(token for one in self.members for token in one)

    def text(self, key: int, token_text: Callable[[int], str]) -> str:
        """A token's text, or a set's name."""
        return self.names[key] if key in self.names else token_text(key)

    def labels(self, texts: Sequence[str]) -> list[str]:
        """Made visible, from the texts of all targets; names of sets as they are."""
        return [
            text if key in self.names else visible(text)
            for key, text in zip(self.keys, texts, strict=True)
        ]

    def log_p(self, log_p: Tensor) -> Tensor:
        """Ln P of each target `(..., targets)`, from that of `ids` `(..., tokens)`."""
        if not self.names:
            return log_p
        return torch.stack([part.logsumexp(-1) for part in self._parts(log_p)], -1)

    def combine(self, cells: CellStatistics) -> CellStatistics:
        """Statistics that track the targets, from those that track `ids`."""
        if not self.names:
            return cells
        ranks = torch.stack([part.amin(-1) for part in self._parts(cells.ranks)], -1)
        return replace(cells, log_p=self.log_p(cells.log_p), ranks=ranks)

    def _parts(self, values: Tensor) -> tuple[Tensor, ...]:
        return torch.split(values, [len(one) for one in self.members], -1)


def follow_tokens(ids: Sequence[int]) -> Followed:
    """Follow some tokens, each by itself."""
    return Followed(tuple(ids), tuple((token,) for token in ids))


def follow_sets(sets: Mapping[str, Sequence[int]]) -> Followed:
    """Follow some sets of tokens by name."""
    keys = tuple(range(-1, -len(sets) - 1, -1))
    members = tuple(tuple(ids) for ids in sets.values())
    return Followed(keys, members, dict(zip(keys, sets, strict=True)))
