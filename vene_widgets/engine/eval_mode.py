"""Hold a model's lock and evaluation mode for the length of a run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from vene_widgets.models import LanguageModel


@contextmanager
def locked_eval_mode(
    model: LanguageModel, *, gradients: bool = False
) -> Generator[None, None, None]:
    """Hold the model's lock with every module in eval mode; restore all flags afterwards.

    Args:
        model: the model about to run.
        gradients: record gradients for whatever the hooks bring in. The model's own weights are
            constants meanwhile, so nothing accumulates in their `.grad`.
    """
    with (
        model.lock,
        torch.set_grad_enabled(gradients),
        _constant_weights(model.model, gradients),
    ):
        training = [module for module in model.model.modules() if module.training]
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def _constant_weights(root: nn.Module, gradients: bool) -> Generator[None, None, None]:
    """Temporarily set `requires_grad=False` on the model's weights when gradients are recorded."""
    trainable = [p for p in root.parameters() if p.requires_grad] if gradients else []
    try:
        for parameter in trainable:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad = True
