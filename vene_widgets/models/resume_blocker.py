"""Whether a model runs the very code that its family's file was written for.

A resumed pass calls blocks on the rows of many cells at once, and puts keys and values together
itself. That is right for the family's own code, and for no other: a subclass, a patched class or
instance, a hook, another attention function, a quantised layer, a packed or sparse weight or an
adapter all mean full passes.
What the code's own numbers say is measured afterwards (`engine.behaviour`).
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vene_widgets.models.checksums import is_plain
from vene_widgets.models.own_tree import CAPTURE_MODULE
from vene_widgets.models.surroundings import (
    attention_kind,
    global_hooks,
    globals_of,
    registered_functions,
    shared_functions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vene_widgets.models.architectures import Architecture

ROW_WISE = frozenset(
    {
        "torch.nn.modules.linear.Linear",
        "torch.nn.modules.linear.Identity",
        "torch.nn.modules.normalization.LayerNorm",
        "torch.nn.modules.sparse.Embedding",
        "torch.nn.modules.dropout.Dropout",
        "torch.nn.modules.container.ModuleList",
        "torch.nn.modules.activation.GELU",
        "torch.nn.modules.activation.ReLU",
        "torch.nn.modules.activation.SiLU",
        "torch.nn.modules.activation.Sigmoid",
        "torch.nn.modules.activation.Tanh",
        "transformers.pytorch_utils.Conv1D",
    }
)
"""Modules of torch and transformers that work on each row alone."""

_LIBRARIES = frozenset(
    {"torch", "transformers", "typing", "typing_extensions", "builtins", "_operator"}
)

ACTIVATIONS = "transformers.activations"
"""Module of transformers whose classes all work on each number alone."""


def may_leave_out_positions(net: nn.Module, architecture: Architecture) -> bool:
    """Whether `logits_to_keep` gives the numbers of a whole pass.

    It does for the family's own `forward` and a head that works on each row alone, without hooks,
    which might read the positions that are left out.
    """
    if any(global_hooks()) or type(net).__name__ != architecture.causal_lm:
        return False
    heads = [path for path in architecture.unembedding if hasattr(net, path)]
    for module in (net, *map(net.get_submodule, heads)):
        if _hooks_blocker(module) or _replaced_method(module) or _weights_blocker(module):
            return False
        if not _is_class(type(module), architecture):
            return False
    return True


def code_blocker(net: nn.Module, architecture: Architecture) -> str | None:
    """Reason why passes through a model may not be resumed, by its code; None if there is none.

    Args:
        net: the model, or the engine's tree of it.
        architecture: its family.
    """
    config: Any = net.config
    if getattr(config, "add_cross_attention", False):
        return "the model has cross-attention"
    return attention_blocker(config, architecture) or foreign_code(net, architecture)


def attention_blocker(config: Any, architecture: Architecture) -> str | None:
    """Reason why no function of ours can stand in for attention; None if there is none."""
    if getattr(config, "reorder_and_upcast_attn", False):
        return "the model upcasts its attention"
    if architecture.attention_method is None:
        return f"{architecture.name} models compute attention inside their attention module"
    if architecture.attention_method == "" and not has_attention_function(architecture):
        return (
            f"{architecture.name} models of this version of transformers compute attention inside "
            "their attention module"
        )
    return None


def has_attention_function(architecture: Architecture) -> bool:
    """Whether this version of transformers lets a family's attention be replaced by a function."""
    return hasattr(sys.modules.get(architecture.code), "eager_attention_forward")


def foreign_code(net: nn.Module, architecture: Architecture) -> str | None:
    """What runs in a model and is not code of its family's own; None if nothing does."""
    if any(global_hooks()):
        return "torch has global hooks, which act on every module"
    device = next((parameter.device.type for parameter in net.parameters()), "cpu")
    if torch.is_autocast_enabled(device):
        return "autocast is on"
    return _attention_blocker(net, architecture) or _module_blocker(net, architecture)


def _attention_blocker(net: nn.Module, architecture: Architecture) -> str | None:
    """Reason that lies in the attention function."""
    config: Any = net.config
    kind = getattr(config, "_attn_implementation", None) or "eager"
    if kind not in ("eager", "sdpa"):
        return f"attention is {kind!r}, not 'eager' or 'sdpa'"
    registry = getattr(
        sys.modules.get("transformers.modeling_utils"), "ALL_ATTENTION_FUNCTIONS", None
    )
    if architecture.attention_method == "" and not hasattr(registry, "register"):
        return "this version of transformers has no attention interface"
    function, mask_function = registered_functions(kind)
    is_own = _is_from(function, "transformers.integrations.sdpa_attention") and (
        getattr(function, "__name__", "") == "sdpa_attention_forward"
    )
    if (kind == "sdpa" or function is not None) and not is_own:
        return f"attention function {kind!r} was replaced"
    if mask_function is not None and not _is_from(mask_function, "transformers.masking_utils"):
        return f"mask function {kind!r} was replaced"
    for name, value in shared_functions():
        if value is not None and not _is_library_function(value):
            return f"function {name} was replaced"
    for name, value in globals_of(architecture.code).items():
        if not _is_library_value(value):
            return f"function {name} of {architecture.code.rpartition('.')[2]} was replaced"
    return None


