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
import functools
from collections import OrderedDict
from collections.abc import Mapping
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from torch import Tensor, nn

from vene_widgets.models.additions import (
    CHILDREN,
    HOOKS,
    Additions,
    additions,
    is_replaced_method,
    modules_of,
)

CAPTURE_MODULE = "transformers.utils.output_capturing"
"""Module that defines the hooks which transformers registers at the first call with
`output_hidden_states=True` and never removes. They do nothing in other calls."""

_DEPTH, _ITEMS = 6, 1024
"""How far, and into how many items, references of the user's code are followed."""


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
    return _Copier(root, additions(root) if standing is None else standing).module(root)


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


class _Globals(dict[str, Any]):
    """A function's globals with some names replaced; every other name is looked up as it is now."""

    def __init__(self, real: dict[str, Any], replaced: Mapping[str, Any]) -> None:
        super().__init__(replaced, __builtins__=real.get("__builtins__", __builtins__))
        self._real = real

    def __missing__(self, name: str) -> Any:
        return self._real[name]


class _Copier:
    """Copies one tree; `_copies` maps the ids of what was copied to the copies."""

    def __init__(self, root: nn.Module, standing: Additions) -> None:
        self._standing = standing
        self._members = {id(module) for module in modules_of(root)}
        self._copies: dict[int, Any] = {}
        self._alive: list[object] = []  # an id must not be reused while we map it

    def module(self, module: nn.Module) -> nn.Module:
        """The copy of a module and of everything below it."""
        if id(module) in self._copies:
            return self._copies[id(module)]
        if (inner := module._modules.get("_orig_mod")) is not None:
            return self._uncompiled(module, inner)
        kind = type(module)
        new = kind.__new__(kind)
        self._remember(module, new)
        state: dict[str, Any] = new.__dict__
        for name, value in dict(module.__dict__).items():
            if name in HOOKS:
                state[name] = OrderedDict()
            elif name in CHILDREN or is_replaced_method(module, name, value):
                continue
            else:
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
        for name, value in self._standing.get(id(module), {}).items():
            if isinstance(value, dict):
                hooks = cast("dict[int, Any]", value)
                state[name] = OrderedDict((key, self._code(hook)) for key, hook in hooks.items())
            else:
                state[name] = self._code(value)
        return new

    def _uncompiled(self, wrapper: nn.Module, inner: nn.Module) -> nn.Module:
        """The copy of a module that `torch.compile` wrapped, with the wrapper's hooks."""
        new = self.module(inner)
        self._remember(wrapper, new)
        for name, value in self._standing.get(id(wrapper), {}).items():
            if isinstance(value, dict):
                hooks: dict[int, Any] = value
                there: Any = vars(new).get(name)
                there.update((key, self._code(hook)) for key, hook in hooks.items())
        return new

    def _parameter(self, parameter: nn.Parameter | None) -> nn.Parameter | None:
        """An alias of a parameter without gradients; tied parameters stay tied."""
        if parameter is None or type(parameter) is not nn.Parameter:
            return parameter  # a quantised or distributed one carries more than its numbers
        if id(parameter) not in self._copies:
            alias = nn.Parameter(parameter.detach(), requires_grad=False)
            cast("dict[str, Any]", alias.__dict__).update(parameter.__dict__)
            self._remember(parameter, alias)
        return self._copies[id(parameter)]

    def _value(self, value: Any) -> Any:
        """A plain attribute: containers and configs are copied, modules and code mapped."""
        kind: Any = type(value)
        if kind in (list, tuple, set):
            return kind(self._value(item) for item in list(value))
        if kind in (dict, OrderedDict):
            return kind((key, self._value(item)) for key, item in list(value.items()))
        if is_config(value):
            if id(value) not in self._copies:
                self._remember(value, copy.deepcopy(value))
            return self._copies[id(value)]
        return self._code(value)

    def _code(self, value: Any) -> Any:
        """Something callable, with modules of the original replaced by their copies."""
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, MethodType):
            function, owner = self._code(value.__func__), self._code(value.__self__)
            is_same = function is value.__func__ and owner is value.__self__
            return value if is_same else MethodType(function, owner)
        if type(value) is functools.partial:
            partial = cast("functools.partial[Any]", value)
            arguments = [self._code(item) for item in partial.args]
            named = {key: self._code(item) for key, item in partial.keywords.items()}
            new = functools.partial(self._code(partial.func), *arguments, **named)
            new.__dict__.update(partial.__dict__)
            return new
        if isinstance(value, FunctionType):
            return self._function(value)
        return self._object(value)

    def _object(self, value: Any) -> Any:
        """An object or container of the user's code, copied if it refers to the original."""
        if id(value) in self._copies:
            return self._copies[id(value)]
        if not self._reaches(value, _DEPTH, set()):
            return value  # itself: what a hook writes into it, the user reads
        kind: Any = type(value)
        if kind in (list, tuple, set):
            return kind(self._code(item) for item in list(value))
        if kind in (dict, OrderedDict):
            return kind((key, self._code(item)) for key, item in list(value.items()))
        try:
            new = copy.copy(value)
        except Exception:  # an object that cannot be copied keeps what it refers to
            return value
        self._remember(value, new)
        attributes: dict[str, Any] = vars(value)
        for name, item in list(attributes.items()):
            new.__dict__[name] = self._code(item)
        return new

    def _reaches(self, value: object, depth: int, seen: set[int]) -> bool:
        """Whether a value of the user's code refers to a module of the original."""
        if isinstance(value, nn.Module):
            return id(value) in self._members
        if depth == 0 or id(value) in seen or isinstance(value, (type, ModuleType, Tensor)):
            return False
        if _is_device_hook(value):
            return True  # of its module alone, though it does not refer to it
        seen.add(id(value))
        return any(self._reaches(part, depth - 1, seen) for part in _parts(value))

    def _function(self, function: FunctionType) -> FunctionType:
        """The function itself unless its closure, defaults or globals refer to the original."""
        if id(function) in self._copies:
            return self._copies[id(function)]
        self._remember(function, function)  # it may refer to itself
        closure = function.__closure__ or ()
        cells = tuple(self._cell(cell) for cell in closure)
        defaults = function.__defaults__ or ()
        new_defaults = tuple(self._code(item) for item in defaults)
        named: dict[str, Any] = dict(function.__kwdefaults__ or {})
        new_named = {key: self._code(item) for key, item in named.items()}
        real = function.__globals__
        replaced = {
            name: self._code(real[name])
            for name in function.__code__.co_names
            if self._refers_to_original(real.get(name))
        }
        is_same = (
            not replaced
            and all(a is b for a, b in zip(cells, closure, strict=True))
            and all(a is b for a, b in zip(new_defaults, defaults, strict=True))
            and all(new_named[key] is named[key] for key in named)
        )
        if is_same:
            return function
        new = FunctionType(
            function.__code__,
            _Globals(real, replaced) if replaced else real,
            function.__name__,
            new_defaults or None,
            cells,
        )
        new.__kwdefaults__ = new_named or None
        new.__dict__.update(function.__dict__)
        new.__qualname__, new.__module__ = function.__qualname__, function.__module__
        self._remember(function, new)
        return new

    def _cell(self, cell: CellType) -> CellType:
        """A closure's variable: the same cell unless it holds something of the original."""
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            return cell
        new = self._code(content)
        return cell if new is content else CellType(new)

    def _refers_to_original(self, value: object) -> bool:
        """Whether a global is a module of the tree, or a method of one."""
        owner = value.__self__ if isinstance(value, MethodType) else value
        return isinstance(owner, nn.Module) and id(owner) in self._members

    def _remember(self, original: object, new: object) -> None:
        self._copies[id(original)] = new
        self._alive.append(original)


