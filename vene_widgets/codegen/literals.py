"""Python source of values and calls, in a formatter's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

WIDTH = 96
"""Longest line of a script, before marks."""


def format_call(start: str, arguments: Sequence[str], indent: int = 0, end: str = ")") -> list[str]:
    """Lay out a call, list or dict on one line if it fits, otherwise one argument per line.

    Args:
        start: everything up to and including the opening bracket.
        arguments: their source.
        indent: spaces before each line.
        end: the closing bracket.
    """
    pad = " " * indent
    one_line = f"{pad}{start}{', '.join(arguments)}{end}"
    if len(one_line) <= WIDTH:
        return [one_line]
    return [f"{pad}{start}", *(f"{pad}    {argument}," for argument in arguments), f"{pad}{end}"]


def end_with_comma(lines: list[str]) -> list[str]:
    """The lines of a nested call, list or dict as an argument of the enclosing one."""
    return [*lines[:-1], lines[-1] + ","]


def to_source(value: object) -> str:
    """Python source of a value: texts in double quotes, tuples as lists."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return "{" + ", ".join(f"{to_source(k)}: {to_source(v)}" for k, v in items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(to_source, cast("Sequence[object]", value))) + "]"
    return repr(value)


def quote(text: str) -> str:
    """Python source of any text, in double quotes."""
    # A double quote makes `repr` use single quotes, so double ones stay unescaped until here.
    inner = repr('"' + text)[2:-1]
    return '"' + inner.replace("\\'", "'").replace('"', '\\"') + '"'
