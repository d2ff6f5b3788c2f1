"""Present a bare model, without output head, under the module paths of its family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import nn

from vene_widgets.models.architectures import Architecture
from vene_widgets.models.sites import module_at, require_architecture


class _HeadlessModel(nn.Module):
    """A bare model whose parts have the paths that they have in the family's causal LM."""

    def __init__(self, model: nn.Module, backbone: nn.Module, architecture: Architecture) -> None:
        super().__init__()
        self.config: Any = model.config
        self.add_module(_root(architecture), backbone)
        # `Sites` looks the unembedding up, so its path must exist; no forward pass reaches it.
        self.add_module(architecture.unembedding[0], nn.Identity())
        self.add_module("whole", model)

    def forward(self, **inputs: Any) -> Any:
        return self.get_submodule("whole")(**inputs)


def with_head_paths(model: nn.Module) -> nn.Module:
    """Return the model if it has an output head, otherwise a view of it with a head's paths.

    The view holds the same modules; the model is not changed.

    Raises:
        RequestError: an unknown model family.
    """
    config: Any = getattr(model, "config", None)
    kind = getattr(config, "model_type", type(model).__name__)
    architecture = require_architecture(kind)
    paths = {path for path, _ in cast("Iterable[tuple[str, nn.Module]]", model.named_modules())}
    if any(path in paths for path in architecture.unembedding):
        return model
    # A model with another head, such as a classifier, has the family's paths below its root; a
    # bare model is the backbone itself.
    if architecture.blocks in paths:
        return _HeadlessModel(model, module_at(model, _root(architecture)), architecture)
    return _HeadlessModel(model, model, architecture)


def _root(architecture: Architecture) -> str:
    """Where the family's causal LM has the bare model: `model` for blocks in `model.layers`."""
    return architecture.backbone.partition(".")[0]
