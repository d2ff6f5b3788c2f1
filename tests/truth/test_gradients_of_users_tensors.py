"""Gradients of a run reach no tensor of the user's, wherever a module or hook holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import SPAIN, distance, plain_logits
from torch import Tensor, nn
from tree_testing import EXPERIMENT, part

import vene_widgets as vw


class Adapter(nn.Module):
    """An adapter whose matrix is in a plain list."""

    def __init__(self, linear: nn.Module, matrix: Tensor) -> None:
        super().__init__()
        self.linear, self.matrices = linear, [matrix]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x @ self.matrices[0].T


class OwnParameter(nn.Parameter):
    pass


def in_a_hook(layer: Any, leaf: Tensor) -> Tensor:
    layer.register_forward_hook(lambda _m, args, output: output + args[0] @ leaf.T)
    return leaf


def in_a_list_of_a_hook(layer: Any, leaf: Tensor) -> Tensor:
    leaves = [leaf]
    layer.register_forward_hook(lambda _m, args, output: output + args[0] @ leaves[0].T)
    return leaf


def in_a_list_of_a_module(layer: Any, leaf: Tensor) -> Tensor:
    layer.forward = Adapter(_plain(layer), leaf).forward
    return leaf


def as_a_subclass(layer: Any, leaf: Tensor) -> Tensor:
    layer.weight = OwnParameter(layer.weight.detach() + leaf.detach())
    return layer.weight


def _plain(layer: Any) -> nn.Linear:
    twin = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    twin.weight = layer.weight
    return twin


@pytest.mark.parametrize(
    "place", [in_a_hook, in_a_list_of_a_hook, in_a_list_of_a_module, as_a_subclass]
)
def test_no_gradient_is_left(
    llama: vw.LanguageModel, place: Callable[[Any, Tensor], Tensor]
) -> None:
    layer = part(llama, "mlp").down_proj
    matrix = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)) / 4
    plain = plain_logits(llama, SPAIN)
    leaf = place(layer, matrix.to(llama.device).requires_grad_())
    assert distance(plain_logits(llama, SPAIN), plain) > 1e-3
    slot = vw.Slot(layer=1, position=3, intervention="low_rank_rotated_space", rank=2)
    experiment = EXPERIMENT.replace(slots=(slot,))
    weights = vw.make_weights(llama, experiment)
    run = vw.run(llama, experiment, weights=weights, gradients=True)
    run.logits.sum().backward()
    assert leaf.requires_grad and leaf.grad is None
    assert all(p.grad is not None for module in weights.values() for p in module.parameters())
    found = vw.run(llama, vw.Experiment(base=SPAIN)).logits
    assert distance(found, plain_logits(llama, SPAIN)) <= 1e-5
