"""What stands above and beside the panels: title, what was run, the panels' letters and labels."""

from __future__ import annotations

from vene_widgets.figures import theme
from vene_widgets.figures.labels import escape

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Letters of panels, in order."""


def lettered(n: int, text: str) -> str:
    """A panel's label after its letter: `a  P(next token), %`."""
    return f"{LETTERS[n % len(LETTERS)]}   {text}"


def wrap(text: str | None, width: float, size: float) -> list[str]:
    """Break a text into lines of at most `width` inches at `size` points, at spaces.

    A word that is wider has a line of its own. Line breaks of the text stay.
    """
    lines: list[str] = []
    for paragraph in (text or "").splitlines():
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and theme.text_width(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def subtitle(setup: str | None, label: str | None, width: float, size: float) -> str | None:
    """The lines below a title: what was run, and the panel's label; None if there is neither.

    The label is drawable already.
    """
    lines = [escape(theme.drawable(line)) or "" for line in wrap(setup, width, size)]
    return "\n".join([*lines, *([label] if label else [])]) or None


def height_of(setup: str | None, label: bool, width: float, size: float) -> float:
    """Height in inches of `subtitle`, with the gap below it."""
    lines = len(wrap(setup, width, size)) + int(label)
    return lines * theme.LINE_SPACING * size / 72 + (0.1 if lines else 0)
