"""Figures fit: no label overlaps another or leaves the figure, and all type can be read."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import plotnine as p9
import pytest
from figure_testing import (
    LONG,
    difference_frame,
    drawn,
    head_frame,
    line_boxes,
    logits,
    long_text,
    plot,
    sweep_frame,
    text,
    texts,
    token_frame,
)

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.figures import paper
from vene_widgets.tables import frames

SETUP = (
    "“The capital of Spain is” ← “The capital of Italy is” · after block 0: patch · gpt2 · n = 1"
)
LONG_SETUP = f"“{'中文' * 40}” ← “{'a' * 90}” · " + " ".join([SETUP] * 3)
NAMES = ["base", "an 18-letter-name-", "source of another", "grouped", "中文中文中文中文中文"]
LOOKS = {
    "screen": p9.theme,
    "paper 1": lambda: vw.theme_paper(columns=1),
    "paper 2": lambda: vw.theme_paper(columns=2),
    "slide": vw.theme_slide,
}


def two_panels(tokens: int, names: list[str], label: Any, look: Any, **options: Any) -> Any:
    """`result` of some runs, of which the last is the intervened one."""
    runs = {name: logits(n) for n, name in enumerate(names)}
    difference = frames.difference_frame(runs[names[0]], runs[names[-1]], label, k=tokens)
    frame = frames.token_frame(runs, label, k=1, also=difference["token_id"])
    return figures.result(frame, difference, before=names[0], after=names[-1], look=look, **options)


# Name -> kind, frame, options. Frames are made once.
FRAMES: dict[str, tuple[str, pd.DataFrame, dict[str, Any]]] = {
    "few tokens, one run": ("token_heatmap", token_frame(3, 1), {}),
    "ten tokens, three runs": ("token_heatmap", token_frame(10, 3), {"setup": SETUP}),
    "forty long tokens, five runs": (
        "token_heatmap", token_frame(40, 5, NAMES, long_text), {"setup": LONG_SETUP},
    ),
    "dots: few tokens, one run": ("distribution_dots", token_frame(3, 1), {"title": "Runs"}),
    "dots: ten tokens, three runs": ("distribution_dots", token_frame(10, 3), {"setup": SETUP}),
    "dots: long tokens, five runs": (
        "distribution_dots", token_frame(20, 5, NAMES, long_text), {"setup": LONG_SETUP},
    ),
    "one difference": ("difference_panel", difference_frame(1), {}),
    "ten differences": ("difference_panel", difference_frame(10), {"setup": SETUP}),
    "forty long differences": (
        "difference_panel",
        difference_frame(40, long_text),
        {"setup": LONG_SETUP, "before": NAMES[1], "after": NAMES[4], "title": "A title " * 12},
    ),
    "small map": ("sweep_map", sweep_frame(2, 3, 1), {"setup": SETUP}),
    "map": ("sweep_map", sweep_frame(6, 5, 2), {"setup": SETUP, "title": "Two targets"}),
    "map of words": ("sweep_map", sweep_frame(6, 7, 1, words=[" continents"]), {"setup": SETUP}),
    "map of long tokens": (
        "sweep_map",
        sweep_frame(12, 12, 3, unrun=2, words=LONG, text=long_text),
        {"metric": "delta", "setup": LONG_SETUP},
    ),
    "large map": ("sweep_map", sweep_frame(48, 40, 2), {"metric": "log_ratio", "setup": SETUP}),
    "wide map": ("sweep_map", sweep_frame(3, 24, 3), {"metric": "rank"}),
    "heads": ("head_map", head_frame(6, 4, 2), {"setup": SETUP}),
    "many positions of heads": ("head_map", head_frame(12, 12, 6), {"title": "Heads " * 12}),
    "many heads": ("head_map", head_frame(24, 32, 1), {"setup": LONG_SETUP}),
}  # fmt: skip
RESULTS: dict[str, tuple[int, list[str], Any, dict[str, Any]]] = {
    "result of two runs": (1, ["base", "intervened"], text, {}),
    "result": (10, ["base", "italy", "intervened"], text, {"setup": SETUP}),
    "long result": (10, NAMES, long_text, {"setup": LONG_SETUP}),
}
USUAL = {
    "few tokens, one run", "ten tokens, three runs", "dots: few tokens, one run",
    "dots: ten tokens, three runs", "one difference", "ten differences", "small map", "map",
    "large map", "heads", "many heads", "result of two runs", "result",
}  # fmt: skip
"""Figures that fit a slide with large type: ten tokens, labels of usual length."""


def made(case: str, look: str, style: str = "light") -> Any:
    theme_of_look = LOOKS[look]()
    if case in RESULTS:
        tokens, names, label, options = RESULTS[case]
        return two_panels(tokens, names, label, theme_of_look, style=style, **options)
    kind, frame, options = FRAMES[case]
    return plot(kind, frame, style=style, **options) + theme_of_look


def size_of(what: Any) -> tuple[float, float]:
    """Width and height in inches."""
    last = what if isinstance(what, p9.ggplot) else what.last_plot
    return last.theme.getp("figure_size")


def assert_no_label_is_cut_or_covered(figure: Any) -> None:
    width, height = figure.canvas.get_width_height()
    seen = line_boxes(figure)
    for line, box in seen:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (line, box, (width, height))
    for (one, a), (other, b) in itertools.combinations(seen, 2):
        # Boxes include the font's own leading, some of which may be shared.
        slack = 0.02 * figure.dpi
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across < 1 or down < slack, (one, other, across, down)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("case", [*FRAMES, *RESULTS])
def test_every_label_has_its_place_and_can_be_read(case: str, look: str) -> None:
    what = made(case, look)
    figure = drawn(what)
    assert_no_label_is_cut_or_covered(figure)
    width, height = size_of(what)
    smallest = min(t.get_size() for t in texts(figure))
    if look.startswith("paper"):
        columns = paper.COLUMNS[int(look[-1])]
        assert width == pytest.approx(columns, abs=0.26 if case in RESULTS else 0.005)
        assert width <= columns
        assert smallest >= 5 - 1e-9
    if look == "slide":
        assert width <= paper.SLIDE[0] + 0.01 and height <= paper.SLIDE[1] + 0.02
        assert smallest >= (14 - 1e-9 if case in USUAL else 5)


@pytest.mark.parametrize("case", [*FRAMES, *RESULTS])
def test_a_dark_figure_has_the_layout_of_a_light_one(case: str) -> None:
    light, dark = made(case, "screen"), made(case, "screen", "dark")
    assert size_of(light) == size_of(dark)
