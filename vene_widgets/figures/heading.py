"""What stands above the panels: title, what was run, the panels' letters and labels."""

from __future__ import annotations

from dataclasses import dataclass

from vene_widgets.figures import theme
from vene_widgets.figures.labels import escape

TEXT, SMALL = 9, 8.1
"""Sizes of type in points, as in `theme_vene`: base size; labels and numbers."""

MARGINS = 0.2
"""Left and right margin of a figure together, in inches."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Letters of panels, in order."""

_SEPARATOR = " · "
"""Between the parts of what was run."""

_BOLD = 1.36
"""Size of type, in base sizes, at which plain letters are as wide as a bold title's."""


def lettered(n: int, text: str) -> str:
    """A panel's label after its letter: `a  P(next token), %`."""
    return f"{LETTERS[n % len(LETTERS)]}   {text}"


def wrap(text: str | None, width: float, size: float) -> list[str]:
    """Break a text into lines of at most `width` inches at `size` points, at spaces.

    A word that is wider is broken anywhere. Line breaks of the text stay, and so do no-break
    spaces.
    """
    lines: list[str] = []
    for paragraph in (text or "").split("\n") if text else []:
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and theme.text_width(longer, size) > width:
                lines.append(line)
                longer = word
            while len(longer) > 1 and theme.text_width(longer, size) > width:
                # The longest beginning that fits, at least one character.
                end = next(
                    n for n in range(len(longer) - 1, 0, -1)
                    if n == 1 or theme.text_width(longer[:n], size) <= width
                )  # fmt: skip
                lines.append(longer[:end])
                longer = longer[end:]
            line = longer
        lines.append(line)
    return lines


def wrap_title(title: str, width: float, base_size: float = TEXT) -> str:
    """Break a title into lines of a figure that is `width` inches wide."""
    return "\n".join(wrap(title, width - 0.3, _BOLD * base_size))


def title_width(title: str) -> float:
    """Width in inches of a figure that a title fits on one line of."""
    return theme.text_width(title, _BOLD * TEXT) + 0.3


def setup_lines(setup: str | None, width: float, size: float = SMALL) -> list[str]:
    """What was run, in drawable lines of a figure that is `width` inches wide.

    Lines end between the parts that ` · ` separates, where they can.
    """
    lines: list[str] = []
    for part in theme.drawable(setup).split(_SEPARATOR) if setup else []:
        longer = f"{lines[-1]}{_SEPARATOR}{part}" if lines else part
        if lines and theme.text_width(longer, size) <= width - MARGINS:
            lines[-1] = longer
        else:
            lines += wrap(part, width - MARGINS, size)
    return [escape(line) or "" for line in lines]


def height_of(lines: int, size: float = SMALL) -> float:
    """Height in inches of lines of type of `size` points, with the gap below them."""
    return lines * theme.LINE_SPACING * size / 72 + (0.1 if lines else 0)


@dataclass(frozen=True)
class Heading:
    """What stands above the panels of a figure.

    Attributes:
        title: in lines of the figure's width; None without.
        subtitle: what was run and, an empty line below, the panel's label; None if there is
            neither.
        height: of all of it, in inches.
    """

    title: str | None
    subtitle: str | None
    height: float


def heading(title: str | None, setup: str | None, label: str | None, width: float) -> Heading:
    """The heading of a figure that is `width` inches wide; the label is drawable already."""
    above, own = setup_lines(setup, width), wrap(label, width - MARGINS, SMALL)
    lines = [*above, "", *own] if above and own else [*above, *own]
    shown = escape(wrap_title(title, width)) if title else None
    height = 0.11 + 0.19 * len(shown.split("\n")) if shown else 0.08
    return Heading(shown, "\n".join(lines) or None, height + height_of(len(lines)))
