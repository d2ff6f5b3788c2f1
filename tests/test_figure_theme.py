"""Theme and palettes: type that can be read, even steps of lightness, fonts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_testing import KINDS, colours_at, plot
from matplotlib import font_manager
from matplotlib.colors import to_rgb

from vene_widgets.errors import RequestError
from vene_widgets.figures import theme
from vene_widgets.figures.palette import PALETTES, Palette


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


@pytest.mark.parametrize("name", PALETTES)
def test_fill_scales_are_even_steps_of_lightness(name: str):
    palette = PALETTES[name]
    for scale in (palette.more, palette.less):
        steps = np.diff([oklab_lightness(colour) for colour in scale])
        # Darker on a white page, lighter on a dark one.
        assert ((steps < 0) if name == "light" else (steps > 0)).all()
        assert np.ptp(steps) < 0.01


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_both_ends_of_the_diverging_scale_weigh_the_same(palette: Palette):
    lightness = [oklab_lightness(colour) for colour in palette.diverging]
    assert lightness == pytest.approx(lightness[::-1], abs=0.01)
    assert len(palette.diverging) == 2 * len(palette.sequential) - 1
    assert palette.more[0] == palette.less[0] == palette.diverging[len(palette.more) - 1]


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_text_can_be_read_on_every_fill_and_on_the_page(palette: Palette):
    for scale in (palette.sequential, palette.diverging):
        for colour in colours_at(np.linspace(0, 1, 101), scale):
            assert theme.contrast(theme.ink_on(colour), colour) >= 4.5
    for ink in (palette.ink, palette.quiet, palette.up, palette.down):
        assert theme.contrast(ink, palette.page) >= 4.5, ink
    assert theme.contrast("#ffffff", "#000000") == pytest.approx(21)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_marks_stand_out_from_the_page(palette: Palette):
    marks = [palette.up, palette.down, *palette.runs.values(), *palette.spare]
    for colour in marks:
        assert theme.contrast(colour, palette.page) >= 3, colour
    # The grid is fainter than any mark, and can be seen.
    assert 1.1 < theme.contrast(palette.faint, palette.page) < 2


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_runs_differ_in_colour_and_shape_whatever_their_names(palette: Palette):
    runs = [*palette.runs, "a", "b", "c"]
    for styles in (palette.colours_of(runs), theme.run_shapes(runs)):
        assert list(styles) == runs and len(set(styles.values())) == len(runs)
    assert palette.colours_of(["a", "base"])["base"] == palette.runs["base"]
    assert set(palette.runs) == set(theme.RUN_SHAPES)


@pytest.mark.parametrize("kind", [*KINDS, "head_map"])
def test_an_unknown_style_is_refused(kind: str):
    with pytest.raises(RequestError, match=r"style 'drak'.*Did you mean 'dark'"):
        plot(kind, style="drak")


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


def test_a_font_of_matplotlib_that_its_kept_list_lacks_is_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = font_manager.fontManager
    older = [font for font in manager.ttflist if font.name != theme.SERIF]
    monkeypatch.setattr(manager, "ttflist", older)
    theme.families.cache_clear()
    try:
        assert theme.families(theme.SERIF)[0] == theme.SERIF
        assert theme.SERIF in theme.installed()
        file = cast(Any, font_manager).findfont(theme.SERIF, fallback_to_default=False)
        assert Path(file).name.startswith("STIXGeneral")
    finally:
        theme.families.cache_clear()
