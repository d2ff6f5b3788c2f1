"""read_pairs(): a data set of pairs of prompts, as users may write it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from vene_widgets.errors import RequestError, choose, error_text, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import as_int, as_prompt, as_token_text

Target: TypeAlias = "str | int | tuple[str | int, ...]"
"""A token to follow, by text or id, or a set of tokens whose probabilities are added."""

RESERVED = ("base", "source", "targets", "target", "contrast")
"""Columns with a meaning of their own: they cannot name a position."""

NOWHERE: Mapping[str, str | int] = {}
"""The places of pairs that name none; one for all of them."""

SOURCE_PREFIX = "source_"
"""A column `source_subject` holds where the position `subject` is in the source."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair of prompts of a data set. Pairs of one data set share equal prompts.

    Attributes:
        base: the prompt whose run is changed.
        source: the prompt whose run is copied from; None if the intervention reads none.
        targets: what to follow, tokens or sets of tokens: the first is what patching should bring
            out, the second its contrast. Empty if the model's own answers are to be followed.
        places: name -> where it is in the base, as a text or an index.
        source_places: the same in the source, of those names that say so.
    """

    base: str
    source: str | None
    targets: tuple[Target, ...]
    places: Mapping[str, str | int]
    source_places: Mapping[str, str | int]


def read_pairs(pairs: object, places: Sequence[str] = ()) -> tuple[Pair, ...]:
    """Read a data set of pairs of prompts.

    Args:
        pairs: a DataFrame or a list of dicts with `base`, `source` and, if the tokens to follow
            are known, `targets` (one or several) or `target` and `contrast`. Where a token is
            expected, a list of tokens is a set. Or a list of `(base, source)`.
        places: further columns that name positions. A column `source_<name>` beside one says where
            it is in the source.

    Raises:
        RequestError: no pairs, a column that is missing, or a value of the wrong kind; the message
            gives the row.
    """
    rows = rows_of(pairs)
    columns = dict.fromkeys(name for row in rows for name in row)
    for name in places:
        if name not in columns:
            valid = [c for c in columns if c not in RESERVED]
            choose(name, valid, "position name", "It is a column of the pairs.")
    found: list[Pair] = []
    texts: dict[str, str] = {}
    for number, row in enumerate(rows):
        with named_row(number):
            found.append(_pair(row, places, texts))
    return tuple(found)


def rows_of(pairs: object) -> list[Mapping[str, Any]]:
    """The rows of a table as dicts.

    Raises:
        RequestError: no table, or none with rows.
    """
    to_dict: Any = getattr(pairs, "to_dict", None)
    if to_dict is not None and hasattr(pairs, "columns"):
        limits.check_size(pairs, limits.PAIRS, "pairs")
        rows: Any = to_dict("records")
    elif isinstance(pairs, (str, bytes, Mapping)) or not isinstance(pairs, Iterable):
        raise RequestError(
            "pairs must be a DataFrame or a list of dicts with base, source and targets, got "
            f"{shown(cast('object', pairs))}."
        )
    else:
        rows = limits.bounded(cast("Iterable[Any]", pairs), limits.PAIRS, "pairs")
    if not rows:
        raise RequestError("pairs must hold at least one pair of prompts, got none.")
    return [_row(row, number) for number, row in enumerate(rows)]


def _row(row: Any, number: int) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return cast("Mapping[str, Any]", row)
    if isinstance(row, (tuple, list)) and len(cast("Sequence[Any]", row)) == 2:
        base, source = cast("Sequence[Any]", row)
        return {"base": base, "source": source}
    raise RequestError(
        f"pairs, row {number}: expected a dict with base, source and targets, or (base, source), "
        f"got {shown(cast('object', row))}."
    )


def _pair(row: Mapping[str, Any], places: Sequence[str], texts: dict[str, str]) -> Pair:
    """One row as a pair.

    Args:
        row: the row.
        places: as in `read_pairs`.
        texts: the prompts so far; equal ones are kept once.

    Raises:
        RequestError: see `read_pairs`.
    """
    if "base" not in row:
        raise RequestError(f"has no base: its columns are {shown([*row])}.")
    source = row.get("source")
    both = {**row} if "targets" in row and ("target" in row or "contrast" in row) else {}
    if both:
        raise RequestError("give either targets, or target and contrast, not both.")
    return Pair(
        base=_prompt(row["base"], "base", texts),
        source=None if _is_missing(source) else _prompt(source, "source", texts),
        targets=_targets(row),
        places={name: _place(row.get(name), name) for name in places} or NOWHERE,
        source_places={
            name: _place(row[SOURCE_PREFIX + name], SOURCE_PREFIX + name)
            for name in places
            if not _is_missing(row.get(SOURCE_PREFIX + name))
        }
        or NOWHERE,
    )


@contextmanager
def named_row(number: int) -> Generator[None]:
    """Put the row of a data set before an error.

    Raises:
        RequestError: the error.
    """
    try:
        yield
    except RequestError as error:
        raise type(error)(f"pairs, row {number}: {error_text(error)}") from None


def _prompt(value: object, name: str, texts: dict[str, str]) -> str:
    try:
        prompt = as_prompt(value)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None
    return texts.setdefault(prompt, prompt)


def _targets(row: Mapping[str, Any]) -> tuple[Target, ...]:
    """What to follow, without missing values.

    Raises:
        RequestError: neither tokens nor lists of tokens, an empty list, or too many.
    """
    if "targets" not in row:
        named = ((name, row.get(name)) for name in ("target", "contrast"))
        return tuple(_target(value, name) for name, value in named if not _is_missing(value))
    given = _listed(row["targets"])
    if _is_missing(given):
        return ()
    if isinstance(given, Mapping):
        raise RequestError(
            f"targets must be tokens or lists of tokens, got {shown(cast('object', given))}: sets "
            "have names only if they are the same for all pairs (targets= of sweep_pairs)."
        )
    if isinstance(given, str) or not isinstance(given, Iterable):
        given = (given,)
    several = limits.bounded(cast("Iterable[Any]", given), limits.TARGETS, "targets")
    return tuple(
        _target(value, f"targets[{n}]") for n, value in enumerate(several) if not _is_missing(value)
    )


def _target(value: Any, name: str) -> Target:
    """A token, or a set of tokens.

    Raises:
        RequestError: neither, an empty set, or too many tokens.
    """
    value = _listed(value)
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return _token(value)
    tokens = limits.bounded(cast("Iterable[Any]", value), limits.TARGETS, f"tokens of {name}")
    if not tokens:
        raise RequestError(f"{name} must name at least one token, got an empty list.")
    return tuple(_token(token) for token in tokens)


def _listed(value: Any) -> Any:
    """An array or tensor as a list; anything else as it is."""
    shape = getattr(value, "shape", ())
    return value.tolist() if isinstance(shape, tuple) and shape else value


def _token(value: Any) -> str | int:
    return as_token_text(value) if isinstance(value, str) else as_int(value)


def _place(value: Any, name: str) -> str | int:
    """A position as a text or an index.

    Raises:
        RequestError: missing, or another type.
    """
    if _is_missing(value):
        raise RequestError(f"{name} is missing: it must be a text of the prompt, or an index.")
    if isinstance(value, float) and value.is_integer():  # a column of ints with gaps
        value = int(value)
    try:
        return as_token_text(value) if isinstance(value, str) else as_int(value)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None


def _is_missing(value: Any) -> bool:
    """Whether a table has no value there: None, NaN, or pandas' <NA>."""
    if value is None:
        return True
    if isinstance(value, float):
        return value != value  # NaN
    return type(value).__name__ in ("NAType", "NaTType")
