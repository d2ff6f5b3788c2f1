"""Positions: ints, texts, slices and lists, and how they are resolved against a prompt."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from request_testing import ITALY, SPAIN, refusal, slot, swap, tokens

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.positions import resolve_positions
from vene_widgets.errors import RequestError
from vene_widgets.experiments import Experiment, Slot, SweepRequest
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.planning import plan_sweep


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (3, 3),
        (-2, -2),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        ([1, 3], (1, 3)),
        ((np.int32(1), -1), (1, -1)),
        (range(1, 4), (1, 2, 3)),
        (np.arange(2), (0, 1)),
        (" Spain", " Spain"),
        ("3", "3"),
    ],
)
def test_positions_become_plain_ints_tuples_or_text(written: Any, stored: Any):
    for one in (swap(position=written), swap(position=0, source_position=written)):
        value = one.position if one.source_position is None else one.source_position
        assert value == stored and type(value) is type(stored)
        if isinstance(value, tuple):
            assert {type(item) for item in value} == {int}


def test_torch_integers_are_positions_too():
    import torch

    assert swap(position=torch.tensor(3)).position == 3
    assert swap(position=torch.tensor([1, 2])).position == (1, 2)
    assert swap(layer=torch.tensor(2)).layer == 2  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", [True, [True, 1], np.bool_(True), np.array([True, False])])
@pytest.mark.parametrize("field", ["position", "source_position"])
def test_bools_are_no_positions(field: str, value: Any):
    with pytest.raises(RequestError, match="bool"):
        Slot.model_validate({"layer": 0, "position": 0, field: value})


@pytest.mark.parametrize("value", [True, np.bool_(False)])
@pytest.mark.parametrize("field", ["layer", "head"])
def test_bools_are_no_layers_and_no_heads(field: str, value: Any):
    with pytest.raises(RequestError, match="bool"):
        Slot.model_validate({"layer": 0, "position": 0, field: value})


@pytest.mark.parametrize("value", [[], (), 1.5, None, [1.5], [[1]], {"a": 1}])
def test_other_positions_are_refused(value: Any):
    with pytest.raises(RequestError):
        swap(position=value)


def test_positions_are_resolved_against_the_prompts_tokens(tiny_gpt2: LanguageModel):
    base = tuple(tiny_gpt2.tokens(SPAIN))
    assert resolve_positions(3, base, "slots[0].position", "base") == (3,)
    assert resolve_positions(-1, base, "slots[0].position", "base") == (4,)
    assert resolve_positions((0, -5 + 1), base, "slots[0].position", "base") == (0, 1)
    assert resolve_positions(" Spain", base, "slots[0].position", "base") == (3,)


@given(st.integers(1, 9), st.integers(-12, 12))
def test_negative_positions_count_from_the_end(count: int, position: int):
    prompt = tokens(*(f"t{i}" for i in range(count)))
    if -count <= position < count:
        expected = list(range(count))[position]
        assert resolve_positions(position, prompt, "slots[0].position", "base") == (expected,)
    else:
        with pytest.raises(RequestError) as caught:
            resolve_positions(position, prompt, "slots[0].position", "base")
        message = str(caught.value)
        assert f"slots[0].position {position} " in message
        assert f"{count} tokens, 0 to {count - 1}" in message
        assert all(f"{token.index} {token.text!r}" in message for token in prompt)


def test_a_text_that_does_not_occur_names_the_tokens():
    prompt = tokens("The", " capital")
    with pytest.raises(RequestError, match=r"' Spain' does not occur in the base.*1 ' capital'"):
        resolve_positions(" Spain", prompt, "slots[2].position", "base")


def test_a_text_that_occurs_twice_says_where():
    prompt = tokens(" a", " b", " a")
    with pytest.raises(RequestError, match=r"slots\[2\].position ' a' occurs 2 times, at \[0, 2\]"):
        resolve_positions(" a", prompt, "slots[2].position", "base")


def test_a_base_position_is_named_once_a_source_position_as_often_as_wanted():
    prompt = tokens("a", "b", "c")
    with pytest.raises(RequestError, match="names a position twice"):
        resolve_positions((1, -2), prompt, "slots[0].position", "base", distinct=True)
    assert resolve_positions((1, 1), prompt, "slots[0].source_position", "source 's'") == (1, 1)


@pytest.mark.parametrize(
    ("written", "stored", "found"),
    [
        ("all", "all", (0, 1, 2, 3, 4)),
        (slice(None), "all", (0, 1, 2, 3, 4)),
        (slice(1, 4), "1:4", (1, 2, 3)),
        ("1:4", "1:4", (1, 2, 3)),
        (slice(-2, None), "-2:", (3, 4)),
        (slice(3, 99), "3:99", (3, 4)),
        (slice(None, None, -2), "::-2", (4, 2, 0)),
        (range(1, 4), (1, 2, 3), (1, 2, 3)),
        ([" Spain", " is"], (" Spain", " is"), (3, 4)),
        ([" Spain", -1, np.int64(0)], (" Spain", -1, 0), (3, 4, 0)),
        (np.array(["The"]), ("The",), (0,)),
        ("␣Spain", "␣Spain", (3,)),
    ],
)
def test_several_positions(
    tiny_gpt2: LanguageModel, written: Any, stored: Any, found: tuple[int, ...]
) -> None:
    one = slot(written)
    assert one.position == stored and type(one.position) is type(stored)
    assert Slot.model_validate_json(one.model_dump_json()) == one
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one  # noqa: S301  # our own
    assert hash(one) == hash(slot(stored))
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=one)
    (planned,) = plan_experiment(tiny_gpt2, experiment).slots
    assert planned.base_positions == planned.source_positions == found
    request = SweepRequest(positions=written)
    assert SweepRequest.model_validate_json(request.model_dump_json()) == request
    assert plan_sweep(tiny_gpt2, SPAIN, ITALY, request).positions == found
    ints = vw.run(tiny_gpt2, experiment.replace(slots=slot(list(found))))
    assert torch.equal(vw.run(tiny_gpt2, experiment).logits, ints.logits)
    script = vw.script(tiny_gpt2, experiment)
    scope: dict[str, Any] = {"vw": vw}
    start, stop = script.index("experiment = "), script.index("run = ")
    exec(script[start:stop], scope)  # noqa: S102
    assert scope["experiment"] == experiment


def test_in_a_list_a_text_is_a_tokens(tiny_gpt2: LanguageModel) -> None:
    tokens = tuple(tiny_gpt2.tokens("all:1"))
    texts = [token.text for token in tokens]
    assert resolve_positions("all", tokens, "position", "base") == tuple(range(len(tokens)))
    assert resolve_positions(":", tokens, "position", "base") == (texts.index(":"),)
    with pytest.raises(RequestError, match="'all' does not occur"):
        resolve_positions(["all"], tokens, "position", "base")
    whole = tuple(vw.models.Token(i, i, text) for i, text in enumerate(["all", " all", "1:"]))
    assert resolve_positions(["all"], whole, "position", "base") == (0,)
    assert resolve_positions(["1:"], whole, "position", "base") == (2,)


def test_all_of_prompts_of_unequal_length_is_refused(tiny_gpt2: LanguageModel) -> None:
    longer = "The capital of Italy is Rome"
    for position in ("all", slice(1, None)):
        experiment = Experiment(base=SPAIN, sources=longer, slots=slot(position))
        text = refusal(lambda e=experiment: plan_experiment(tiny_gpt2, e))
        assert "pairs" in text and "both need the same number" in text
    # What counts from the end does so in each prompt.
    for position, source in ((slice(-2, None), (4, 5)), (-1, (5,)), ([" Spain", -1], (3, 5))):
        experiment = Experiment(base=SPAIN, sources=longer, slots=slot(position))
        assert plan_experiment(tiny_gpt2, experiment).slots[0].source_positions == source
    explicit = slot("all", source_position=[0, 1, 2, 3, 5])
    experiment = Experiment(base=SPAIN, sources=longer, slots=explicit)
    assert plan_experiment(tiny_gpt2, experiment).slots[0].source_positions == (0, 1, 2, 3, 5)
    # A sweep aligns them.
    assert plan_sweep(tiny_gpt2, SPAIN, longer, SweepRequest(positions="all")).positions == (
        *range(5),
    )


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ((3, 3), "position 3 is named twice in [3, 3]"),
        ([" is", " is"], "position ' is' is named twice"),
        (slice(0, 3, 0), "a slice's step must not be 0"),
        (slice("a"), "expected an int, got 'a'"),
        ([slice(1)], "expected an int, a list of ints"),
    ],
)
def test_positions_that_mean_nothing(position: Any, words: str) -> None:
    assert words in refusal(lambda: slot(position))
    assert words.removeprefix("position") in refusal(lambda: SweepRequest(positions=position))


def test_a_source_position_may_be_read_twice(tiny_gpt2: LanguageModel) -> None:
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot([2, 3], source_position=[3, 3]))
    assert plan_experiment(tiny_gpt2, experiment).slots[0].source_positions == (3, 3)


@pytest.mark.parametrize(
    ("text", "guess"),
    [("Spain", " Spain"), (" spain", " Spain"), ("the", "The"), (" Spian", " Spain")],
)
def test_a_text_that_is_almost_a_tokens_is_guessed(
    tiny_gpt2: LanguageModel, text: str, guess: str
) -> None:
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot(text))
    message = refusal(lambda: plan_experiment(tiny_gpt2, experiment))
    assert "does not occur in the base" in message
    assert f"Did you mean {guess!r}?" in message and "3 ' Spain'" in message


def test_an_empty_slice_and_a_long_prompt_are_told_in_one_line(tiny_gpt2: LanguageModel) -> None:
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot("9:"))
    assert "'9:' has no positions in the base" in refusal(
        lambda: plan_experiment(tiny_gpt2, experiment)
    )
    tokens = tuple(vw.models.Token(i, i, f" word{i}") for i in range(5000))
    with pytest.raises(RequestError, match=r"5000 tokens.*0 ' word0'.*…, 4988 .*4999 ' word4999'"):
        resolve_positions(5000, tokens, "position", "base")
