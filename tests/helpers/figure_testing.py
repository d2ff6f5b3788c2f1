"""Frames, figures and what is drawn of them, for the tests of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
import plotnine as p9
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from mizani.palettes import gradient_n_pal

from vene_widgets import figures
from vene_widgets.figures import theme
from vene_widgets.tables import frames
from vene_widgets.tables.token_text import TokenText

ODD = [
    " $x$",
    "\n",
    "<b>",
    "%",
    "_",
    "中文",
    "🎉",
    "",
    "\u202e",
    "a$b",
    "\\",
    "{}",
    "&amp;",
    "-" * 60,
]
KINDS = ["token_heatmap", "difference_panel", "sweep_map", "distribution_dots"]
RUNS = ["base", "source", "ungrouped", "grouped"]
WORDS = [" of", " capital", " the", " Spain", " is", " in", " Italy", " city", " country", " and"]


@dataclass(frozen=True)
class Token:
    index: int
    id: int
    text: str


LONG = [" internationalisation", " 中文" * 6, "WWWWWWWWWWWWWWWWWW", " of", "x", "‮abc" * 6]


def long_text(token_id: int) -> str:
    """Texts of which many are wide: 18 characters, other scripts, escapes."""
    return LONG[token_id % len(LONG)] + ("" if token_id < len(LONG) else str(token_id))


def text(token_id: int) -> str:
    return ODD[token_id] if token_id < len(ODD) else f" token{token_id}"


def logits(seed: int, size: int = 60) -> torch.Tensor:
    return 3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def token_frame(
    tokens: int = 10, runs: int = 4, names: Sequence[str] = RUNS, text: TokenText = text
) -> pd.DataFrame:
    """Exactly `tokens` tokens: every run agrees on which ones are likely."""
    shared = torch.zeros(60)
    shared[torch.randperm(60, generator=torch.Generator().manual_seed(5))[:tokens]] = 30
    made = {name: logits(i) + shared for i, name in enumerate(names[:runs])}
    frame = frames.token_frame(made, text, k=tokens)
    assert frame["token_id"].nunique() == tokens
    return frame


def difference_frame(tokens: int = 10, text: TokenText = text) -> pd.DataFrame:
    return frames.difference_frame(logits(1), logits(2), text, k=tokens)


def sweep_frame(
    layers: int = 6,
    positions: int = 5,
    targets: int = 2,
    unrun: int = 0,
    words: Sequence[str] = WORDS,
    text: TokenText = text,
) -> pd.DataFrame:
    """A random sweep whose first `unrun` cells of the last layer were not run."""
    cells = [[logits(100 * i + j) for j in range(positions)] for i in range(layers)]
    grid = torch.stack([torch.stack(row) for row in cells])
    grid[-1, :unrun] = float("nan")
    tokens = [Token(i, i % 10, words[i % len(words)]) for i in range(positions)]
    where = list(range(positions))
    return frames.sweep_frame(
        grid, logits(7), list(range(layers)), tokens, where, range(20, 20 + targets), text,
        source_logits=logits(8),
    )  # fmt: skip


def head_frame(layers: int = 4, heads: int = 4, positions: int = 2) -> pd.DataFrame:
    """A random sweep over heads, of one target."""
    tokens = [Token(i, i % 10, WORDS[i % 10]) for i in range(positions)]
    where, rows = list(range(positions)), list(range(layers))
    cells = (layers, positions)
    return pd.concat(
        [
            frames.sweep_frame(
                torch.stack([logits(1000 * head + n) for n in range(layers * positions)]).unflatten(
                    0, cells
                ),
                logits(7),
                rows,
                tokens,
                where,
                [20],
                text,
                component="head_value_output",
                head=head,
            )
            for head in range(heads)
        ],
        ignore_index=True,
    )


def example(kind: str) -> pd.DataFrame:
    made = {
        "difference_panel": difference_frame,
        "sweep_map": sweep_frame,
        "head_map": head_frame,
    }
    return made.get(kind, token_frame)()


def plot(kind: str, frame: pd.DataFrame | None = None, **options: Any) -> Any:
    return getattr(figures, kind)(example(kind) if frame is None else frame, **options)


def drawn(what: Any) -> Any:
    """Draw a figure, as `figures.png` does."""
    look = what.theme if isinstance(what, p9.ggplot) else what.last_plot.theme
    with mpl.rc_context({"text.hinting": look.rcParams["text.hinting"]}):
        figure = what.draw()
        FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Any) -> list[Text]:
    """Every text that can be seen."""
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def tick_labels(figure: Any, axis: str) -> list[list[Text]]:
    """The labels of every panel's axis that has some."""
    found = [getattr(ax, f"get_{axis}ticklabels")() for ax in figure.axes]
    shown = [[t for t in row if t.get_text() and t.get_visible()] for row in found]
    return [row for row in shown if row]


def limits(what: Any, aesthetic: str) -> tuple[float, float]:
    low, high = what.scales.get_scales(aesthetic).limits
    return low, high


def fill_limits(what: p9.ggplot) -> tuple[float, float]:
    return limits(what, "fill")


def colours_at(positions: Any, palette: list[str]) -> list[str]:
    """Colours of a fill scale at positions 0 to 1."""
    return [str(colour) for colour in gradient_n_pal(palette)(positions)]


def line_boxes(figure: Any) -> list[tuple[str, Bbox]]:
    """Every line of text that can be seen, and its extent in pixels.

    A text's own extent would cover the empty lines within it, and what is right of short ones.
    """
    found: list[tuple[str, Bbox]] = []
    for each in texts(figure):
        box, lines = each.get_window_extent(), each.get_text().split("\n")
        if each.get_rotation() or (len(lines) == 1 and not lines[0].startswith(" ")):
            found.append((each.get_text(), box))
            continue
        height, size = box.height / len(lines), each.get_size() * figure.dpi / 72
        widths = [theme.text_width(line.replace(r"\$", "$"), 72) for line in lines]
        for n, line in enumerate(lines):
            width = box.width * widths[n] / max(widths)
            spaces = len(line) - len(line.lstrip(" "))  # which leave room for a panel's letter
            indent = theme.text_width(" " * spaces, each.get_size()) * figure.dpi
            left = {"left": 0.0, "right": box.width - width}.get(
                each.get_ha(), (box.width - width) / 2
            )
            top = box.y1 - n * height
            # The last of the pitch is empty.
            line_box = Bbox.from_extents(
                box.x0 + left + indent, top - size, box.x0 + left + width, top
            )
            if line.strip():
                found.append((line, line_box))
    return found
