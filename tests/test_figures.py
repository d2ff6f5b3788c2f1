"""All figures: they build for every shape of frame, and nothing is left behind."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import plotnine as p9
import pytest
from figure_testing import (
    KINDS,
    difference_frame,
    drawn,
    example,
    plot,
    sweep_frame,
    texts,
    token_frame,
)

from vene_widgets import figures
from vene_widgets.errors import RequestError
from vene_widgets.tables import frames


@pytest.mark.parametrize(("tokens", "runs"), [(1, 1), (2, 4), (3, 2), (10, 3), (40, 4)])
def test_token_figures_build_for_any_count(tokens: int, runs: int):
    frame = token_frame(tokens, runs)
    for kind in ("token_heatmap", "distribution_dots"):
        assert figures.png(plot(kind, frame)).startswith(b"\x89PNG")
        assert figures.alt_text(frame, kind)
    assert figures.png(plot("difference_panel", difference_frame(tokens))).startswith(b"\x89PNG")


@pytest.mark.parametrize(("layers", "positions", "targets"), [(1, 1, 1), (2, 9, 3), (30, 10, 1)])
def test_maps_build_for_any_count(layers: int, positions: int, targets: int):
    frame = sweep_frame(layers, positions, targets, unrun=1)
    for metric, info in frames.METRICS.items():
        if info.of_pair and targets == 1:
            continue  # asks for a second target
        assert figures.png(plot("sweep_map", frame, metric=metric), dpi=40).startswith(b"\x89PNG")
        assert figures.alt_text(frame, "sweep_map", metric)


OVERLAPS = [
    *[("token_heatmap", token_frame(n)) for n in (5, 40)],
    *[("distribution_dots", token_frame(n)) for n in (5, 40)],
    *[("difference_panel", difference_frame(n)) for n in (5, 40)],
    *[("sweep_map", sweep_frame(6, n, 2, 3)) for n in (5, 12, 40)],
    *[("sweep_map", sweep_frame(30, n, 2, 3)) for n in (5, 12, 40)],
]


@pytest.mark.parametrize("title", [None, "A rather long title about copying Italy into Spain"])
@pytest.mark.parametrize(("kind", "frame"), OVERLAPS)
def test_no_label_meets_another_or_leaves_the_figure(
    kind: str, frame: pd.DataFrame, title: str | None
):
    figure = drawn(plot(kind, frame, title=title))
    width, height = figure.canvas.get_width_height()
    seen = texts(figure)
    boxes = [t.get_window_extent() for t in seen]
    for t, box in zip(seen, boxes, strict=True):
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (t.get_text(), box, (width, height))
    for (one, a), (other, b) in itertools.combinations(zip(seen, boxes, strict=True), 2):
        # Boxes include the font's own leading: half a pixel of it may be shared.
        apart = min(a.x1, b.x1) - max(a.x0, b.x0) < 1 or min(a.y1, b.y1) - max(a.y0, b.y0) < 1
        assert apart, (one.get_text(), other.get_text())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_behind(kind: str):
    open_before, settings = plt.get_fignums(), dict(mpl.rcParams)
    what = plot(kind)
    figures.png(what)
    figures.svg(what)
    assert plt.get_fignums() == open_before
    assert dict(mpl.rcParams) == settings


def test_nothing_is_left_behind_by_a_failure():
    open_before, settings = plt.get_fignums(), dict(mpl.rcParams)
    with pytest.raises(Exception, match="nowhere"):
        figures.png(plot("token_heatmap") + p9.geom_point(p9.aes(x="nowhere")))
    assert plt.get_fignums() == open_before
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("kind", KINDS)
def test_equal_frames_give_equal_files(kind: str):
    one, other = plot(kind), plot(kind)
    assert figures.png(one) == figures.png(other)
    assert figures.svg(one) == figures.svg(other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_not_changed(kind: str):
    frame = example(kind)
    copy = frame.copy()
    figures.png(plot(kind, frame))
    figures.alt_text(frame, kind)
    pd.testing.assert_frame_equal(frame, copy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_from_a_file_draws_too(kind: str):
    """CSV keeps neither categories nor nullable integers nor attributes."""
    frame = example(kind)
    again = pd.read_csv(
        io.StringIO(frame.to_csv(index=False)), keep_default_na=False, na_values=[""]
    )
    again["label"] = frame["label"]
    assert figures.png(plot(kind, again)).startswith(b"\x89PNG")


def test_png_has_the_size_that_was_asked_for():
    frame = token_frame()
    width, height = figures.size_of(frame, "token_heatmap")
    image = plt.imread(io.BytesIO(figures.png(plot("token_heatmap", frame), dpi=50)))
    assert image.shape[1] == pytest.approx(50 * width, abs=1)
    assert image.shape[0] == pytest.approx(50 * height, abs=1)


def test_figures_grow_with_what_they_show():
    for kind in ("token_heatmap", "distribution_dots"):
        small, large = (figures.size_of(token_frame(n), kind) for n in (5, 40))
        assert large[1] > small[1] + 5
    sizes = [figures.size_of(sweep_frame(*n), "sweep_map") for n in ((6, 5), (30, 5), (6, 24))]
    small, tall, wide = sizes
    assert tall[1] > small[1] and wide[0] > small[0]
    many = figures.size_of(sweep_frame(6, 24, 4), "sweep_map")
    assert many[0] < 12 and many[1] > 1.4 * wide[1]  # panels go below each other


def test_two_figures_side_by_side():
    both = figures.beside(plot("token_heatmap"), plot("difference_panel"))
    size = [figures.size_of(example(k), k) for k in ("token_heatmap", "difference_panel")]
    image = plt.imread(io.BytesIO(figures.png(both, dpi=50)))
    assert image.shape[1] == pytest.approx(100 * max(w for w, _ in size), abs=2)
    figure = both.draw()
    assert len(figure.axes) == 2
    assert plt.get_fignums() == []


def test_svg_is_small_and_keeps_its_texts():
    large = plot("token_heatmap", token_frame(40, 4))
    assert len(figures.svg(large).encode()) <= 80_000  # 160 tiles, each with its title
    for kind in KINDS:
        assert len(figures.svg(plot(kind)).encode()) <= 60_000
    title = "exactly 0.123456789"
    svg = figures.svg(plot("sweep_map", title=title))
    assert title in svg and "token20" in svg


@pytest.mark.parametrize("kind", KINDS)
def test_frames_without_the_required_columns_or_rows_are_refused(kind: str):
    maker, required = figures.NEEDS[kind]
    frame = example(kind)
    for ask in (plot, lambda k, f: figures.alt_text(f, k), lambda k, f: figures.size_of(f, k)):
        with pytest.raises(RequestError, match=f"frame is empty.*{maker}"):
            ask(kind, frame.head(0))
        listed = ", ".join(map(repr, required))
        for column in required:
            says = f"lacks the columns '{column}'. Required columns, as in frames.{maker}: {listed}"
            with pytest.raises(RequestError, match=says):
                ask(kind, frame.drop(columns=column))
        with pytest.raises(
            RequestError, match=f"expected a DataFrame from frames.{maker}, got list"
        ):
            ask(kind, [1])  # type: ignore[arg-type]


def test_required_columns_are_columns_of_their_frames():
    assert set(figures.NEEDS) == set(KINDS)
    for maker, required in figures.NEEDS.values():
        assert set(required) <= set(frames.FRAMES[maker])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: figures.sweep_map(sweep_frame(), "probabilty"), "metric.*Did you mean 'probab"),
        (lambda: figures.alt_text(sweep_frame(), "sweep_map", "x"), "metric 'x'.*'log_ratio'"),
        (lambda: figures.size_of(sweep_frame(), "map"), "figure 'map'.*'sweep_map'"),
        (lambda: figures.distribution_dots(token_frame(), floor=0), "between 0 and 1, got 0"),
        (lambda: figures.distribution_dots(token_frame(), floor=1), "floor must.*got 1"),
    ],
)
def test_refusals(ask: Callable[[], object], says: str):
    with pytest.raises(RequestError, match=re.compile(says)):
        ask()
