"""Gradients reach the interventions' weights and nothing of the model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from running_testing import chain, low_rank, swapped
from torch import Tensor

from vene_widgets.engine.running import run
from vene_widgets.engine.weights import make_weights
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel


def loss_of(model: LanguageModel, experiment: Experiment, weights: Any) -> Tensor:
    result = run(model, experiment, weights=weights, gradients=True)
    return result.logits[-1].log_softmax(-1)[5]


def test_gradients_reach_the_shared_rotation_and_nothing_of_the_model(model: LanguageModel):
    experiment = swapped(low_rank("zero"), low_rank("one"))
    weights = make_weights(model, experiment)
    parameters = list(model.model.parameters())
    asking = [p.requires_grad for p in parameters]
    asleep = parameters[0].requires_grad
    parameters[0].requires_grad = True  # whatever else the model's loader did
    parameters[1].requires_grad = False
    flags = [p.requires_grad for p in parameters]
    try:
        loss_of(model, experiment, weights).backward()
        assert [p.requires_grad for p in parameters] == flags
        assert all(p.grad is None for p in parameters)
    finally:
        parameters[0].requires_grad = asleep
        parameters[1].requires_grad = asking[1]
    (rotation,) = weights["link shared"].parameters()
    assert rotation.grad is not None and rotation.grad.abs().max() > 0


def test_without_gradients_there_are_none(tiny: LanguageModel):
    experiment = swapped(low_rank())
    weights = make_weights(tiny, experiment)
    result = run(tiny, experiment, weights=weights)
    with_them = run(tiny, experiment, weights=weights, gradients=True)
    assert not result.logits.requires_grad and with_them.logits.requires_grad
    assert torch.equal(result.logits, with_them.logits)
    assert not result.states.requires_grad and with_them.states.requires_grad
    assert with_them.record[0].stats is not None
    assert with_them.record[0].stats.after.requires_grad
    # What people look at works all the same.
    assert with_them.top(3).token_id.tolist() == result.top(3).token_id.tolist()
    assert repr(with_them) == repr(result) and with_them.receipts.equals(result.receipts)


def test_requires_grad_is_put_back_when_a_run_fails(tiny: LanguageModel):
    parameters = list(tiny.model.parameters())
    flags = [p.requires_grad for p in parameters]
    assert any(flags)

    def fail(*_: Any) -> None:
        raise RuntimeError("half-way")

    handle = tiny.model.get_submodule(tiny.sites.unembedding).register_forward_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="half-way"):
            run(tiny, swapped(low_rank()), gradients=True)
    finally:
        handle.remove()
    assert [p.requires_grad for p in parameters] == flags


def test_a_linked_pairs_gradient_is_the_sum_of_both_uses(tiny_gpt2: LanguageModel):
    """Against central differences of the loss, in float64 (Llama's norms stay in float32)."""
    hf = copy.deepcopy(tiny_gpt2.model).double()
    wide = LanguageModel("wide", hf, tiny_gpt2.tokenizer)
    linked = swapped(low_rank("zero"), low_rank("one", layer=1))
    apart = swapped(low_rank("zero", link=None), low_rank("one", layer=1, link=None))
    shared = make_weights(wide, linked)["link shared"].double()
    (rotation,) = shared.parameters()

    loss_of(wide, linked, {"link shared": shared}).backward()
    together = rotation.grad
    assert together is not None
    pair = [copy.deepcopy(shared) for _ in range(2)]
    loss_of(wide, apart, {"slot 0": pair[0], "slot 1": pair[1]}).backward()
    halves = [next(module.parameters()).grad for module in pair]
    assert halves[0] is not None and halves[1] is not None
    assert halves[0].abs().max() > 1e-6 and halves[1].abs().max() > 1e-6
    assert torch.allclose(together, halves[0] + halves[1], atol=1e-10)

    step = 1e-5
    for row, column in ((2, 0), (3, 1), (10, 0), (20, 1)):
        moved = []
        for sign in (1, -1):
            module = copy.deepcopy(shared)
            with torch.no_grad():
                next(module.parameters())[row, column] += sign * step
            moved.append(loss_of(wide, linked, {"link shared": module}).item())
        wanted = (moved[0] - moved[1]) / (2 * step)
        assert together[row, column].item() == pytest.approx(wanted, rel=1e-4, abs=1e-9)


def test_gradients_flow_through_a_chain(tiny: LanguageModel):
    slots = (low_rank(source="italy"), low_rank(layer=1, source="france", link=None))
    weights = make_weights(tiny, chain(*slots))
    run(tiny, chain(*slots), weights=weights, gradients=True).logits[-1, 0].backward()
    for module in weights.values():
        (rotation,) = module.parameters()
        assert rotation.grad is not None and rotation.grad.abs().max() > 0
