"""Results in other dtypes, and in torch's modes: training, inference, autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, check_everything, check_map, distance, plain_logits
from changed_models import attention
from torch import nn

import vene_widgets as vw


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(model: vw.LanguageModel, dtype: torch.dtype) -> None:
    model.model.to(dtype)
    tolerance = 1e-5 if dtype is torch.float64 else 8 * torch.finfo(dtype).eps
    check_everything(model, tolerance)
    assert vw.run(model, vw.Experiment(base=SPAIN)).logits.dtype == dtype
    if dtype is torch.float64:
        assert model.resume_blocker is None
        check_map(model, *PAIRS[1], "attention_input")


@pytest.mark.parametrize("change", ["half", "to float64", "head in float32"])
def test_a_dtype_that_changes_after_wrapping(model: vw.LanguageModel, change: str) -> None:
    vw.sweep(model, SPAIN, ITALY)
    root: Any = model.model
    if change == "half":
        root.half()
    elif change == "to float64":
        root.to(torch.float64)
    else:  # a head in another dtype than the blocks
        if model.sites.architecture.name == "gpt2":
            pytest.skip("tied to the embedding")
        root.bfloat16()
        root.lm_head.float()
        root.lm_head.register_forward_pre_hook(lambda _m, args: (args[0].float(),))
    check_everything(model, 1e-5 if change == "to float64" else 0.05)


def test_training_mode_runs_in_evaluation_mode(model: vw.LanguageModel) -> None:
    for module in model.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    if model.sites.architecture.name == "llama":
        for layer in range(model.sites.layers):
            attention(model, layer).attention_dropout = 0.5
    model.model.train()
    check_everything(model)
    assert all(module.training for module in model.model.modules())


def test_inference_mode_around_every_call(model: vw.LanguageModel) -> None:
    with torch.inference_mode():
        check_everything(model)
    check_everything(model)  # the tree that was made above serves later runs


def test_inference_mode_around_training_code(model: vw.LanguageModel) -> None:
    """A tree that was made in inference mode carries gradients all the same."""
    slot = vw.Slot(layer=1, position=3, intervention="low_rank_rotated_space", rank=2)
    experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])
    with torch.inference_mode():
        vw.run(model, experiment)
    weights = vw.make_weights(model, experiment)
    vw.run(model, experiment, weights=weights, gradients=True).logits.sum().backward()
    weights = vw.make_weights(model, experiment)
    with torch.inference_mode():  # gradients that were asked for are there all the same
        logits = vw.run(model, experiment, weights=weights, gradients=True).logits
    logits.sum().backward()
    assert all(p.grad is not None for module in weights.values() for p in module.parameters())


def test_autocast_around_every_call(model: vw.LanguageModel) -> None:
    if model.device.type == "second":
        pytest.skip("the simulated device has no autocast")
    plain = vw.run(model, vw.Experiment(base=SPAIN)).logits
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        check_everything(model, 0.05)
        assert "autocast" in str(model.resume_blocker)
        own = plain_logits(model, SPAIN)
        assert distance(vw.run(model, vw.Experiment(base=SPAIN)).logits, own) <= 1e-3
        assert distance(own, plain) > 1e-4
    assert torch.equal(vw.run(model, vw.Experiment(base=SPAIN)).logits, plain)
    assert model.resume_blocker is None
