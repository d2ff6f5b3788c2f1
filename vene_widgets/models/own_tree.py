# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""A module tree of our own over the user's weights.

The engine never runs the user's modules. It runs a copy of the tree that shares parameters and
buffers with them and nothing else: train/eval flags, hooks, replaced methods, configs and plain
attributes are the copy's own. So the user may train, switch modes or register hooks in another
cell, even in the middle of a pass, and an interrupted run leaves nothing behind.

Parameters are aliases without gradients (same storage, `requires_grad=False`), so no pass of ours
adds to a `.grad`, and gradients that a run needs flow to whatever an intervention brings in.
"""

# A module's parts are in private attributes of torch, and a user's code holds values of any type.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import copy
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any, cast

from torch import nn

from vene_widgets.errors import RequestError
from vene_widgets.models.additions import (
    CHILDREN,
    HOOKS,
    Additions,
    additions,
    is_replaced_method,
)
from vene_widgets.models.references import PLAIN
from vene_widgets.models.user_code import CodeCopier, name_of

CAPTURE_MODULE = "transformers.utils.output_capturing"
"""Module that defines the hooks which transformers registers at the first call with
`output_hidden_states=True` and never removes. They do nothing in other calls."""

_FOR_ONE_RUN = "_vene_widgets_for_one_run"


def own_tree(root: nn.Module, standing: Additions | None = None) -> nn.Module:
    """Copy a module tree: parameters and buffers are shared, everything else is the copy's own.

    The copy is in evaluation mode and runs without `torch.compile`. Hooks and replaced methods act
    in it as they do in the original: where they refer to modules of the original (as `self`, in a
    closure, a default, a partial, an object or a global of the user's code), the copy's take their
    place.

    Args:
        root: the user's model; it is only read.
        standing: hooks and replaced methods to copy, as `additions` gives them; None for those
            that the model carries now.
    """
    copier = _Copier(root, additions(root) if standing is None else standing)
    tree = copier.module(root)
    copier.check()
    vars(tree)[_FOR_ONE_RUN] = copier.holds_values
    return tree


def is_for_one_run(tree: nn.Module) -> bool:
    """Whether a tree holds copies of values of the user's code, which may change at any time."""
    return bool(vars(tree).get(_FOR_ONE_RUN))


def unshare(blocks: nn.Module) -> None:
    """Give every layer modules of its own where several layers of a copied tree share one.

    The weights stay shared. Without it, a hook at one layer would act at the others as well.

    Args:
        blocks: the copy's list of blocks; it is changed in place.
    """
    _unshare(blocks, set(), frozenset())


def _unshare(parent: nn.Module, seen: set[int], above: frozenset[int]) -> None:
    for name, child in parent._modules.items():
        if child is None or id(child) in above:
            continue
        if id(child) in seen:
            twin = copy.copy(child)  # torch's modules copy their dict of attributes only
            for attribute in (*CHILDREN, *HOOKS):
                if attribute in twin.__dict__:
                    twin.__dict__[attribute] = copy.copy(twin.__dict__[attribute])
            child = parent._modules[name] = twin
        seen.add(id(child))
        _unshare(child, seen, above | {id(child)})


class _Copier(CodeCopier):
    """Copies one tree."""

    def __init__(self, root: nn.Module, standing: Additions) -> None:
        super().__init__(root)
        self._standing = standing
        self._kinds: set[type] = set()

    def module(self, module: nn.Module) -> nn.Module:
        """The copy of a module and of everything below it."""
        if id(module) in self.copies:
            return self.copies[id(module)]
        kind = type(module)
        try:
            new = object.__new__(kind)
            inner = module._modules.get("_orig_mod")
        except (TypeError, AttributeError):  # a scripted module
            raise RequestError(
                f"module {self.path(module)!r} is a {kind.__name__}, which runs cannot copy: put "
                "the Python module that it was made from in its place."
            ) from None
        if inner is not None:
            return self._uncompiled(module, inner)
        self.remember(module, new)
        state: dict[str, Any] = new.__dict__
        for name, value in dict(module.__dict__).items():
            if name in HOOKS:
                state[name] = OrderedDict()
            elif name in CHILDREN or is_replaced_method(module, name, value):
                continue
            elif type(value) in PLAIN:
                state[name] = value
            else:
                with self.copying(f"attribute {name!r} of", module):
                    state[name] = self._value(value)
        state["training"] = False
        state["_compiled_call_impl"] = None
        state["_parameters"] = {
            name: self._parameter(parameter) for name, parameter in dict(module._parameters).items()
        }
        state["_buffers"] = dict(module._buffers)
        state["_modules"] = {
            name: None if child is None else self.module(child)
            for name, child in dict(module._modules).items()
        }
        self._forward_of_class(module, new)
        for name, value in self._standing.get(id(module), {}).items():
            if isinstance(value, dict):
                hooks = cast("dict[int, Any]", value)
                state[name] = OrderedDict(self._hooks(module, hooks))
            else:
                with self.copying(f"{name} of", module):
                    state[name] = self.code(value)
                self.copied.append((f"{name} of", module, state[name], None))
        return new

    def _hooks(self, module: nn.Module, hooks: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """A module's hooks, with modules of the original replaced by their copies."""
        for key, hook in list(hooks.items()):
            what = f"hook {name_of(hook)} of"
            with self.copying(what, module):
                new = self.code(hook)
            self.copied.append((what, module, new, None))
            yield key, new

    def _forward_of_class(self, module: nn.Module, new: nn.Module) -> None:
        """Copy what the class runs where that refers to modules of the original."""
        kind = type(module)
        for name in ("forward", "__call__", "_call_impl"):
            function = inspect.getattr_static(kind, name, None)
            if not isinstance(function, FunctionType):
                continue
            if name == "forward" and self.references.lead_from(function):
                with self.copying(f"the class's {name} in", module):
                    function = self.code(function)
                new.__dict__[name] = MethodType(function, new)
            if kind not in self._kinds:
                self.copied.append((f"the class's {name} in", module, function, kind))
        self._kinds.add(kind)

    def _uncompiled(self, wrapper: nn.Module, inner: nn.Module) -> nn.Module:
        """The copy of a module that `torch.compile` wrapped, with the wrapper's hooks."""
        new = self.module(inner)
        self.remember(wrapper, new)
        for name, value in self._standing.get(id(wrapper), {}).items():
            if isinstance(value, dict):
                hooks: dict[int, Any] = value
                there: Any = vars(new).get(name)
                there.update(self._hooks(wrapper, hooks))
        return new

    def _parameter(self, parameter: nn.Parameter | None) -> Any:
        """An alias of a parameter without gradients; tied parameters stay tied."""
        if parameter is None or (
            type(parameter) is not nn.Parameter and not parameter.requires_grad
        ):
            return parameter  # a quantised or distributed one carries more than its numbers
        return self.tensor(parameter)

    def _value(self, value: Any) -> Any:
        """A plain attribute: containers and configs are copied, modules and code mapped."""
        kind: Any = type(value)
        if kind in (list, tuple, set):
            return kind(self._value(item) for item in list(value))
        if kind in (dict, OrderedDict):
            return kind((self.code(key), self._value(item)) for key, item in list(value.items()))
        if is_config(value):
            if id(value) not in self.copies:
                self.remember(value, _copy_of_config(value))
            return self.copies[id(value)]
        return self.code(value)


def _copy_of_config(config: Any) -> Any:
    """A deep copy of a config, except for values that have none, such as locks."""
    try:
        return copy.deepcopy(config)
    except Exception:
        new = copy.copy(config)
        for name, value in list(vars(config).items()):
            with contextlib.suppress(Exception):
                vars(new)[name] = (
                    _copy_of_config(value) if is_config(value) else copy.deepcopy(value)
                )
        return new


def is_config(value: object) -> bool:
    """Whether a value is a Hugging Face config, which the copy must not share."""
    return hasattr(type(value), "model_type") and hasattr(type(value), "to_dict")
