"""Figures as files: PNG, SVG and PDF."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
import plotnine as p9
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vene_widgets.errors import choose
from vene_widgets.figures import theme
from vene_widgets.figures.notes import add_titles, mark_tiles
from vene_widgets.tables.files import write_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotnine.composition import Compose

FORMATS = ("png", "svg", "pdf")
"""File formats of figures."""


def save(plot: p9.ggplot | Compose, path: str | Path, dpi: float = 300) -> Path:
    """Write a figure to a file, in the format of its suffix: `.png`, `.svg` or `.pdf`.

    Args:
        plot: a figure, or two `beside` each other.
        path: of the file; an existing one is replaced, or left as it was if writing fails.
        dpi: resolution of a PNG, in dots per inch.

    Returns:
        The file's path.

    Raises:
        RequestError: another suffix, or a file that cannot be written.
    """
    file = Path(path)
    kind = choose(file.suffix.lower(), [f".{name}" for name in FORMATS], "format")[1:]
    return write_aside(file, as_bytes(plot, kind, dpi))


def as_bytes(plot: p9.ggplot | Compose, kind: str, dpi: float = 300) -> bytes:
    """Draw a figure or composition in one of `FORMATS`; `dpi` is that of a PNG."""
    if kind == "png":
        return png(plot, dpi)
    return svg(plot).encode() if kind == "svg" else pdf(plot)


def png(plot: p9.ggplot | Compose, dpi: float = 110) -> bytes:
    """Draw a figure or composition as PNG; no pyplot figure stays open."""
    file = io.BytesIO()
    with _draw(plot, dpi) as figure:
        # Straight to the canvas: `savefig` lays the figure out and draws it twice. Zlib's usual
        # level 6 takes twice the time of 3, for files that are no smaller.
        canvas = cast(Any, FigureCanvasAgg(figure))
        canvas.print_png(file, pil_kwargs={"compress_level": 3})
    return file.getvalue()


def svg(plot: p9.ggplot | Compose) -> str:
    """Draw a figure or composition as SVG; equal figures give equal files.

    Texts stay texts unless the theme sets paths. Tiles of `token_heatmap` and `sweep_map` have
    titles, which a browser shows as tooltips: token, id, run or position, and exact value.
    """
    with _draw(plot, 72) as figure:
        notes = mark_tiles(figure)
        data = _saved(figure, "svg", {"Date": None})
    return add_titles(_compact_svg(data.decode()), notes)


def pdf(plot: p9.ggplot | Compose) -> bytes:
    """Draw a figure or composition as PDF with embedded fonts; equal figures give equal files."""
    with _draw(plot, 72) as figure:
        return _saved(figure, "pdf", {"CreationDate": None, "Creator": None})


def _saved(figure: Figure, kind: str, metadata: Mapping[str, None]) -> bytes:
    """A drawn figure as SVG or PDF, without the metadata that differ from run to run."""
    file = io.BytesIO()
    cast(Any, figure).savefig(file, format=kind, metadata=metadata)
    return file.getvalue()


def _compact_svg(text: str) -> str:
    """Shorten an SVG: coordinates to 0.01 points, the font named once, no indents.

    Browsers without DejaVu get Verdana, which has the same widths.
    """
    fonts_of_texts = Counter(re.findall(r"<text [^>]*font-family: ([^;]*); ", text))
    if fonts_of_texts:  # empty if texts are paths
        [(fonts, _)] = fonts_of_texts.most_common(1)
        text = re.sub(rf"(<text [^>]*)font-family: {re.escape(fonts)}; ", r"\1", text)
        last = "Times, serif" if theme.SERIF in fonts else "Verdana, sans-serif"
        text = text.replace("<svg ", f'<svg font-family="{fonts}, {last}" ', 1)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    number = re.compile(r"(\d+\.\d\d)\d+")
    # Only within these attributes: texts may hold numbers, too.
    attribute = re.compile(r' (?:d|x|y|width|height|transform|style)="[^"]*"')
    text = attribute.sub(lambda found: number.sub(r"\1", found[0]).replace(" \n", ""), text)
    return re.sub(r"\n +<", "\n<", text)


@contextmanager
def _draw(plot: p9.ggplot | Compose, dpi: float) -> Generator[Figure, None, None]:
    """Draw a plot as a matplotlib figure, which plotnine has already closed for pyplot.

    matplotlib's settings for the file hold within the context only.
    """
    look: Any = plot.theme if isinstance(plot, p9.ggplot) else plot.last_plot.theme
    settings: dict[str, Any] = {
        "svg.fonttype": look.rcParams.get("svg.fonttype", "none"),
        "svg.hashsalt": "vene_widgets",  # ids that are equal in equal files
        "hatch.linewidth": 0.5,
        "text.hinting": look.rcParams.get("text.hinting", "default"),
        "pdf.fonttype": 42,  # TrueType: texts can be searched, and publishers accept it
    }
    with warnings.catch_warnings(), cast(Any, mpl).rc_context(settings):
        # A title may hold characters that no installed font has; labels never do, as
        # `theme.drawable` escapes them.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font")
        yield (plot + p9.theme(dpi=dpi)).draw()
