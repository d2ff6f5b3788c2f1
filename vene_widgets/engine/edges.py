"""Edges: the queries and keys of a slot on attention weights, in every prompt that it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.engine.positions import resolve_positions, source_positions
from vene_widgets.errors import RequestError
from vene_widgets.experiments.fields import ALL

if TYPE_CHECKING:
    from vene_widgets.models import Token

Written = int | tuple[int | str, ...] | str
"""Positions as a slot holds them."""


@dataclass(frozen=True)
class Edges:
    """The weights from each of some queries to each of some keys.

    Attributes:
        queries, keys: positions from 0.
        position, source_position: the same as the slot writes them; None for all keys.
    """

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    position: Written
    source_position: Written | None

    def in_prompt(self, tokens: tuple[Token, ...], name: str, prompt: str) -> Edges:
        """The edges of another prompt that these are read from.

        Queries and keys mean what they mean in the base, as they are written: negative ones, slices
        and `"all"` count in the prompt itself, a token's text stands for its index in the base.

        Args:
            tokens: of the prompt.
            name: the slot, for messages.
            prompt: which prompt it is, for messages.

        Raises:
            RequestError: a position out of range, another number of queries or keys than here, or
                an edge whose key comes after its query in one of the prompts only.
        """
        keys = ALL if self.source_position is None else self.source_position
        found = Edges(
            _resolved(self.position, self.queries, tokens, f"{name}.position", prompt),
            _resolved(keys, self.keys, tokens, f"{name}.source_position", prompt),
            self.position,
            self.source_position,
        )
        for what, field, here, there in (
            ("queries", "position", self.queries, found.queries),
            ("keys", "source_position", self.keys, found.keys),
        ):
            if len(here) != len(there):
                raise RequestError(
                    f"{name} reads {len(there)} {what} of the {prompt} for {len(here)} of the "
                    f"base: name them by {field}, or take prompts of one length."
                )
        if (found.queries, found.keys) != (self.queries, self.keys):
            self._check_order(found, name, prompt)
        return found

    def _check_order(self, other: Edges, name: str, prompt: str) -> None:
        """Refuse an edge to an earlier key that would be copied to a later one, or from one."""
        for query, its in zip(self.queries, other.queries, strict=True):
            for key, its_key in zip(self.keys, other.keys, strict=True):
                if (key > query) != (its_key > its):
                    raise RequestError(
                        f"{name} reads the weight from query {its} to key {its_key} of the "
                        f"{prompt} for query {query} and key {key} of the base, but only one of "
                        "them looks back: a token never attends to later ones."
                    )


def plan_edges(
    position: Written,
    source_position: Written | None,
    tokens: tuple[Token, ...],
    name: str,
    prompt: str,
) -> Edges:
    """The edges of a slot in the prompt on whose run it acts.

    Args:
        position, source_position: of the slot: queries, and keys.
        tokens: of the prompt.
        name: the slot, for messages.
        prompt: which prompt it is, for messages.

    Raises:
        RequestError: a position that is out of range or named twice, or a text that does not occur
            exactly once.
    """
    keys = ALL if source_position is None else source_position
    return Edges(
        resolve_positions(position, tokens, f"{name}.position", prompt, distinct=True),
        resolve_positions(keys, tokens, f"{name}.source_position", prompt, distinct=True),
        position,
        source_position,
    )


def _resolved(
    written: Written, here: tuple[int, ...], tokens: tuple[Token, ...], field: str, prompt: str
) -> tuple[int, ...]:
    return resolve_positions(source_positions(written, here), tokens, field, prompt)