def _is_library_value(value: object) -> bool:
    """Whether a global of a modelling file can be what the file itself defined or imported."""
    if isinstance(value, type) or not callable(value):
        return True  # classes are looked at where a module has them
    if isinstance(value, FunctionType):
        home = value.__module__ or ""  # functions made at run time may name none
        return home.partition(".")[0] in sys.stdlib_module_names or _is_own_function(value, home)
    return type(value).__module__.partition(".")[0] in _LIBRARIES


def _is_library_function(value: object) -> bool:
    """Whether every layer of a function is code of torch, transformers or the standard library."""
    for layer in _layers(value):
        if isinstance(layer, FunctionType):
            if not _is_library_code(layer.__code__.co_filename) and not _is_standard(layer):
                return False
        elif type(layer).__module__.partition(".")[0] not in (*_LIBRARIES, "functools"):
            return False
    return True


def _is_standard(function: FunctionType) -> bool:
    """Whether a function's code lies in the file of a module of the standard library."""
    home = function.__module__ or ""
    file = getattr(sys.modules.get(home), "__file__", None)
    is_standard = home.partition(".")[0] in sys.stdlib_module_names
    return is_standard and function.__code__.co_filename == file


def _module_blocker(net: nn.Module, architecture: Architecture) -> str | None:
    """Reason that lies in one of the modules: its class, its methods, its hooks, its flags."""
    if not _is_own_function(nn.Module.__call__, nn.Module.__module__):
        return "torch's Module.__call__ was replaced"
    understood: set[type] = set()
    for module in net.modules():
        kind = type(module)
        reason = _hooks_blocker(module) or _weights_blocker(module) or _replaced_method(module)
        if reason is not None:
            return reason
        if kind not in understood:
            if not _is_class(kind, architecture):
                return (
                    f"a {_name(kind)} in the model is not the code that {architecture.name} models "
                    "are known to have"
                )
            understood.add(kind)
        if getattr(module, "is_causal", True) is not True:
            return "the model's attention is not causal"
        if attention_kind(module) not in (None, attention_kind(net)):
            return f"the config of a {kind.__name__} in the model asks for another attention"
    return None


def _name(kind: type) -> str:
    """A class in words: with its module where its name is that of one of torch's own."""
    is_namesake = any(known.endswith(f".{kind.__name__}") for known in ROW_WISE)
    return f"{kind.__module__}.{kind.__qualname__}" if is_namesake else kind.__name__


def _hooks_blocker(module: nn.Module) -> str | None:
    """Reason that lies in a module's hooks; those of transformers that do nothing are none."""
    for name in ("_forward_hooks", "_forward_pre_hooks"):
        hooks: Any = module.__dict__.get(name) or {}
        if not all(getattr(hook, "__module__", "") == CAPTURE_MODULE for hook in hooks.values()):
            return "the model carries hooks of its own"
    return None


def _replaced_method(module: nn.Module) -> str | None:
    """Reason that lies in a method that was replaced on the instance."""
    kind = type(module)
    for name, value in module.__dict__.items():
        if callable(value) and callable(getattr(kind, name, None)):
            return f"the {name} of a {kind.__name__} in the model was replaced"
    return None


def _weights_blocker(module: nn.Module) -> str | None:
    """Reason that lies in a weight which computes products in its own way: packed or sparse."""
    for tensor in module.parameters(recurse=False):
        if not is_plain(tensor):
            kind = tensor.layout if type(tensor) is nn.Parameter else type(tensor).__name__
            return f"a weight of a {type(module).__name__} in the model is a {kind} tensor"
    return None


def _is_class(kind: type, architecture: Architecture) -> bool:
    """Whether a module's class is known, and its `forward` is the one that was written for it."""
    full = f"{kind.__module__}.{kind.__qualname__}"
    is_known = (
        full in ROW_WISE or kind.__module__ == ACTIVATIONS or kind.__module__ == architecture.code
    )
    if not is_known or getattr(sys.modules.get(kind.__module__), kind.__name__, None) is not kind:
        return False
    for method in ("forward", "__call__", "_call_impl", "__getattr__"):
        definer = next((cls for cls in kind.__mro__ if method in vars(cls)), None)
        if definer is None or not _is_own_function(vars(definer)[method], definer.__module__):
            return False
    return True


def _is_from(function: object, module: str) -> bool:
    """Whether a function was defined in a module and never replaced."""
    return getattr(function, "__module__", None) == module and _is_own_function(function, module)


def _is_own_function(function: object, module: str) -> bool:
    """Whether every layer of a function is library code, the innermost from the module's file.

    Decorators of transformers wrap most forwards. A wrapper of the user's may carry the original's
    name and module, but its code lies in another file.
    """
    last: FunctionType | None = None
    for layer in _layers(function):
        if not isinstance(layer, FunctionType) or not _is_library_code(layer.__code__.co_filename):
            return False
        last = layer
    file = getattr(sys.modules.get(module), "__file__", None)
    return last is not None and last.__code__.co_filename == file


def _layers(function: object) -> Iterator[object]:
    """A function and everything that it wraps, outermost first."""
    for _ in range(32):
        yield function
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return


@cache
def _is_library_code(file: str) -> bool:
    """Whether a source file belongs to torch or transformers."""
    import transformers

    homes = [Path(str(package.__file__)).parent for package in (torch, transformers)]
    return any(Path(file).is_relative_to(home) for home in homes)
