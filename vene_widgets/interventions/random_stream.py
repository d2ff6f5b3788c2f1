"""RandomStream: random numbers of our own for code that draws from torch's global generator.

The constructors of user-defined classes, such as `nn.Linear`'s, draw without a generator. Seeding
the global one for them would be a race: its state belongs to the user, whose code may draw from it
on another thread at the same time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_Function: TypeAlias = Callable[..., Any]


def _named(owner: object, names: str) -> list[_Function]:
    """The functions of some names that this version of torch has."""
    return [getattr(owner, name) for name in names.split() if hasattr(owner, name)]


_CREATE_RANDOM = frozenset(_named(torch, "rand randint randn randperm"))
_SAMPLE = frozenset(
    [
        *_named(torch, "bernoulli binomial multinomial normal poisson"),
        *_named(torch, "_sample_dirichlet _standard_gamma"),
        *_named(Tensor, "bernoulli multinomial bernoulli_ cauchy_ exponential_ geometric_"),
        *_named(Tensor, "log_normal_ normal_ random_ uniform_"),
    ]
)
# Functions that take no generator in every version of torch, and their fill with one.
_LIKE: dict[_Function, _Function] = {
    torch.rand_like: Tensor.uniform_,
    torch.randn_like: Tensor.normal_,
    torch.randint_like: Tensor.random_,
}
_CREATE = frozenset(
    [
        *_named(torch, "arange as_tensor asarray empty empty_strided eye full linspace logspace"),
        *_named(torch, "ones range scalar_tensor tensor tril_indices triu_indices zeros"),
        *_CREATE_RANDOM,
    ]
)


class RandomStream(TorchFunctionMode):
    """Context in which torch draws from generators that start at a seed, on this thread only.

    Draws that name no generator get one; its numbers are those that the global generator would give
    after `torch.manual_seed(seed)`, bit for bit. The global generators are neither read nor set.
    Dropout takes no generator in torch and is not covered; constructors have none.
    Tensors that name no device are created on the CPU, whatever the default device is, so that a
    seed gives the same numbers everywhere.

    Args:
        seed: where the stream starts.
        device: where tensors are created that name no device; `meta` takes all of them, so that
            shapes can be seen without memory.
    """

    def __init__(self, seed: int, device: str = "cpu") -> None:
        super().__init__()
        self._seed = seed
        self._device = torch.device(device)
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self,
        func: _Function,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        # These two take the device of the tensor that they are given.
        converts = func in (torch.as_tensor, torch.asarray) and isinstance(args[0], Tensor)
        if func in _CREATE and self._device.type == "meta":
            named = {**named, "device": self._device, "generator": None}
            if func not in _CREATE_RANDOM:
                del named["generator"]
        elif func in _CREATE and named.get("device") is None and not converts:
            named["device"] = self._device
        if named.get("generator") is not None:
            return func(*args, **named)
        if func in _LIKE:
            return self._fill_like(_LIKE[func], *args, **named)
        if func in _CREATE_RANDOM or func in _SAMPLE or _is_initializer(func):
            tensors = [x for x in (*args, *named.values()) if isinstance(x, Tensor)]
            device = tensors[0].device if tensors else named.get("device") or "cpu"
            named["generator"] = self._generator_for(torch.device(device))
        return func(*args, **named)

    def _fill_like(self, fill: _Function, *args: Any, **named: Any) -> Tensor:
        """A new tensor like the first argument, filled with random numbers."""
        bounds = [*args[1:], *(named.pop(name) for name in ("low", "high") if name in named)]
        named.pop("generator", None)
        like = named.pop("input") if "input" in named else args[0]
        requires_grad = named.pop("requires_grad", False)
        new = torch.empty_like(like, **named)
        if len(bounds) == 1:  # `high` alone
            bounds = [0, *bounds]
        return fill(new, *bounds, generator=self._generator_for(new.device)).requires_grad_(
            requires_grad
        )

    def _generator_for(self, device: torch.device) -> torch.Generator | None:
        """The stream's generator on a device; None on `meta`, where nothing is drawn."""
        if device.type == "meta":
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


@lru_cache(maxsize=256)
def _is_initializer(func: _Function) -> bool:
    """Whether a function is one of `torch.nn.init` with a generator among its parameters."""
    if getattr(func, "__module__", None) != "torch.nn.init":
        return False
    return "generator" in inspect.signature(func).parameters
