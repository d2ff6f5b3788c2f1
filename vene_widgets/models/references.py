# pyright: basic
# Basic: it walks values of any type.
"""What a user's code refers to, and whether that leads to modules of a model.

Hooks and replaced methods are copied for a tree of our own (`own_tree`), and what they refer to is
copied as far as it leads to the model. So a hook that recognises its module by identity recognises
the copy.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import dis
import gc
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, cast

from torch import Tensor, nn

LIMIT = 50_000
"""How many values are looked at, so that no search walks through all that a notebook holds."""

_LIBRARIES = sys.stdlib_module_names | {"torch", "transformers", "accelerate", "vene_widgets"}
"""Packages that are not the user's code, wherever they are installed."""

_OPAQUE = frozenset(
    {
        *("torch", "vene_widgets", "threading", "logging", "asyncio"),
        *("IPython", "ipykernel", "ipywidgets", "traitlets", "comm", "tqdm", "zmq", "marimo"),
    }
)
"""Packages whose objects are not followed: torch's handles and graphs, a notebook's machinery."""

PLAIN = frozenset({str, bytes, float, complex, bool, type(None)})


def parts(value: object) -> list[Any]:
    """What a value of the user's code refers to: items, keys, attributes, variables, globals."""
    if isinstance(value, FunctionType):
        return _parts_of_function(value)
    if isinstance(value, weakref.ref):
        target = value()
        return [] if target is None else [target]
    if isinstance(value, (type, ModuleType, Tensor, CodeType, FrameType)) or _is_namespace(value):
        return []
    kind = type(value)
    if kind.__module__ == "vene_widgets.models.language_model":
        return [vars(value).get("model")]
    if _home(kind).partition(".")[0] in _OPAQUE and not isinstance(value, nn.Module):
        return []
    return gc.get_referents(value)


class References:
    """Which values lead to modules of one model.

    Args:
        root: the model.
        members: its modules, by `id`.
    """

    def __init__(self, root: nn.Module, members: Mapping[int, nn.Module]) -> None:
        self._root = root
        self._members = members
        self._seen: dict[int, object] = {}  # alive, so that no id is used twice
        self._leading: set[int] = set()

    def lead_from(self, value: object) -> bool:
        """Whether a value leads to a module, of any model, or a tensor that collects gradients."""
        if _is_plain(value, self._members):
            return False
        if id(value) not in self._seen:
            self._explore(value)
        return id(value) in self._leading

    def _explore(self, start: object) -> None:
        holders: dict[int, list[int]] = {}
        ends: list[int] = []
        self._seen[id(start)] = start
        queue = [start]
        while queue:
            value = queue.pop()
            if self._is_end(value):
                ends.append(id(value))
                continue
            for part in parts(value) if len(self._seen) < LIMIT else ():
                if _is_plain(part, self._members):
                    continue
                holders.setdefault(id(part), []).append(id(value))
                if id(part) in self._leading:
                    ends.append(id(part))
                elif id(part) not in self._seen:
                    self._seen[id(part)] = part
                    queue.append(part)
        while ends:
            end = ends.pop()
            self._leading.add(end)
            ends += [holder for holder in holders.get(end, ()) if holder not in self._leading]

    def _is_end(self, value: object) -> bool:
        if isinstance(value, Tensor):
            return value.requires_grad and value.is_leaf
        return isinstance(value, nn.Module) or self._is_module(value) or _is_device_hook(value)

    def _is_module(self, value: object) -> bool:
        """Whether a value is a module of the model, or the `id` of one."""
        return (value if type(value) is int else id(value)) in self._members

    def left_in(self, code: object, kind: type | None = None) -> str | None:
        """What a callable still refers to of the model, in words; None if nothing.

        Other than `lead_from` it also sees attributes of classes and Python modules that the code
        names. A tree of ours has no copies of those.

        Args:
            code: a hook, a replaced method or a function of a class, as the tree has it.
            kind: the class that it is a function of.
        """
        seen: dict[int, object] = {id(code): code}
        queue: list[tuple[object, str]] = [(code, "")]
        names: set[str] = set()
        spaces: list[Any] = [] if kind is None else [*kind.__mro__]
        while queue and len(seen) < LIMIT:
            value, holder = queue.pop()
            if self._is_module(value):
                return f"{self._path(value)} through {holder or 'itself'}"
            found: list[tuple[object, str]] = []
            if isinstance(value, FunctionType) and not _is_library(
                value.__globals__.get("__name__")
            ):
                holder = f"the function {value.__qualname__}"
                names |= names_of(value.__code__)[1]
                found += _attributes(spaces, names)
            elif isinstance(value, (type, ModuleType)):
                new = value.__mro__ if isinstance(value, type) else (value,)
                spaces += (new := [space for space in new if not _is_library(_home(space))])
                found += _attributes(new, names)
            elif not isinstance(value, (tuple, list, dict)):
                holder = f"a {type(value).__name__}"
            if not isinstance(value, nn.Module):
                found += [(part, holder) for part in parts(value)]
            for part, by in found:
                if id(part) not in seen and not _is_plain(part, self._members):
                    seen[id(part)] = part
                    queue.append((part, by))
        return None

    def _path(self, value: object) -> str:
        module: object = self._members[value] if type(value) is int else value
        paths = (path for path, found in self._root.named_modules() if found is module)
        return repr(next(paths, "")) if module is not self._root else "the model"


