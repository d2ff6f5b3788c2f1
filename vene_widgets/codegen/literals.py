"""Python source of values and calls, laid out as a formatter would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH = 96
"""Longest line of a script, before marks."""


def call(name: str, arguments: Sequence[str], indent: int = 0, after: str = ")") -> list[str]:
    """A call on one line where it fits, else one argument per line.

    Args:
        name: what stands before the arguments, up to and with the opening bracket.
        arguments: their source.
        indent: spaces before each line.
        after: what closes it.
    """
    pad = " " * indent
    whole = f"{pad}{name}{', '.join(arguments)}{after}"
    if len(whole) <= WIDTH:
        return [whole]
    return [f"{pad}{name}", *(f"{pad}    {part}," for part in arguments), f"{pad}{after}"]


def source(value: object) -> str:
    """A value as Python source: double quotes, tuples as lists."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{source(k)}: {source(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(source(item) for item in value) + "]"
    return repr(value)


def quoted(text: str) -> str:
    """A text in double quotes, whatever it holds."""
    inner = repr('"' + text)[2:-1]  # a double quote within makes repr choose single ones
    return '"' + inner.replace("\\'", "'").replace('"', '\\"') + '"'
