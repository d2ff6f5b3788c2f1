"""The one error type for requests that cannot be carried out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """A request that cannot be carried out: names the value, the rule and the valid choices.

    It derives from `ValueError`, so pydantic validators may raise it and callers may catch either.
    Nothing is changed when it is raised: models, experiments and screens keep their last good
    state.
    """


def choose(value: object, choices: Iterable[str], what: str, hint: str = "") -> str:
    """Return `value` when it is one of `choices`, else raise with the closest valid name.

    Args:
        value: what the user gave.
        choices: the valid names, in the order in which they are to be listed.
        what: the noun for the message, for instance `"component"`.
        hint: a closing sentence, for instance how to add a new choice.

    Raises:
        RequestError: when `value` is not among the choices.
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
