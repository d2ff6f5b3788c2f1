"""Prompts, strategies, slots and tokens for tests of requests, and the text of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from vene_widgets.errors import RequestError
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import Token

SPAIN, ITALY, FRANCE = (f"The capital of {c} is" for c in ("Spain", "Italy", "France"))
LONG = 450
"""Longest error of a wrong value, in characters; the list of components is most of it."""

prompts = st.text(min_size=1, max_size=20)
ints = st.integers(-20, 20)
several = st.lists(ints, min_size=1, max_size=4, unique=True).map(tuple)
positions = st.one_of(ints, several, st.text(max_size=6))


def swap(layer: int = 0, position: Any = 3, **more: Any) -> Slot:
    return Slot(layer=layer, position=position, **more)


def tokens(*texts: str) -> tuple[Token, ...]:
    """Tokens whose ids follow their texts."""
    return tuple(Token(i, sum(map(ord, text)), text) for i, text in enumerate(texts))


def slot(position: Any = 3, **more: Any) -> Slot:
    return Slot(**{"layer": 0, "position": position, **more})


def untyped(value: object) -> Any:
    """A value whose type a checker is not to compare with the annotations."""
    return value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def refusal(make: Callable[[], object]) -> str:
    """The error's text, which is one short line without pydantic's words."""
    with pytest.raises(RequestError) as caught:
        make()
    text = str(caught.value)
    assert "\n" not in text and len(text) <= LONG, text
    assert "pydantic" not in text and "validation error" not in text and "type=" not in text
    assert caught.value.__cause__ is None
    return text
