"""Figures whose rows are tokens: heatmap, difference panel, dots."""

from __future__ import annotations

import numpy as np
import pytest
from figure_testing import (
    difference_frame,
    drawn,
    limits,
    logits,
    plot,
    texts,
    tick_labels,
    token_frame,
)

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
