"""Maps of means over pairs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_testing import drawn, fill_limits, line_boxes, texts, tick_labels
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from pair_figure_testing import LOOKS, said, summary

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.errors import RequestError
from vene_widgets.figures import geoms
from vene_widgets.figures.map_layout import interval_texts, mean_texts, short_number
from vene_widgets.figures.palette import LIGHT, PALETTES, contrast


def corners(figure: Any) -> int:
    """Marked corners: triangles, which are the only scattered marks."""
    found = [c for ax in figure.axes for c in ax.collections if isinstance(c, PathCollection)]
    return sum(len(np.atleast_2d(c.get_offsets())) for c in found)


def test_of_metrics_that_compare_both_tokens_there_is_one_panel():
    for metric, panels in (
        ("recovery", 1), ("logit_difference", 1), ("delta", 2), ("probability", 2), ("log_ratio", 2)
    ):  # fmt: skip
        plot: Any = figures.pair_map(summary(metric=metric))
        assert len(plot.data["panel"].cat.categories) == panels
        assert len(drawn(plot).axes) == panels


def test_recovery_goes_from_base_to_source_and_both_are_named():
    plot = figures.pair_map(summary())
    assert fill_limits(plot) == (0, 1)
    assert "0 = base" in said(plot) and "1 = source" in said(plot)
    assert "beyond" not in said(plot)


def test_recovery_beyond_its_scale_is_clipped_and_said():
    means = np.linspace(-0.5, 1.31, 24)
    plot: Any = figures.pair_map(summary(means=means))
    assert fill_limits(plot) == (-1, 1)
    assert plot.data["value"].max() == 1 < plot.data["mean"].max()
    assert f"beyond the scale: {means[22]:.3g}, coloured as 1" in said(plot)


@pytest.mark.parametrize("metric", ["delta", "log_ratio", "logit_difference"])
def test_differences_are_symmetric(metric: str):
    low, high = fill_limits(figures.pair_map(summary(metric=metric)))
    assert low == -high < 0
    assert fill_limits(figures.pair_map(summary(metric="probability")))[0] == 0


def test_tiles_have_the_mean_and_below_it_a_smaller_interval():
    frame = summary()
    frame.loc[22, ["mean", "low", "high"]] = 0.834, 0.81, 0.95
    [ax] = [ax for ax in drawn(figures.pair_map(frame)).axes if ax.texts]
    at = {t.get_text(): t for t in ax.texts}
    mean, interval = at[".83"], at[".81–.95"]
    assert tuple(round(float(each)) for each in mean.get_position()) == (2, 3)
    assert mean.get_position()[0] == interval.get_position()[0]
    assert mean.get_position()[1] > interval.get_position()[1]
    assert interval.get_size() < mean.get_size()
    assert "numbers: mean, 95 % bootstrap interval" in said(figures.pair_map(frame))


def test_many_tiles_have_no_interval_and_the_figure_says_where_it_is():
    plot: Any = figures.pair_map(summary(12, 16))
    assert (plot.data["under"] == "").all() and (plot.data["number"] != "").any()
    assert "the table has its 95 % bootstrap interval" in said(plot)
    many: Any = figures.pair_map(summary(24, 16))
    assert (many.data["number"] == "").all()


@pytest.mark.parametrize("style", ["light", "dark"])
def test_what_a_control_explains_is_pale_and_marked(style: str):
    palette = PALETTES[style]
    figure = drawn(figures.pair_map(summary(means=0.9), style=style))
    assert corners(figure) == 2  # layer 1, where an effect is possible
    [tiles] = [
        c for c in figure.axes[0].collections
        if isinstance(c, PolyCollection) and c in geoms.NOTES and not c.get_hatch()
    ]  # fmt: skip
    page = np.array(to_rgb(palette.page))
    fills = np.asarray(tiles.get_facecolor())[:, :3]
    far = np.abs(fills - page).sum(1)
    assert len(far) == 8 and (far < 0.5 * far.max()).sum() == 2
    text = said(figures.pair_map(summary(), style=style))
    assert "pale, corner marked: no larger than a control’s effect" in text
    assert "q ≥ 0.05, Benjamini-Hochberg over the map" in text
    assert "control: the source of another pair" in text and "shuffled_pairs" not in text


@pytest.mark.parametrize("style", ["light", "dark"])
def test_texts_of_muted_tiles_can_be_read(style: str):
    palette = PALETTES[style]
    for shade in palette.diverging:
        fill = geoms._mixed(shade, palette.page, geoms.PALE)
        ink = (
            palette.quiet if contrast(palette.quiet, fill) >= geoms.READABLE else geoms.ink_on(fill)
        )
        assert contrast(ink, fill) >= 4.5


def test_without_controls_nothing_is_muted_and_no_p_is_said():
    frame = summary(control=None)
    plot = figures.pair_map(frame)
    assert corners(drawn(plot)) == 0
    assert "no control ran" in said(plot)
    assert not re.search(r"\b[pq] [<=≥]", said(plot) + figures.svg(plot))
    assert "No control ran" in figures.alt_text(frame, "pair_map")
    assert re.search(r"p = 0.5, q = 0.5", figures.svg(figures.pair_map(summary())))


def test_a_control_that_explains_nothing_is_named():
    frame = summary()
    frame["explained"] = ~frame["effect_possible"]
    plot = figures.pair_map(frame)
    assert corners(drawn(plot)) == 0
    assert "no tile is explained by one (all q < 0.05" in said(plot)


def test_impossible_tiles_look_like_those_of_a_sweep_map():
    figure = drawn(figures.pair_map(summary()))
    hatched = [
        c for c in figure.axes[0].collections if isinstance(c, PolyCollection) and c.get_hatch()
    ]
    assert [len(c.get_paths()) for c in hatched] == [4]
    assert to_rgb(tuple(np.asarray(hatched[0].get_facecolor())[0])) == pytest.approx(
        to_rgb(LIGHT.page)
    )
    assert "hatched: no effect possible" in said(figures.pair_map(summary()))


@pytest.mark.parametrize(
    ("attrs", "text"),
    [
        ({}, "n = 1,000 pairs, 119 distinct bases · none left out"),
        ({"left_out": 37}, "37 left out"),
        ({"left_out": None}, "number left out unknown"),
        ({"cluster": None}, "n = 1,000 independent pairs"),
        ({"cluster": "country"}, "119 distinct values of country"),
        (
            {"intervention": "vanilla", "model": "gpt2"},
            "MLP output: patch, one place at a time · gpt2",
        ),
    ],
)
def test_the_figure_says_what_the_means_are_over(attrs: dict[str, Any], text: str):
    frame = summary()
    frame.attrs.update(attrs)
    assert text.replace(" · ", " ") in said(figures.pair_map(frame)).replace(" · ", " ")


def test_a_frame_that_lost_its_attributes_is_drawn():
    frame = summary()
    frame.attrs.clear()
    text = said(figures.pair_map(frame))
    assert "bootstrap interval" in text and "control: shuffled pairs" in text


def test_leading_places_in_common_share_a_column():
    frame = summary(3, 5)
    frame["effect_possible"] = frame["place"].astype(int) >= 3
    plot: Any = figures.pair_map(frame)
    labels = [t.get_text().replace("\n", " ") for t in tick_labels(drawn(plot), "x")[0]]
    assert labels == ["3 in common", "position 3", "position 4"]
    assert len(plot.data) == 9


def test_of_several_heads_there_is_a_panel_per_place():
    plot: Any = figures.pair_map(summary(4, 3, heads=3, metric="delta"))
    assert plot.labels.x == "head" and plot.labels.y == "layer"
    assert [*plot.data["panel"].cat.categories] == ["a   position 1", "b   position 2"]
    assert set(plot.data["role"]) == {"target"}
    one: Any = figures.pair_map(summary(1, 3, heads=3))  # of one layer, heads are the rows
    assert plot.labels.y == "layer" and one.labels.y == "head"
    many = summary(2, 9, heads=2, metric="delta")
    assert "6 of 8 places, those with the largest effects" in said(figures.pair_map(many))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    "frame",
    [
        summary(6, 5), summary(12, 16), summary(6, 5, "delta"), summary(12, 2, heads=12),
        summary(2, 2, means=-7.3, metric="log_ratio"),
    ],
    ids=["few", "many", "two panels", "heads", "negative"],
)  # fmt: skip
def test_no_two_texts_overlap_and_none_is_cut(look: str, frame: pd.DataFrame):
    plot = figures.pair_map(frame, title="Where the country is read")
    figure = drawn(plot if LOOKS[look] is None else plot + LOOKS[look])
    boxes = line_boxes(figure)
    width, height = figure.bbox.width, figure.bbox.height
    for n, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text
        for other, second in boxes[n + 1 :]:
            across = min(box.x1, second.x1) - max(box.x0, second.x0)
            down = min(box.y1, second.y1) - max(box.y0, second.y0)
            slack = 0.25 * min(box.height, second.height)  # extents include room for descenders
            assert across <= 1 or down <= slack, (text, other)
    if look != "slide":
        assert min(t.get_size() for t in texts(figure)) >= 5 - 1e-9


def test_a_paper_column_keeps_its_width_and_lays_the_caption_out_again():
    plot: Any = figures.pair_map(summary(6, 5))
    column: Any = plot + vw.theme_paper(columns=1)
    assert column.theme.getp("figure_size")[0] == 3.25
    assert column.labels.caption.count("\n") >= plot.labels.caption.count("\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.987, ".99"), (0.996, "1.0"), (1, "1.0"), (-0.004, ".00"), (-0.02, "−.02"), (12.4, "12")],
)
def test_numbers_are_short(value: float, text: str):
    assert short_number(value) == text


@pytest.mark.parametrize(
    ("ends", "metric", "text"),
    [
        ((0.97, 0.985, 1.0), "recovery", ".97–1.0"),
        ((-0.05, -0.03, -0.02), "recovery", "−.05 to −.02"),
        ((0.985, 0.987, 0.989), "recovery", ".98–.99"),
        ((0.9881, 0.9891, 0.9902), "recovery", "±.002"),  # one digit, never too narrow
        ((1, 1, 1), "recovery", "±0"),
        ((0.92, 0.94, 0.96), "delta", "92–96"),
        ((np.nan, 0.9, np.nan), "recovery", ""),
    ],
)
def test_intervals_are_short(ends: tuple[float, float, float], metric: str, text: str):
    frame = pd.DataFrame([ends], columns=["low", "mean", "high"])
    assert interval_texts(frame, metric) == [text]


def test_means_of_probabilities_are_in_percent():
    means = pd.Series([0.94, -0.5, 0.0, np.nan])
    assert mean_texts(means, "delta") == ["+94", "−50", ".00", ""]
    assert mean_texts(means, "recovery") == [".94", "−.50", ".00", ""]


def test_a_cell_without_a_value_is_a_cross():
    frame = summary()
    frame.loc[(frame["layer"] == 2) & (frame["place"] == "1"), ["mean", "low", "high"]] = np.nan
    assert "×  no pair has a value" in said(figures.pair_map(frame))
    frame["mean"] = np.nan
    assert "no pair has a value" in figures.alt_text(frame, "pair_map")


def test_alt_text_has_the_extremes_and_the_controls():
    frame = summary()
    frame.loc[frame["role"] == "target", "mean"] = 0.1
    best = frame[(frame["role"] == "target") & (frame["layer"] == 2) & (frame["place"] == "2")]
    frame.loc[best.index, "mean"] = 0.83
    text = figures.alt_text(frame, "pair_map")
    assert re.search(r"to 0\.83 \(interval .*\) at position 2, layer 2\.", text)
    assert "A control explains 2 of 8 cells" in text and "1,000 pairs, 119 distinct bases" in text
    assert "contrast" not in text


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (3, "expected a DataFrame from PairSweep.summary, got int"),
        (summary().drop(columns="units"), "lacks the columns 'units'"),
        (summary().iloc[:0], "the frame is empty"),
        (pd.concat([summary(), summary(metric="delta")]), "2 metrics, 'recovery', 'delta'"),
        (summary().assign(metric="kl"), "metric 'kl'"),
    ],
)
def test_bad_summaries_are_named(bad: Any, text: str):
    with pytest.raises(RequestError, match=re.escape(text)):
        figures.pair_map(bad)
    with pytest.raises(RequestError, match="style"):
        figures.pair_map(summary(), style="blue")


def test_a_real_sweep_is_drawn(capitals: vw.LanguageModel):
    spain, italy = "The capital of Spain is", "The capital of Italy is"
    pairs = [
        {"base": spain, "source": italy, "targets": (" Rome", " Madrid")},
        {"base": italy, "source": spain, "targets": (" Madrid", " Rome")},
    ]
    swept = vw.sweep_pairs(capitals, pairs, controls=())
    assert figures.png(swept.plot(title="Two pairs"), dpi=30)
    row = swept.summary.iloc[8]
    strip = figures.pair_strip(swept.values(int(row["layer"]), row["place"]), reference=row)
    assert figures.png(strip, dpi=30)
