"""result: two panels of the same tokens, in one order, at one height."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_testing import drawn, logits, text, texts, tick_labels
from matplotlib.collections import PathCollection, PolyCollection
from PIL import Image

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.errors import RequestError
from vene_widgets.figures import paper
from vene_widgets.figures.palette import LIGHT
from vene_widgets.tables import frames
from vene_widgets.tables.number_text import points

SETUP = "“The capital of Spain is” ← “The capital of Italy is” · gpt2 · n = 1"
RUNS = {"base": logits(1), "italy": logits(3), "intervened": logits(2)}
DIFFERENCE = frames.difference_frame(RUNS["base"], RUNS["intervened"], text, k=8)
# The token that changes least is the likeliest in another run: the frame's order is another one.
RUNS["italy"][DIFFERENCE["token_id"].iloc[-1]] = 12.0
TOKENS = frames.token_frame(RUNS, text, k=3, also=DIFFERENCE["token_id"])
assert TOKENS["token_id"].iloc[0] == DIFFERENCE["token_id"].iloc[-1]
LOOKS: dict[str, Any] = {
    "screen": lambda: None,
    "paper": vw.theme_paper,
    "paper, 2 columns": lambda: vw.theme_paper(columns=2),
    "slide": vw.theme_slide,
}


def made(look: Any = None, **options: Any) -> Any:
    return figures.result(TOKENS, DIFFERENCE, look=look, **options)


def heights(ax: Any, kind: type[Any]) -> list[float]:
    """Centres of a panel's marks, from top to bottom, in pixels."""
    found: set[float] = set()
    for marks in ax.collections:
        if isinstance(marks, PolyCollection) and kind is PolyCollection:
            middles = [np.asarray(path.vertices)[:4, 1].mean() for path in marks.get_paths()]
        elif isinstance(marks, PathCollection) and kind is PathCollection:
            middles = [y for _, y in marks.get_offsets()]
        else:
            continue
        found |= {round(float(ax.transData.transform((0, y))[1]), 1) for y in middles}
    return sorted(found, reverse=True)


def tokens_of(ax: Any) -> list[str]:
    return [t.get_text().replace(r"\$", "$") for t in ax.get_yticklabels()][::-1]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("setup", [None, SETUP])
def test_a_row_is_one_token_in_both_panels(look: str, setup: str | None) -> None:
    figure = drawn(made(LOOKS[look](), setup=setup))
    heatmap, panel = figure.axes
    rows, dots = heights(heatmap, PolyCollection), heights(panel, PathCollection)
    assert len(rows) == len(dots) == 8
    # Rows of tiles and of dots coincide to the pixel.
    assert max(abs(row - dot) for row, dot in zip(rows, dots, strict=True)) <= 1
    assert heatmap.get_window_extent().x1 < panel.get_window_extent().x0


@pytest.mark.parametrize("columns", [1, 2])
def test_both_panels_have_the_tokens_of_the_difference_in_its_order(columns: int) -> None:
    figure = drawn(made(vw.theme_paper(columns=columns)))
    heatmap, panel = figure.axes
    wanted = [*DIFFERENCE["label"].map(lambda t: t if len(str(t)) < 19 else f"{t[:17]}…")]
    assert tokens_of(heatmap) == wanted
    assert tokens_of(panel) == (wanted if columns == 1 else [])
    by_height = sorted(panel.texts, key=lambda t: -t.get_position()[1])
    assert [t.get_text() for t in by_height] == [points(d) for d in DIFFERENCE["delta"]]
    # Side by side, only the left panel has labels that can be seen.
    assert len(tick_labels(figure, "y")) == (2 if columns == 1 else 1)


def test_one_column_has_the_second_panel_below_the_first() -> None:
    figure = drawn(made(vw.theme_paper(columns=1)))
    upper, lower = (ax.get_window_extent() for ax in figure.axes)
    assert upper.y0 > lower.y1
    assert upper.x0 == pytest.approx(lower.x0, abs=40)  # labels are equally wide


@pytest.mark.parametrize("look", LOOKS)
def test_panels_are_lettered_below_what_was_run(look: str) -> None:
    figure = drawn(made(LOOKS[look](), setup=SETUP))
    labels = [
        next(t for t in texts(figure) if text in t.get_text()) for text in ("P(next tok", "○")
    ]
    for letter, label in zip("ab", labels, strict=True):
        [tag] = [t for t in texts(figure) if t.get_text() == letter]
        assert tag.get_weight() == "bold"
        assert tag.get_color() == LIGHT.ink
        # On the line of its label, left of it.

        box = tag.get_window_extent()
        assert box.y0 == pytest.approx(label.get_window_extent().y0, abs=1.5)
        assert box.x0 == pytest.approx(label.get_window_extent().x0, abs=1.5)

    (*above, label), (*empty, other) = (label.get_text().split("\n") for label in labels)
    assert label.strip() == "P(next token), %" and other.strip().startswith("○")
    # Once, whole, above the first panel.
    assert " ".join(above).replace("·", "").split() == SETUP.replace("·", "").split()
    assert not "".join(empty).strip()


@pytest.mark.parametrize("style", ["light", "dark"])
def test_a_slide_fits_a_projector(style: str) -> None:
    plot = made(vw.theme_slide(), setup=SETUP, style=style)
    width, height = Image.open(io.BytesIO(figures.png(plot, dpi=144))).size
    assert 1700 < width <= 1920 and height <= 1080


def test_both_panels_have_type_of_one_size() -> None:
    long = {"a rather long run": RUNS["base"], "another long run": RUNS["italy"]} | RUNS
    tokens = frames.token_frame(long, text, k=3, also=DIFFERENCE["token_id"])
    for look in (vw.theme_paper(columns=2), vw.theme_slide()):
        figure = drawn(figures.result(tokens, DIFFERENCE, look=look))
        sizes = {round(t.get_size(), 3) for ax in figure.axes for t in ax.texts}
        assert len(sizes) == 1
        assert figure.get_size_inches()[0] <= max(paper.SLIDE[0], paper.COLUMNS[2]) + 0.01


def test_a_token_of_the_difference_that_is_missing_is_named() -> None:
    tokens = TOKENS[TOKENS["token_id"] != DIFFERENCE["token_id"].iloc[2]]
    label = DIFFERENCE["label"].iloc[2]
    with pytest.raises(RequestError, match=r"tokens lacks .*also=difference"):
        figures.result(tokens, DIFFERENCE)
    assert isinstance(label, str)
    for empty in ((TOKENS.head(0), DIFFERENCE), (TOKENS, DIFFERENCE.head(0))):
        with pytest.raises(RequestError, match="frame is empty"):
            figures.result(*empty)


def test_frames_stay_as_they_are() -> None:
    before = TOKENS.copy(), DIFFERENCE.copy()
    figures.png(made(setup=SETUP), dpi=40)
    pd.testing.assert_frame_equal(TOKENS, before[0])
    pd.testing.assert_frame_equal(DIFFERENCE, before[1])
