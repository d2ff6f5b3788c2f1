"""theme_paper: widths of columns, type that can be read, fonts that travel, nothing by colour."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import plotnine as p9
import pytest
import torch
from figure_testing import head_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from mizani.palettes import gradient_n_pal
from PIL import Image

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.figures import paper, theme
from vene_widgets.figures.palette import LIGHT
from vene_widgets.models import Token
from vene_widgets.tables import frames


def text(token_id: int) -> str:
    return f" token{token_id}"


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(40, generator=torch.Generator().manual_seed(seed))


def sweep_frame(positions: int = 5) -> pd.DataFrame:
    grid = torch.stack([logits(n) for n in range(4 * positions)]).unflatten(0, (4, positions))
    where = list(range(positions))
    likely = int(logits(99).argmax())
    tokens = [Token(n, n, f" word{n}") for n in where]
    return frames.sweep_frame(grid, logits(99), [0, 1, 2, 3], tokens, where, [likely], text)


def made(kind: str) -> p9.ggplot:
    if kind == "sweep_map":
        return figures.sweep_map(sweep_frame(), metric="delta")
    if kind == "difference_panel":
        frame = frames.difference_frame(logits(1), logits(2), text, k=6)
        return figures.difference_panel(frame, title="A title")
    runs = {"base": logits(1), "source": logits(2)}
    return getattr(figures, kind)(frames.token_frame(runs, text, k=4))


KINDS = [*figures.NEEDS]


def texts(plot: Any) -> list[Text]:
    figure = plot.draw()
    FigureCanvasAgg(figure).draw()
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [1, 2])
def test_a_figure_is_as_wide_as_its_columns(kind: str, columns: int) -> None:
    plot = made(kind) + vw.theme_paper(columns=columns)
    width, height = plot.theme.getp("figure_size")
    assert width == paper.COLUMNS[columns]
    image = Image.open(io.BytesIO(figures.png(plot, dpi=100)))
    assert image.size == pytest.approx((100 * width, 100 * height), abs=1)


@pytest.mark.parametrize("family", ["sans", "serif", "DejaVu Serif"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_has_the_font_and_can_be_read(kind: str, family: str) -> None:
    before, after = made(kind), made(kind) + vw.theme_paper(family=family)
    wanted = {"sans": theme.SANS, "serif": theme.SERIF}.get(family, family)
    seen = texts(after)
    assert {t.get_fontfamily()[0] for t in seen} == {wanted}
    sizes = [t.get_size() for t in seen]
    assert min(sizes) >= paper.SMALLEST
    assert max(sizes) < max(t.get_size() for t in texts(before))
    said, signs = {t.get_text() for t in texts(before)}, {"−"}
    assert {t.get_text() for t in seen} - signs == said - signs  # what was blank stays blank


def test_a_wide_map_takes_two_columns_and_a_heatmap_one() -> None:
    wide = figures.sweep_map(sweep_frame(30)) + vw.theme_paper()
    assert wide.theme.getp("figure_size")[0] == paper.COLUMNS[2]
    narrow = made("token_heatmap") + vw.theme_paper()
    assert narrow.theme.getp("figure_size")[0] == paper.COLUMNS[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [85, 140])
def test_a_figure_has_the_width_that_was_asked_for(kind: str, width: float) -> None:
    plot = made(kind) + vw.theme_paper(width=width)
    assert plot.theme.getp("figure_size")[0] == pytest.approx(width / 25.4, abs=0.006)
    assert min(text.get_size() for text in texts(plot)) >= paper.SMALLEST


@pytest.mark.parametrize(
    "options", [{"width": 29.9}, {"width": float("nan")}, {"width": 85, "columns": 1}]
)
def test_a_width_that_is_too_small_or_contradicted_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(vw.RequestError, match="width must be at least 30 mm and without columns"):
        vw.theme_paper(**options)


def test_panels_are_stacked_rather_than_drawn_in_smaller_type() -> None:
    swept = vw.sweep(vw.load(), "The capital of Spain is", "The capital of Italy is")
    plot: Any = swept.plot() + vw.theme_paper(columns=1)
    left, right = (axes.get_position().x0 for axes in plot.draw().axes)
    assert left == pytest.approx(right)
    assert min(text.get_size() for text in texts(plot)) == pytest.approx(0.9 * 7)


def test_the_first_figure_is_left_as_it_was() -> None:
    plot = made("token_heatmap")
    before = figures.png(plot, dpi=50)
    _ = plot + vw.theme_paper()
    assert figures.png(plot, dpi=50) == before


@pytest.mark.parametrize("kind", KINDS)
def test_pdf_embeds_its_fonts_as_truetype(kind: str, tmp_path: Path) -> None:
    plot = made(kind) + vw.theme_paper()
    plot.save(tmp_path / "own.pdf", verbose=False)
    for data in (figures.pdf(plot), (tmp_path / "own.pdf").read_bytes()):
        kinds = set(re.findall(rb"/Subtype /(Type3|CIDFontType2|TrueType|Type1)\b", data))
        assert kinds and b"Type3" not in kinds and b"/FontFile2" in data
    assert figures.pdf(made(kind)) == figures.pdf(made(kind))


def test_svg_holds_texts_or_paths() -> None:
    plot = made("token_heatmap")
    texts_kept = figures.svg(plot + vw.theme_paper(family="serif"))
    assert "<text" in texts_kept and theme.SERIF in texts_kept
    assert "<text" not in figures.svg(plot + vw.theme_paper(svg_text=False))


@pytest.mark.parametrize("positions", [5, 40])  # with numbers on the tiles, and without
def test_a_map_of_differences_is_safe_in_grey(positions: int) -> None:
    frame = sweep_frame(positions)
    plot = figures.sweep_map(frame, metric="delta") + vw.theme_paper()
    scales: Any = plot.scales
    limit = scales.get_scales("fill").limits[1]
    clear = (frame["delta"] < -0.05 * limit).sum()
    assert clear > 0
    [axes] = [ax for ax in plot.draw().axes if ax.texts]
    said = [t.get_text() for t in axes.texts]
    assert len(said) == (len(frame) if positions == 5 else clear)
    assert sum(text.startswith("−") for text in said) >= clear
    assert positions == 5 or set(said) == {"−"}
    plain = figures.sweep_map(frame, metric="delta").draw()
    assert "−" not in [t.get_text() for ax in plain.axes for t in ax.texts]
    amounts = (figures.sweep_map(frame, metric="probability") + vw.theme_paper()).draw()
    assert "−" not in [t.get_text() for ax in amounts.axes for t in ax.texts]


def test_amounts_get_darker_in_grey_too() -> None:
    colours = gradient_n_pal(LIGHT.sequential)(np.linspace(0, 1, 64))
    grey = [Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in colours]
    assert (np.diff(np.array(grey, dtype=float)) <= 0).all() and grey[0] - grey[-1] > 150


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ({"family": "Times Old Roman"}, "family 'Times Old Roman'.*'sans'.*installed here"),
        ({"columns": 3}, "columns must be 1, 2, or None.*got 3"),
        ({"base_size": 4}, "base_size must be at least 5.6 points, got 4"),
        ({"base_size": float("nan")}, "base_size must.*got nan"),
    ],
)
def test_refusals(ask: dict[str, Any], says: str) -> None:
    with pytest.raises(vw.RequestError, match=says):
        vw.theme_paper(**ask)


def test_a_map_of_heads_is_safe_in_grey() -> None:
    frame = head_frame(24, 32, 1)  # its tiles have no numbers
    frame["delta"] = -frame["delta"]  # most of them above 0
    plot = figures.head_map(frame) + vw.theme_paper(columns=1)
    limit = cast(Any, plot.scales).get_scales("fill").limits[1]
    clear = (frame["delta"] < -0.05 * limit).sum()
    signs = [t.get_text() for ax in plot.draw().axes for t in ax.texts]
    assert signs == ["−"] * clear and clear > 0
