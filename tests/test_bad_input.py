"""Mutants of every kind of request: refused in one sentence that costs nothing, or right.

The long forms, 10,000 mutants each, are in `tests/torture/test_bad_input.py`.
"""

from __future__ import annotations

from typing import Any

import bad_input
import pytest
from bad_values import any_json, bad_values, mutants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vene_widgets as vw
from vene_widgets.explorer import Explorer

SHORT = settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@SHORT
@given(mutants(bad_input.EXPERIMENTS, python=True) | bad_values(python=True))
def test_an_experiment(tiny_gpt2: vw.LanguageModel, fields: Any) -> None:
    bad_input.check_experiment(tiny_gpt2, fields)


@SHORT
@given(mutants(bad_input.SWEEPS, python=True) | bad_values(python=True))
def test_a_sweep(tiny_gpt2: vw.LanguageModel, fields: Any) -> None:
    bad_input.check_sweep(tiny_gpt2, fields)


@SHORT
@given(mutants(bad_input.SHARED) | any_json)
def test_the_state_in_a_token(tiny_gpt2: vw.LanguageModel, fields: Any) -> None:
    bad_input.check_token(tiny_gpt2, fields)


@SHORT
@given(st.text(max_size=50) | st.text(max_size=50).map("vene1.{}".format) | any_json)
def test_what_is_no_token(text: Any) -> None:
    bad_input.check_text_of_token(text)


@pytest.mark.usefixtures("silent_painter")
@SHORT
@given(st.data())
def test_a_message(explorer: Explorer, data: st.DataObject) -> None:
    bad_input.check_message(explorer, data.draw(mutants(bad_input.MESSAGES) | any_json))


@pytest.mark.parametrize("kind", ["EXPERIMENTS", "SWEEPS", "SHARED"])
def test_what_the_mutants_are_made_of_is_good(tiny_gpt2: vw.LanguageModel, kind: str) -> None:
    check = {
        "EXPERIMENTS": bad_input.check_experiment,
        "SWEEPS": bad_input.check_sweep,
        "SHARED": bad_input.check_token,
    }[kind]
    for good in getattr(bad_input, kind):
        assert check(tiny_gpt2, good)


def test_the_messages_that_the_mutants_are_made_of_are_good(explorer: Explorer) -> None:
    for good in bad_input.MESSAGES:
        assert bad_input.check_message(explorer, good) or good["kind"] in ("step", "follow"), good


@pytest.fixture
def explorer(tiny_gpt2: vw.LanguageModel, silent_painter: object) -> Any:
    made = vw.explore(bad_input.BASE, bad_input.SOURCES, tiny_gpt2).wait(60)
    yield made
    made.close()
