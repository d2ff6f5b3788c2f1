"""Checks of what a browser sends, before anything is made of it."""

from __future__ import annotations

from typing import cast

from vene_widgets.errors import RequestError

MAX_CHARACTERS = 2_000_000
"""Characters of all texts in one message."""

MAX_ITEMS, MAX_DEPTH = 100_000, 24
"""Values in one message, and how deep they are nested."""


def check_size(content: object) -> None:
    """Check that a message is a dict of a size that can be validated at once.

    Raises:
        RequestError: another type, or more texts, values or levels than a screen can ask for.
    """
    if not isinstance(content, dict):
        raise RequestError(f"a request must be an object, got a {type(content).__name__}.")
    characters = items = 0
    stack: list[tuple[object, int]] = [(cast("object", content), 0)]
    while stack:
        value, depth = stack.pop()
        items += 1
        if isinstance(value, str):
            characters += len(value)
            if not _is_text(value):
                raise RequestError(
                    "a request must be Unicode text, got half of a surrogate pair in it."
                )
        elif isinstance(value, dict):
            entries = cast("dict[object, object]", value)
            stack += [(part, depth + 1) for entry in entries.items() for part in entry]
        elif isinstance(value, (list, tuple)):
            stack += [(part, depth + 1) for part in cast("list[object]", value)]
        if depth > MAX_DEPTH or items + len(stack) > MAX_ITEMS or characters > MAX_CHARACTERS:
            raise RequestError(
                f"a request may have {MAX_CHARACTERS:,} characters and {MAX_ITEMS:,} values, "
                f"nested {MAX_DEPTH} deep; this one has more."
            )


def printable(text: str) -> str:
    """The text with halves of surrogate pairs replaced, so that it can be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
