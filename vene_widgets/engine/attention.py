"""Functions in place of attention, or of its weights, inside a family's own modules.

A block works on each row of its input alone, except where queries meet keys. transformers calls a
function there, chosen by name (`transformers.AttentionInterface`). Ours is registered once, under a
name that no config has; for the length of a pass the attention modules of the engine's own tree get
a config that has it. Masks are made elsewhere, by the true name.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch

from vene_widgets.errors import RequestError
from vene_widgets.models.module_state import HELD
from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel

NAME = "vene_widgets"
"""Our name in the registry of transformers."""

_SLOT = "_vene_widgets_attend"

_FUNCTIONS = "_vene_widgets_weights"

Attention = Callable[["Tensor", "Tensor", "Tensor", "Tensor | None"], "Tensor"]
"""A model's own attention: queries `(batch, heads, rows, d_head)`, keys and values
`(batch, key-value heads, positions, d_head)` and a mask to `(batch, rows, heads, d_head)`."""


class StandIn(Protocol):
    """What takes the place of attention; it is given the model's own, and may call it.

    It returns what attention returns, or that and the weights `(batch, queries, heads, keys)`, for
    hooks that read them.
    """

    def __call__(
        self,
        layer: int,
        own: Attention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
    ) -> Tensor | tuple[Tensor, Tensor]: ...


@contextmanager
def stand_in_for_attention(
    model: LanguageModel, function: StandIn, layers: Iterable[int] | None = None
) -> Generator[None, None, None]:
    """Let blocks of `LanguageModel.net` call a function where they compute attention.

    Args:
        model: a model whose `Architecture.attention_method` is not None.
        function: what is called.
        layers: which blocks; None for all of them.
    """
    architecture = model.sites.architecture
    configs: dict[int, Any] = {}
    with ExitStack() as stack:
        for layer in range(model.sites.layers) if layers is None else layers:
            module = module_at(model.block(layer), architecture.attention)
            if method := architecture.attention_method:
                own = getattr(module, method)
                _set(stack, module, method, partial(_method, function, layer, own))
            else:
                config: Any = module.config
                if id(config) not in configs:
                    configs[id(config)] = _renamed(config)
                # Inside another stand-in, that one is called in place of the model's own.
                own = vars(module).get(_SLOT) or _function(config, architecture.code)
                _set(stack, module, "config", configs[id(config)])
                _set(stack, module, _SLOT, partial(_interface, function, layer, own))
        yield


@contextmanager
def hooked_weights(
    model: LanguageModel, functions: Mapping[int, Callable[[Tensor], Tensor | None]]
) -> Generator[None, None, None]:
    """Let functions read or replace attention weights.

    Attention is linear in its values, so the model's own attention gives the weights themselves
    where the identity matrix stands in for the values: with its own scale, mask and softmax. Only
    the rows of queries and heads that a function changes get new outputs.

    Args:
        model: as for `stand_in_for_attention`.
        functions: layer -> a function of the weights after the softmax, `(batch, queries, heads,
            keys)`; it may return new ones.

    Raises:
        RequestError: while the model runs, if its attention is not linear in its values.
    """
    found: dict[int, list[Callable[[Tensor], Tensor | None]]] = {}

    def stand_in(
        layer: int, own: Attention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        keys = value.shape[-2]
        unit = torch.eye(keys, dtype=value.dtype, device=value.device)
        weights = own(query, key, unit.expand(*value.shape[:2], keys, keys), mask)
        attended = own(query, key, value, mask)
        values = value.repeat_interleave(query.shape[1] // value.shape[1], 1)
        _require_close(_attend(weights, values), attended, layer, model)
        new = weights
        for function in found[layer]:
            changed = function(new)
            new = new if changed is None else changed
        if new.requires_grad:
            return _attend(new, values), new
        # Rows with the same weights have the model's own numbers, bit for bit.
        is_changed = (new != weights).any(-1, keepdim=True)
        if not is_changed.any():
            return attended, new
        return torch.where(is_changed, _attend(new, values), attended), new

    with ExitStack() as stack:
        for layer, function in functions.items():
            module = module_at(model.block(layer), model.sites.architecture.attention)
            # Inside another `hooked_weights` the function follows that one's.
            if (outer := vars(module).get(_FUNCTIONS)) is not None:
                outer.append(function)
                stack.callback(outer.remove, function)
            else:
                found[layer] = [function]
                _set(stack, module, _FUNCTIONS, found[layer])
        if found:
            stack.enter_context(stand_in_for_attention(model, stand_in, found))
        yield


def _attend(weights: Tensor, values: Tensor) -> Tensor:
    """Weights `(batch, queries, heads, keys)` times values `(batch, heads, keys, d_head)`."""
    return (weights.transpose(1, 2) @ values).transpose(1, 2)


def _require_close(found: Tensor, own: Tensor, layer: int, model: LanguageModel) -> None:
    """Check that weights times values are what the model's attention computes."""
    with torch.no_grad():
        error, size = (found - own).abs().max(), own.abs().max()
    if error > 64 * torch.finfo(own.dtype).eps * size.clamp(min=1e-6):
        raise RequestError(
            f"the attention weights of layer {layer} of {model.name} cannot be told: times the "
            "values they are not what its attention computes. Load it with "
            "attn_implementation='eager'."
        )


