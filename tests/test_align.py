"""`align`: which source position is copied to which base position."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from request_testing import tokens

from vene_widgets.engine.positions import align

words = st.lists(st.sampled_from("abc"), min_size=1, max_size=7)


@given(words, words)
def test_align_pairs_every_base_position_in_order(base: list[str], source: list[str]):
    b, s = tokens(*base), tokens(*source)
    paired = align(b, s)
    assert len(paired) == len(b)
    assert all(0 <= partner < len(s) for partner in paired)
    assert list(paired) == sorted(paired)
    if len(b) == len(s):
        assert paired == tuple(range(len(b)))


@given(words, words, st.lists(st.sampled_from("xy"), min_size=1, max_size=4), words)
def test_align_keeps_a_common_beginning_and_a_common_end(
    begin: list[str], end: list[str], inner: list[str], other: list[str]
):
    # Capitals keep the two middles apart, so that beginning and end are exactly what is common.
    b = tokens(*begin, *inner, *end)
    s = tokens(*begin, *(word.upper() for word in other), *end)
    paired = align(b, s)
    assert paired[: len(begin)] == tuple(range(len(begin)))
    if len(b) == len(s):
        return
    assert paired[len(begin) + len(inner) :] == tuple(range(len(s) - len(end), len(s)))
    last = len(begin) + len(other) - 1
    middle = [min(i, last) for i in range(len(begin), len(begin) + len(inner))]
    assert list(paired[len(begin) : len(begin) + len(inner)]) == middle


def test_align_pairs_what_lies_between_in_order_and_the_rest_with_the_last():
    base = tokens("The", " a", " b", " c", " is")
    source = tokens("The", " x", " y", " is")
    assert align(base, source) == (0, 1, 2, 2, 3)
    assert align(source, base) == (0, 1, 2, 4)
