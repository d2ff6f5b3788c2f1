# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""What acts on every module of a model from outside: global hooks, autocast, shared functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn

_REGISTRIES = (
    ("transformers.modeling_utils", "ALL_ATTENTION_FUNCTIONS"),
    ("transformers.masking_utils", "ALL_MASK_ATTENTION_FUNCTIONS"),
)

_SHARED_FILES = (
    "torch.nn.functional",
    "transformers.masking_utils",
    "transformers.integrations.sdpa_attention",
)

_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


def surroundings(root: nn.Module, kinds: Iterable[object]) -> tuple[object, ...]:
    """What acts on every module from outside; `kinds` are the kinds of attention in use."""
    found: list[object] = global_hooks()
    for device in {"cpu", _device_type(root)}:
        if torch.is_autocast_enabled(device):
            found += (device, torch.get_autocast_dtype(device))
    found.append(torch.get_float32_matmul_precision())
    for kind in kinds:
        found += registered_functions(kind)
    found += (function for _, function in shared_functions())
    return tuple(found)


def shared_functions() -> Iterator[tuple[str, object]]:
    """The functions that modules of every family call, with their names."""
    for file in _SHARED_FILES:
        if file in sys.modules:
            names = _function_names(file)
            yield from zip(names, map(vars(sys.modules[file]).get, names), strict=True)


@cache
def _function_names(file: str) -> tuple[str, ...]:
    """The names of a file's functions; what takes the place of one later has its name."""
    return tuple(
        name
        for name, value in globals_of(file).items()
        if callable(value) and not isinstance(value, type)
    )


def global_hooks() -> list[object]:
    """The hooks that torch calls around every module."""
    return [hook for name in _GLOBAL_HOOKS for hook in getattr(nn.modules.module, name).values()]


def attention_kind(module: nn.Module) -> str | None:
    """The name of the attention that a module's config asks for; None if it has no config."""
    return getattr(module.__dict__.get("config"), "_attn_implementation", None)


def registered_functions(kind: object) -> list[Callable[..., Any] | None]:
    """The attention function and the mask function in the registries; None for one that is not."""
    found: list[Any] = []
    for module, name in _REGISTRIES:
        functions: Any = getattr(sys.modules.get(module), name, {})
        found.append(functions[kind] if kind in functions else None)  # noqa: SIM401  # no default
    return found


def _device_type(root: nn.Module) -> str:
    parameter = next(root.parameters(), None)
    return "cpu" if parameter is None else parameter.device.type


def globals_of(module: str) -> dict[str, Any]:
    """The names of a modelling file; without `__names__`, where `torch.compile` puts its own."""
    names = dict(vars(sys.modules[module])) if module in sys.modules else {}
    return {name: value for name, value in names.items() if not name.startswith("__")}
