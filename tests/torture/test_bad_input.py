"""10,000 mutants of every kind of request; `tests/test_bad_input.py` is the short form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import bad_input
import pytest
from bad_values import any_json, bad_values, mutants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vene_widgets as vw

pytestmark = pytest.mark.torture

EXAMPLES = 10_000

LONG = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@pytest.fixture
def read() -> Iterator[Counter[bool]]:
    """Counts the mutants that were read and those that were refused; printed at the end."""
    counts = Counter[bool]()
    yield counts
    print(f"{counts[True]} read, {counts[False]} refused")
    assert counts[True] > EXAMPLES / 200 and counts[False] > EXAMPLES / 10


@LONG
@given(mutants(bad_input.EXPERIMENTS, python=True) | bad_values(python=True))
def test_an_experiment(tiny_gpt2: vw.LanguageModel, read: Counter[bool], fields: Any) -> None:
    read[bad_input.check_experiment(tiny_gpt2, fields)] += 1


@LONG
@given(mutants(bad_input.SWEEPS, python=True) | bad_values(python=True))
def test_a_sweep(tiny_gpt2: vw.LanguageModel, read: Counter[bool], fields: Any) -> None:
    read[bad_input.check_sweep(tiny_gpt2, fields)] += 1


@LONG
@given(mutants(bad_input.SHARED) | any_json)
def test_the_state_in_a_token(
    tiny_gpt2: vw.LanguageModel, read: Counter[bool], fields: Any
) -> None:
    read[bad_input.check_token(tiny_gpt2, fields)] += 1


@LONG
@given(st.text(max_size=50) | st.text(max_size=50).map("vene1.{}".format) | any_json)
def test_what_is_no_token(text: Any) -> None:
    bad_input.check_text_of_token(text)


@pytest.fixture
def explorer(tiny_gpt2: vw.LanguageModel, silent_painter: object) -> Iterator[vw.Explorer]:
    made = vw.explore(bad_input.BASE, bad_input.SOURCES, tiny_gpt2).wait(60)
    yield made
    made.close()


@LONG
@given(st.data())
def test_a_message(explorer: vw.Explorer, read: Counter[bool], data: st.DataObject) -> None:
    content = data.draw(mutants(bad_input.MESSAGES) | any_json)
    read[bad_input.check_message(explorer, content)] += 1
