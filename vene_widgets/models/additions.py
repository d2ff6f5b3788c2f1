# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""Hooks and replaced methods that a user added to a model's modules."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch import nn

HOOKS = frozenset(
    {
        "_forward_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
        "_backward_hooks",
        "_backward_pre_hooks",
    }
)
"""Attributes in which torch keeps a module's hooks."""

CHILDREN = frozenset({"_parameters", "_buffers", "_modules"})

Additions = Mapping[int, Mapping[str, Any]]
"""Per module (by `id`): its hooks and the methods that were replaced on the instance."""


def modules_of(root: nn.Module) -> Iterator[nn.Module]:
    """Every module of a tree once, parents first.

    Unlike `nn.Module.modules` it reads copies of the dicts, so another thread may change the tree.
    """
    seen: set[int] = set()
    stack = [root]
    while stack:
        module = stack.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield module
        stack += [child for child in list(module._modules.values()) if child is not None]


def is_replaced_method(module: nn.Module, name: str, value: object) -> bool:
    """Whether an instance attribute hides a method of the module's class."""
    return callable(value) and callable(getattr(type(module), name, None))


def additions(root: nn.Module) -> dict[int, dict[str, Any]]:
    """The hooks and replaced methods that a model carries now, per module that has any."""
    found: dict[int, dict[str, Any]] = {}
    for module in modules_of(root):
        own: dict[str, Any] = {}
        for name, value in dict(module.__dict__).items():
            if name in HOOKS:
                if value and isinstance(value, dict):
                    own[name] = copy.copy(cast("dict[int, Any]", value))
            elif is_replaced_method(module, name, value):
                own[name] = value
        if own:
            found[id(module)] = own
    return found


def still_standing(root: nn.Module, accepted: Additions) -> Additions:
    """Those of the accepted hooks and replaced methods that the model still carries."""
    if not accepted:
        return accepted
    now, found = additions(root), dict[int, dict[str, Any]]()
    for key, own in accepted.items():
        here, kept = now.get(key, {}), dict[str, Any]()
        for name, value in own.items():
            current: Any = here.get(name)
            if not isinstance(value, dict):
                if current is value:
                    kept[name] = value
            elif isinstance(current, dict):
                hooks = cast("dict[int, Any]", value)
                same = {n: hook for n, hook in hooks.items() if current.get(n) is hook}
                if same:
                    kept[name] = OrderedDict(same)
        if kept:
            found[key] = kept
    return found
