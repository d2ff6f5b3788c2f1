"""A figure as the bytes of a file."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import plotnine as p9
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vene_widgets.errors import choose
from vene_widgets.figures import theme
from vene_widgets.figures.notes import marked, titled

FORMATS = ("png", "svg", "pdf")


def save(plot: Any, path: str | Path, dpi: float = 300) -> Path:
    """Write a figure to a file whose suffix says what it is: `.png`, `.svg` or `.pdf`.

    Args:
        plot: a figure, or two `beside` each other.
        path: of the file, written anew.
        dpi: of a PNG.

    Raises:
        RequestError: another suffix.
    """
    file = Path(path)
    kind = choose(file.suffix.lower(), [f".{name}" for name in FORMATS], "format")[1:]
    file.write_bytes(as_bytes(plot, kind, dpi))
    return file


def as_bytes(plot: Any, kind: str, dpi: float = 300) -> bytes:
    """A figure in one of `FORMATS`."""
    if kind == "png":
        return png(plot, dpi)
    return svg(plot).encode() if kind == "svg" else pdf(plot)


def png(plot: Any, dpi: float = 110) -> bytes:
    """Draw a figure or composition as PNG; no pyplot figure stays open."""
    file = io.BytesIO()
    with _drawn(plot, dpi) as figure:
        # Straight to the canvas: `savefig` lays the figure out and draws it twice. Zlib's usual
        # level 6 takes twice the time of 3, for files that are no smaller.
        FigureCanvasAgg(figure).print_png(file, pil_kwargs={"compress_level": 3})
    return file.getvalue()


def svg(plot: Any) -> str:
    """Draw a figure or composition as SVG; equal figures give equal files.

    Texts are texts unless the theme asks for paths. Tiles of `token_heatmap` and `sweep_map` have
    titles: a browser shows token, id, run and the exact value of the one that is pointed at.
    """
    file = io.BytesIO()
    with _drawn(plot, 72) as figure:
        notes = marked(figure)
        figure.savefig(file, format="svg", metadata={"Date": None})
    return titled(_shorter(file.getvalue().decode()), notes)


def pdf(plot: Any) -> bytes:
    """Draw a figure or composition as PDF with its fonts embedded; equal ones give equal files."""
    file = io.BytesIO()
    with _drawn(plot, 72) as figure:
        figure.savefig(file, format="pdf", metadata={"CreationDate": None, "Creator": None})
    return file.getvalue()


def _shorter(text: str) -> str:
    """The same SVG in fewer bytes: coordinates to 0.01 points, the font named once, no indents.

    Verdana has DejaVu's widths, for screens that lack it.
    """
    named = Counter(re.findall(r"<text [^>]*font-family: ([^;]*); ", text))
    if named:  # none where texts are paths
        [(fonts, _)] = named.most_common(1)
        text = re.sub(rf"(<text [^>]*)font-family: {re.escape(fonts)}; ", r"\1", text)
        last = "Times, serif" if theme.SERIF in fonts else "Verdana, sans-serif"
        text = text.replace("<svg ", f'<svg font-family="{fonts}, {last}" ', 1)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    number = re.compile(r"(\d+\.\d\d)\d+")
    places = re.compile(r' (?:d|x|y|width|height|transform|style)="[^"]*"')
    text = places.sub(lambda place: number.sub(r"\1", place[0]).replace(" \n", ""), text)
    return re.sub(r"\n +<", "\n<", text)


@contextmanager
def _drawn(plot: Any, dpi: float) -> Iterator[Figure]:
    """The matplotlib figure of a plot; plotnine has closed it for pyplot already."""
    look = plot.theme if isinstance(plot, p9.ggplot) else plot.last_plot.theme
    settings: dict[Any, Any] = {
        "svg.fonttype": look.rcParams.get("svg.fonttype", "none"),
        "svg.hashsalt": "vene_widgets",
        "pdf.fonttype": 42,  # whole fonts: texts can be searched, and publishers take them
    }
    with warnings.catch_warnings(), mpl.rc_context(settings):
        # A title may hold characters that no font here has; labels never do (theme.drawable).
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
        yield (plot + p9.theme(dpi=dpi)).draw()
