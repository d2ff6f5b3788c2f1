"""The figure of a specification curve: effects in order, every choice marked below its effect."""

from __future__ import annotations

from itertools import product
from typing import Any

import pandas as pd
import pytest

from vene_widgets import figures
from vene_widgets.errors import RequestError


def frame(effects: list[float] | None = None) -> pd.DataFrame:
    rows = [
        {"pair": 0, "direction": d, "wrong": w, "window": n, "metric": m}
        for d, w, n, m in product(
            ("restore", "corrupt"), ("swap", "zero"), (1, 3), ("probability", "logit_difference")
        )
    ]
    table = pd.DataFrame(rows)
    return table.assign(effect=effects or [(n * 7 % 16) / 10 - 0.2 for n in range(16)])


def marks(plot: Any) -> pd.DataFrame:
    """The choices' marks as they are drawn: place and row."""
    return next(one._data for one in plot.layers if one.geom.aes_params.get("shape") == "s")


def test_effects_are_in_order_and_each_choice_is_marked() -> None:
    table = frame()
    plot: Any = figures.specification_plot(table, site="x", agreement=(13, 16))
    assert plot.data["row"].is_monotonic_increasing
    assert len(plot.data) == 16
    own = marks(plot)
    assert len(own) == 16 * 4
    assert own.groupby("place").size().eq(4).all()
    labels: Any = plot.scales.get_scales("y")
    names = dict(zip(labels.breaks, labels.labels, strict=True))
    ordered = table.sort_values("effect", kind="stable", ignore_index=True)
    words = {"logit_difference": "logit difference", 1: "1 layer", 3: "3 layers"}
    for place, row in ordered.iterrows():
        said = {names[r] for r in own[own["place"] == int(str(place)) + 1]["row"]}
        chosen = (row["direction"], row["wrong"], row["window"], row["metric"])
        assert said == {str(words.get(value, value)) for value in chosen}


def test_several_templates_are_rows_of_their_own() -> None:
    long = "Whoever asks for the capital of {} is told"
    table = pd.concat([frame().assign(template=text) for text in ("In {} is", long)])
    plot: Any = figures.specification_plot(table)
    labels: Any = plot.scales.get_scales("y")
    assert {"In {} is", f"{long[:29]}…"} <= set(labels.labels)
    assert len(marks(plot)) == 32 * 5
    alone: Any = figures.specification_plot(frame().assign(template="In {} is"))
    assert len(marks(alone)) == 16 * 4


def test_the_subtitle_says_what_and_how_many_agree() -> None:
    plot: Any = figures.specification_plot(frame(), site="␣is after block 3", agreement=(13, 16))
    said = str(plot.labels.subtitle)
    assert "␣is after block 3" in said
    assert "same sign in 13 of 16 specifications" in said
    assert "share of what the two plain runs differ by" in said


def test_signs_have_colours_of_their_own() -> None:
    plot: Any = figures.specification_plot(frame())
    colours = plot.data["colour"]
    palette = figures.PALETTES["light"]
    assert set(colours) == {palette.up, palette.down}
    assert colours.iloc[0] == palette.down


@pytest.mark.parametrize("style", ["light", "dark"])
def test_it_can_be_drawn(style: str) -> None:
    data = figures.png(figures.specification_plot(frame(), title="A title", style=style))
    assert data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        (frame().drop(columns="window"), {}, "the frame lacks column 'window'; it needs"),
        (frame().head(0), {}, "the frame has no rows"),
        (frame(), {"style": "pink"}, "style 'pink' is not known"),
    ],
)
def test_bad_input(table: pd.DataFrame, options: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        figures.specification_plot(table, **options)
