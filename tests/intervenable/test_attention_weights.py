"""Attention weights: those that the model itself returns; changed as by hand and as by pyvene."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import families
import pytest
import torch
from intervenable_testing import TOLERANCE, ids, on
from torch import Tensor
from transformers import modeling_utils
from transformers.models.gpt2 import modeling_gpt2

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

LAYER = 1


def slot(unit: str, kind: Any) -> dict[str, Any]:
    kind_is = "intervention_type" if isinstance(kind, type) else "intervention"
    return {"layer": LAYER, "component": "attention_weight", "unit": unit, kind_is: kind}


def halved(b: Tensor, s: Any) -> Tensor:
    return b * 0.5


class Patched:
    """Attention that hands its weights to a module, as in transformers before it had a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def eager(module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
            scores = query @ key.transpose(-1, -2) * named["scaling"] + mask
            weights = module.attn_dropout(scores.softmax(-1).type(value.dtype))
            return (weights @ value).transpose(1, 2), weights

        monkeypatch.setattr(modeling_gpt2, "eager_attention_forward", eager)


def eager(lm: Any) -> Any:
    model = copy.deepcopy(lm)
    model.set_attn_implementation("eager")
    return model


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["Vanilla", "Zero", "Addition", "Subtraction", "function"])
def test_whole_heads_are_pyvenes(
    kind: str, batch: int, lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unit `pos` counts heads there. In today's transformers its hook never fires."""
    import pyvene

    base, source = on(lm, ids(batch)), on(lm, ids(batch, seed=1))
    where: Any = [[[0, 2]] * batch]
    named = {"sources->base": (where, where)}
    operator = halved if kind == "function" else f"{kind}Intervention"
    with monkeypatch.context() as patch, torch.no_grad():
        Patched(patch)
        theirs = slot("pos", operator if callable(operator) else getattr(pyvene, operator))
        built: Any = pyvene.IntervenableModel(pyvene.IntervenableConfig([theirs]), eager(lm))
        expected = built(base, [source], named)[1].logits
    for unit, model in (("h", lm), ("h", eager(lm)), ("pos", lm)):
        ours = slot(unit, operator if callable(operator) else getattr(face, operator))
        found = face.IntervenableModel([ours], model)(base, [source], named)[1].logits
        assert (found - expected).abs().max() <= TOLERANCE
        assert not torch.equal(found, model(**base).logits)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "gemma2", "mistral-window", "gpt_neo"])
