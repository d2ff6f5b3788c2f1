# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""Fingerprints of a model: whether it is still the one that a result came from.

A fingerprint sees, of the user's tree: identity and class of every module, its plain attributes
and its config, the functions of the classes, every tensor's storage and version counter, and
sampled values of every tensor, because fused optimisers and writes through `.data` move no counter.
It also sees what acts on every module from outside: autocast, torch's global hooks, the registries
of attention and mask functions, `torch.nn.functional` (`surroundings`). Hooks and replaced methods
of single modules are compared apart, because those that come and go in other cells are not
part of the model (`own_tree.additions`).
"""

# A module's parts are in private attributes of torch.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn

from vene_widgets.models.additions import CHILDREN, HOOKS, Additions, modules_of
from vene_widgets.models.checksums import (
    bytes_of,
    chunks_of,
    is_plain,
    parts_of,
    samples_of,
    storage_of,
    weighted_sum,
)
from vene_widgets.models.own_tree import is_config
from vene_widgets.models.surroundings import attention_kind, globals_of, surroundings

_SCALARS = frozenset(
    {int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device, torch.Size}
)
_SKIPPED = (
    HOOKS
    | CHILDREN
    | {
        "training",
        "_compiled_call_impl",
        "_is_torch_compile",
        "_non_persistent_buffers_set",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
    }
)
"""Attributes that no forward pass of ours depends on, or that are read apart."""

_DEPTH, _ITEMS = 4, 4096


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """A state of a model. Equal fingerprints are the same model, as far as a sample can tell.

    Attributes:
        structure: modules, classes, plain attributes, configs, functions.
        surroundings: autocast, global hooks, functions that modules of every family call.
        additions: hooks and replaced methods that take part.
        storage: address and version counter of every tensor.
        values: sampled values of every tensor.
        epoch: raised by hand, when a full checksum found what the sample did not see.
    """

    structure: tuple[object, ...]
    surroundings: tuple[object, ...]
    additions: tuple[object, ...]
    storage: tuple[tuple[object, object], ...]
    values: bytes
    epoch: int = 0

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Fingerprint):
            return NotImplemented
        return self.difference(other) is None

    def __repr__(self) -> str:
        return f"<Fingerprint of {len(self.storage)} tensors>"

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # compared, never a key

    def has_same_tree(self, other: Fingerprint) -> bool:
        """Whether a tree made in one state serves the other: only numbers may differ."""
        return (
            self.structure == other.structure
            and self.additions == other.additions
            and [address for address, _ in self.storage]
            == [address for address, _ in other.storage]
        )

    def difference(self, other: Fingerprint) -> str | None:
        """What has changed from this state to another, as a noun phrase; None if nothing."""
        if self.structure != other.structure:
            return "its modules or their settings"
        if self.additions != other.additions:
            return "its hooks or replaced methods"
        if self.surroundings != other.surroundings:
            return "autocast, global hooks or functions that its modules call"
        if self.values != other.values or self.storage != other.storage:
            return "its weights"
        return None if self.epoch == other.epoch else "its weights"


class ModelWatch:
    """Takes fingerprints of one model; what it can reuse from the last one, it does.

    Args:
        root: the user's model; it is only read.
    """

    def __init__(self, root: nn.Module) -> None:
        self.root = root
        self.epoch = 0
        """Raise it when a checksum found a change that the samples do not see."""
        self._storage: tuple[tuple[object, object], ...] = ()
        self._samples: list[Tensor] = []
        self._alive: list[object] = []  # an id in a fingerprint must not be reused
        self._last: Fingerprint | None = None

    def fingerprint(self, standing: Additions) -> Fingerprint:
        """The state of the model now.

        Args:
            standing: hooks and replaced methods that take part (`own_tree.additions`).

        Returns:
            The last fingerprint itself if nothing has changed.
        """
        reader = _StructureReader(standing)
        kinds = dict[object, None]()
        for module in modules_of(self.root):
            reader.read(module)
            kinds[attention_kind(module)] = None
        storage = tuple(storage_of(tensor) for tensor in reader.tensors)
        structure = tuple(reader.found)
        if [address for address, _ in storage] != [address for address, _ in self._storage]:
            self._samples = [samples_of(tensor) for tensor in reader.tensors]
        self._storage = storage
        found = Fingerprint(
            structure=structure,
            surroundings=surroundings(self.root, kinds),
            additions=tuple(reader.additions),
            storage=storage,
            values=bytes_of(self._samples),
            epoch=self.epoch,
        )
        self._alive = [*reader.alive, *reader.tensors]
        if self._last is None or self._last != found:
            self._last = found
        return self._last

    def checksum(self) -> Iterator[int | None]:
        """Read every number of the model, a chunk per step; the last step yields the checksum.

        It depends on the order of the numbers. It is compared with itself only.
        """
        total = 0
        for module in modules_of(self.root):
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is None:
                    continue
                for part in parts_of(tensor.detach()):
                    for chunk in chunks_of(part):
                        total = (total * 1000003 + weighted_sum(chunk)) % 2**61
                        yield None
        yield total


class _StructureReader:
    """Flattens modules into comparable values."""

    def __init__(self, standing: Additions) -> None:
        self.found: list[object] = []
        self.additions: list[object] = []
        self.tensors: list[Tensor] = []
        self.alive: list[object] = []
        self._standing = standing
        self._classes: set[type] = set()
        self._seen: set[int] = set()

    def read(self, module: nn.Module) -> None:
        """Add one module: class, plain attributes, which parameters and children it has."""
        kind, found = type(module), self.found
        found += (id(module), kind)
        self.alive.append(module)
        if kind not in self._classes:
            self._classes.add(kind)
            found.append(_functions(kind))
        own = self._standing.get(id(module))
        for name, value in dict(module.__dict__).items():
            if name in _SKIPPED:
                continue
            if type(value) in _SCALARS:
                found += (name, value)
            elif own is None or name not in own:
                if callable(value) and not isinstance(value, nn.Module) and hasattr(kind, name):
                    continue  # a replaced method that does not take part
                found.append(name)
                self._add(value, _DEPTH)
        for tensors in (module._parameters, module._buffers):
            for name, tensor in dict(tensors).items():
                if tensor is None:
                    found.append(name)
                    continue
                found += (name, id(tensor), tensor.dtype, tensor.shape)
                self._add_tensor(tensor)
        found += [
            name if child is None else id(child) for name, child in dict(module._modules).items()
        ]
        if own:
            for name, value in own.items():
                hooks: dict[int, object] = value if isinstance(value, dict) else {0: value}
                items = tuple(hooks.values())
                self.additions += (id(module), name, *(id(item) for item in items))
                self.alive += items

    def _add(self, value: object, depth: int) -> None:
        """Add any value: containers by their items, configs by their fields, others by identity."""
        kind = type(value)
        if kind in _SCALARS:
            self.found.append(value)
            return
        if depth and kind in (list, tuple, set, frozenset):
            items = cast("list[object]", list(cast("Any", value)))
            self.found.append(len(items))
            for item in items[:_ITEMS]:
                self._add(item, depth - 1)
            return
        if depth and isinstance(value, dict):
            entries = cast("dict[object, object]", value)
            self.found.append(len(entries))
            for key, item in list(entries.items())[:_ITEMS]:
                self.found.append(key if type(key) in _SCALARS else id(key))
                self._add(item, depth - 1)
            return
        if isinstance(value, Tensor):
            self.found.append(id(value))
            if not value.is_meta:
                self._add_tensor(value)
            self.alive.append(value)
            return
        self.found.append(id(value))
        self.alive.append(value)
        plain = not isinstance(value, (nn.Module, type, FunctionType)) and not callable(value)
        if depth and id(value) not in self._seen and (is_config(value) or plain):
            self._seen.add(id(value))
            self._add(getattr(value, "__dict__", None), depth - 1)

    def _add_tensor(self, tensor: Tensor) -> None:
        """Add the tensors that hold a tensor's numbers."""
        if not is_plain(tensor):
            self.alive.append(tensor)
        self.tensors += parts_of(tensor)


def _functions(kind: type) -> tuple[object, ...]:
    """What a module class runs: its functions, properties and such, those of its modelling file."""
    found: list[object] = []
    for cls in kind.__mro__:
        if cls is nn.Module or cls is object:
            break
        for value in list(vars(cls).values()):
            if type(value) in _SCALARS or hasattr(type(value), "__get__"):
                found.append(value)
    if kind.__module__.startswith("transformers.models."):
        names = globals_of(kind.__module__)
        found += [value for value in names.values() if isinstance(value, FunctionType)]
    return tuple(found)
