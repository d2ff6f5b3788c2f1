"""The examples of the figures' docstrings run as they stand there and draw what they say."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pandas as pd
import plotnine as p9
import pytest

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.figures.needs import NEEDS

# What each example has to draw: the marks of its layers.
LAYERS: dict[str, tuple[Callable[..., Any], list[list[str]]]] = {
    "token_heatmap": (figures.token_heatmap, [["Tile"]]),
    "difference_panel": (figures.difference_panel, [["BeforeAfter"]]),
    "sweep_map": (figures.sweep_map, [["Tile"]]),
    "distribution_dots": (figures.distribution_dots, [["geom_segment", "geom_point"]]),
    "beside": (figures.beside, [["Tile"], ["BeforeAfter"]]),
    "theme_paper": (vw.theme_paper, [["Tile"]]),
    "save_figure": (vw.Explorer.save_figure, [["Tile"], ["BeforeAfter"]]),
}


def run(function: Callable[..., Any]) -> dict[str, Any]:
    """Execute a docstring's examples; the names that they leave."""
    text = function.__doc__ or ""
    example = doctest.DocTestParser().get_doctest(text, {}, function.__name__, None, 0)
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=said.append, clear_globs=False)
    assert tried > 1 and not failed, "".join(said)
    return example.globs


def plots(figure: Any) -> list[p9.ggplot]:
    return [figure] if isinstance(figure, p9.ggplot) else [*figure]


def test_every_figure_has_an_example() -> None:
    assert set(NEEDS) < set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_an_example_draws_its_layers_from_its_data(name: str) -> None:
    function, layers = LAYERS[name]
    names = run(function)
    figure = names["figure"]
    drawn = [[type(layer.geom).__name__ for layer in plot.layers] for plot in plots(figure)]
    assert drawn == layers
    assert figures.png(figure, dpi=50).startswith(b"\x89PNG")
    frame: Any = names["sweep"].frame if "sweep" in names else names.get("frame")
    if frame is None:
        return
    shown: Any = plots(figure)[0].data
    common = [column for column in frame.columns if column in shown.columns]
    assert {"token_id", "label"} & set(common)
    if "effect_possible" in common:  # positions that share a column have one tile
        assert set(frame.index[frame["effect_possible"]]) <= set(shown.index) <= set(frame.index)
        frame = frame.loc[shown.index]
    pd.testing.assert_frame_equal(shown[common], frame[common])
