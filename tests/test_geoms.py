"""Geoms in one layer draw what plotnine draws in several, to the pixel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import plotnine as p9
import pytest
from matplotlib.collections import LineCollection, PathCollection
from mizani.palettes import gradient_n_pal
from PIL import Image

from vene_widgets import figures
from vene_widgets.figures import theme
from vene_widgets.figures.geoms import BeforeAfter, Tile
from vene_widgets.figures.palette import LIGHT

TILES = pd.DataFrame(
    {
        "x": ["a", "a", "b", "b"],
        "y": ["1", "2", "1", "2"],
        "value": [0.02, 0.4, 0.6, 1.0],
        "says": ["2.0", "40.0", "60.0", r"a \$b_"],
    }
)
CHANGES = pd.DataFrame(
    {
        "before": [0.6, 0.1, 0.3],
        "after": [0.2, 0.1, 0.5],  # the second does not move: its dots meet
        "row": [3, 2, 1],
        "colour": [LIGHT.down, LIGHT.up, LIGHT.up],
        "says": ["−40.0", "0.0", "+20.0"],
    }
)
LOOK = [theme.theme_vene(), theme.sized(3, 2)]


def made(data: pd.DataFrame, mapping: Any, *parts: Any) -> Any:
    plot = p9.ggplot(data, mapping)
    plot += list(parts)
    return plot


def pixels(plot: Any) -> np.ndarray[Any, Any]:
    """`(height, width, 4)`, the figure as it is drawn."""
    return np.asarray(Image.open(io.BytesIO(figures.png(plot))))


def test_a_numbered_tile_is_a_tile_and_a_text() -> None:
    fill = p9.scale_fill_gradientn(LIGHT.sequential, limits=(0, 1), guide=None)
    fills = gradient_n_pal(LIGHT.sequential)(TILES["value"].tolist())
    inks = [theme.ink_on(str(colour)) for colour in fills]
    assert len(set(inks)) == 2
    one = made(
        TILES, p9.aes("x", "y", fill="value", label="says"),
        Tile(color="white", size=0.6, text_size=8.1), fill, *LOOK,
    )  # fmt: skip
    two = made(
        TILES.assign(ink=inks), p9.aes("x", "y", fill="value"),
        p9.geom_tile(color="white", size=0.6),
        p9.geom_text(p9.aes(label="says", color="ink", group=1), size=8.1),
        p9.scale_color_identity(guide=None), fill, *LOOK,
    )  # fmt: skip
    assert (pixels(one) == pixels(two)).all()


@pytest.mark.parametrize("flip", [[], [p9.coord_flip()]], ids=["upright", "flipped"])
def test_a_change_is_two_segments_two_points_and_a_text(flip: list[Any]) -> None:
    rest = [
        *flip,
        p9.scale_color_identity(guide=None),
        p9.scale_x_continuous(limits=(0, 1)),
        p9.scale_y_continuous(limits=(0.5, 3.5)),
        p9.labs(x="P", y="token"),
        *LOOK,
    ]
    mapping = p9.aes("before", "row", xend="after", color="colour", label="says")
    one = made(CHANGES, mapping, BeforeAfter(column=0.9, text_size=8.1), *rest)
    five = made(
        CHANGES, p9.aes(y="row", yend="row", color="colour"),
        p9.geom_segment(p9.aes(x=0, xend=1), size=0.5, color="#e4e7eb"),
        p9.geom_segment(p9.aes(x="before", xend="after"), size=1.1),
        p9.geom_point(p9.aes(x="after"), size=2.6, stroke=0.3, shape="o"),
        p9.geom_point(p9.aes(x="before"), size=2.2, stroke=0.6, shape="o", fill="white"),
        p9.geom_text(p9.aes(x=0.9, label="says", group=1), size=8.1, ha="right"),
        *rest,
    )  # fmt: skip
    assert (pixels(one) == pixels(five)).all()


def test_after_is_filled_and_before_is_hollow() -> None:
    mapping = p9.aes("before", "row", xend="after", color="colour", label="says")
    plot = made(CHANGES, mapping, BeforeAfter(column=1), p9.scale_color_identity(guide=None))
    [axes] = plot.draw().axes
    grid, lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    after, before = [c for c in axes.collections if isinstance(c, PathCollection)]
    for dots, column in ((after, "after"), (before, "before")):
        where = np.asarray(dots.get_offsets())[:, 0]
        assert where.tolist() == pytest.approx(CHANGES[column].tolist())
    white = [(np.asarray(dots.get_facecolor()) == 1).all() for dots in (after, before)]
    assert white == [False, True]
    spans = np.asarray(grid.get_segments())[:, :, 0]
    assert spans.tolist() == [[0.0, 1.0]] * 3
    ends = np.asarray(lines.get_segments())[:, :, 0]
    assert ends.tolist() == CHANGES[["before", "after"]].to_numpy().tolist()


def test_a_mark_needs_its_label() -> None:
    mapping = p9.aes("before", "row", xend="after", color="colour")
    plot = p9.ggplot(CHANGES, mapping) + BeforeAfter()
    with pytest.raises(Exception, match="label"):
        plot.draw()
