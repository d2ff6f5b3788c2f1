# pyright: basic
# Basic: it copies attributes of any type.
"""ModuleState: what modules write into themselves while they run, put back before every pass.

An observer for quantisation, a counter, a hook that notes something on its module: a pass begins
with what the user's modules hold, and nothing is written into their objects.
"""

# A module's parts are in private attributes of torch.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from vene_widgets.models.additions import CHILDREN, HOOKS, modules_of
from vene_widgets.models.own_tree import is_config
from vene_widgets.models.references import is_users_object

STATE_NUMBERS = 2**20
"""Tensors of up to this many numbers are copied before each pass where a module may write them."""

_DEPTH, _ITEMS = 4, 4096
"""How deep objects and containers are copied, and how many; others are shared with the user."""

_AS_THEY_ARE = (HOOKS | CHILDREN | {"forward"}) - {"_buffers"}
"""Attributes that no pass writes: a run sets its own hooks and methods there."""


class ModuleState:
    """The state before any pass of those modules of a tree that may write into themselves.

    Args:
        tree: of the engine; these modules get tensors, containers and objects of their own.

    Attributes:
        has_tensors: whether there are tensors among what is copied. The user's may have other
            numbers later, which the copies do not follow.
    """

    def __init__(self, tree: nn.Module) -> None:
        self.has_tensors = False
        self._modules = [module for module in modules_of(tree) if _may_write(module)]
        self._saved = self._copies([vars(module) for module in self._modules])
        self.reset()

    def reset(self) -> None:
        """Put it back."""
        for module, attributes in zip(self._modules, self._copies(self._saved), strict=True):
            state = vars(module)
            kept = {name: state[name] for name in _AS_THEY_ARE & state.keys()}
            state.clear()
            state.update(attributes | kept)

    def _copies(self, states: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Copies of modules' attributes; what two of them share, the copies share."""
        known: dict[int, Any] = {}
        return [
            {
                name: self._copy(value, known, _DEPTH)
                for name, value in list(attributes.items())
                if name not in _AS_THEY_ARE
            }
            for attributes in states
        ]

    def _copy(self, value: Any, known: dict[int, Any], depth: int) -> Any:
        """A copy of what a pass could write into, anything else itself."""
        if id(value) in known:
            return known[id(value)]
        if type(value) is Tensor and value.numel() <= STATE_NUMBERS:
            self.has_tensors = True
            known[id(value)] = new = value.detach().clone()
            return new
        is_container = isinstance(value, (list, dict, set, deque))
        if not depth or not (is_container or is_users_object(value)) or is_config(value):
            return value
        if len(known) > _ITEMS or (is_container and len(value) > _ITEMS):
            return value
        try:
            new: Any = copy.copy(value)
        except Exception:
            return value
        attributes: Any = getattr(new, "__dict__", {})
        if new is value or (attributes and attributes is value.__dict__):
            return value
        known[id(value)] = new
        for name, item in list(attributes.items()):
            attributes[name] = self._copy(item, known, depth - 1)
        if isinstance(value, dict):
            for key, item in list(value.items()):
                dict.__setitem__(new, key, self._copy(item, known, depth - 1))
        elif isinstance(value, (list, deque)):
            for n, item in enumerate(list(value)):
                new[n] = self._copy(item, known, depth - 1)
        return new


def _may_write(module: nn.Module) -> bool:
    """Whether a module may write into itself while it runs.

    Torch's own do not in evaluation mode. Of a model family's, rotary embeddings do whose
    frequencies follow the prompts that they have seen. Any other module may, and any with hooks or
    replaced methods.
    """
    attributes = vars(module)
    if "forward" in attributes or any(attributes.get(name) for name in HOOKS):
        return True
    package = type(module).__module__
    if package.startswith("torch.nn."):
        return False
    if package.startswith("transformers."):
        kinds: Any = attributes.get("rope_type")
        several = cast("Mapping[str, Any]", kinds).values() if isinstance(kinds, dict) else [kinds]
        return any("dynamic" in str(kind) or "longrope" in str(kind) for kind in several)
    return True
