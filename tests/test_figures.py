"""Figures: they build for every shape of frame, nothing overlaps, nothing is left behind."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotnine as p9
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import is_math_text
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from mizani.palettes import gradient_n_pal

from vene_widgets import LanguageModel, figures, sweep
from vene_widgets.errors import RequestError
from vene_widgets.figures import labels, theme
from vene_widgets.tables import frames
from vene_widgets.tables.number_text import percent, percent_number, points

ODD = [
    " $x$",
    "\n",
    "<b>",
    "%",
    "_",
    "中文",
    "🎉",
    "",
    "\u202e",
    "a$b",
    "\\",
    "{}",
    "&amp;",
    "-" * 60,
]
KINDS = ["token_heatmap", "difference_panel", "sweep_map", "distribution_dots"]
RUNS = ["base", "source", "ungrouped", "grouped"]
WORDS = [" of", " capital", " the", " Spain", " is", " in", " Italy", " city", " country", " and"]


@dataclass(frozen=True)
class Token:
    index: int
    id: int
    text: str


def text(token_id: int) -> str:
    return ODD[token_id] if token_id < len(ODD) else f" token{token_id}"


def logits(seed: int, size: int = 60) -> torch.Tensor:
    return 3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def token_frame(tokens: int = 10, runs: int = 4) -> pd.DataFrame:
    """Exactly `tokens` tokens: every run agrees on which ones are likely."""
    shared = torch.zeros(60)
    shared[torch.randperm(60, generator=torch.Generator().manual_seed(5))[:tokens]] = 30
    made = {name: logits(i) + shared for i, name in enumerate(RUNS[:runs])}
    frame = frames.token_frame(made, text, k=tokens)
    assert frame["token_id"].nunique() == tokens
    return frame


def difference_frame(tokens: int = 10) -> pd.DataFrame:
    return frames.difference_frame(logits(1), logits(2), text, k=tokens)


def sweep_frame(
    layers: int = 6, positions: int = 5, targets: int = 2, unrun: int = 0
) -> pd.DataFrame:
    """A random sweep whose first `unrun` cells of the last layer were not run."""
    cells = [[logits(100 * i + j) for j in range(positions)] for i in range(layers)]
    grid = torch.stack([torch.stack(row) for row in cells])
    grid[-1, :unrun] = float("nan")
    tokens = [Token(i, i % 10, WORDS[i % 10]) for i in range(positions)]
    where = list(range(positions))
    return frames.sweep_frame(
        grid, logits(7), list(range(layers)), tokens, where, range(20, 20 + targets), text
    )


def example(kind: str) -> pd.DataFrame:
    made = {"difference_panel": difference_frame, "sweep_map": sweep_frame}
    return made.get(kind, token_frame)()


def plot(kind: str, frame: pd.DataFrame | None = None, **options: Any) -> Any:
    return getattr(figures, kind)(example(kind) if frame is None else frame, **options)


def drawn(what: Any) -> Any:
    figure = what.draw()
    FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Any) -> list[Text]:
    """Every text that can be seen."""
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def tick_labels(figure: Any, axis: str) -> list[list[Text]]:
    """The labels of every panel's axis that has some."""
    found = [getattr(ax, f"get_{axis}ticklabels")() for ax in figure.axes]
    shown = [[t for t in row if t.get_text() and t.get_visible()] for row in found]
    return [row for row in shown if row]


def limits(what: Any, aesthetic: str) -> tuple[float, float]:
    low, high = what.scales.get_scales(aesthetic).limits
    return low, high


def fill_limits(what: p9.ggplot) -> tuple[float, float]:
    return limits(what, "fill")


# ---- theme --------------------------------------------------------------------------------------


def colours_at(positions: Any, palette: list[str]) -> list[str]:
    """Colours of a fill scale at positions 0 to 1."""
    return [str(colour) for colour in gradient_n_pal(palette)(positions)]


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


# ---- all figures --------------------------------------------------------------------------------


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


# ---- labels -------------------------------------------------------------------------------------


def odd_frame() -> pd.DataFrame:
    values = torch.full((60,), -30.0)
    values[: len(ODD)] = torch.linspace(3, 0, len(ODD))
    return frames.token_frame({"base": values, "a $x$ run": values.flip(0)}, text, k=len(ODD))


@pytest.mark.parametrize("kind", ["token_heatmap", "distribution_dots"])
def test_odd_tokens_are_drawn_as_they_are(kind: str):
    frame = odd_frame()
    figures.png(plot(kind, frame))  # and no warning, as those are errors here
    figure = drawn(plot(kind, frame, title="100 % of $x$ and <b>"))
    assert not any(is_math_text(t.get_text()) for t in texts(figure))
    labels = [t.get_text().replace(r"\$", "$") for t in tick_labels(figure, "y")[0]]
    for wanted in ["␣$x$", "↵", "<b>", "%", "_", "∅", r"\u202e", "a$b", "\\", "{}", "&amp;"]:
        assert wanted in labels
    assert "-" * 17 + "…" in labels


