"""Field types and validators shared by all requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, Field

from vene_widgets.errors import RequestError, choose


def as_ints(value: Any) -> Any:
    """Turn numpy and torch integers, arrays and ranges into plain ints and tuples.

    Raises:
        RequestError: a bool; Python counts it as an int, but here it is always a mistake.
    """
    if isinstance(value, bool):
        raise RequestError(
            f"{value!r} is a bool: expected an int (a position may also be a list or a token's "
            "text)"
        )
    if isinstance(value, (str, int)) or value is None:
        return value
    if hasattr(value, "tolist"):  # numpy and torch
        return as_ints(value.tolist())
    if isinstance(value, (list, tuple, range)):
        return tuple(as_ints(item) for item in cast("Iterable[Any]", value))
    return value  # left to pydantic, which refuses it


def check_field_names(model: type[BaseModel], value: object) -> None:
    """Check that a model's raw input has no field that the model lacks.

    Raises:
        RequestError: an unknown field; the message names the closest field and lists all of them.
    """
    for name in cast("Mapping[object, object]", value) if isinstance(value, Mapping) else ():
        choose(name, model.model_fields, f"field of {model.__name__}")


Positions = Annotated[int | tuple[int, ...] | str, BeforeValidator(as_ints)]
"""An int (negative counts from the end), several ints, or the text of a token that occurs once."""

Where = int | Sequence[int] | str
"""Positions as the user writes them, before validation."""

Name = Annotated[str, Field(min_length=1, max_length=80)]
