"""A model without an output head under the paths of its family, so that one table serves both."""

from __future__ import annotations

from typing import Any

from torch import nn

from vene_widgets.errors import choose
from vene_widgets.models.architectures import ARCHITECTURES, Architecture
from vene_widgets.models.sites import module_at


class _Rooted(nn.Module):
    """Names a bare model's parts as its family's causal language model does, and calls it."""

    def __init__(self, model: nn.Module, backbone: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.config: Any = model.config
        self.add_module(architecture.backbone, backbone)
        self.add_module(architecture.unembedding, nn.Identity())  # a place only; nothing runs it
        self.add_module("whole", model)

    def forward(self, **inputs: Any) -> Any:
        return self.get_submodule("whole")(**inputs)


def rooted(model: nn.Module) -> nn.Module:
    """The model itself when it has an output head, else a view of it that has the same paths.

    The view holds the very same modules; nothing of the model changes.

    Raises:
        RequestError: a family without a table.
    """
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "model_type", type(model).__name__)
    choose(kind, ARCHITECTURES, "architecture")
    architecture = ARCHITECTURES[kind]
    names = {name for name, _ in model.named_modules()}
    if architecture.unembedding in names:
        return model
    if architecture.blocks in names:
        return _Rooted(model, module_at(model, architecture.backbone), architecture)
    return _Rooted(model, model, architecture)