def _is_device_hook(value: object) -> bool:
    """Whether a value is a hook of accelerate, which notes on itself where a pass's inputs were."""
    return any(cls.__module__ == "accelerate.hooks" for cls in type(value).__mro__)


def _parts(value: object) -> list[object]:
    """What a value of the user's code refers to: items, attributes, variables of a closure."""
    if isinstance(value, (list, tuple, set)):
        return list(cast("Any", value))[:_ITEMS]
    if isinstance(value, dict):
        return list(cast("dict[object, object]", value).values())[:_ITEMS]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        partial = cast("functools.partial[object]", value)
        return [partial.func, *partial.args, *partial.keywords.values()]
    if isinstance(value, FunctionType):
        cells: list[object] = []
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # not assigned yet
                cells.append(cell.cell_contents)
        named: dict[str, object] = dict(value.__kwdefaults__ or {})
        return [*cells, *(value.__defaults__ or ()), *named.values()]
    if type(value).__module__.partition(".")[0] == "vene_widgets":
        return []
    attributes: Any = getattr(value, "__dict__", None)
    return list(attributes.values()) if type(attributes) is dict else []


def is_config(value: object) -> bool:
    """Whether a value is a Hugging Face config, which the copy must not share."""
    return hasattr(type(value), "model_type") and hasattr(type(value), "to_dict")
