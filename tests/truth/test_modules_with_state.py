"""Modules that write into themselves: their state stays, and every pass begins with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN, check_everything, plain_logits
from torch import Tensor, nn

import vene_widgets as vw

LONG = "The capital of Spain is Madrid. The capital of Italy is"


class Counts(nn.Module):
    """Scales by how often it was called, counted in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Mean(nn.Module):
    """Subtracts a running mean, kept in a plain tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean())
        return x - self.mean


def quantised() -> nn.Module:
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    return FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255)


def tensors(module: nn.Module) -> dict[str, Any]:
    found = {**module.state_dict(), **{k: v for k, v in vars(module).items() if k == "mean"}}
    return {name: tensor.clone() for name, tensor in found.items()}


@pytest.mark.parametrize("make", [Counts, Mean, quantised])
def test_its_numbers_stay_and_each_pass_begins_with_them(
    llama: vw.LanguageModel, make: Callable[[], nn.Module]
) -> None:
    root: Any = llama.model
    added = make()
    root.model.layers[1].mlp = nn.Sequential(root.model.layers[1].mlp, added)
    plain_logits(llama, LONG)  # a pass of the user's: an observer sees its first numbers
    before = tensors(added)
    model = vw.wrap(root, llama.tokenizer)
    first = vw.run(model, vw.Experiment(base=SPAIN)).logits
    vw.run(model, vw.Experiment(base=LONG))
    vw.sweep(model, SPAIN, ITALY)
    torch.testing.assert_close(vw.run(model, vw.Experiment(base=SPAIN)).logits, first)
    after = tensors(added)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    torch.testing.assert_close(first, plain_logits(llama, SPAIN))
    assert not all(torch.equal(tensor, before[name]) for name, tensor in tensors(added).items())


def test_an_embedding_that_rewrites_its_weights_is_refused(llama: vw.LanguageModel) -> None:
    table: Any = llama.model.get_submodule("model.embed_tokens")
    table.max_norm = 1.0
    weights = table.weight.detach().clone()
    with pytest.raises(vw.RequestError, match=r"max_norm set in 'model\.embed_tokens'"):
        vw.wrap(llama.model, llama.tokenizer)
    with pytest.raises(vw.RequestError, match="max_norm"):
        vw.run(llama, vw.Experiment(base=SPAIN))
    assert torch.equal(table.weight, weights)
    table.max_norm = None
    check_everything(llama)
