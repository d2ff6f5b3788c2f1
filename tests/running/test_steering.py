"""What a slot reads instead of a source's run: another layer, means of prompts, a vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import vene_widgets as vw
from vene_widgets.engine.running import record_states

BASE, SOURCE, THIRD = (
    "The capital of Spain is",
    "The capital of Italy is",
    "The capital of France is",
)


def run_by_hand(model: vw.LanguageModel, layer: int, positions: list[int], new: Any) -> Any:
    """The last logits of a run whose block output is changed by a hook of plain torch."""
    net: Any = model.model

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        states = states.clone()
        states[0, positions] = new(states[0, positions])
        return (states, *output[1:]) if isinstance(output, tuple) else states

    handle = net.transformer.h[layer].register_forward_hook(hook)
    try:
        with torch.no_grad():
            ids = torch.tensor([[t.id for t in model.tokens(BASE)]], device=model.device)
            return net(input_ids=ids).logits[0, -1]
    finally:
        handle.remove()


def state(model: vw.LanguageModel, prompt: str, layer: int) -> torch.Tensor:
    site = model.sites.site(layer, "block_output")
    return record_states(model, prompt, [site])[site][0]


def run_slot(model: vw.LanguageModel, **fields: Any) -> torch.Tensor:
    experiment = vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(**fields)])
    again = vw.Experiment.model_validate_json(experiment.model_dump_json())
    assert again == experiment and hash(again) == hash(experiment)
    return vw.run(model, experiment).logits[-1]


def test_a_state_of_another_layer(tiny_gpt2: vw.LanguageModel) -> None:
    found = run_slot(tiny_gpt2, layer=0, position=[3, 4], source_layer=-1)
    there = state(tiny_gpt2, SOURCE, 2)[[3, 4]]
    wanted = run_by_hand(tiny_gpt2, 0, [3, 4], lambda _old: there)
    assert torch.allclose(found, wanted, atol=1e-5)
    cached = vw.run(
        tiny_gpt2,
        vw.Experiment(
            base=BASE, sources=SOURCE, slots=[vw.Slot(layer=0, position=[3, 4], source_layer=2)]
        ),
        cache=vw.ActivationCache(),
    )
    assert torch.equal(cached.logits[-1], found)
    own = run_slot(tiny_gpt2, layer=1, position=3, source_layer=1)
    assert torch.equal(own, run_slot(tiny_gpt2, layer=1, position=3))


def test_a_vector_serves_every_position(tiny_gpt2: vw.LanguageModel) -> None:
    generator = np.random.default_rng(0)
    vector = generator.normal(size=24)
    tensor = torch.tensor(vector, dtype=torch.float32, device=tiny_gpt2.device)
    for name, new in (
        ("addition", lambda old: old + 2 * tensor),
        ("vanilla", lambda old: old + 2 * (tensor - old)),
    ):
        found = run_slot(
            tiny_gpt2, layer=1, position="all", intervention=name, vector=vector, strength=2
        )
        wanted = run_by_hand(tiny_gpt2, 1, [0, 1, 2, 3, 4], new)
        assert torch.allclose(found, wanted, atol=1e-4)
    several: list[Any] = [vector.tolist(), torch.tensor(vector), tuple(vector)]
    for given in several:
        assert vw.Slot(layer=0, position=0, vector=given).vector == tuple(vector)
    no_sources = vw.Experiment(base=BASE, slots=[vw.Slot(layer=0, position=0, vector=vector)])
    assert vw.run(tiny_gpt2, no_sources).source_runs == 0


def test_the_difference_of_two_means(tiny_gpt2: vw.LanguageModel) -> None:
    found = run_slot(
        tiny_gpt2, layer=1, position="all", intervention="add", prompts=[SOURCE, THIRD],
        minus=[BASE, "The capital"], source_position=-1, strength=1.5,
    )  # fmt: skip

    def last(prompt: str) -> torch.Tensor:
        return state(tiny_gpt2, prompt, 1)[-1]

    vector = (last(SOURCE) + last(THIRD)) / 2 - (last(BASE) + last("The capital")) / 2
    wanted = run_by_hand(tiny_gpt2, 1, [0, 1, 2, 3, 4], lambda old: old + 1.5 * vector)
    assert torch.allclose(found, wanted, atol=1e-5)
    other = run_slot(
        tiny_gpt2, layer=1, position=-1, intervention="add", prompts=[SOURCE],
        source_position=-1, source_layer=0,
    )  # fmt: skip
    there = state(tiny_gpt2, SOURCE, 0)[-1]
    assert torch.allclose(other, run_by_hand(tiny_gpt2, 1, [4], lambda old: old + there), atol=1e-5)
    both = run_slot(
        tiny_gpt2, layer=1, position=-1, intervention="add", prompts=[SOURCE], minus=[THIRD],
        source_position=-1, source_layer=0,
    )  # fmt: skip
    apart = there - state(tiny_gpt2, THIRD, 0)[-1]
    assert torch.allclose(both, run_by_hand(tiny_gpt2, 1, [4], lambda old: old + apart), atol=1e-5)


def test_strength_0_is_the_base(tiny_gpt2: vw.LanguageModel) -> None:
    plain = vw.run(tiny_gpt2, vw.Experiment(base=BASE)).logits[-1]
    found = run_slot(
        tiny_gpt2, layer=1, position="all", intervention="add", prompts=[SOURCE],
        source_position=-1, strength=0,
    )  # fmt: skip
    assert torch.equal(found, plain)


def test_steering_a_text(tiny_gpt2: vw.LanguageModel) -> None:
    vector: Any = torch.linspace(-3, 3, 24)
    experiment = vw.Experiment(
        base=BASE,
        slots=[vw.Slot(layer=1, position="all", intervention="addition", vector=vector)],
    )
    found, slow = (
        vw.generate(tiny_gpt2, experiment, 4, "every", use_cache=cache) for cache in (True, False)
    )
    assert found.tokens == slow.tokens
    assert torch.allclose(found.logits, slow.logits, atol=1e-4)
    assert torch.allclose(
        found.logits[0], vw.run(tiny_gpt2, experiment).logits[-1].cpu(), atol=1e-5
    )


def test_fixed_slots_read_the_same(tiny_gpt2: vw.LanguageModel) -> None:
    fixed = [
        vw.Slot(layer=1, position="all", intervention="add", prompts=[SOURCE], minus=[THIRD],
                source_position=-1),
        vw.Slot(layer=2, position=3, source="source", source_layer=0),
        vw.Slot(layer=0, position=[1, 2], vector=[0.5] * 24),
    ]  # fmt: skip
    found = vw.sweep(tiny_gpt2, BASE, SOURCE, fixed=fixed)
    for layer, position in ((0, 3), (1, 4), (2, 4)):
        slots = [*fixed, vw.Slot(layer=layer, position=position, source="source")]
        own = vw.run(
            tiny_gpt2, vw.Experiment(base=BASE, sources={"source": SOURCE}, slots=slots)
        ).logits[-1]
        assert torch.allclose(found.logits[layer, position], own.cpu(), atol=2e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"vector": []}, "vector .. is empty"),
        ({"vector": [1.0, float("nan")]}, "finite numbers only"),
        ({"vector": "abc"}, "must be a list of numbers"),
        ({"vector": [[1.0]]}, "finite numbers only"),
        ({"vector": [1.0] * 23}, "has 23 numbers, and .* is 24 wide"),
        ({"vector": [1.0] * 24, "prompts": [SOURCE]}, "not both"),
        ({"vector": [1.0] * 24, "source": "source"}, "would not be read"),
        ({"vector": [1.0] * 24, "source_position": 1}, "no meaning for a vector"),
        ({"vector": [1.0] * 24, "intervention": "zero"}, "reads no source: remove vector"),
        ({"minus": [SOURCE]}, "it needs prompts"),
        ({"prompts": [BASE], "minus": [SOURCE], "intervention": "mean"}, "minus has no effect"),
        ({"source_layer": 1, "intervention": "zero"}, "reads no run"),
        ({"source_layer": 9}, "layer 9"),
        ({"prompts": [BASE], "source_position": [0, 1], "position": [1, 2, 3]}, "same number"),
        ({"prompts": [""]}, "prompt"),
        ({"component": "attention_weight", "source_layer": 0}, "attention_weight reads"),
    ],
)
def test_bad_input(tiny_gpt2: vw.LanguageModel, fields: Any, words: str) -> None:
    with pytest.raises(vw.RequestError, match=words):
        run_slot(tiny_gpt2, **{"layer": 1, "position": 3, **fields})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_slot_holds_no_vector_that_is_not_finite(number: float) -> None:
    with pytest.raises(vw.RequestError, match="vector must have finite numbers only"):
        vw.Slot(layer=1, position=3, vector=[1.0, number])


def test_scripts_write_it_or_say_why_not(tiny_gpt2: vw.LanguageModel) -> None:
    slot = vw.Slot(
        layer=1, position="all", intervention="addition", prompts=[SOURCE], minus=[THIRD],
        source_position=-1, strength=2.0,
    )  # fmt: skip
    experiment = vw.Experiment(base=BASE, slots=[slot])
    text = vw.script(tiny_gpt2, experiment)
    assert "minus=[" in text and "vector" not in text
    with pytest.raises(vw.RequestError, match=r"slots\[0\] has prompts"):
        vw.script(tiny_gpt2, experiment.replace(slots=[slot.replace(strength=1)]), face="pyvene")