def test_missing_glyphs_do_not_warn():
    figures.png(plot("token_heatmap", title="\U00018cd6"))
    with pytest.warns(UserWarning, match="missing from font"):
        drawn(plot("token_heatmap", title="\U00018cd6"))


def test_tokens_with_one_text_stay_apart():
    values = torch.tensor([3.0, 2.0, 1.0, 0.0])
    frame = frames.token_frame({"base": values}, [" Rome", " Rome", "-" * 40, "-" * 50].__getitem__)
    for kind in ("token_heatmap", "distribution_dots"):
        labels = [t.get_text() for t in tick_labels(drawn(plot(kind, frame)), "y")[0]]
        assert len(set(labels)) == 4 and {"␣Rome #0", "␣Rome #1"} < set(labels)
    assert len(plot("token_heatmap", frame).draw().findobj(PolyCollection)[0].get_paths()) == 4


def test_repeated_words_keep_their_positions():
    figure = drawn(plot("sweep_map", sweep_frame(6, 11, 1)))
    labels = [t.get_text() for t in tick_labels(figure, "x")[0]]
    assert len(set(labels)) == 11 and labels[0].split() == ["␣of", "0"]
    assert labels[10].split() == ["␣of", "10"]


# ---- token heatmap ------------------------------------------------------------------------------


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


# ---- difference panel ---------------------------------------------------------------------------


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
        assert signs[row.token_id] == (theme.DOWN if row.delta < 0 else theme.UP)


# ---- sweep map ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["delta", "log_ratio"])
def test_differences_are_coloured_symmetrically(metric: str):
    frame = sweep_frame()
    low, high = fill_limits(plot("sweep_map", frame, metric=metric))
    assert low == -high and high >= frame[metric].abs().max() > 0.4 * high
    middle = to_rgb(colours_at([0.5], theme.DIVERGING)[0])
    assert middle == pytest.approx(to_rgb("#fafafa"), abs=0.01)


def test_amounts_are_coloured_from_zero():
    frame = sweep_frame()
    for metric in ("probability", "kl"):
        low, high = fill_limits(plot("sweep_map", frame, metric=metric))
        assert low == 0 and high >= frame[metric].max()
    ranks = fill_limits(plot("sweep_map", frame, metric="rank"))  # in powers of ten
    assert ranks[0] == 0 and 10 ** ranks[1] == pytest.approx(frame["rank"].max())


def test_a_map_of_no_change_at_all():
    base = logits(1)
    tokens = [Token(0, 0, "a"), Token(1, 1, "b")]
    cells = base.repeat(2, 2, 1)
    frame = frames.sweep_frame(cells, base, [0, 1], tokens, [0, 1], [3, 5], text)
    for metric in frames.METRICS:
        assert figures.png(plot("sweep_map", frame, metric=metric))


def test_impossible_targets_are_drawn_at_the_end_of_the_scale():
    frame = sweep_frame()
    frame.loc[0, "log_ratio"] = -np.inf
    built = plot("sweep_map", frame, metric="log_ratio")
    assert built.data["value"].iloc[0] == fill_limits(built)[0]


def test_a_metric_of_two_tokens_asks_for_the_second_target():
    frame = sweep_frame(targets=1)
    for make in (figures.sweep_map, lambda f, m: figures.alt_text(f, "sweep_map", m)):
        with pytest.raises(RequestError, match=r"'logit_difference' compares two.*one, '␣tok"):
            make(frame, "logit_difference")
        assert make(frame, "kl")  # another metric needs no second one


def test_a_metric_of_two_tokens_is_drawn_of_rows_that_have_both():
    frame = sweep_frame(targets=2)
    one = frame[frame["target_id"] == frame["target_id"].iloc[0]]  # it has its contrast still
    for data in (frame, one):
        assert plot("sweep_map", data, metric="logit_difference").data["value"].notna().all()
        assert "No cell" not in figures.alt_text(data, "sweep_map", "logit_difference")


def test_a_sweep_of_one_target_has_no_map_of_logit_differences(capitals: LanguageModel):
    prompts = "The capital of Spain is", "The capital of Italy is"
    one = sweep(capitals, *prompts, layers=[0, 1], targets=[" Rome"])
    with pytest.raises(RequestError, match="followed one, '␣Rome': name a second one, as in"):
        one.plot("logit_difference")
    two = sweep(capitals, *prompts, layers=[0, 1], targets=[" Rome", " Madrid"])
    drawn: Any = two.plot("logit_difference").data
    assert drawn["value"].notna().all()