def _set(stack: ExitStack, module: nn.Module, name: str, value: object) -> None:
    """Set an attribute of a module of our tree until the stack is left."""
    attributes: dict[str, Any] = module.__dict__
    held: frozenset[str] = attributes.get(HELD, frozenset())
    for one, new in ((HELD, held | {HELD, name}), (name, value)):
        if one in attributes:
            stack.callback(attributes.__setitem__, one, attributes[one])
        else:
            stack.callback(attributes.pop, one, None)
        attributes[one] = new


def _renamed(config: Any) -> Any:
    """A shallow copy of a config that asks for our attention function."""
    _register()
    renamed = copy.copy(config)
    renamed.__dict__["_attn_implementation_internal"] = NAME
    return renamed


def _register() -> None:
    """Enter our function in the registry of transformers."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if NAME not in ALL_ATTENTION_FUNCTIONS:
        kind: Any = type(ALL_ATTENTION_FUNCTIONS)
        kind.register(NAME, _registered)


def _registered(module: nn.Module, *args: Any, **options: Any) -> Any:
    """What transformers calls: the function that was set on the module."""
    return module.__dict__[_SLOT](module, *args, **options)


def _function(config: Any, code: str) -> Callable[..., Any]:
    """The attention function that a config asks for."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    registry: Any = ALL_ATTENTION_FUNCTIONS
    name = getattr(config, "_attn_implementation", None) or "eager"
    if name in registry:
        return registry[name]
    eager: Callable[..., Any] = vars(sys.modules[code])["eager_attention_forward"]
    return eager


def _interface(
    function: StandIn,
    layer: int,
    own: Callable[..., Any],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """The form in which transformers calls an attention function."""
    weights: list[Tensor | None] = []

    def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        found, *rest = own(module, query, key, value, mask, **options)
        weights[:] = rest
        return found

    found = function(layer, attention, query, key, value, attention_mask)
    return _with_weights(found, weights)


def _method(
    function: StandIn,
    layer: int,
    own: Callable[..., Any],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The form in which a module calls its own method; heads come before rows."""
    weights: list[Tensor | None] = []

    def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        found, *rest = own(query, key, value, mask)
        weights[:] = rest
        return found.transpose(1, 2)

    found, its = _with_weights(
        function(layer, attention, query, key, value, attention_mask), weights
    )
    return found.transpose(1, 2), its


def _with_weights(
    found: Tensor | tuple[Tensor, Tensor], own: list[Tensor | None]
) -> tuple[Tensor, Tensor | None]:
    """What attention returns, with weights `(batch, heads, queries, keys)` where the model's has.

    Args:
        found: from a `StandIn`.
        own: the weights that the model's own attention returned, if it did.
    """
    attended, weights = found if isinstance(found, tuple) else (found, None)
    if weights is None or not own or own[0] is None:
        return attended, None
    return attended, weights.transpose(1, 2)
