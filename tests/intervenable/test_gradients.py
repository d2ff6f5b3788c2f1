"""Gradients flow to what the caller passes, and are those of the pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from intervenable_testing import VECTOR, WHERE, built, ids, loss_of, on, slots
from torch import Tensor

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_flow_to_a_source_representation(batch: int, lm: Any) -> None:
    """The gradient that finite differences give, and that pyvene gives."""
    import pyvene

    lm = copy.deepcopy(lm).double()
    base = on(lm, ids(batch))
    found: list[Tensor] = []
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):
        config = pv.IntervenableConfig([{"layer": 1}], pv.AdditionIntervention)
        built = pv.IntervenableModel(config, model)
        vector = VECTOR.double().to(model.device).requires_grad_()
        by_key = {built.sorted_keys[0]: vector}
        where: Any = {"sources->base": (None, 4)} if pv is pyvene else {"base": 4}
        (gradient,) = torch.autograd.grad(
            loss_of(built, base, None, where, source_representations=by_key), vector
        )
        found.append(gradient)
    assert found[1].abs().max() > 1e-3
    assert torch.allclose(found[0], found[1], atol=1e-10)
    assert all(weight.grad is None for weight in lm.parameters())


def test_gradients_flow_to_embeddings(lm: Any) -> None:
    """Of the base, and through a source's state; against hooks by hand."""
    lm = copy.deepcopy(lm).double()
    tables = lm.get_input_embeddings()
    base, source = (
        tables(on(lm, ids(1, seed=n))["input_ids"]).detach().requires_grad_() for n in (0, 1)
    )
    built = face.IntervenableModel(slots(1), lm)
    loss = loss_of(
        built, {"inputs_embeds": base}, [{"inputs_embeds": source}], {"sources->base": (2, 4)}
    )
    found = torch.autograd.grad(loss, (base, source))
    states: list[Tensor] = []

    def put(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        new = output.clone()
        new[:, 4] = states[0][:, 2]
        return new

    block = lm.transformer.h[1]
    handle = block.register_forward_hook(lambda *call: states.append(call[2]))
    lm(inputs_embeds=source)
    handle.remove()
    handle = block.register_forward_hook(put)
    by_hand = lm(inputs_embeds=base).logits[:, -1].log_softmax(-1)[:, 7].sum()
    handle.remove()
    expected = torch.autograd.grad(by_hand, (base, source))
    assert torch.equal(loss, by_hand) or (loss - by_hand).abs() < 1e-10
    for mine, other in zip(found, expected, strict=True):
        assert other.abs().max() > 1e-3 and torch.allclose(mine, other, atol=1e-10)


@pytest.mark.parametrize("kind", ["BoundlessRotatedSpaceIntervention", "SigmoidMaskIntervention"])
def test_a_temperature_set_before_the_backward_pass_is_the_next_passs(kind: str, lm: Any) -> None:
    """Schedules set it wherever they like: the gradient is that of the pass."""
    found: list[Tensor] = []
    for is_early in (True, False):
        one = built(face, lm, kind)
        one.set_temperature(2.0)
        loss = loss_of(one, on(lm, ids(2)), [on(lm, ids(2, seed=1))], dict(WHERE))
        if is_early:
            one.set_temperature(0.1)
        loss.backward()
        (gradient,) = [p.grad for p in one.parameters() if p.shape in ((1,), (24,))]
        found.append(gradient)
    assert torch.equal(*found) and found[0].abs().max() > 0


def test_gradients_flow_to_the_models_weights(lm: Any) -> None:
    """After `enable_model_gradients`: pyvene's gradients, to the base's pass and the source's."""
    import pyvene

    lm = copy.deepcopy(lm).double()
    lm.transformer.ln_f.weight.requires_grad_(False)
    base, source = on(lm, ids(2)), on(lm, ids(2, seed=1))
    flags = {name: weight.requires_grad for name, weight in lm.named_parameters()}
    found: list[dict[str, Tensor]] = []
    built: Any = None
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):
        config = pv.IntervenableConfig([{"layer": 1}], pv.VanillaIntervention)
        built = pv.IntervenableModel(config, model)
        built.enable_model_gradients()
        model.eval()
        assert len(built.get_trainable_parameters()) == len(list(model.parameters()))
        loss_of(built, base, [source], dict(WHERE)).backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        assert torch.allclose(found[1][name], expected, atol=1e-10), name
    assert max(gradient.abs().max() for gradient in found[1].values()) > 1e-3
    ours: Any = built
    ours.zero_grad()
    assert all(weight.grad is None for weight in lm.parameters())
    ours.disable_model_gradients()
    assert {name: weight.requires_grad for name, weight in lm.named_parameters()} == flags
    assert ours.get_trainable_parameters() == []
    assert not ours(base, [source], dict(WHERE))[1].logits.requires_grad


def test_a_weight_that_trains_changes_what_is_run(lm: Any) -> None:
    """One step of an optimiser, by either: the same loss afterwards."""
    import pyvene

    lm = copy.deepcopy(lm).double()
    base, source = on(lm, ids(2)), on(lm, ids(2, seed=1))
    losses: list[list[float]] = []
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):
        built = pv.IntervenableModel(
            pv.IntervenableConfig([{"layer": 1}], pv.VanillaIntervention), model
        )
        built.enable_model_gradients()
        model.eval()
        optimiser = torch.optim.SGD(built.get_trainable_parameters(), lr=1e-3)
        losses.append([])
        for _ in range(4):
            loss = loss_of(built, base, [source], dict(WHERE))
            losses[-1].append(loss.item())
            loss.backward()
            optimiser.step()
            built.set_zero_grad()
            model.zero_grad()
    assert losses[1] == pytest.approx(losses[0], abs=1e-9)
    assert losses[1][0] != losses[1][-1]
