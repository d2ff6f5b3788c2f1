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
from vene_widgets.models.own_tree import CAPTURE_MODULE, is_config
from vene_widgets.models.references import is_users_object

STATE_NUMBERS = 2**20
"""Tensors of up to this many numbers are copied before each pass where a module may write them."""

_DEPTH, _ITEMS = 4, 4096
"""How deep objects and containers are copied, and how many; others are shared with the user."""

_AS_THEY_ARE = (HOOKS | CHILDREN | {"forward"}) - {"_buffers"}
"""Attributes that no pass writes: a run sets its own hooks and methods there."""


HELD = "_vene_widgets_held"
"""Attribute of a module of a tree: names of those that a run has set for its own length."""


class ModuleState:
    """The state before any pass of those modules of a tree that may write into themselves.

    They get tensors, containers and objects of their own, which stay the same ones: only what is in
    them is put back.

    Args:
        tree: of the engine.

    Attributes:
        has_tensors: whether there are tensors among them. The user's may have other numbers later,
            which these do not follow.
    """

    def __init__(self, tree: nn.Module) -> None:
        self._own: dict[int, Any] = {}  # by the id of the user's object
        self._users: list[object] = []  # alive, so that no id is used twice
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._others: list[tuple[Any, Any]] = []
        self._modules = [
            (vars(module), self._owned(vars(module), _DEPTH, but=_AS_THEY_ARE))
            for module in modules_of(tree)
            if _may_write(module)
        ]
        self.has_tensors = bool(self._tensors)
        self.reset()

    def reset(self) -> None:
        """Put it back."""
        for tensor, before in self._tensors:
            if tensor.shape == before.shape and tensor.dtype == before.dtype:
                tensor.copy_(before)
            else:
                tensor.data = before.clone()
        for own, before in self._dicts:
            dict.clear(own)
            dict.update(own, before)
        for own, before in self._lists:
            list.__setitem__(own, slice(None), before)
        for own, before in self._others:
            own.clear()
            (own.update if isinstance(own, set) else own.extend)(before)
        for attributes, before in self._modules:
            held = attributes.get(HELD, frozenset[str]())
            for name in attributes.keys() - before.keys() - _AS_THEY_ARE - held:
                del attributes[name]
            attributes.update({n: value for n, value in before.items() if n not in held})

    def _owned(
        self, attributes: dict[Any, Any], depth: int, but: frozenset[str] = frozenset()
    ) -> dict[Any, Any]:
        """A dict of own values, in place of those that a pass could write into."""
        items = list(attributes.items())
        return {name: self._value(item, depth) for name, item in items if name not in but}

    def _value(self, value: Any, depth: int) -> Any:
        """An own value in place of one that a pass could write into, anything else itself."""
        if id(value) in self._own:
            return self._own[id(value)]
        if type(value) is Tensor and value.numel() <= STATE_NUMBERS:
            own: Any = self._remember(value, value.detach().clone())
            self._tensors.append((own, value.detach().clone()))
            return own
        is_container = isinstance(value, (list, dict, set, deque))
        if not depth or not (is_container or is_users_object(value)) or is_config(value):
            return value
        if len(self._own) > _ITEMS or (is_container and len(value) > _ITEMS):
            return value
        try:
            own = copy.copy(value)
        except Exception:
            return value
        attributes: Any = getattr(own, "__dict__", None)
        if own is value or (attributes and attributes is value.__dict__):
            return value
        self._remember(value, own)
        if attributes:
            self._dicts.append((attributes, self._owned(attributes, depth - 1)))
        if isinstance(value, dict):
            self._dicts.append((own, self._owned(value, depth - 1)))
        elif isinstance(value, list):
            self._lists.append((own, [self._value(item, depth - 1) for item in value]))
        elif is_container:  # items of a set cannot be written into
            self._others.append((own, [self._value(item, depth - 1) for item in value]))
        return own

    def _remember(self, value: object, own: Any) -> Any:
        self._own[id(value)] = own
        self._users.append(value)
        return own


def _may_write(module: nn.Module) -> bool:
    """Whether a module may write into itself while it runs.

    Torch's own do not in evaluation mode. Of a model family's, rotary embeddings do whose
    frequencies follow the prompts that they have seen. Any other module may, and any with hooks or
    replaced methods, but for hooks that transformers left behind.
    """
    attributes = vars(module)
    hooks = [hook for name in HOOKS for hook in (attributes.get(name) or {}).values()]
    has_hooks = any(
        callable(hook) and getattr(hook, "__module__", "") != CAPTURE_MODULE for hook in hooks
    )
    if "forward" in attributes or has_hooks:
        return True
    package = type(module).__module__
    if package.startswith("torch.nn."):
        return False
    if package.startswith("transformers."):
        kinds: Any = attributes.get("rope_type")
        several = cast("Mapping[str, Any]", kinds).values() if isinstance(kinds, dict) else [kinds]
        return any("dynamic" in str(kind) or "longrope" in str(kind) for kind in several)
    return True
