"""Colours, glyphs and text widths of the theme."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures_testing import colours_at
from matplotlib.colors import to_rgb

from vene_widgets.figures import theme


def oklab_lightness(colour: str) -> float:
    """Ottosson's L, from his published matrices."""
    c = np.array(to_rgb(colour))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    lms = np.cbrt(np.array(to_lms) @ linear)
    return float(np.array([0.2104542553, 0.7936177850, -0.0040720468]) @ lms)


@pytest.mark.parametrize("scale", [theme.SEQUENTIAL, theme.DIVERGING[5:], theme.DIVERGING[5::-1]])
def test_fill_scales_are_even_steps_of_lightness(scale: list[str]):
    steps = np.diff([oklab_lightness(colour) for colour in scale])
    assert (steps < 0).all() and np.ptp(steps) < 0.01


def test_both_ends_of_the_diverging_scale_weigh_the_same():
    lightness = [oklab_lightness(colour) for colour in theme.DIVERGING]
    assert lightness == pytest.approx(lightness[::-1], abs=0.01)


def test_text_can_be_read_on_every_fill():
    for palette in (theme.SEQUENTIAL, theme.DIVERGING):
        for colour in colours_at(np.linspace(0, 1, 101), palette):
            assert theme.contrast(theme.ink_on(colour), colour) >= 4.5
    assert theme.contrast("#ffffff", "#000000") == pytest.approx(21)
    assert theme.contrast(theme.QUIET, "#ffffff") > 4.5


def test_runs_differ_in_colour_and_shape_whatever_their_names():
    runs = [*theme.RUN_COLOURS, "a", "b", "c"]
    for styles in theme.run_styles(runs):
        assert list(styles) == runs and len(set(styles.values())) == len(runs)
    assert theme.run_styles(["a", "base"])[0]["base"] == theme.RUN_COLOURS["base"]


def test_what_no_font_draws_becomes_an_escape():
    assert theme.drawable("\U00018cd6 \uffff") == "\\u18cd6 \\uffff"
    assert theme.drawable("␣Rome↵⇥∅ Δ‖○●×→−…é") == "␣Rome↵⇥∅ Δ‖○●×→−…é"


def test_text_width_is_what_matplotlib_draws():
    figure = plt.figure(dpi=100)
    sample = "␣Barcelona 12.5 %"
    width = figure.text(0, 0, sample, size=30).get_window_extent().width / 100
    plt.close(figure)
    assert theme.text_width(sample, 30) == pytest.approx(width, rel=0.03)
    assert theme.text_width(f"a\n{sample}", 30) == theme.text_width(sample, 30)
