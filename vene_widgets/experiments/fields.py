"""Field types of requests: what users may write, and what a request stores.

Every type refuses wrong input in one sentence, before anything as large as the input is made of it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field

from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments import limits

ALL = "all"
"""A position that stands for every position of a prompt."""

_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?(?::(-?\d{1,18})?)?", re.ASCII)

_POSITIONS = (
    "an int, a list of ints and token texts, one token's text, a slice such as '1:4', or 'all'"
)


def as_int(value: Any) -> int:
    """Turn an int of Python, numpy or torch into a plain one.

    Raises:
        RequestError: something else; a bool too: Python counts it as an int, but here it is always
            a mistake.
    """
    value = _scalar(value)
    if isinstance(value, bool):
        raise RequestError(f"{value!r} is a bool: expected an int")
    try:
        found = operator.index(value)
    except TypeError:
        raise RequestError(f"expected an int, got {shown(value)}") from None
    if not -limits.INT < found < limits.INT:
        raise RequestError(f"expected an int of less than 2**63, got {shown(found)}")
    return found


def as_ints(value: Any) -> int | tuple[int, ...] | str | None:
    """Turn ints of Python, numpy or torch into plain ones, and lists of them into tuples.

    Texts and None stay as they are.

    Raises:
        RequestError: another type, a bool, or too many ints.
    """
    if isinstance(value, str) or value is None:
        return value
    items = _items(value, limits.POSITIONS, "ints")
    return as_int(value) if items is None else tuple(map(as_int, items))


def as_positions(value: Any) -> int | tuple[int | str, ...] | str:
    """Turn positions as users may write them into what a request stores.

    Args:
        value: an int, a list or array of ints and of token texts, a range, a slice, one token's
            text, or `"all"`.

    Returns:
        An int, a tuple of ints and token texts, or a text: a token's, `"all"`, or a slice such as
        `"1:4"`.

    Raises:
        RequestError: another type, a bool, a text that is no text, or too many positions.
    """
    if isinstance(value, str):
        return _position_text(value)
    if isinstance(value, slice):
        return _slice_text(cast("slice[Any, Any, Any]", value))
    items = _items(value, limits.POSITIONS, "positions")
    if items is None:
        return _position(value)
    return tuple(
        as_token_text(item) if isinstance(item, str) else _position(item) for item in items
    )


def position_slice(text: str) -> slice | None:
    """The slice that a position stands for: `"all"`, `"1:4"`, `"-3:"`, `"::2"`; else None.

    A slice has at least one number, so that `":"` is a token's text.
    """
    if text == ALL:
        return slice(None)
    match = _SLICE.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    return slice(*(None if part is None else int(part) for part in match.groups()))


def as_float(value: Any) -> float:
    """Turn a number of Python, numpy or torch into a float.

    Raises:
        RequestError: a bool, a text, or something that is no real number.
    """
    value = _scalar(value)
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(f"expected a number, got {shown(value)}") from None


def as_bool(value: Any) -> Any:
    """Turn a bool of numpy or torch into a plain one; anything else is left to pydantic."""
    return _scalar(value)


def as_prompt(value: Any) -> str:
    """Check that a value can be a prompt: a text of bounded length. It may be empty.

    Raises:
        RequestError: another type, too long, or no Unicode text.
    """
    if not isinstance(value, str):
        raise RequestError(f"expected a prompt (a str), got {shown(value)}")
    return _text(value, limits.PROMPT_CHARACTERS, "a prompt")


def as_prompts(value: Any) -> tuple[Any, ...]:
    """The prompts in a list, or the one prompt.

    Raises:
        RequestError: neither, or too many.
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise RequestError(f"expected a list of prompts, got {shown(cast('object', value))}")
    return limits.bounded(cast("Iterable[Any]", value), limits.MEAN_PROMPTS, "prompts")


def as_token_text(value: str) -> str:
    """Check that a text can be a token's.

    Raises:
        RequestError: too long, or no Unicode text.
    """
    return _text(value, limits.TOKEN_CHARACTERS, "a token")


def _text(value: str, limit: int, what: str) -> str:
    """A plain str of at most `limit` characters that can be written as UTF-8."""
    if len(value) > limit:
        raise RequestError(
            f"{what} has at most {limit} characters, got {len(value)}: {shown(value, 40)}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{what} must be Unicode text, but {shown(value, 40)} has a lone surrogate at "
            f"character {error.start}"
        ) from None
    return str(value)


def _position_text(value: str) -> str:
    """A token's text, `"all"` or a slice."""
    text = as_token_text(value)
    found = position_slice(text)
    if found is not None and found.step == 0:
        raise RequestError(f"a slice's step must not be 0, got {shown(text)}")
    return text


def _slice_text(value: slice[Any, Any, Any]) -> str:
    """A slice as a request stores it, `"1:4"` or `"::2"`; `"all"` if it leaves nothing out."""
    start, stop, step = (
        None if part is None else as_int(part) for part in (value.start, value.stop, value.step)
    )
    if step in (None, 1):
        if start is None and stop is None:
            return ALL
        step = None
    ends = ":".join("" if part is None else str(part) for part in (start, stop))
    return _position_text(ends if step is None else f"{ends}:{step}")


def _position(value: Any) -> int:
    """One position as an int."""
    value = _scalar(value)
    if isinstance(value, bool):
        raise RequestError(f"{value!r} is a bool: expected {_POSITIONS}")
    if not hasattr(value, "__index__"):
        raise RequestError(f"expected {_POSITIONS}, got {shown(value)}")
    return as_int(value)


def _scalar(value: Any) -> Any:
    """The Python number in an array or tensor of no dimensions; anything else as it is."""
    return value.tolist() if getattr(value, "shape", None) == () else value


def _items(value: Any, limit: int, what: str) -> Sequence[Any] | None:
    """The items of a list, tuple, range or one-dimensional array; None for anything else.

    Raises:
        RequestError: more than `limit`.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(cast("tuple[int, ...]", shape)) == 1:
        limits.check_size(value, limit, what)
        return value.tolist()
    if not isinstance(value, (list, tuple, range)):
        return None
    limits.check_size(cast("Sequence[Any]", value), limit, what)
    return value  # pyright: ignore[reportUnknownVariableType]


Int = Annotated[int, BeforeValidator(as_int)]

Number = Annotated[float, BeforeValidator(as_float)]

Prompt = Annotated[str, BeforeValidator(as_prompt)]

Positions = Annotated[int | tuple[int | str, ...] | str, BeforeValidator(as_positions)]
"""An int (negative counts from the end), several ints and token texts, or a text: that of a token
that occurs once, `"all"`, or a slice such as `"1:4"`."""

Where = int | slice | Sequence[int | str] | str
"""Positions as the user writes them, before validation."""

Name = Annotated[str, Field(min_length=1, max_length=80)]