@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_the_weights_are_the_models_own(kind: str, name: str, device: torch.device) -> None:
    """Scales, caps, windows, shared keys: what eager attention returns, with either function."""
    model: Any = families.build(name, 298).to(device)
    base = on(model, ids(2, tokens=9))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(**base, output_attentions=True).attentions[LAYER]
    if name not in ("gemma2", "gpt_neo"):  # they have eager attention only
        model.set_attn_implementation(kind)
    with torch.no_grad():
        plain = model(**base, use_cache=False).logits
    built = face.IntervenableModel([slot("h", face.CollectIntervention)], model)
    (_, collected), output = built(base)
    assert (collected[0] - expected).abs().max() <= TOLERANCE
    assert torch.equal(output.logits, plain)
    heads, query = [1, 0], 7
    some = face.IntervenableModel([slot("h.pos", face.CollectIntervention)], model)
    (_, rows), _ = some(base, None, {"base": [[[heads] * 2, [[query]] * 2]]})
    assert rows[0].shape == (2, 2, 1, 9)
    assert (rows[0][:, :, 0] - expected[:, heads, query]).abs().max() <= TOLERANCE


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (face.ZeroIntervention, lambda b, s: 0 * b),
        (face.VanillaIntervention, lambda b, s: s),
        (halved, lambda b, s: b / 2),
    ],
)
def test_one_row_is_changed_as_by_hand(
    kind: Any, change: Callable[[Tensor, Tensor], Tensor], lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, source = on(lm, ids(2)), on(lm, ids(2, seed=1))
    head, query = 2, 4
    built = face.IntervenableModel([slot("h.pos", kind)], eager(lm))
    where = face.GET_LOC((head, query), batch_size=2)
    output = built(base, [source], {"sources->base": where}, return_dict=True)
    with monkeypatch.context() as patch, torch.no_grad():
        Patched(patch)
        model = eager(lm)
        theirs = model(**source, output_attentions=True).attentions[LAYER][:, head, query]

        def hook(_module: Any, args: Any) -> Any:
            weights = args[0].clone()
            weights[:, head, query] = change(weights[:, head, query], theirs)
            return (weights,)

        model.transformer.h[LAYER].attn.attn_dropout.register_forward_pre_hook(hook)
        expected = model(**base).logits
    assert (output.intervened_outputs.logits - expected).abs().max() <= 1e-6
    (receipt,) = output.receipts[0]
    assert receipt.shape == (2, 6, 6) and receipt.rows == 2 and receipt.others_equal


def test_a_class_of_my_own_trains_on_weights(lm: Any) -> None:
    class Sharper(face.TrainableIntervention, face.ConstantSourceIntervention):
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            self.is_source_constant = True
            self.power = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
            new = base**self.power
            return new / new.sum(-1, keepdim=True)

    built = face.IntervenableModel([slot("h", Sharper)], lm)
    built(ids(2), None, {"base": 1})[1].logits[:, -1, 7].sum().backward()
    (power,) = built.get_trainable_parameters()
    assert power.grad is not None and power.grad.abs() > 0


def test_first_weights_only(lm: Any) -> None:
    """A ready operator's first coordinates are the first keys."""
    zero = face.ZeroIntervention()
    zero.set_interchange_dim(2)
    output = face.IntervenableModel([slot("h", zero)], lm)(
        ids(1), None, {"base": 1}, return_dict=True
    )
    (receipt,) = output.receipts[0]
    assert (receipt.after[:, :2] == 0).all()
    assert torch.equal(receipt.after[:, 2:], receipt.before[:, 2:])


def test_a_text_is_generated_with_a_head_off(lm: Any) -> None:
    """Its weights are zero for every new token, cached or not."""
    built = face.IntervenableModel([slot("h", lambda b, s: 0 * b)], lm)
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    texts = [
        built.generate(ids(2), unit_locations={"base": 1}, use_cache=cached, **options)[1].tolist()
        for cached in (True, False)
    ]
    assert texts[0] == texts[1]


def test_what_weights_cannot_do_is_one_sentence(lm: Any, device: torch.device) -> None:
    short = on(lm, {name: value[:, :4] for name, value in ids(1).items()})
    one = face.IntervenableModel([slot("h.pos", face.VanillaIntervention)], lm)
    where = face.GET_LOC((1, 3))
    built = face.IntervenableModel
    upcast: Any = copy.deepcopy(lm)
    upcast.config.reorder_and_upcast_attn = True
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: built([slot("h", face.RotatedSpaceIntervention)], lm), "not known before a run"),
        (lambda: one(ids(1), [short], {"sources->base": where}), "6 keys.* of 4; expected"),
        (
            lambda: one(ids(1), [ids(1)], {"sources->base": where}, subspaces=[0]),
            "not known before a run",
        ),
        (lambda: built([slot("h", face.ZeroIntervention)], upcast), "upcasts its attention"),
        (lambda: built([{**slot("h", face.ZeroIntervention), "layer": 9}], lm), "layer 9 is out"),
    ]
    for call, words in calls:
        with pytest.raises(ValueError, match=words) as error:
            call()
        assert str(error.value).count("\n") == 0


def test_weights_that_cannot_be_told_are_one_sentence(
    lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A custom attention function that squares the values is no weighted average of them."""
    registry: Any = modeling_utils.ALL_ATTENTION_FUNCTIONS

    def squared(module: Any, query: Any, key: Any, value: Any, mask: Any, **named: Any) -> Any:
        return registry["sdpa"](module, query, key, value**2, mask, **named)

    monkeypatch.setitem(type(registry)._global_mapping, "squared", squared)
    model = copy.deepcopy(lm)
    model.set_attn_implementation("squared")
    built = face.IntervenableModel([slot("h", face.ZeroIntervention)], model)
    with pytest.raises(ValueError, match=r"weights of layer 1 .* cannot be told") as error:
        built(ids(1), None, {"base": 1})
    assert str(error.value).count("\n") == 0
