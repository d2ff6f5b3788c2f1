"""error_text(): the error of a request as the screen shows it."""

from __future__ import annotations

from typing import get_args

from vene_widgets import errors
from vene_widgets.explorer.wire.messages import Request

_KINDS = frozenset(kind.model_fields["kind"].default for kind in get_args(get_args(Request)[0]))
"""Kinds of request: pydantic starts the location of a validation error with one of them."""


def error_text(error: BaseException) -> str:
    """An error in one line: the field, the rule, the value. No class names, no links.

    It never raises and is never long, whatever the error holds (`errors.error_text`).
    """
    return errors.error_text(error, shown=_without_kind)


def _without_kind(location: errors.Location) -> errors.Location:
    """Drop the request's kind and `experiment` from a location: the user knows neither."""
    inside = location[1:] if location[:1] and location[0] in _KINDS else location
    return tuple(part for part in inside if part != "experiment")
