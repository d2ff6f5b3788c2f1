"""Find the Hugging Face model inside compiled and adapted ones, and stand in for a missing one."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from torch import nn

from vene_widgets.errors import RequestError


def unwrapped(model: nn.Module) -> nn.Module:
    """The model whose modules have the family's paths.

    `torch.compile(model)` and a PEFT model with adapters (LoRA and the like) hold it; what they add
    stays in its modules. Compiled code is not used: runs need the modules themselves.

    Raises:
        RequestError: a kind of wrapper that changes what a token's position is, or that hides its
            modules.
    """
    for _ in range(8):  # wrappers may hold wrappers
        inner = _inner(model)
        if inner is None:
            break
        model = inner
    if isinstance(model, _script_module()):
        raise RequestError(
            f"model is a {type(model).__name__}: scripted and traced modules cannot be changed "
            "from outside. Wrap the model that it was made from."
        )
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise RequestError(
            f"model is a {type(model).__name__}, which runs on several devices: wrap its .module."
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


def _script_module() -> type:
    import torch

    return cast("type", torch.jit.ScriptModule)


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
