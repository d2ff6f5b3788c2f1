"""Figures whose rows are tokens: heatmap, difference panel, dots."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from figure_testing import (
    difference_frame,
    drawn,
    limits,
    logits,
    plot,
    text,
    texts,
    tick_labels,
    token_frame,
)
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.offsetbox import DrawingArea

from vene_widgets import figures
from vene_widgets.figures import labels
from vene_widgets.figures.palette import LIGHT
from vene_widgets.tables import frames
from vene_widgets.tables.number_text import percent_number, points


def test_heatmap_says_every_probability_and_puts_the_likeliest_on_top():
    frame = token_frame(5, 2)
    figure = drawn(plot("token_heatmap", frame))
    names = {round(t.get_position()[1]): t.get_text() for t in tick_labels(figure, "y")[0]}
    runs = {round(t.get_position()[0]): t.get_text() for t in tick_labels(figure, "x")[0]}
    said = {
        (names[round(t.get_position()[1])], runs[round(t.get_position()[0])]): t.get_text()
        for t in figure.axes[0].texts
    }
    rows = zip(frame["label"], frame["run"], frame["probability"], strict=True)
    assert said == {(labels.label(label), run): percent_number(p) for label, run, p in rows}
    assert names[max(names)] == labels.label(frame["label"].iloc[0])  # most likely on top
    assert [t.get_text() for t in tick_labels(figure, "x")[0]] == ["base", "source"]


def test_difference_panel_orders_by_change_and_prints_the_kl_divergence():
    frame = difference_frame(8)
    figure = drawn(plot("difference_panel", frame, before="base", after="grouped"))
    rows = [t.get_text().replace(r"\$", "$") for t in tick_labels(figure, "y")[0]][::-1]
    order = np.argsort(-frame["delta"].abs().to_numpy(), kind="stable")
    wanted = [labels.label(label).replace(r"\$", "$") for label in frame["label"].iloc[order]]
    assert rows == wanted
    whole = frames.kl_divergence(logits(1), logits(2))
    assert f"KL(grouped ‖ base) = {whole:.3g} nats" in [t.get_text() for t in texts(figure)]
    changes = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert changes == [points(d) for d in frame["delta"]]


def test_difference_panel_without_the_whole_kl_says_what_it_sums():
    frame = difference_frame(3)
    frame.attrs.clear()
    said = [t.get_text() for t in texts(drawn(plot("difference_panel", frame)))]
    assert f"Tokens shown: {frame['kl'].sum():.3g} nats of KL(intervened ‖ base)" in said


def test_less_and_more_likely_have_their_colours():
    frame = difference_frame(8)
    built = plot("difference_panel", frame)
    signs = dict(zip(built.data["token_id"], built.data["colour"], strict=True))
    for row in frame.itertuples():
        assert signs[row.token_id] == (LIGHT.down if row.delta < 0 else LIGHT.up)


def test_dots_have_one_legend():
    figure = drawn(plot("distribution_dots", token_frame(5, 3)))
    said = [t.get_text() for t in texts(figure)]
    assert [said.count(run) for run in ("base", "source", "ungrouped")] == [1, 1, 1]


@pytest.mark.parametrize("floor", [1e-5, 1e-3])
def test_dots_stand_on_a_fixed_floor(floor: float):
    frame = token_frame(10, 3)
    built = plot("distribution_dots", frame, floor=floor)
    low, high = limits(built, "x")
    assert (10**low, 10**high) == pytest.approx((floor, 1))
    assert built.data["value"].min() >= floor
    below = frame["probability"] < floor
    assert (built.data["strength"] < 1).tolist() == below.tolist()


# ---- axes ---------------------------------------------------------------------------------------


def changes(before: list[float], after: list[float]) -> pd.DataFrame:
    """A difference frame with these probabilities."""
    frame = difference_frame(len(before)).assign(before=before, after=after)
    return frame.assign(delta=frame["after"] - frame["before"])


@pytest.mark.parametrize(
    ("before", "after", "is_log"),
    [
        ([0.5, 0.2], [0.3, 0.4], False),
        ([0.6, 0.02], [0.5, 0.1], False),  # a factor of 30 is still linear
        ([0.6, 0.01], [0.5, 0.1], True),
        ([0.9, 1e-9], [0.1, 0.2], True),
        ([0.5, 0.0], [0.4, 0.3], False),  # 0 is on no logarithmic axis
        ([0.0], [0.0], False),
        ([1e-9], [1e-9], False),
        ([0.3], [0.3], False),
    ],
)
def test_the_axis_is_logarithmic_if_and_only_if_values_span_decades(
    before: list[float], after: list[float], is_log: bool
):
    made = plot("difference_panel", changes(before, after))
    assert (made.labels.x == "P(next token), %, log scale") == is_log
    figures.png(made, dpi=30)  # and without a warning, as those are errors here
    low, high = limits(made, "x")
    start = 10**low if is_log else low
    assert start <= max(min(before + after), 1e-7) and (high > 0) == (not is_log or high > 0)


def test_values_off_a_logarithmic_axis_are_said_to_be_less():
    figure = drawn(plot("difference_panel", changes([0.9, 1e-12], [0.1, 0.2])))
    [dots] = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)][1:]
    assert np.asarray(dots.get_offsets())[:, 0].min() == pytest.approx(-7)
    assert [t for t in texts(figure) if "At the left edge: less than" in t.get_text()]


@pytest.mark.parametrize("floor", [1e-12, 1e-5, 0.5])
def test_the_labels_of_a_long_axis_do_not_touch(floor: float):
    figure = drawn(plot("distribution_dots", token_frame(5, 3), floor=floor))
    boxes = [t.get_window_extent() for t in tick_labels(figure, "x")[0]]
    assert all(a.x1 + 2 < b.x0 for a, b in pairwise(boxes)) and len(boxes) >= 1


@pytest.mark.parametrize("before", [[0.6, 0.1, 0.3, 0.2], [0.99, 1e-5, 1e-3, 1e-6]])
def test_no_line_or_dot_crosses_a_number(before: list[float]):
    figure = drawn(plot("difference_panel", changes(before, before[::-1])))
    [ax] = figure.axes
    numbers = [t.get_window_extent() for t in ax.texts]
    assert len(numbers) == 4
    for marks in ax.collections:
        if isinstance(marks, LineCollection):
            ends = [x for segment in marks.get_segments() for x, _ in segment]
            right = max(ax.transData.transform((x, 1))[0] for x in ends)
        else:
            dots = marks.get_offsets()
            right = ax.transData.transform((max(dots[:, 0]), 1))[0]
            right += np.sqrt(marks.get_sizes().max() / np.pi) * figure.dpi / 72
        assert right < min(box.x0 for box in numbers) - 1


# ---- equal runs ---------------------------------------------------------------------------------


def test_equal_runs_share_a_column_that_names_them():
    runs = {"base": logits(1), "ungrouped": logits(2), "grouped": logits(2)}
    frame = frames.token_frame(runs, text, k=4)
    figure = drawn(plot("token_heatmap", frame))
    said = [t.get_text() for t in tick_labels(figure, "x")[0]]
    assert said == ["base", "ungrouped\n= grouped"]
    tokens = frame["token_id"].nunique()
    assert sum(len(c.get_paths()) for c in figure.findobj(PolyCollection)) == 2 * tokens
    legend = [t.get_text() for t in texts(drawn(plot("distribution_dots", frame)))]
    assert "ungrouped\n= grouped" in legend and "base" in legend
    assert "grouped" not in legend and "ungrouped" not in legend


def test_nearly_equal_runs_do_not():
    runs = {"ungrouped": logits(2), "grouped": logits(2) + 1e-4 * logits(3)}
    figure = drawn(plot("token_heatmap", frames.token_frame(runs, text, k=4)))
    assert [t.get_text() for t in tick_labels(figure, "x")[0]] == ["ungrouped", "grouped"]


def test_a_legend_has_the_colours_and_shapes_of_the_dots():
    made = plot("distribution_dots", token_frame(5, 3))
    figure = drawn(made)
    assert set(LIGHT.colours_of(["base", "source", "ungrouped"]).values()) <= {
        to_hex(c) for dots in figure.findobj(PathCollection) for c in dots.get_facecolor()
    }
    [guide] = figure.findobj(DrawingArea)[:1]
    keys = [k for area in figure.findobj(DrawingArea) for k in area.findobj(Line2D)]
    wanted = [LIGHT.runs[run] for run in ("base", "source", "ungrouped")]
    assert guide is not None
    assert [to_hex(key.get_markerfacecolor()) for key in keys] == wanted


# ---- impossible values --------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0.0, 1e-12, 1.0, np.nan])
@pytest.mark.parametrize("kind", ["token_heatmap", "distribution_dots"])
def test_one_token_of_any_probability_is_drawn(kind: str, probability: float):
    frame = token_frame(1, 2).assign(probability=probability)
    assert figures.png(plot(kind, frame), dpi=30)


def test_a_difference_of_nothing_is_drawn():
    for value in (0.0, 1e-12, 1.0, np.nan):
        assert figures.png(plot("difference_panel", changes([value], [value])), dpi=30)
