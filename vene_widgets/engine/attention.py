"""stand_in_for_attention(): one function in place of attention, inside a family's own modules.

A block works on each row of its input alone, except where queries meet keys. transformers calls a
function there, chosen by name (`transformers.AttentionInterface`). Ours is registered once, under a
name that no config has; for the length of a pass the attention modules of the engine's own tree get
a config that has it. Masks are made elsewhere, by the true name.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vene_widgets.models import LanguageModel

NAME = "vene_widgets"
"""Our name in the registry of transformers."""

_SLOT = "_vene_widgets_attend"

Attention = Callable[["Tensor", "Tensor", "Tensor", "Tensor | None"], "Tensor"]
"""A model's own attention: queries `(batch, heads, rows, d_head)`, keys and values
`(batch, key-value heads, positions, d_head)` and a mask to `(batch, rows, heads, d_head)`."""


class StandIn(Protocol):
    """What takes the place of attention; it is given the model's own, and may call it."""

    def __call__(
        self,
        layer: int,
        own: Attention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
    ) -> Tensor: ...


@contextmanager
def stand_in_for_attention(model: LanguageModel, function: StandIn) -> Generator[None, None, None]:
    """Let every block of `LanguageModel.net` call a function where it computes attention.

    Args:
        model: a model whose `Architecture.attention_method` is not None.
        function: what is called.
    """
    architecture = model.sites.architecture
    configs: dict[int, Any] = {}
    with ExitStack() as stack:
        for layer in range(model.sites.layers):
            module = module_at(model.block(layer), architecture.attention)
            if method := architecture.attention_method:
                own = partial(_call_method, getattr(module, method))
                _set(stack, module, method, partial(_method, function, layer, own))
            else:
                config: Any = module.config
                if id(config) not in configs:
                    configs[id(config)] = _renamed(config)
                own = _function(config, architecture.code)
                _set(stack, module, "config", configs[id(config)])
                _set(stack, module, _SLOT, partial(_interface, function, layer, own))
        yield


def _set(stack: ExitStack, module: nn.Module, name: str, value: object) -> None:
    """Set an attribute of a module of our tree until the stack is left."""
    attributes: dict[str, Any] = module.__dict__
    if name in attributes:
        stack.callback(attributes.__setitem__, name, attributes[name])
    else:
        stack.callback(attributes.pop, name, None)
    attributes[name] = value


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
) -> tuple[Tensor, None]:
    """The form in which transformers calls an attention function."""

    def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        found: Tensor = own(module, query, key, value, mask, **options)[0]
        return found

    return function(layer, attention, query, key, value, attention_mask), None


def _method(
    function: StandIn,
    layer: int,
    own: Attention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
) -> tuple[Tensor, None]:
    """The form in which a module calls its own method; heads come before rows."""
    return function(layer, own, query, key, value, attention_mask).transpose(1, 2), None


def _call_method(
    method: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    attended: Tensor = method(query, key, value, mask)[0]
    return attended.transpose(1, 2)
