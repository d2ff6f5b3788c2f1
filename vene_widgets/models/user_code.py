# pyright: basic
# Basic: it copies values of any type.
"""Copies of a user's hooks and replaced methods, with modules of a tree of our own in them."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import copy
import functools
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinMethodType, CellType, FunctionType, MethodType
from typing import Any, cast

from torch import Tensor, nn

from vene_widgets.errors import RequestError
from vene_widgets.models.additions import modules_of
from vene_widgets.models.references import References, globals_read

_ADVICE = (
    "Runs use modules of their own, and cannot put them there: refer to the module by a closure, "
    "an attribute of a plain object, a list or a dict."
)


class _Globals(dict[str, Any]):
    """A function's globals with some names replaced; every other name is looked up as it is now."""

    def __init__(self, real: dict[str, Any]) -> None:
        super().__init__(__builtins__=real.get("__builtins__", __builtins__))
        self._real = real

    def __missing__(self, name: str) -> Any:
        return self._real[name]


class _NoCopy(Exception):
    """A value refers to modules of the original, and cannot be copied."""


class CodeCopier(ABC):
    """Copies functions and objects that refer to modules of a tree.

    Args:
        root: the user's model; it is only read.

    Attributes:
        copies: what was copied, by the `id` of the original.
        copied: hooks and methods of the copy: what each is, its module in the original, the
            callable, and the class that it is a function of.
        holds_values: whether functions or objects of the user's were copied.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._members = {id(module): module for module in modules_of(root)}
        self.references = References(root, self._members)
        self.copies: dict[int, Any] = {}
        self.copied: list[tuple[str, nn.Module, Any, type | None]] = []
        self.holds_values = False
        self._alive: list[object] = []  # an id must not be reused while we map it

    @abstractmethod
    def module(self, module: nn.Module) -> nn.Module:
        """The copy of a module and of everything below it."""

    def remember(self, original: object, new: object) -> None:
        """Note a copy."""
        self.copies[id(original)] = new
        self._alive.append(original)

    def path(self, module: nn.Module) -> str:
        """The path of a module in the model."""
        return next((path for path, found in self._root.named_modules() if found is module), "")

    @contextlib.contextmanager
    def copying(self, what: str, module: nn.Module) -> Iterator[None]:
        """Say of what a value is part that cannot be copied."""
        try:
            yield
        except (_NoCopy, RecursionError) as error:
            holder = "too many objects" if isinstance(error, RecursionError) else str(error)
            raise RequestError(
                f"{what} {self._place(module)} refers to modules of the model through {holder}. "
                f"{_ADVICE}"
            ) from None

    def check(self) -> None:
        """Check that no hook or method of the copy refers to modules of the original.

        Raises:
            RequestError: one does.
        """
        for what, module, code, kind in self.copied:
            if (left := self.references.left_in(code, kind)) is not None:
                raise RequestError(f"{what} {self._place(module)} refers to {left}. {_ADVICE}")

    def _place(self, module: nn.Module) -> str:
        return repr(self.path(module)) if module is not self._root else "the model"

    def tensor(self, tensor: Any) -> Any:
        """An alias of a tensor without gradients."""
        if id(tensor) not in self.copies:
            alias = tensor.detach()
            if type(tensor) is nn.Parameter:
                alias = nn.Parameter(alias, requires_grad=False)
            elif type(alias) is not type(tensor):
                alias = alias.as_subclass(type(tensor))
            cast("dict[str, Any]", alias.__dict__).update(tensor.__dict__)
            self.remember(tensor, alias)
        return self.copies[id(tensor)]

    def code(self, value: Any) -> Any:
        """A value of the user's code, with modules of the original replaced by their copies."""
        if isinstance(value, nn.Module):
            return self.module(value)
        if type(value) is int:
            return id(self.module(self._members[value])) if value in self._members else value
        if isinstance(value, Tensor):
            return self.tensor(value) if value.requires_grad else value
        if isinstance(value, MethodType):
            function, owner = self.code(value.__func__), self.code(value.__self__)
            is_same = function is value.__func__ and owner is value.__self__
            return value if is_same else MethodType(function, owner)
        if type(value) is functools.partial:
            return self._partial(value)
        if id(value) in self.copies:
            return self.copies[id(value)]
        if not self.references.lead_from(value):
            return value  # itself: what a hook writes into it, the user reads
        self.holds_values = True
        return self._function(value) if isinstance(value, FunctionType) else self._object(value)

    def _object(self, value: Any) -> Any:
        """The copy of an object or container that leads to modules of the original."""
        kind: Any = type(value)
        if kind is weakref.ref:
            return weakref.ref(self.code(value()))
        if kind is BuiltinMethodType:  # such as the `get` of a dict
            return getattr(self.code(value.__self__), value.__name__)
        if isinstance(value, (tuple, frozenset)):
            items = [self.code(item) for item in value]
            return kind._make(items) if hasattr(kind, "_make") else kind(items)
        name = f"a {kind.__name__}"
        try:
            new = copy.copy(value)
        except Exception:
            raise _NoCopy(f"{name}, which cannot be copied") from None
        attributes: Any = getattr(value, "__dict__", None)
        if new is value or (attributes is not None and vars(new) is attributes):
            raise _NoCopy(f"{name}, whose copy is the object itself")
        self.remember(value, new)
        slots = [slot for slot in _slots(kind) if hasattr(value, slot)]
        is_container = isinstance(value, (dict, list, set, deque))
        if attributes is None and not slots and not is_container:
            raise _NoCopy(f"{name}, whose contents cannot be replaced")
        if isinstance(value, dict):
            pairs = [(self.code(key), self.code(item)) for key, item in list(value.items())]
            new.clear()
            new.update(pairs)
        elif is_container:
            items = [self.code(item) for item in list(value)]
            new.clear()
            (new.update if isinstance(value, set) else new.extend)(items)
        for name, item in list((attributes or {}).items()):
            vars(new)[name] = self.code(item)
        for slot in slots:
            object.__setattr__(new, slot, self.code(getattr(value, slot)))
        return new

    def _partial(self, partial: functools.partial[Any]) -> functools.partial[Any]:
        arguments = [self.code(item) for item in partial.args]
        named = {key: self.code(item) for key, item in partial.keywords.items()}
        new = functools.partial(self.code(partial.func), *arguments, **named)
        own: dict[str, Any] = partial.__dict__  # such as `__wrapped__`
        new.__dict__.update((key, self.code(item)) for key, item in own.items())
        return new

    def _function(self, function: FunctionType) -> FunctionType:
        """The copy of a function that leads to modules of the original."""
        leads, code = self.references.lead_from, function.__code__
        cells = tuple(
            CellType() if _leads(cell, leads) else cell for cell in function.__closure__ or ()
        )
        replaced = {name: value for name, value in globals_read(function) if leads(value)}
        real = function.__globals__
        space = _Globals(real) if replaced else real
        new = FunctionType(code, space, function.__name__, None, cells)
        self.remember(function, new)  # before its variables, which may hold the function itself
        for cell, old in zip(cells, function.__closure__ or (), strict=True):
            if cell is not old:
                cell.cell_contents = self.code(old.cell_contents)
        space.update((name, self.code(value)) for name, value in replaced.items())
        new.__defaults__ = tuple(map(self.code, function.__defaults__ or ())) or None
        named: dict[str, Any] = function.__kwdefaults__ or {}
        new.__kwdefaults__ = {key: self.code(item) for key, item in named.items()} or None
        own: dict[str, Any] = function.__dict__
        new.__dict__.update((key, self.code(item)) for key, item in own.items())
        new.__qualname__, new.__module__ = function.__qualname__, function.__module__
        return new


def _leads(cell: CellType, leads: Callable[[object], bool]) -> bool:
    """Whether a closure's variable leads to the original; others stay shared with the user's."""
    try:
        return leads(cell.cell_contents)
    except ValueError:  # not assigned yet
        return False


def name_of(code: Any) -> str:
    """The name of a hook, for a sentence."""
    return repr(getattr(code, "__qualname__", type(code).__name__))


def _slots(kind: type) -> list[str]:
    """The attributes that a class and its bases keep in slots."""
    found: list[str] = []
    for base in kind.__mro__:
        slots: Any = vars(base).get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [slot for slot in found if slot not in ("__dict__", "__weakref__")]
