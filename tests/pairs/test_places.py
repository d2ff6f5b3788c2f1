"""Named positions of pairs, aligned between prompts of unequal lengths."""

from __future__ import annotations

from typing import Any

import pytest

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.experiments.pairs import Pair
from vene_widgets.sweeps.pairs.places import resolve_places


def resolve(
    model: vw.LanguageModel,
    base: str,
    source: str,
    *places: Any,
    own: dict[str, Any] | None = None,
    there: dict[str, Any] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    pair = Pair(base, source, (), own or {}, there or {})
    return resolve_places(pair, tuple(model.tokens(base)), tuple(model.tokens(source)), places)


ONE, TWO = "The capital of Spain is", "The capital of Italy Rome is"


@pytest.mark.parametrize(
    ("base", "source", "places", "expected"),
    [
        (ONE, "The capital of Italy is", (0, 3, -1), ((0, 3, 4), (0, 3, 4))),
        (ONE, "The capital of Italy is", ("first", "changed", "last"), ((0, 3, 4), (0, 3, 4))),
        # The last token of the stretch goes to the last one there, not to the first.
        (ONE, TWO, ("changed", "last"), ((3, 4), (4, 5))),
        (TWO, ONE, ("changed", "last"), ((4, 5), (3, 4))),
        (ONE, TWO, (3, " is"), ((3, 4), (4, 5))),
        (TWO, ONE, (3, 4), ((3, 4), (3, 3))),
    ],
)
def test_places_that_every_pair_has(
    tiny_gpt2: vw.LanguageModel, base: str, source: str, places: Any, expected: Any
) -> None:
    assert resolve(tiny_gpt2, base, source, *places) == expected


def test_a_text_of_several_tokens_is_its_last_one(tiny_gpt2: vw.LanguageModel) -> None:
    for text in (" Italy Rome", "Italy Rome"):
        own = {"subject": text}
        assert resolve(tiny_gpt2, TWO, ONE, "subject", own=own) == ((4,), (3,))


def test_a_column_of_the_source_says_where_it_is_there(tiny_gpt2: vw.LanguageModel) -> None:
    there = {"subject": " Italy"}
    found = resolve(tiny_gpt2, ONE, TWO, "subject", own={"subject": " Spain"}, there=there)
    assert found == ((3,), (3,))
    assert resolve(tiny_gpt2, ONE, TWO, "subject", own={"subject": -2}) == ((3,), (4,))


def test_a_column_comes_before_a_name(tiny_gpt2: vw.LanguageModel) -> None:
    assert resolve(tiny_gpt2, ONE, ONE, "last", own={"last": 1}) == ((1,), (1,))


@pytest.mark.parametrize(
    ("places", "own", "words"),
    [
        ((3, "changed"), {}, "positions 3 and 'changed' are both position 3 of the base"),
        ((7,), {}, "position 7 is out of range: the base has 5 tokens"),
        (("subject",), {"subject": " Peru"}, "subject ' Peru' does not occur in the base"),
        (("nowhere",), {}, "position 'nowhere' does not occur in the base"),
    ],
)
def test_places_that_a_prompt_lacks(
    tiny_gpt2: vw.LanguageModel, places: Any, own: Any, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        resolve(tiny_gpt2, ONE, "The capital of Italy is", *places, own=own)


def test_a_text_that_occurs_twice_needs_an_index(tiny_gpt2: vw.LanguageModel) -> None:
    with pytest.raises(RequestError, match=r"occurs 2 times in the base, ending at \[1, 3\]"):
        resolve(tiny_gpt2, "The Rome of Rome is", ONE, "subject", own={"subject": " Rome"})


def test_prompts_that_are_equal_have_no_changed_token(tiny_gpt2: vw.LanguageModel) -> None:
    with pytest.raises(RequestError, match="position 'changed' needs a token in which the base"):
        resolve(tiny_gpt2, ONE, ONE, "changed")