def is_users_object(value: object) -> bool:
    """Whether a value is an object of a class that the user wrote, or a `SimpleNamespace`."""
    if isinstance(value, (nn.Module, Tensor, type, ModuleType, FunctionType)):
        return False
    kind = type(value)
    return kind is SimpleNamespace or not _is_library(_home(kind))


def _is_device_hook(value: object) -> bool:
    """Whether a value is a hook of accelerate, which notes on itself where a pass's inputs were.

    Each tree needs its own, though such a hook does not refer to its module.
    """
    return any(cls.__module__ == "accelerate.hooks" for cls in type(value).__mro__)


@lru_cache(maxsize=1024)
def names_of(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals that a function's code reads, inner functions included, and all its names."""
    codes = [code]
    names = set[str]()
    for inner in codes:
        codes += [const for const in inner.co_consts if isinstance(const, CodeType)]
        reads = (i for i in dis.get_instructions(inner) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
        names |= {read.argval for read in reads}
    return frozenset(names), frozenset(name for inner in codes for name in inner.co_names)


def globals_read(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The globals that a user's function reads, with their values now."""
    space: dict[str, Any] = function.__globals__
    if _is_library(space.get("__name__")):
        return
    for name in names_of(function.__code__)[0]:
        with contextlib.suppress(KeyError):  # a builtin, or not assigned yet
            yield name, space[name]


def _parts_of_function(function: FunctionType) -> list[Any]:
    found = list[Any](function.__defaults__ or ())
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not assigned yet
            found.append(cell.cell_contents)
    found += (function.__kwdefaults__ or {}).values()
    found += function.__dict__.values()
    return found + [value for _, value in globals_read(function)]


def _attributes(spaces: Iterable[Any], names: set[str]) -> list[tuple[object, str]]:
    """Attributes of classes and Python modules that code names, and what they are called."""
    return [
        (vars(space)[name], f"{space.__name__}.{name}")
        for space in spaces
        for name in names & vars(space).keys()
    ]


def _is_plain(value: object, members: Mapping[int, object]) -> bool:
    """Whether a value refers to nothing."""
    kind = type(value)
    if kind is int:
        return value not in members
    return kind in PLAIN or (kind is BuiltinFunctionType and value.__self__ is None)  # pyright: ignore[reportAttributeAccessIssue]


def _is_namespace(value: object) -> bool:
    """Whether a value is the dict of a Python module's globals."""
    return type(value) is dict and "__builtins__" in cast("dict[object, object]", value)


@lru_cache(maxsize=1024)
def _is_library(home: object) -> bool:
    """Whether a Python module, by its name, is installed, so not the user's code."""
    package = str(home).partition(".")[0]
    if package in _LIBRARIES:
        return True
    file = getattr(sys.modules.get(str(home)), "__file__", None)
    if not isinstance(file, str):
        return False
    top = getattr(sys.modules.get(package), "__file__", None)
    return any(_is_library_path(one) for one in (file, top) if isinstance(one, str))


@cache
def _is_library_path(file: str) -> bool:
    """Whether a file of a Python package is where packages are installed.

    Such a folder is called `site-packages`, or `dist-packages` on Debian and Colab; with
    `pip install --target` it may have any name, and holds what pip notes about each package.
    """
    path = Path(file)
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    return next(folder.glob("*.dist-info"), None) is not None


def _home(owner: Any) -> str:
    """The name of a Python module, or of the one that a class is from."""
    return str(owner.__name__ if isinstance(owner, ModuleType) else owner.__module__)
