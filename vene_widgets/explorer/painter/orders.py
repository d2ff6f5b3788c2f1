"""Orders to the figure process, and the drawings it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotnine as p9

THEMES = ("screen", "dark", "paper", "slide")
"""Names of themes: the figures' own for a light and a dark page, `theme_paper`, `theme_slide`."""


@dataclass(frozen=True)
class FigureOrder:
    """One figure to draw: frames by the name of the figure function that draws them.

    Attributes:
        key: equal keys mean equal pictures.
        kind: a `FigureKind`.
        frames: the frames it is drawn from, one per panel.
        options: keyword arguments for the figure functions.
        formats: of the files to draw, from `figures.FORMATS`; empty for the screen's picture.
        dpi: of a PNG file.
        theme: one of `THEMES`, or a plotnine theme.
    """

    key: str
    kind: str
    frames: dict[str, pd.DataFrame]
    options: dict[str, Any]
    formats: tuple[str, ...] = ()
    dpi: float = 300
    theme: str | p9.theme = "screen"


@dataclass(frozen=True)
class DrawnFiles:
    """A figure as files: format -> bytes."""

    files: dict[str, bytes]


@dataclass(frozen=True)
class Picture:
    """A figure as PNG bytes, its width and height in CSS pixels, and its alt text."""

    png: bytes
    width: int
    height: int
    alt: str


Drawing = Picture | DrawnFiles
