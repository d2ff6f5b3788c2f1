"""explain(): an error in the words that the screen shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydantic

from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def explain(error: Exception) -> str:
    """An error in the words that the screen shows: no class names, no links."""
    if isinstance(error, pydantic.ValidationError):
        return "; ".join(_explain_one(problem) for problem in error.errors())
    if isinstance(error, RequestError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _explain_one(problem: ErrorDetails) -> str:
    """One problem of a validation: where, the rule, and the value where it is short enough."""
    # pydantic begins with the request's kind
    tags = ("experiment", "sweep", "figure", "tokens", "follow", "step", "cancel")
    place = problem["loc"][1:] if problem["loc"][:1] in [(tag,) for tag in tags] else problem["loc"]
    where = ".".join(str(part) for part in place if part != "experiment")
    text = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    given = "" if isinstance(value, dict) or repr(value) in text else f" (given: {value!r})"
    return f"{where}: {text}{given}" if where else f"{text}{given}"
