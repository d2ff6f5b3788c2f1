"""Maps of sweeps: scales, panels, cells that were not run, heads."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_testing import (
    Token,
    colours_at,
    drawn,
    fill_limits,
    head_frame,
    logits,
    plot,
    sweep_frame,
    text,
    texts,
    tick_labels,
)
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb

from vene_widgets import LanguageModel, figures, sweep
from vene_widgets.errors import RequestError
from vene_widgets.figures import geoms
from vene_widgets.figures.palette import LIGHT, PALETTES
from vene_widgets.tables import frames
from vene_widgets.tables.number_text import percent


@pytest.mark.parametrize("metric", ["delta", "log_ratio"])
def test_differences_are_coloured_symmetrically(metric: str):
    frame = sweep_frame()
    low, high = fill_limits(plot("sweep_map", frame, metric=metric))
    assert low == -high and high >= frame[metric].abs().max() > 0.4 * high
    middle = to_rgb(colours_at([0.5], LIGHT.diverging)[0])
    assert middle == pytest.approx(to_rgb(LIGHT.more[0]), abs=0.01)


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
    frame = frames.sweep_frame(
        cells, base, [0, 1], tokens, [0, 1], [3, 5], text, source_logits=logits(2)
    )
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


def test_a_map_of_logit_differences_names_both_tokens_and_has_no_mirror_image(
    capitals: LanguageModel,
):
    prompts = "The capital of Spain is", "The capital of Italy is"
    swept = sweep(capitals, *prompts, targets=[" Rome", " Madrid", " Paris"])
    rome, madrid, paris = (float(swept.base_logits[target]) for target in swept.targets)
    drawn: Any = swept.plot("logit_difference").data
    assert [*drawn["panel"].cat.categories] == [
        f"a   logit(␣Rome) − logit(␣Madrid), base {rome - madrid:+.2g}".replace("-", "−"),
        f"b   logit(␣Paris) − logit(␣Rome), base {paris - rome:+.2g}".replace("-", "−"),
    ]
    two = sweep(capitals, *prompts, targets=[" Rome", " Madrid"])
    figure: Any = two.plot("logit_difference")
    shown = f"{figure.labels.title or ''} {figure.labels.subtitle or ''}"
    assert "logit(␣Rome) − logit(␣Madrid), base −" in shown
    assert [*figure.data["target_label"].unique()] == ["␣Rome"]
    words = figures.alt_text(two.frame, "sweep_map", "logit_difference")
    assert "For logit(␣Rome) − logit(␣Madrid) (base −" in words
    assert "(␣Madrid) − " not in words and "␣Madrid is the most likely token in" in words
    heads = sweep(capitals, *prompts, "z", head="all", targets=[" Rome", " Madrid"])
    drawn: Any = heads.plot("logit_difference")
    assert (
        "logit(␣Rome) − logit(␣Madrid), base −" in f"{drawn.labels.subtitle} {drawn.labels.title}"
    )


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
    assert f"a   P(␣token20), base {base}" in strips


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


# ---- where no effect is possible ----------------------------------------------------------------


def shared_start(shared: int, positions: int = 5, layers: int = 4) -> pd.DataFrame:
    """A map whose first `shared` positions, and all but the last in the last layer, are idle."""
    frame = sweep_frame(layers, positions, 1)
    idle = (frame["position"] < shared) | (
        (frame["layer"] == layers - 1) & (frame["position"] < positions - 1)
    )
    return frame.assign(effect_possible=~idle)


def tiles(figure: Any, hatched: bool) -> list[PolyCollection]:
    return [
        c
        for ax in figure.axes
        for c in ax.collections
        if isinstance(c, PolyCollection) and bool(c.get_hatch()) == hatched and c in geoms.NOTES
    ]


@pytest.mark.parametrize("style", ["light", "dark"])
def test_tiles_without_a_possible_effect_are_hatched_and_have_no_number(style: str):
    frame = shared_start(1)
    figure = drawn(plot("sweep_map", frame, style=style))
    idle, filled = tiles(figure, True), tiles(figure, False)
    assert len(idle) == 1 and len(filled) == 1
    count = int((~frame["effect_possible"]).sum())
    assert len(idle[0].get_paths()) == count == 7
    assert len(filled[0].get_paths()) == len(frame) - count
    # Numbers stand on the filled tiles only; a hatched one has the page's colour.
    [ax] = [ax for ax in figure.axes if ax.texts]
    at = {(round(t.get_position()[0]), round(t.get_position()[1])) for t in ax.texts}
    may = frame[frame["effect_possible"]]
    assert at == set(zip(may["position"], may["layer"], strict=True))
    [background] = np.asarray(idle[0].get_facecolor())
    assert to_rgb(tuple(background)) == pytest.approx(to_rgb(PALETTES[style].page))
    assert "hatched: no effect possible" in [t.get_text() for t in texts(figure)]


def test_hatched_tiles_keep_their_tooltips():
    frame = shared_start(1)
    svg = figures.svg(plot("sweep_map", frame))
    titles = re.findall(r"<title>(layer \d+, position \d+)", svg)
    assert sorted(titles) == sorted(
        f"layer {row.layer}, position {row.position}" for row in frame.itertuples()
    )


def test_a_map_whose_tiles_may_all_have_an_effect_is_not_hatched():
    figure = drawn(plot("sweep_map", sweep_frame()))
    assert not tiles(figure, True)
    assert not [t for t in texts(figure) if "hatched" in t.get_text()]
    old = sweep_frame().drop(columns="effect_possible")  # a table of an earlier version
    assert not tiles(drawn(plot("sweep_map", old)), True)


@pytest.mark.parametrize(("shared", "columns"), [(0, 5), (1, 5), (2, 4), (3, 3), (4, 2), (5, 5)])
def test_leading_positions_in_common_share_a_column_if_they_are_several_and_not_all(
    shared: int, columns: int
):
    figure = drawn(plot("sweep_map", shared_start(shared)))
    said = [t.get_text() for t in tick_labels(figure, "x")[0]]
    assert len(said) == columns
    folded = columns < 5
    assert (said[0].split() == [str(shared), "in", "common"]) == folded
    assert [label.split()[-1] for label in said[folded:]] == [
        str(p) for p in range(shared if folded else 0, 5)
    ]


def test_idle_positions_that_do_not_lead_keep_their_columns():
    frame = sweep_frame(4, 5, 1)
    frame["effect_possible"] = ~frame["position"].isin([2, 3])
    assert len(tick_labels(drawn(plot("sweep_map", frame)), "x")[0]) == 5


def test_heads_without_a_possible_effect_are_hatched(capitals: LanguageModel):
    prompts = "The capital of Spain is", "The capital of Italy is"
    frame = sweep(capitals, *prompts, "head_value_output", head="all").frame
    made: Any = figures.head_map(frame)
    moving = frame[frame["effect_possible"] & (frame["delta"] != 0)]
    assert set(made.data["position"]) == set(moving["position"])
    assert (made.data["hatch"] == ~made.data["effect_possible"]).all()
    assert made.data["hatch"].any()


# ---- impossible values --------------------------------------------------------------------------


@pytest.mark.parametrize("metric", frames.METRICS)
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-12, np.nan])
def test_maps_of_one_value_are_drawn(metric: str, value: float):
    frame = sweep_frame(3, 2, 2)
    column = frames.METRICS[metric].column
    if metric == "rank":
        frame[column] = pd.array([1 if value == value else pd.NA] * len(frame), dtype="Int64")
    else:
        frame[column] = value
    if value != value:
        frame["best_id"] = pd.array([pd.NA] * len(frame), dtype="Int64")  # no cell was run
    assert figures.png(plot("sweep_map", frame, metric=metric), dpi=30)


def test_a_map_of_heads_that_change_nothing_is_drawn():
    frame = head_frame(2, 2, 2).assign(delta=0.0)
    assert set(plot("head_map", frame).data["position"]) == {0, 1}
    assert figures.png(plot("head_map", frame), dpi=30)
