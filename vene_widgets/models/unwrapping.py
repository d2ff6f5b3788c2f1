# pyright: basic
# Basic: it reads attributes of torch modules that are private or untyped.
"""Find the Hugging Face model inside compiled and adapted ones, and stand in for a missing one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NoReturn, cast

from vene_widgets.errors import RequestError

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Self


def unwrapped(model: nn.Module) -> nn.Module:
    """The model whose modules have the family's paths.

    `torch.compile(model)` and a PEFT model with adapters (LoRA and the like) hold it; what they add
    stays in its modules. Compiled code is not used: runs need the modules themselves.

    Raises:
        RequestError: a kind of wrapper that changes what a token's position is, or that hides its
            modules.
    """
    from torch import jit, nn

    for _ in range(8):  # wrappers may hold wrappers
        inner = _inner(model)
        if inner is None:
            break
        model = inner
    if isinstance(model, cast("type", jit.ScriptModule)):
        raise RequestError(
            f"model is a {type(model).__name__}: scripted and traced modules cannot be changed "
            "from outside. Wrap the model that it was made from."
        )
    kind = type(model)
    if issubclass(kind, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise RequestError(
            f"model is a {kind.__name__}, which runs on several devices: wrap its .module."
        )
    return model


def _inner(model: nn.Module) -> nn.Module | None:
    """What a wrapper holds; None if the model is no wrapper."""
    compiled = model.__dict__.get("_modules", {}).get("_orig_mod")
    if compiled is not None:
        return compiled
    peft: Any = model
    if not hasattr(type(model), "get_base_model") or not hasattr(model, "peft_config"):
        return None
    config: Any = getattr(peft, "active_peft_config", None)
    if getattr(config, "is_prompt_learning", False):
        raise RequestError(
            f"model is a {type(model).__name__} with {type(config).__name__}: its virtual tokens "
            "have no place in a prompt, so positions would be shifted without a sign. Wrap its "
            "base model, or use an adapter such as LoRA."
        )
    return cast("nn.Module", peft.get_base_model())


class _WithoutWeights:
    """Stands for the weights that a pickled result does not carry."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise RequestError(
            f"this result was pickled without the weights of {self._name!r}, so it can be read but "
            "not run again. Load the model and run its .experiment."
        )


def without_weights(name: str) -> Any:
    """A stand-in for a model; using it raises a `RequestError`."""
    return _WithoutWeights(name)


def is_without_weights(model: object) -> bool:
    """Whether a model is such a stand-in."""
    return isinstance(model, _WithoutWeights)


class PickledWithoutWeights:
    """Results with a `model`: a pickle of one has a stand-in for it, a copy shares it.

    Either way tensors lose the graph of their gradients, which cannot be copied.
    """

    def __getstate__(self) -> dict[str, Any]:
        state = {name: _without_graph(value) for name, value in self.__dict__.items()}
        return {**state, "model": state["model"].without_weights()}

    def __copy__(self) -> Self:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        model: Any = self.__dict__["model"]
        memo[id(model)] = model
        new = object.__new__(type(self))
        for name, value in self.__dict__.items():
            new.__dict__[name] = copy.deepcopy(_without_graph(value), memo)
        return new


def _without_graph(value: Any) -> Any:
    from torch import Tensor

    return value.detach() if isinstance(value, Tensor) else value
