"""Labels of figures: odd tokens, missing glyphs, equal texts, repeated words."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from figure_testing import ODD, drawn, plot, sweep_frame, text, texts, tick_labels
from matplotlib.cbook import is_math_text
from matplotlib.collections import PolyCollection

from vene_widgets import figures
from vene_widgets.tables import frames


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
