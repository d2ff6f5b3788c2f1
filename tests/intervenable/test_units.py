"""Units: heads at every position, every token, and places that grow with a text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from intervenable_testing import TOLERANCE, ids, on
from torch import Tensor

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

HEADS = ["head_attention_value_output", "head_query_output", "head_key_output", "head_value_output"]
GREEDY: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}


def run(pv: Any, model: Any, fields: dict[str, Any], *call: Any) -> Tensor:
    config = pv.IntervenableConfig([{"layer": 1, **fields}])
    with torch.no_grad():
        return pv.IntervenableModel(config, model)(*call)[1].logits


def beside(lm: Any, fields: Callable[[Any], dict[str, Any]], *call: Any) -> None:
    """The same call by both; it changes something."""
    import pyvene

    expected = run(pyvene, copy.deepcopy(lm), fields(pyvene), *call)
    found = run(face, lm, fields(face), *call)
    assert (found - expected).abs().max() <= TOLERANCE
    assert not torch.equal(found, lm(**call[0]).logits)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("heads", [[1], [0, 2]])
@pytest.mark.parametrize("kind", ["Vanilla", "Addition", "Zero", "function"])
@pytest.mark.parametrize("component", HEADS)
def test_heads_at_every_position(
    component: str, kind: str, heads: list[int], batch: int, lm: Any
) -> None:
    def fields(pv: Any) -> dict[str, Any]:
        if kind == "function":
            return {"component": component, "unit": "h", "intervention": lambda b, s: b * 3}
        operator = getattr(pv, f"{kind}Intervention")
        return {"component": component, "unit": "h", "intervention_type": operator}

    where = [[heads] * batch]
    call = on(lm, ids(batch)), [on(lm, ids(batch, seed=1))], {"sources->base": (where, where)}
    beside(lm, fields, *call)


@pytest.mark.parametrize("component", ["block_output", "mlp_activation", "attention_input"])
@pytest.mark.parametrize("kind", ["Vanilla", "Addition", "Zero"])
def test_every_token(component: str, kind: str, lm: Any) -> None:
    def fields(pv: Any) -> dict[str, Any]:
        operator = getattr(pv, f"{kind}Intervention")
        return {"component": component, "unit": "t", "intervention_type": operator}

    beside(lm, fields, on(lm, ids(3)), [on(lm, ids(3, seed=1))])


def test_collected_heads_are_what_the_source_has(lm: Any) -> None:
    """`(batch, heads, positions, width)`, with the heads in the order that was asked for."""
    config = [
        {
            "layer": 1,
            "component": "head_value_output",
            "unit": "h",
            "intervention_type": face.CollectIntervention,
        },
    ]
    base = on(lm, ids(2))
    (_, found), _ = face.IntervenableModel(config, lm)(base, None, {"base": [[[2, 1]] * 2]})
    values: list[Tensor] = []
    handle = lm.transformer.h[1].attn.c_attn.register_forward_hook(
        lambda _m, _i, output: values.append(output)
    )
    lm(**base)
    handle.remove()
    expected = values[0][..., 48:].unflatten(-1, (3, 8)).transpose(1, 2)[:, [2, 1]]
    assert found[0].shape == (2, 2, 6, 8)
    assert (found[0] - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("unit", ["h.pos", "h"])
@pytest.mark.parametrize("head", [0, 2])
def test_a_head_of_every_new_token(head: int, unit: str, lm: Any) -> None:
    """The head is the one that was named: 0 is no place of a token."""
    base = on(lm, ids(2))
    length, low = base["input_ids"].shape[1], 8 * head

    def hook(_module: Any, args: Any) -> Any:
        new = args[0].clone()
        if new.shape[1] > length:  # the whole text so far
            new[:, length:, low : low + 8] *= -9
        return (new,)

    handle = lm.transformer.h[1].attn.c_proj.register_forward_pre_hook(hook)
    text = base["input_ids"]
    with torch.no_grad():
        for _ in range(5):
            following = lm(input_ids=text).logits[:, -1].argmax(-1, keepdim=True)
            text = torch.cat([text, following], -1)
    handle.remove()
    where = {"base": face.GET_LOC((head, 0), batch_size=2) if unit == "h.pos" else head}
    slot = {"layer": 1, "component": HEADS[0], "unit": unit, "intervention": lambda b, s: -9 * b}
    built = face.IntervenableModel([slot], lm)
    found = built.generate(base, unit_locations=where, **GREEDY)[1]
    assert found.tolist() == text.tolist() != lm.generate(**base, **GREEDY).tolist()


def test_a_location_for_every_token_is_one_sentence(lm: Any) -> None:
    built = face.IntervenableModel([{"unit": "t", "intervention_type": face.ZeroIntervention}], lm)
    with pytest.raises(ValueError, match=r"base locations 3 is invalid for unit 't'.*unit 'pos'"):
        built(ids(1), None, {"base": 3})
