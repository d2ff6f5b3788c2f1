"""Parts of sentences: a token in quotes, a list of names."""

from __future__ import annotations

from collections.abc import Sequence

from vene_widgets.tables.token_text import visible


def quoted(token: str) -> str:
    """A token in quotes, without the space that most words begin with."""
    return f"“{visible(token.strip() or token)}”"


def joined(names: Sequence[str]) -> str:
    """A list in words: `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
