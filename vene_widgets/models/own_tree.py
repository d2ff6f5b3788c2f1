"""A module tree of our own over the user's weights.

The engine never runs the user's modules. It runs a copy of the tree that shares parameters and
buffers with them and nothing else: train/eval flags, hooks, replaced methods, configs and plain
attributes are the copy's own. So the user may train, switch modes or register hooks in another
cell, even in the middle of a pass, and an interrupted run leaves nothing behind.

Parameters are aliases without gradients (same storage, `requires_grad=False`), so no pass of ours
adds to a `.grad`, and gradients that a run needs flow to whatever an intervention brings in.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType, MethodType
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


def own_tree(root: nn.Module, standing: Additions | None = None) -> nn.Module:
    """Copy a module tree: parameters and buffers are shared, everything else is the copy's own.

    The copy is in evaluation mode and runs without `torch.compile`. Hooks and replaced methods act
    in it as they do in the original: where they refer to modules of the original (as `self`, in a
    closure, a default, a partial or a global of the user's code), the copy's take their place.

    Args:
        root: the user's model; it is only read.
        standing: hooks and replaced methods to copy, as `additions` gives them; None for those
            that the model carries now.
    """
    return _Copier(root, additions(root) if standing is None else standing).module(root)


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
        kind = type(module)
        new = cast("nn.Module", kind.__new__(kind))
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

    def _parameter(self, parameter: nn.Parameter | None) -> nn.Parameter | None:
        """An alias of a parameter without gradients; tied parameters stay tied."""
        if parameter is None or type(parameter) is not nn.Parameter:
            return parameter  # a quantised or distributed one carries more than its numbers
        if id(parameter) not in self._copies:
            alias = nn.Parameter(parameter.detach(), requires_grad=False)
            alias.__dict__.update(parameter.__dict__)
            self._remember(parameter, alias)
        return self._copies[id(parameter)]

    def _value(self, value: Any) -> Any:
        """A plain attribute: containers and configs are copied, modules and code mapped."""
        kind = type(value)
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
            if not isinstance(value.__self__, nn.Module):
                return value
            function = self._code(value.__func__)
            return MethodType(function, self.module(value.__self__))
        if type(value) is functools.partial:
            partial = cast("functools.partial[Any]", value)
            arguments = [self._code(item) for item in partial.args]
            named = {key: self._code(item) for key, item in partial.keywords.items()}
            new = functools.partial(self._code(partial.func), *arguments, **named)
            new.__dict__.update(partial.__dict__)
            return new
        if isinstance(value, FunctionType):
            return self._function(value)
        return value

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


def is_config(value: object) -> bool:
    """Whether a value is a Hugging Face config, which the copy must not share."""
    return hasattr(type(value), "model_type") and hasattr(type(value), "to_dict")
