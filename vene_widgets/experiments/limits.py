"""Largest sizes that a request may have: what is larger is refused before anything is made of it.

They are far above what one run can use, and low enough that checking a request takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from itertools import islice
from typing import TypeVar

from vene_widgets.errors import RequestError, shown

T = TypeVar("T")

PROMPT_CHARACTERS = 1_000_000
"""Characters of one prompt."""

CHARACTERS_PER_POSITION = 64
"""A prompt of more characters than this for each of the model's positions, and 1000, is refused
before it is tokenized."""

TOKEN_CHARACTERS = 1_000
"""Characters of one token's text."""

SOURCES = 1_000
"""Sources of one experiment."""

SLOTS = 10_000
"""Slots of one experiment."""

POSITIONS = 2**17
"""Positions of one list. `"all"` and slices have no limit."""

LAYERS = 10_000
"""Layers of one sweep."""

DIMS = 2**17
"""Coordinates of a site: no subspace and no partition reaches beyond."""

PARTS = 1_000
"""Names in one partition."""

MEAN_PROMPTS = 10_000
"""Prompts that one mean is taken of."""

TARGETS = 10_000
"""Tokens that one sweep follows."""

SEEDS = 1_000
"""Seeds of one sweep."""

PAIRS = 10_000_000
"""Pairs of prompts of one data set."""

ATTENTION_WEIGHTS = 2**28
"""Attention weights that are read at once: layers × heads × tokens², of all runs together."""

ATTENTION_ROWS = 2**23
"""Rows of a table of attention weights."""

INT = 2**63
"""Ints lie between the negative of this and this."""


def check_size(value: object, limit: int, what: str) -> None:
    """Check the length of a list, dict or text.

    Args:
        value: the user's input; without a length, it is left to other checks.
        limit: the largest length.
        what: the noun for the message, in the plural: `"slots"`.

    Raises:
        RequestError: it is longer.
    """
    if not isinstance(value, Sized):
        return
    try:
        size = len(value)
    except OverflowError:  # a range
        raise RequestError(f"expected at most {limit} {what}, got {shown(value)}") from None
    if size > limit:
        raise RequestError(f"expected at most {limit} {what}, got {size}")


def bounded(values: Iterable[T], limit: int, what: str) -> tuple[T, ...]:
    """The values of an iterable, of which no more are read than may be there.

    Raises:
        RequestError: it cannot be iterated over, or there are more than `limit`.
    """
    try:
        check_size(values, limit, what)
        iterator = iter(values)  # of a tensor, all of its rows
    except TypeError:  # an array or tensor of no dimensions
        raise RequestError(f"expected a list of {what}, got {shown(values)}") from None
    found = tuple(islice(iterator, limit + 1))
    if len(found) > limit:
        raise RequestError(f"expected at most {limit} {what}, got more")
    return found
