"""Texts that a model generates with slots in place: as by hand, as by pyvene, cached or not."""

from __future__ import annotations

import copy
from typing import Any

import families
import pytest
import torch
from intervenable_testing import ids, on, slots
from torch import Tensor

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MORE = 6
GREEDY: dict[str, Any] = {
    "max_new_tokens": MORE,
    "min_new_tokens": MORE,
    "do_sample": False,
    "pad_token_id": 0,
}


def by_hand(model: Any, base: Any, change: Any, layer: int, on_prompt: int | None) -> Tensor:
    """Greedy decoding of the whole text at each step, with a hook."""
    text, length = base["input_ids"], base["input_ids"].shape[1]

    def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        new = output.clone()
        places = range(length, new.shape[1]) if on_prompt is None else [on_prompt]
        for place in places:
            new[:, place] = change(new[:, place])
        return new

    handle = model.transformer.h[layer].register_forward_hook(hook)
    try:
        for _ in range(MORE):
            logits = model(input_ids=text, attention_mask=torch.ones_like(text)).logits[:, -1]
            logits[:, 0] = -torch.inf  # the end of a text
            text = torch.cat([text, logits.argmax(-1, keepdim=True)], -1)
    finally:
        handle.remove()
    return text


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("on_prompt", [4, None])
def test_a_text_is_that_of_hooks_by_hand(
    on_prompt: int | None, batch: int, use_cache: bool, lm: Any
) -> None:
    base = on(lm, ids(batch))
    built = face.IntervenableModel([{"layer": 1, "intervention": lambda b, s: -3 * b}], lm)
    where = None if on_prompt is None else {"base": on_prompt}
    original, found = built.generate(
        base,
        unit_locations=where,
        intervene_on_prompt=on_prompt is not None,
        output_original_output=True,
        use_cache=use_cache,
        **GREEDY,
    )
    expected = by_hand(lm, base, lambda b: -3 * b, 1, on_prompt)
    plain = lm.generate(**base, **GREEDY)
    assert found.tolist() == expected.tolist()
    assert original.tolist() == plain.tolist() != found.tolist()
    assert not lm.transformer.h[1]._forward_hooks


@pytest.mark.parametrize("mode", ["prompt", "new tokens"])
@pytest.mark.parametrize("kind", ["Vanilla", "Addition"])
def test_a_text_is_pyvenes(kind: str, mode: str, lm: Any) -> None:
    import pyvene

    base, source = on(lm, ids(2)), on(lm, ids(2, seed=1))
    found: list[Any] = []
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):
        config = pv.IntervenableConfig([{"layer": 1}], getattr(pv, f"{kind}Intervention"))
        built = pv.IntervenableModel(config, model)
        built.set_device(str(lm.device))
        on_prompt = mode == "prompt"
        where: Any = {"sources->base": (2, 5 if on_prompt else 0)}
        _, text = built.generate(base, [source], where, intervene_on_prompt=on_prompt, **GREEDY)
        found.append(text.tolist())
    assert found[0] == found[1] != lm.generate(**base, **GREEDY).tolist()


def test_beams_and_padding(lm: Any) -> None:
    """Several rows per example; a prompt padded on the left gets what it gets alone."""
    built = face.IntervenableModel([{"layer": 1, "intervention": lambda b, s: -3 * b}], lm)
    options: dict[str, Any] = {**GREEDY, "num_beams": 3, "num_return_sequences": 2}
    base = on(lm, ids(2))
    rows = [
        built.generate(
            {name: value[n : n + 1] for name, value in base.items()},
            unit_locations={"base": 4},
            intervene_on_prompt=True,
            **options,
        )[1]
        for n in range(2)
    ]
    whole = built.generate(base, unit_locations={"base": 4}, intervene_on_prompt=True, **options)[1]
    assert whole.tolist() == [row for one in rows for row in one.tolist()]
    padded = {
        "input_ids": torch.cat([torch.zeros(2, 3, dtype=torch.long), ids(2)["input_ids"]], -1),
        "attention_mask": torch.tensor([[0] * 3 + [1] * 6] * 2),
    }
    text = built.generate(padded, unit_locations={"base": -2}, intervene_on_prompt=True, **GREEDY)
    alone = built.generate(base, unit_locations={"base": -2}, intervene_on_prompt=True, **GREEDY)
    assert text[1][:, 3:].tolist() == alone[1].tolist()


def test_what_cannot_be_generated_is_one_sentence(lm: Any, bare: Any) -> None:
    built = face.IntervenableModel(slots(1), lm)
    collects = face.IntervenableModel(slots(1, kind=face.CollectIntervention), lm)
    calls: list[tuple[Any, str]] = [
        (
            lambda: built.generate(ids(1), [ids(1)], {"sources->base": (2, 3)}, **GREEDY),
            r"position 3 is invalid on new tokens, where it must be 0.*intervene_on_prompt=True",
        ),
        (lambda: collects.generate(ids(1), **GREEDY), "collect in a call"),
        (
            lambda: face.IntervenableModel(slots(1, kind=face.ZeroIntervention), bare).generate(
                ids(1), **GREEDY
            ),
            "cannot generate: it has no output head",
        ),
    ]
    for call, words in calls:
        with pytest.raises(ValueError, match=words) as error:
            call()
        assert str(error.value).count("\n") == 0


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt", "gemma2", "mistral-window", "bloom"])
def test_every_family_generates_and_stays_as_it_was(name: str, device: torch.device) -> None:
    """Flat MLPs, sliding windows, grouped heads, ALiBi: cached is uncached."""
    model: Any = families.build(name, 298).to(device)
    base = on(model, ids(2))
    settings = copy.deepcopy((model.config.to_dict(), model.generation_config.to_dict()))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stream = torch.get_rng_state()
    built = face.IntervenableModel(
        [{"layer": 1, "component": "mlp_output", "intervention": lambda b, s: -3 * b}], model
    )
    for where in ({"unit_locations": {"base": 3}, "intervene_on_prompt": True}, {}):
        cached, uncached = (
            built.generate(base, use_cache=use_cache, **where, **GREEDY)[1].tolist()
            for use_cache in (True, False)
        )
        assert cached == uncached
    assert (model.config.to_dict(), model.generation_config.to_dict()) == settings
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(stream, torch.get_rng_state()) and not model.training
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
