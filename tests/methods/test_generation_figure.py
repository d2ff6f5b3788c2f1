"""The figure of a generated text: what is drawn, and what it says."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pandas as pd
import pytest
from figure_testing import drawn, texts

import vene_widgets as vw
from vene_widgets.figures.generation import MOST_STEPS, generation_plot


def frame_of(**texts: list[str]) -> pd.DataFrame:
    """Texts by run; a token's id follows from its text."""
    known = {token: n for n, token in enumerate(dict.fromkeys(chain(*texts.values())))}
    rows = [
        {
            "run": run,
            "step": step,
            "position": 5 + step,
            "token_id": known[token],
            "label": token,
            "probability": 0.5,
        }
        for run, text in texts.items()
        for step, token in enumerate(text)
    ]
    return pd.DataFrame(rows)


def marks(plot: Any) -> list[float]:
    """Where lines before the first difference are drawn."""
    return plot.layers[1]._data["x"].tolist()


def test_every_token_is_a_tile_in_the_column_of_its_step() -> None:
    table = frame_of(base=["a", "b", "c"], patched=["a", "d", "c"])
    plot: Any = generation_plot(table, setup="what was run", title="Title")
    assert plot.data["x"].tolist() == [0, 1, 2] * 2
    assert plot.data["y"].tolist() == [0] * 3 + [-1] * 3
    assert plot.data["text"].tolist() == ["a", "b", "c", "a", "d", "c"]
    assert plot.data["number"].tolist() == ["50"] * 6
    said = " ".join(str(plot.labels.subtitle).split())
    assert "what was run" in said and "line: first step at which the texts differ" in said
    assert marks(plot) == [0.5]


@pytest.mark.parametrize(
    ("runs", "where"),
    [
        ({"base": ["a", "b"], "patched": ["a", "b"]}, []),
        ({"base": ["a", "b"], "patched": ["a"]}, [0.5]),
        ({"base": ["a"], "patched": ["b"]}, [-0.5]),
        ({"patched": ["a", "b"]}, []),
    ],
)
@pytest.mark.parametrize("style", ["light", "dark"])
def test_the_line_stands_before_the_first_difference(
    runs: dict[str, list[str]], where: list[float], style: str
) -> None:
    plot = generation_plot(frame_of(**runs), style=style)
    assert marks(plot) == where
    assert ("line:" in str(plot.labels.subtitle)) == bool(where)
    figure = drawn(plot)
    assert {one.get_text() for one in texts(figure)} >= {*runs, "a", "50"}


def test_long_texts_go_on_in_lines_and_the_rest_is_counted() -> None:
    table = frame_of(base=["word"] * 200, patched=["word"] * 130 + ["other"])
    plot: Any = generation_plot(table)
    assert len(plot.data) == 2 * MOST_STEPS
    assert f"first {MOST_STEPS} of 200 tokens" in str(plot.labels.subtitle)
    assert plot.data["x"].max() < 12 and plot.data["y"].nunique() > 10
    assert len(plot.data[["x", "y"]].drop_duplicates()) == 2 * MOST_STEPS
    assert marks(plot) == []  # it is beyond
    width, _ = plot.theme.getp("figure_size")
    assert width <= 6.5


def test_an_svg_says_what_each_tile_is() -> None:
    table = frame_of(base=["␣a"], patched=["$x$"])
    drawing = vw.figures.svg(generation_plot(table))
    text = drawing if isinstance(drawing, str) else drawing.decode()
    assert "patched, position 5: $x$ (id 1), P = 50" in text.replace("\xa0", " ")


def test_bad_input() -> None:
    table = frame_of(base=["a"])
    for frame, options, words in (
        (table.drop(columns="step"), {}, "lacks column 'step'"),
        (table[:0], {}, "no rows"),
        (table, {"style": "lite"}, "style 'lite'"),
    ):
        with pytest.raises(vw.RequestError, match=words):
            generation_plot(frame, **options)


def test_a_generation_says_what_was_done(capitals: vw.LanguageModel) -> None:
    spain, italy = "The capital of Spain is", "The capital of Italy is"
    slot = vw.Slot(layer=0, position=" Spain", source_position=" Italy")
    patch = vw.Experiment(base=spain, sources=italy, slots=[slot])
    cases: list[tuple[Any, str]] = [
        ("prompt", "slots act on the prompt ·"),
        ("every", "slots act on the prompt and every new token"),
        ([3, 5, 6, 7, 8], "slots act on positions 3, 5, 6, … 8"),
    ]
    for on, words in cases:
        found = vw.generate(capitals, patch, 5, on, temperature=2.0, top_k=0, seed=4)
        said = " ".join(str(found.plot().labels.subtitle).split())
        assert words.strip(" ·") in said and spain in said and "after block 0" in said
        assert "sampled, temperature 2, top-k 0, seed 4" in said
