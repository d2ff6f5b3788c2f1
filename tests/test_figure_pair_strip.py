"""The pairs behind one tile of a map of means."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_testing import drawn, texts
from pair_figure_testing import LOOKS, said, summary

from vene_widgets import figures
from vene_widgets.errors import RequestError


def values(count: int = 200, name: str = "recovery") -> pd.Series[float]:
    found = np.random.default_rng(0).normal(0.8, 0.1, count)
    return pd.Series(found, index=np.arange(count) * 3, name=name)


def dots(plot: Any) -> pd.DataFrame:
    return plot.data


def test_every_pair_is_a_dot_at_its_value():
    some = values()
    found = dots(figures.pair_strip(some))
    assert found["x"].sort_index().tolist() == pytest.approx(some.tolist())
    again = dots(figures.pair_strip(some))
    assert (found["y"] == again["y"]).all()
    assert found["y"].abs().max() <= 1
    assert len(found.drop_duplicates(["x", "y"])) == len(some)


def test_the_furthest_pairs_are_named_and_those_too_far_are_at_the_edge():
    some = values()
    some.iloc[7], some.iloc[50], some.iloc[9] = 40.0, -0.4, np.inf
    plot: Any = figures.pair_strip(some)
    found = dots(plot)
    assert found.at[21, "x"] == found["x"].max() < 3 and found.at[21, "value"] == 40
    text = said(plot)
    assert " 21 " in f" {text} " and " 150 " in f" {text} "
    assert "n = 199 pairs" in text and "1 without a value" in text
    calm = figures.pair_strip(pd.Series(np.linspace(0, 1, 30), name="recovery"))
    assert "furthest" not in said(calm)


def test_numbers_of_neighbouring_outliers_stand_side_by_side():
    some = values()
    for row, value in ((120, -0.01), (130, 0.0), (140, 0.01), (150, 1.7)):
        some.iloc[row] = value
    figure = drawn(figures.pair_strip(some))
    boxes = [t.get_window_extent() for t in texts(figure) if t.get_text() in {"360", "390", "420"}]
    boxes.sort(key=lambda box: box.x0)
    assert len(boxes) == 3
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_lines_mark_the_plain_runs_and_the_diamond_the_summary():
    row = summary(metric="logit_difference").iloc[5].copy()
    row["base_mean"], row["source_mean"], row["mean"] = -4.0, 5.0, 0.7
    row["low"], row["high"] = 0.5, 0.9
    text = said(figures.pair_strip(values(name="logit_difference"), reference=row))
    assert "base" in text and "source" in text
    assert "mean 0.7, 95 % bootstrap interval 0.5 to 0.9" in text
    assert "119 independent" in text and "layer 0, position 2" in text
    alone = said(figures.pair_strip(values(name="logit_difference")))
    assert "base" not in alone and "interval" not in alone


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("count", [1, 2, 30, 5000])
def test_strips_of_any_size_are_drawn(look: str, count: int):
    plot = figures.pair_strip(values(count), title="One tile", style="dark")
    figure = drawn(plot if LOOKS[look] is None else plot + LOOKS[look])
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, text.get_text()


@pytest.mark.parametrize(
    ("bad", "options", "text"),
    [
        ([1.0], {}, "expected a Series from PairSweep.values, got list"),
        (pd.Series([1.0], name="size"), {}, "got 'size'"),
        (pd.Series([np.nan], name="delta"), {}, "none is finite"),
        (values(), {"reference": 1}, "reference must be a row"),
        (values(), {"reference": {"mean": 1}}, "reference lacks 'metric'"),
        (values(), {"reference": summary(metric="delta").iloc[0]}, "is of metric 'delta'"),
        (values(), {"style": "blue"}, "style"),
    ],
)
def test_bad_values_are_named(bad: Any, options: dict[str, Any], text: str):
    with pytest.raises(RequestError, match=re.escape(text)):
        figures.pair_strip(bad, **options)