@pytest.mark.parametrize("unrun", [0, 3])
def test_cells_that_were_not_run_are_empty(unrun: int):
    figure = drawn(plot("sweep_map", sweep_frame(6, 5, 2, unrun)))
    for ax in figure.axes:
        tiles = sum(len(c.get_paths()) for c in ax.collections if isinstance(c, PolyCollection))
        crosses = sum(
            len(np.atleast_2d(c.get_offsets()))
            for c in ax.collections
            if isinstance(c, PathCollection)
        )
        assert (tiles, crosses) == (30 - unrun, unrun)
    captions = [t.get_text() for t in texts(figure) if "not run" in t.get_text()]
    assert len(captions) == (1 if unrun else 0)


def test_a_map_has_a_panel_per_target_and_one_for_the_whole_distribution():
    frame = sweep_frame(targets=3)
    assert len(plot("sweep_map", frame).draw().axes) == 3
    assert len(plot("sweep_map", frame, metric="kl").draw().axes) == 1
    strips = [t.get_text() for t in texts(drawn(plot("sweep_map", frame)))]
    base = percent(frame["base_probability"].iloc[0])
    assert f"P(␣token20), base {base}" in strips


def test_several_heads_of_one_layer_are_the_rows(capitals: LanguageModel):
    prompts = "The capital of Spain is", "The capital of Italy is"
    frame = sweep(capitals, *prompts, "head_value_output", head="all", layers=2).frame
    made: Any = figures.sweep_map(frame)
    assert (made.labels.y, made.mapping["y"]) == ("head", "head")
    assert sorted(made.data["head"].unique()) == list(range(capitals.sites.heads))
    assert made.data["note"].str.contains(r"^layer 2, head \d, position").all()
    assert "over heads 0–3 of layer 2 and 5 token positions" in figures.alt_text(frame, "sweep_map")
    one = sweep(capitals, *prompts, "head_value_output", head=1).frame
    assert figures.sweep_map(one).labels.y == "layer"


def test_layer_0_is_at_the_bottom():
    figure = drawn(plot("sweep_map"))
    labels = tick_labels(figure, "y")[0]
    heights = {t.get_text(): t.get_window_extent().y0 for t in labels}
    assert list(heights) == ["0", "1", "2", "3", "4", "5"]
    assert heights["0"] < heights["5"]


# ---- distribution dots --------------------------------------------------------------------------


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


# ---- words --------------------------------------------------------------------------------------


def test_words_of_token_figures_state_the_likeliest_of_every_run():
    frame = token_frame(5, 2)
    for kind in ("token_heatmap", "distribution_dots"):
        said = figures.alt_text(frame, kind)
        for _, part in frame.groupby("run", observed=True):
            best = part.nlargest(3, "probability")
            for label, p in zip(best["label"], best["probability"], strict=True):
                assert f"{label} {percent(p)}" in said
        assert "5 tokens" in said and "in source: " in said


def test_words_of_a_difference_state_before_after_ranks_and_kl():
    frame = difference_frame()
    said = figures.alt_text(frame, "difference_panel", after="grouped")
    row = frame.iloc[0]
    change = f"{percent(row.before)} to {percent(row.after)}"
    assert f"{row.label} {change} (rank {row.rank_before} to {row.rank_after})" in said
    assert f"KL(grouped ‖ base) = {frames.kl_divergence(logits(1), logits(2)):.3g} nats" in said


def test_words_of_a_map_state_extremes_and_where_the_target_wins():
    base = torch.zeros(60)
    base[1] = 4.0
    cell = torch.zeros(60)
    cell[0] = 6.0
    grid = base.repeat(4, 2, 1)
    grid[[0, 1, 3], 1] = cell
    tokens = [Token(0, 5, "The"), Token(1, 6, " Spain")]
    frame = frames.sweep_frame(grid, base, [0, 1, 2, 3], tokens, [0, 1], [0], " Rome{}".format)
    said = figures.alt_text(frame, "sweep_map")
    most, least = (percent(x.softmax(-1)[0].item()) for x in (cell, base))
    assert f"to {most} at ␣Spain (1), layer 0" in said
    assert f"from {least} at The (0), layer 0" in said
    assert "␣Rome0 is the most likely token in 3 of 8 cells: ␣Spain (1) in layers 0–1, 3." in said
    kl = frames.kl_divergence(base, cell)
    assert f"{kl:.3g}\u00a0nats at ␣Spain (1)" in figures.alt_text(frame, "sweep_map", "kl")


def test_words_of_a_map_without_any_run():
    frame = sweep_frame(1, 2, unrun=2)
    assert figures.alt_text(frame, "sweep_map").endswith("No cell was run.")


# ---- requests that cannot be carried out --------------------------------------------------------


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
