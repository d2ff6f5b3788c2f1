"""What stands above the panels: lines end at spaces and between parts, and none is too wide."""

from __future__ import annotations

from itertools import pairwise

import pytest

from vene_widgets.figures import theme
from vene_widgets.figures.heading import MARGINS, SMALL, heading, setup_lines, wrap, wrap_title
from vene_widgets.figures.labels import LONGEST, WIDEST, label


def test_lines_end_at_spaces_and_hold_as_much_as_fits() -> None:
    text = "one two three four five six seven eight"
    lines = wrap(text, 1.0, 9)
    assert len(lines) > 2 and " ".join(lines) == text
    words = text.split()
    for line, following in pairwise(lines):
        assert theme.text_width(line, 9) <= 1.0
        assert set(line.split()) <= set(words)
        assert theme.text_width(f"{line} {following.split()[0]}", 9) > 1.0


def test_a_word_that_is_too_wide_is_broken_anywhere() -> None:
    lines = wrap("a " + "中" * 40 + " b", 1.0, 9)
    assert "".join(lines).replace(" ", "") == "a" + "中" * 40 + "b"
    assert max(theme.text_width(line, 9) for line in lines) <= 1.0
    assert wrap("WWWW", 0.01, 9) == ["W", "W", "W", "W"]  # one letter always stands


def test_line_breaks_and_no_break_spaces_stay() -> None:
    assert wrap("a\nb", 5, 9) == ["a", "b"]
    assert wrap("○\u00a0base ●\u00a0after", 0.55, 9) == ["○\u00a0base", "●\u00a0after"]
    assert wrap(None, 1, 9) == [] == wrap("", 1, 9)


def test_what_was_run_ends_its_lines_between_parts() -> None:
    parts = ["“The capital of Spain is”", "after block 0", "gpt2", "n = 1"]
    lines = setup_lines(" · ".join(parts), 2.2)
    assert len(lines) > 1
    assert [part for line in lines for part in line.split(" · ")] == parts
    assert setup_lines(" · ".join(parts), 9) == [" · ".join(parts)]
    narrow = setup_lines(" · ".join(parts), 0.9)
    assert max(theme.text_width(line, SMALL) for line in narrow) <= 0.9 - MARGINS
    assert setup_lines("$x$ \U00018cd6", 9) == [r"\$x\$ \u18cd6"]


@pytest.mark.parametrize("title", [None, "A title", "A title of many words " * 8])
@pytest.mark.parametrize("setup", [None, "what was run", "what was run " * 20])
@pytest.mark.parametrize("named", [None, "P(next token), %"])
def test_a_heading_has_an_empty_line_above_the_label(
    title: str | None, setup: str | None, named: str | None
) -> None:
    made = heading(title, setup, named, 4.0)
    lines = [] if made.subtitle is None else made.subtitle.split("\n")
    assert (lines[-1:] == [named]) == bool(named)
    assert ("" in lines) == bool(setup and named)
    assert made.title == (wrap_title(title, 4.0) if title else None)
    count = len(lines) + (made.title or "").count("\n")
    assert made.height >= theme.LINE_SPACING * SMALL / 72 * count


@pytest.mark.parametrize(
    "text", ["W" * 40, "i" * 40, "中文" * 9, "‮abc" * 6, " Spain", "m" * 18, "$" * 30]
)
def test_a_label_is_cut_by_letters_and_by_width(text: str) -> None:
    said = label(text)
    drawn = said.replace(r"\$", "$")
    assert len(drawn) <= LONGEST and theme.text_width(drawn, 72) <= WIDEST
    whole = theme.drawable(text)
    assert drawn == whole or (drawn.endswith("…") and whole.startswith(drawn[:-1]))
    if drawn != whole:  # it holds as much as fits
        rest = len(drawn) - 1
        longer = f"{whole[: rest + 6]}…"  # a character's escape has six
        assert len(longer) > LONGEST or theme.text_width(longer, 72) > WIDEST
    assert ("…" in label(" Spain")) is False
