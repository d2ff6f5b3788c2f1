"""alt_text: what a figure shows, in words and numbers."""

from __future__ import annotations

import torch
from figure_testing import Token, difference_frame, logits, sweep_frame, token_frame

from vene_widgets import figures
from vene_widgets.tables import frames
from vene_widgets.tables.number_text import percent


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
