"""Colours of the figures, for a light and for a dark page; the screen's, one meaning each.

Blue is more and orange is less, everywhere. Runs have other colours and differ in shape too. The
fill scales are even steps of lightness in OKLab (Ottosson 2020, "A perceptual color space for
image processing"), so that equal differences look equal, also in grey print.
`tests/cases/colours.json` holds the same scales for both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vene_widgets.errors import choose


@dataclass(frozen=True)
class Palette:
    """The colours of one style.

    Attributes:
        page: background of the figure.
        ink, quiet, faint: text and marks; secondary text; grid.
        edge: between tiles.
        hatch: lines of tiles where no effect is possible, and marks of cells that were not run.
        more, less: fill colours from 0 to the largest increase, and to the largest decrease.
        up, down: an increase and a decrease, as a mark or a number.
        runs: colour of a run by its role.
        spare: colours of runs without a role, in order.
    """

    page: str
    ink: str
    quiet: str
    faint: str
    edge: str
    hatch: str
    more: tuple[str, ...]
    less: tuple[str, ...]
    up: str
    down: str
    runs: dict[str, str]
    spare: tuple[str, ...]

    @property
    def sequential(self) -> list[str]:
        """Fill colours of amounts, from small to large."""
        return list(self.more)

    @property
    def diverging(self) -> list[str]:
        """Fill colours of differences, from the largest decrease to the largest increase."""
        return [*self.less[:0:-1], *self.more]

    def colours_of(self, runs: Sequence[str]) -> dict[str, str]:
        """Colour of every run, by name: that of its role, else the next spare one."""
        others = [run for run in runs if run not in self.runs]
        spare = {run: self.spare[i % len(self.spare)] for i, run in enumerate(others)}
        return {run: self.runs.get(run) or spare[run] for run in runs}


# fmt: off
LIGHT = Palette(
    page="#ffffff", ink="#16191d", quiet="#59616b", faint="#e4e7eb", edge="#ffffff",
    hatch="#c2c8cf",
    more=("#f2f4f6", "#bbd3e8", "#85b3d8", "#5792c2", "#3170a6", "#194e83", "#0c305b"),
    less=("#f2f4f6", "#efc89c", "#de9e5c", "#c27830", "#9c5819", "#743c0b", "#4d2300"),
    up="#2a6fa8", down="#ad6219",
    runs={
        "base": "#16191d", "source": "#7a838d", "intervened": "#6a48b5",
        "ungrouped": "#b0348a", "grouped": "#11705a",
    },
    spare=("#8c7a00", "#3f9695", "#c0392b", "#7d5fb2", "#59616b"),
)
DARK = Palette(
    page="#111418", ink="#e9edf1", quiet="#a6b0ba", faint="#2b3138", edge="#111418",
    hatch="#4b545e",
    more=("#20262d", "#204467", "#296596", "#4188bc", "#6aabd9", "#9fceef", "#daefff"),
    less=("#20262d", "#5c3915", "#86531d", "#b0722c", "#d4944b", "#efbd7f", "#ffe8c9"),
    up="#5fa8dc", down="#d8964a",
    runs={
        "base": "#e9edf1", "source": "#8f99a4", "intervened": "#b39df0",
        "ungrouped": "#ec8bc6", "grouped": "#57c9a8",
    },
    spare=("#d6bd4b", "#7fd6d5", "#ff9a90", "#c9b6ff", "#a6b0ba"),
)
# fmt: on

PALETTES = {"light": LIGHT, "dark": DARK}
"""Styles of the figure functions: for a white page, and for a dark screen or slide."""


def palette_of(style: str) -> Palette:
    """The palette of a style.

    Raises:
        RequestError: an unknown style; the message lists the valid ones.
    """
    return PALETTES[choose(style, PALETTES, "style")]


def ink_on(colour: str) -> str:
    """White or black, whichever contrasts more with a background: the ratio is at least 4.5."""
    return max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours such as `#0c305b`, 1 to 21 (WCAG 2.1)."""

    def luminance(colour: str) -> float:
        channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        # Relative luminance of an sRGB colour, with WCAG's threshold and weights.
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
