"""Type and theme of all figures; `palette` has the colours, `paper` the changes for print."""

from __future__ import annotations

from collections import UserList
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import plotnine as p9
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from plotnine.themes.elements import margin

from vene_widgets.figures.palette import LIGHT, Palette
from vene_widgets.figures.palette import contrast as contrast
from vene_widgets.figures.palette import ink_on as ink_on

RUN_SHAPES = {"base": "o", "source": "s", "intervened": "D", "ungrouped": "^", "grouped": "v"}
"""Marker of a run by its role."""

SPARE_SHAPES = ("P", "X", "p", "h", "*")
"""Markers of runs without a role, in order."""

SANS, SERIF = "DejaVu Sans", "STIXGeneral"
"""Fonts that come with matplotlib, so they are the same on every machine."""

_FILES = {SANS: "DejaVuSans*.ttf", SERIF: "STIXGeneral*.ttf"}
"""Their files in matplotlib's folder."""

LINE_SPACING = 1.35
"""Distance of the lines of a subtitle, in heights of its type."""

BAR = 12
"""Width of a colour bar, in points."""

_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Noto Sans Devanagari",
    "Noto Emoji",
    "Segoe UI Emoji",
    "Segoe UI Symbol",
    "Apple Symbols",
)
"""Fonts for other scripts and symbols, used if they are installed."""


def run_shapes(runs: Sequence[str]) -> dict[str, str]:
    """Marker of every run, by name: that of its role, else the next spare one."""
    others = [run for run in runs if run not in RUN_SHAPES]
    spare = {run: SPARE_SHAPES[i % len(SPARE_SHAPES)] for i, run in enumerate(others)}
    return {run: RUN_SHAPES.get(run) or spare[run] for run in runs}


@cache
def families(first: str = SANS) -> UserList[str]:
    """Font families in order of fallback: `first`, DejaVu Sans, then the installed `_FALLBACKS`.

    No plain list: plotnine would assign its fonts to the labels one by one if there are equally
    many of both.
    """
    here = installed()
    if first in _FILES and first not in here:  # matplotlib's kept list can be older than its fonts
        for file in sorted(Path(mpl.get_data_path(), "fonts", "ttf").glob(_FILES[first])):
            cast(Any, font_manager.fontManager).addfont(str(file))
    return UserList([*dict.fromkeys([first, SANS]), *(name for name in _FALLBACKS if name in here)])


def installed() -> set[str]:
    """Names of the fonts that matplotlib finds on this machine."""
    return {font.name for font in font_manager.fontManager.ttflist}


@cache
def has_glyph(character: str) -> bool:
    """Whether any font of `families()` can draw a character."""
    return any(_font(name).get_char_index(ord(character)) for name in families())


def drawable(text: str) -> str:
    """Escape the characters that no font here has; they would all be drawn as the same box."""
    return "".join(c if c == "\n" or has_glyph(c) else f"\\u{ord(c):04x}" for c in text)


def text_width(text: str, size: float) -> float:
    """Width in inches of a text's longest line at `size` points."""
    return (
        max(sum(_advance(character) for character in line) for line in text.split("\n")) * size / 72
    )


@cache
def _advance(character: str) -> float:
    """Width of one character in ems, in the first font that has it; 1 if none has."""
    for font in map(_font, families()):
        if font.get_char_index(ord(character)):
            # At 1000 points and 72 dpi an em is 1000 pixels; advances count 1/65536 pixel.
            font.set_size(1000, 72)
            return font.load_char(ord(character)).linearHoriAdvance / 65536 / 1000
    return 1.0


@cache
def _font(name: str) -> FT2Font:
    """Open a font for measuring; setting the size of matplotlib's shared object would persist."""
    return FT2Font(cast(Any, font_manager).findfont(name))


def theme_vene(base_size: float = 9, palette: Palette = LIGHT) -> p9.theme:
    """The theme of all figures: no boxes, no grid. `base_size` is in points."""
    blank, text, small = p9.element_blank(), p9.element_text, 0.9 * base_size
    ink, quiet = palette.ink, palette.quiet
    made = p9.theme_void(base_size=cast(Any, base_size)) + p9.theme(
        text=text(family=cast(Any, families()), color=ink, size=base_size),
        axis_text_x=text(size=small, color=ink, va="top", margin=margin(t=3)),
        axis_text_y=text(size=small, color=ink, ha="right", margin=margin(r=4)),
        axis_title_x=text(size=small, color=quiet, va="bottom"),
        axis_title_y=text(size=small, color=quiet, rotation=90),
        legend_key=blank,
        legend_text=text(size=small, color=ink, margin=margin(l=3, t=1, b=1)),
        legend_ticks=blank,
        legend_title=text(size=small, color=quiet, ha="left", margin=margin(b=5)),
        plot_background=p9.element_rect(fill=palette.page, color="none"),
        plot_caption=text(size=small, color=quiet, ha="left"),
        plot_subtitle=text(size=small, color=quiet, ha="left", linespacing=LINE_SPACING),
        plot_title=text(size=1.15 * base_size, weight="bold", color=ink, ha="left"),
        plot_title_position="plot",
        plot_caption_position="plot",
        strip_text=text(size=small, color=ink, ha="left", margin=margin(b=4)),
    )
    # Hinting rounds each letter's width to pixels, which makes lines up to a tenth longer or
    # shorter than `text_width` at the resolution of a screen.
    cast(Any, made)._rcParams["text.hinting"] = "none"
    return made


def sized(width: float, height: float) -> p9.theme:
    """A theme with the figure's size in inches, and margins that look the same at every size.

    plotnine measures these margins as fractions of the figure's width, hence the divisions.
    """

    def gap(t: float = 0, r: float = 0, b: float = 0) -> margin:  # inches
        return margin(t=t / width, r=r / width, b=b / width, unit="fig")

    return p9.theme(
        figure_size=(width, height),
        plot_margin=0.09 / width,
        legend_box_spacing=0.14 / width,
        panel_spacing=0.14 / width,
        axis_title_x=p9.element_text(margin=gap(t=0.06)),
        axis_title_y=p9.element_text(margin=gap(r=0.06)),
        plot_caption=p9.element_text(margin=gap(t=0.1)),
        plot_subtitle=p9.element_text(margin=gap(b=0.1)),
        plot_title=p9.element_text(margin=gap(b=0.08)),
    )


def x_labels(upright: bool) -> p9.theme:
    """A theme with the labels of the x axis upright or flat."""
    return p9.theme(axis_text_x=p9.element_text(rotation=90 if upright else 0))


def colour_bar(height: float) -> p9.theme:
    """A theme with the colour bar's height in inches."""
    return p9.theme(legend_key_width=BAR, legend_key_height=72 * height)
