"""The one error type for requests that cannot be carried out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound="BaseModel")


class RequestError(ValueError):
    """A request that cannot be carried out: names the value, the rule and the valid choices.

    It derives from `ValueError`, so pydantic validators may raise it and callers may catch either.
    Raising it changes nothing: models, experiments and screens keep their last valid state.
    """


def choose(value: object, choices: Iterable[str], what: str, hint: str = "") -> str:
    """Return `value` if it is one of `choices`, else raise with the closest valid name.

    Args:
        value: the user's input.
        choices: the valid names, in the order in which the message lists them.
        what: the noun for the message, for instance `"component"`.
        hint: a closing sentence, for instance how to add a new choice.

    Raises:
        RequestError: `value` is not among the choices.
    """
    names = list(choices)
    if isinstance(value, str) and value in names:
        return value
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.4)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(repr(name) for name in names) or "none"
    raise RequestError(
        f"{what} {value!r} is not known.{guess} Valid: {listed}.{' ' + hint if hint else ''}"
    )


Location = tuple[int | str, ...]
"""Path to the invalid part of a validated value, outermost field first."""


def error_text(error: Exception, *, shown: Callable[[Location], Location] | None = None) -> str:
    """Describe an error in one sentence, without this package's class names and without links.

    Args:
        error: any exception.
        shown: maps a validation error's location to the part that the user wrote; None keeps all.
    """
    # Imported here, because importing the package must not load pydantic.
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(_problem_text(problem, shown) for problem in error.errors())
    if isinstance(error, RequestError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def validated(model: type[Model], **fields: object) -> Model:
    """Build a pydantic model and raise its validation errors as one sentence.

    Raises:
        RequestError: a field is invalid.
    """
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        raise RequestError(error_text(error)) from None


def _problem_text(problem: ErrorDetails, shown: Callable[[Location], Location] | None) -> str:
    """Describe one validation problem: location, rule, and the value unless it is a dict."""
    location = shown(problem["loc"]) if shown else problem["loc"]
    where = ".".join(map(str, location))
    text = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    given = "" if isinstance(value, dict) or repr(value) in text else f" (given: {value!r})"
    return f"{where}: {text}{given}" if where else f"{text}{given}"
