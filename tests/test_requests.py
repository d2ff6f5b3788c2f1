"""A wrong request of any form is refused in one sentence, at no cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ValidationError
from request_testing import ITALY, SPAIN, nested, refusal, slot, untyped

import vene_widgets as vw
from vene_widgets.errors import shown
from vene_widgets.experiments import Experiment, Slot, SweepRequest, limits
from vene_widgets.models import LanguageModel

# ---- one error, one sentence ---------------------------------------------------------------------


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: slot(layer="0"), "layer: expected an int, got '0'"),
    (lambda: slot(layer=1.5), "layer: expected an int, got 1.5"),
    (lambda: slot(layer=np.True_), "layer: True is a bool: expected an int"),
    (lambda: slot(layer=10**5000), "layer: expected an int of less than 2**63, got <int of about"),
    (lambda: Slot.model_validate({"layer": 0}), "position is missing"),
    (lambda: slot(1.5), "position: expected an int, a list of ints and token texts, one token's"),
    (lambda: slot(nested(900)), "position: expected an int"),
    (lambda: slot(head="all"), "head: expected an int, got 'all'"),
    (lambda: slot(strength=True), "strength: expected a number, got True"),
    (lambda: slot(strength="much"), "strength: expected a number, got 'much'"),
    (lambda: slot(strength=float("nan")), "strength: expected a finite number, got nan"),
    (lambda: slot(scale=-1), "scale: expected greater than or equal to 0, got -1"),
    (lambda: slot(skip="maybe"), "skip: expected a valid boolean"),
    (lambda: slot(component=3), "component: expected a valid string, got 3"),
    (lambda: slot(intervention=[1]), "intervention: expected a valid string, got [1]"),
    (lambda: slot(subspace=1), "subspace: expected a list of dims, got 1; write [1] for one"),
    (lambda: slot(partition=5), "partition: expected a dict of names and ranges, got 5"),
    (lambda: slot(prompts=[5]), "prompts[0]: expected a prompt (a str), got 5"),
    (lambda: slot(prompts=torch.tensor(2)), "prompts: expected a list of prompts, got tensor(2)"),
    (
        lambda: Experiment(base="a", slots=np.array(2)),
        "slots: expected a list of slots, got array(2)",
    ),  # type: ignore[arg-type]
    (lambda: slot(prompts=5), "prompts: expected a list of prompts, got 5"),
    (lambda: slot(colour="red"), "field of Slot 'colour' is not known"),
    (lambda: Slot(0, 3), "Slot takes its fields by name, as in Slot(layer=0, position=...)"),  # type: ignore[call-arg]
    (lambda: Experiment(base=3), "base: expected a prompt (a str), got 3"),  # type: ignore[arg-type]
    (lambda: Experiment(base=""), "base '' is empty: expected a prompt of at least one token"),
    (lambda: Experiment(base="a\ud800"), "a lone surrogate at character 1"),
    (lambda: Experiment(base="a", sources=5), "sources: expected a prompt, or a dict of names"),  # type: ignore[arg-type]
    (lambda: Experiment(base="a", sources={"s": 3}), "sources.s: expected a prompt (a str), got 3"),  # type: ignore[dict-item]
    (lambda: Experiment(base="a", slots=5), "slots: expected a Slot or a list of Slots, got 5"),  # type: ignore[arg-type]
    (lambda: Experiment(base="a", slots="abc"), "slots: expected a Slot or a list of Slots"),  # type: ignore[arg-type]
    (
        lambda: Experiment(base="a", slots=untyped([1, 2, 3])),
        "slots[0]: expected a value of type Slot, got 1",
    ),
    (
        lambda: Experiment(base="a", mode=untyped("both")),
        "mode: expected 'parallel' or 'serial', got 'both'",
    ),
    (lambda: Experiment.model_validate(5), "expected a value of type Experiment, got 5"),
    (lambda: Experiment.model_validate_json("{"), "Invalid JSON"),
    (lambda: Experiment.model_validate_json("[" * 900), "Invalid JSON"),
    (lambda: Experiment.model_validate_json("\ud800"), "unicode"),
    (lambda: Experiment.model_validate_json(5), "expected JSON text, got 5"),  # type: ignore[arg-type]
    (lambda: Experiment(base="a").replace(base=3), "base: expected a prompt (a str), got 3"),
    (lambda: Experiment(base="a").replace(bas="b"), "Did you mean 'base'?"),
    (lambda: slot().replace(position=[]), "position [] is empty"),
    (lambda: setattr(slot(), "layer", 2), "Slot is frozen: layer cannot be changed"),
    (lambda: delattr(slot(), "layer"), "Slot is frozen"),
    (lambda: SweepRequest(layers=1.5), "layers: expected an int, got 1.5"),  # type: ignore[arg-type]
    (lambda: SweepRequest(layers="all"), "layers: expected an int or a list of ints, got 'all'"),  # type: ignore[arg-type]
    (lambda: SweepRequest(component="blok_output"), "Did you mean 'block_output'?"),
    (lambda: SweepRequest(intervention="vanila"), "Did you mean 'vanilla'?"),
]


@pytest.mark.parametrize(("make", "words"), WRONG)
def test_a_wrong_request_is_one_sentence(make: Callable[[], object], words: str) -> None:
    assert words in refusal(make)


def test_two_problems_are_reported_and_the_others_are_counted() -> None:
    text = refusal(lambda: Slot(layer="a", position=1.5, head="b", rank="c"))  # type: ignore[arg-type]
    assert text.startswith("layer: ") and "; position: " in text and "rank" not in text
    assert text.endswith("; and 2 more")


def test_a_single_slot_is_one_slot() -> None:
    one = Experiment(base=SPAIN, sources=ITALY, slots=slot())
    assert one == Experiment(base=SPAIN, sources=ITALY, slots=[slot()])
    assert one.replace(slots=slot(2)).slots == (slot(2),)


def test_inside_another_model_problems_are_pydantics_own() -> None:
    class Message(BaseModel):
        experiment: Experiment

    with pytest.raises(ValidationError) as caught:
        Message.model_validate({"experiment": {"base": "a", "slots": [{"layer": 0}]}})
    assert caught.value.errors()[0]["loc"] == ("experiment", "slots", 0, "position")


def test_numbers_of_numpy_and_torch_become_plain_ones() -> None:
    one = slot(
        [np.int64(1), torch.tensor(2)],
        layer=np.int32(1),
        strength=np.float32(0.5),
        skip=np.True_,
        seed=torch.tensor(7),
        intervention=np.str_("noise"),
        subspace=np.arange(2),
        partition={"left": np.array([0, 1])},
    )
    fields = one.model_dump()
    assert fields["position"] == (1, 2) and fields["strength"] == 0.5 and fields["skip"] is True
    plain = {int, str, float, bool, tuple, dict, type(None), type(one.partition)}
    assert {type(value) for value in fields.values()} <= plain
    assert Slot.model_validate_json(one.model_dump_json()) == one
    assert type(Experiment(base=np.str_("a")).base) is str


# ---- sizes of requests ---------------------------------------------------------------------------


HUGE: list[tuple[Callable[[Any], object], Callable[[], Any]]] = [
    (lambda v: slot(v), lambda: range(10**12)),
    (lambda v: slot(v), lambda: range(10**30)),
    (lambda v: slot(v), lambda: np.zeros(10**6, np.int8)),
    (lambda v: slot(v), lambda: "x" * 10**7),
    (lambda v: slot(subspace=v), lambda: "0:50000000"),
    (lambda v: slot(subspace=v), lambda: "0:" + "9" * 300),
    (lambda v: slot(subspace=v), lambda: "0:" + "9" * 70),
    (lambda v: slot(subspace=v), lambda: range(10**9)),
    (lambda v: slot(partition={"all": (0, v)}), lambda: 50_000_000),
    (lambda v: slot(partition=v), lambda: {str(i): (0, 1) for i in range(2000)}),
    (lambda v: slot(prompts=v, intervention="mean"), lambda: ("a" for _ in iter(int, 1))),
    (lambda v: slot(link=v), lambda: "x" * 10**7),
    (lambda v: slot(component=v), lambda: "x" * 10**7),
    (lambda v: slot(intervention=v), lambda: "x" * 10**7),
    (lambda v: slot(**{v: 1}), lambda: "x" * 10**7),
    (lambda v: SweepRequest(layers=v), lambda: range(10**9)),
    (lambda v: SweepRequest(layers=v), lambda: range(50_000)),
    (lambda v: SweepRequest(positions=v), lambda: range(10**9)),
    (lambda v: Experiment(base=v), lambda: "x" * 10**7),
    (lambda v: Experiment(base="a", sources=v), lambda: "x" * 10**7),
    (lambda v: Experiment(base="a", sources=v), lambda: {str(i): "b" for i in range(2000)}),
    (lambda v: Experiment(base="a", slots=v), lambda: (slot() for _ in iter(int, 1))),
    (lambda v: Experiment(base="a", slots=v), lambda: [None] * 10**6),
    (lambda v: Experiment.model_validate(v), lambda: "x" * 10**7),
    (lambda v: Experiment.model_validate_json(v), lambda: "x" * 10**7),
]


@pytest.mark.parametrize(("ask", "value"), HUGE)
def test_what_is_too_large_is_refused_before_anything_is_made_of_it(
    ask: Callable[[Any], object], value: Callable[[], Any]
) -> None:
    given = value()
    tracemalloc.start()
    start = time.process_time()
    refusal(lambda: ask(given))
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2 and peak < 60e6


def test_a_range_of_dims_is_compared_before_it_is_built() -> None:
    wide = slot(subspace=f"0:{limits.DIMS}")
    tracemalloc.start()
    assert "from 0 to 23" in refusal(lambda: wide.dims(24))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    assert slot(subspace="0:24").dims(24) == tuple(range(24))


def test_a_long_prompt_is_refused_before_it_is_tokenized(
    tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tokenized(*_: Any, **__: Any) -> None:
        pytest.fail("the prompt was tokenized")

    monkeypatch.setattr(tiny_gpt2, "tokenizer", tokenized)
    for prompt, words in (
        ("x" * 10**7, "at most 1000000 characters"),
        ("x" * 5000, "has 5000 characters; tiny-gpt2 takes at most 32 tokens"),
        ("a\ud800", "a lone surrogate"),
        (5, "prompt must be a str, got 5"),
    ):
        assert words in refusal(lambda p=prompt: tiny_gpt2.tokens(untyped(p)))


# ---- values in errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ("a\nb", "'a\\nb'"),
        ("\ud800", "'\\ud800'"),
        (np.str_("a"), "'a'"),
        (10**5000, "<int of about 5001 digits>"),
        (np.zeros((3, 4)), "<ndarray of shape (3, 4)>"),
        (torch.zeros(3), "<Tensor of shape (3,)>"),
        ([1] * 10**6, "[1, 1, 1, 1, 1, 1, 1, 1, ...]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_value_is_shown_in_one_short_line(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_value_whose_repr_raises_is_shown() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Broken" in shown(Broken()) and len(shown("x" * 10**8)) <= 80
    assert shown(nested(5000)) == "[[[[...]]]]"


# ---- opening -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("silent_painter")
def test_explore_without_arguments_opens_the_built_in_pair() -> None:
    explorer = vw.explore()
    try:
        experiment = explorer.wait().experiment
        assert (experiment.base, dict(experiment.sources)) == (SPAIN, {"source": ITALY})
        assert explorer.scene["model"]["name"] == "capitals"
    finally:
        explorer.close()


def test_explore_refuses_in_one_sentence() -> None:
    assert "base is missing" in refusal(lambda: vw.explore(source=ITALY))
    assert "sources: expected a prompt" in refusal(lambda: vw.explore(SPAIN, 5))  # type: ignore[arg-type]
    assert "base: expected a prompt" in refusal(lambda: vw.explore(5))  # type: ignore[arg-type]
    assert "slots: expected" in refusal(lambda: vw.explore(SPAIN, ITALY, slots=5))  # type: ignore[arg-type]
