"""An experiment, parts of a model, and all that a user can notice of one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, SPAIN, own_copy

import vene_widgets as vw

EXPERIMENT = vw.Experiment(
    base=SPAIN,
    sources=ITALY,
    slots=[vw.Slot(layer=0, position=3), vw.Slot(layer=1, position=4, component="mlp_output")],
)


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


def blocks(model: vw.LanguageModel) -> list[Any]:
    found: Any = model.tree.root.get_submodule(model.sites.architecture.blocks)
    return list(found)


def part(model: vw.LanguageModel, path: str, layer: int = 1) -> Any:
    return blocks(model)[layer].get_submodule(getattr(model.sites.architecture, path))


def everything_of(root: Any) -> dict[str, Any]:
    """All that a user can notice of a model, and of torch."""
    found: dict[str, Any] = {
        "config": root.config.to_dict(),
        "grad mode": torch.is_grad_enabled(),
        "random": torch.random.get_rng_state().tolist(),
    }
    for name, module in root.named_modules():
        plain = {
            key: (type(value), id(value))
            for key, value in module.__dict__.items()
            if key not in ("training", "_parameters", "_buffers", "_modules")
        }
        hooks = {
            key: [(number, id(hook)) for number, hook in value.items()]
            for key, value in module.__dict__.items()
            if key.endswith(("_hooks", "_hooks_with_kwargs")) and isinstance(value, dict)
        }
        children = {key: id(child) for key, child in module._modules.items()}
        found[name] = id(module), type(module), module.training, plain, hooks, children
    for name, tensor in (*root.named_parameters(), *root.named_buffers()):
        grad = None if tensor.grad is None else tensor.grad.double().sum().item()
        found[f"tensor {name}"] = (
            id(tensor),
            tensor.data_ptr(),
            tensor._version,
            tensor.requires_grad,
            id(tensor.grad),
            grad,
            tensor.detach().double().sum().item(),
        )
    return found
