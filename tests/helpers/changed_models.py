"""Changes of a user's model: patches, hooks, attention, subclasses, numbers."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
from by_hand import NORMS
from torch import Tensor, nn
from tree_testing import blocks

import vene_widgets as vw

GLOBAL: Any = nn.modules.module
"""Where torch keeps the hooks of every module."""

Change = Callable[[vw.LanguageModel, pytest.MonkeyPatch], None]
"""What a test does to the user's model."""


def attention(model: vw.LanguageModel, layer: int) -> Any:
    return blocks(model)[layer].get_submodule(model.sites.architecture.attention)


def norm(model: vw.LanguageModel, layer: int) -> Any:
    name = NORMS[model.sites.architecture.name]["mlp_norm"]
    return blocks(model)[layer].get_submodule(name)


def activation(model: vw.LanguageModel) -> str:
    return "act" if model.sites.architecture.name == "gpt2" else "act_fn"


def code(model: vw.LanguageModel) -> Any:
    import sys

    return sys.modules[model.sites.architecture.code]


def doubled(output: Any) -> Any:
    """An attention's output with its tensor doubled."""
    return (output[0] * 2, *output[1:])


def attention_subclass(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind: Any = type(attention(model, 0))

    class Loud(kind):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return doubled(super().forward(*args, **kwargs))

    for layer in range(model.sites.layers):
        attention(model, layer).__class__ = Loud


def attention_module(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """A user-defined module in the attention's place, with the original inside."""

    class Around(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = [inner]  # a plain attribute
            for name, child in inner.named_children():
                self.add_module(name, child)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return doubled(self.inner[0](*args, **kwargs))

    for block in blocks(model):
        name = model.sites.architecture.attention
        setattr(block, name, Around(getattr(block, name)))


def class_patch(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind: Any = type(attention(model, 0))
    original = kind.forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return doubled(original(self, *args, **kwargs))

    patch.setattr(kind, "forward", forward)


def class_patch_that_hides(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind: Any = type(attention(model, 0))
    original = kind.forward

    @functools.wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return doubled(original(self, *args, **kwargs))

    patch.setattr(kind, "forward", forward)


def class_patch_of_a_norm(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind: Any = type(norm(model, 0))
    original = kind.forward

    @functools.wraps(original)
    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        found = original(self, hidden_states)
        return found + found.flip(1) if found.ndim == 3 else found

    patch.setattr(kind, "forward", forward)


def class_patch_of_the_call(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind: Any = type(attention(model, 0))
    patch.setattr(
        kind,
        "__call__",
        lambda self, *args, **kwargs: doubled(nn.Module.__call__(self, *args, **kwargs)),
    )


def module_call_patch(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    original, kind = nn.Module.__call__, type(attention(model, 0))

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = original(self, *args, **kwargs)
        return doubled(output) if type(self) is kind else output

    patch.setattr(nn.Module, "__call__", call)


def call_impl_patch(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    original, kind = nn.Module._call_impl, type(attention(model, 0))

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = original(self, *args, **kwargs)
        return doubled(output) if type(self) is kind else output

    patch.setattr(nn.Module, "_call_impl", call)


def instance_closure(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    for layer in range(model.sites.layers):
        module = attention(model, layer)
        original = module.forward

        def forward(*args: Any, original: Any = None, **kwargs: Any) -> Any:
            return doubled(original(*args, **kwargs))

        module.forward = functools.partial(forward, original=original)

        def around(*args: Any, module: Any = module, inner: Any = module.forward, **kw: Any) -> Any:
            assert not module.training  # a reference to the module itself
            return inner(*args, **kw)

        module.forward = around


def instance_closure_over_the_model(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """A steering patch whose closure holds the model, and finds another module through it."""
    hf: Any = model.model
    names = model.sites.architecture
    module = attention(model, 1)
    original = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        table = hf.get_input_embeddings().weight
        first = hf.get_submodule(names.blocks)[0].get_submodule(names.attention)
        assert not first.training and not hf.training
        output = original(*args, **kwargs)
        return (output[0] + table[3], *output[1:])

    module.forward = forward


def instance_method_of_another(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """A bound method of one module serves another."""
    blocks(model)[2].mlp.forward = blocks(model)[0].mlp.forward


def instance_method_type(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    module = norm(model, 1)

    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        return type(self).forward(self, hidden_states) * 2 + self.weight

    module.forward = types.MethodType(forward, module)


class Steering:
    """A user-defined object that is no module."""

    def __init__(self, module: Any) -> None:
        self.module, self.original = module, module.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.original(*args, **kwargs)
        return (output[0] * 2 + self.module.training, *output[1:])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)


def instance_method_of_an_object(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    attention(model, 1).forward = Steering(attention(model, 1)).forward


def instance_object(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    attention(model, 1).forward = Steering(attention(model, 1))


CURRENT: Any = None
"""The module that `instance_global` patches, as a notebook's global."""


def instance_global(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    module = attention(model, 1)
    patch.setitem(globals(), "CURRENT", module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        assert not CURRENT.training
        return doubled(type(CURRENT).forward(CURRENT, *args, **kwargs))

    module.forward = forward


def hook_after(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    attention(model, 1).register_forward_hook(lambda _m, _a, output: doubled(output))


def hook_before(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    norm(model, 1).register_forward_pre_hook(lambda _m, args: (args[0].roll(1, -1),))


def hook_with_kwargs(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    def before(_module: Any, args: Any, kwargs: Any) -> Any:
        if args:
            return (args[0] * 3, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] * 3}

    def after(_module: Any, _args: Any, _kwargs: Any, output: Any) -> Any:
        return doubled(output)

    attention(model, 0).register_forward_pre_hook(before, with_kwargs=True)
    attention(model, 0).register_forward_hook(after, with_kwargs=True, always_call=True)


def hook_on_the_model(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    def after(_module: Any, _args: Any, output: Any) -> Any:
        output.logits = output.logits.clamp(-1, 1)
        return output

    model.model.register_forward_hook(after)


def hook_on_the_model_across_positions(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    model.model.register_forward_hook(lambda _module, _args, output: scaled(output))


def hook_on_the_head(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """The head's own input at the first position counts for every other one."""
    head: Any = model.tree.root.get_submodule(model.sites.unembedding)
    head.register_forward_pre_hook(lambda _module, args: (args[0] + args[0][:, :1],))


def method_of_the_head(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    head: Any = model.tree.root.get_submodule(model.sites.unembedding)
    original = head.forward
    head.forward = lambda hidden: original(hidden.cumsum(1))


def hook_on_row_zero(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """A hook written for one prompt at a time."""

    def after(_module: Any, _args: Any, output: Any) -> Any:
        new = output[0].clone()
        new[0] *= 2
        return new, *output[1:]

    attention(model, 1).register_forward_hook(after)


def hook_on_row_zero_of_short_prompts(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    def after(_module: Any, _args: Any, output: Any) -> Any:
        new = output[0].clone()
        new[0, :2] *= 3
        return new, *output[1:]

    attention(model, 0).register_forward_hook(after)


def hook_that_refuses_batches(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    def after(_module: Any, _args: Any, output: Any) -> Any:
        if len(output[0]) != 1:
            raise ValueError("one prompt at a time")
        return doubled(output)

    attention(model, 1).register_forward_hook(after)


def hook_across_positions(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """The state of the last position reaches every other one."""

    def after(_module: Any, _args: Any, output: Any) -> Any:
        return output[0] + output[0][:, -1:], *output[1:]

    attention(model, 0).register_forward_hook(after)


def global_hook(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind = type(attention(model, 0))
    registered = GLOBAL.register_module_forward_hook(
        lambda module, _args, output: doubled(output) if type(module) is kind else None
    )
    patch.setattr(model, "undo", registered.remove, raising=False)


def global_hook_before(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    kind = type(norm(model, 0))
    registered = GLOBAL.register_module_forward_pre_hook(
        lambda module, args: (args[0].roll(1, -1),) if type(module) is kind else None
    )
    patch.setattr(model, "undo", registered.remove, raising=False)


def registry_entry(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    original = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(*args: Any, **kwargs: Any) -> Any:
        return doubled(original(*args, **kwargs))

    patch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", attend)


def registry_entry_that_hides(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    original = ALL_ATTENTION_FUNCTIONS["sdpa"]

    @functools.wraps(original)
    def attend(*args: Any, **kwargs: Any) -> Any:
        return doubled(original(*args, **kwargs))

    patch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", attend)


def new_attention(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    from transformers import AttentionInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    original = ALL_ATTENTION_FUNCTIONS["sdpa"]
    AttentionInterface.register("twice", lambda *a, **k: doubled(original(*a, **k)))
    hf: Any = model.model
    hf.set_attn_implementation("twice")


def eager_function(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    hf: Any = model.model
    hf.set_attn_implementation("eager")
    original = code(model).eager_attention_forward

    @functools.wraps(original)
    def attend(*args: Any, **kwargs: Any) -> Any:
        return doubled(original(*args, **kwargs))

    patch.setattr(code(model), "eager_attention_forward", attend)


def rotary_function(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    if model.sites.architecture.name != "llama":
        pytest.skip("learned positions")
    original = code(model).apply_rotary_pos_emb

    @functools.wraps(original)
    def rotate(q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> Any:
        q, k = original(q, k, *args, **kwargs)
        return q * 2, k

    patch.setattr(code(model), "apply_rotary_pos_emb", rotate)


def torch_function(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    original = nn.functional.scaled_dot_product_attention

    def attend(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return original(query * 2, *args, **kwargs)

    patch.setattr(nn.functional, "scaled_dot_product_attention", attend)


def not_causal(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    for layer in range(model.sites.layers):
        attention(model, layer).is_causal = False


def not_causal_by_config(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    config: Any = model.tree.root.config
    config.is_causal = False
    not_causal(model, patch)


def another_scale(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    for layer in range(model.sites.layers):
        attention(model, layer).scaling = 0.9


def lm_subclass(change: Callable[[Any], Any]) -> Change:
    def apply(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
        kind: Any = type(model.model)

        class Changed(kind):
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                return change(super().forward(*args, **kwargs))

        model.model.__class__ = Changed

    return apply


def capped(output: Any) -> Any:
    output.logits = output.logits.clamp(-2, 2)
    return output


def scaled(output: Any) -> Any:
    """A scale that depends on every position's logits: none of them may be left out."""
    output.logits = output.logits / output.logits.abs().amax(dim=(1, 2), keepdim=True)
    return output


def as_tuple(output: Any) -> Any:
    return (output.logits * 2, None)


def as_tensor(output: Any) -> Any:
    return output.logits * 2


def new_activation(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    setattr(blocks(model)[1].mlp, activation(model), nn.ReLU())


def function_activation(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    """An activation across positions, which the code cannot be known to have."""

    class Mixing(nn.Module):
        def forward(self, hidden: Tensor) -> Tensor:
            return hidden.relu() + hidden.roll(1, 1)

    setattr(blocks(model)[1].mlp, activation(model), Mixing())


def new_eps(model: vw.LanguageModel, patch: pytest.MonkeyPatch) -> None:
    module = norm(model, 1)
    setattr(module, "eps" if hasattr(module, "eps") else "variance_epsilon", 3.0)


KINDS: dict[str, tuple[Change, str | None]] = {
    "attention subclass": (attention_subclass, "is not the code"),
    "attention module": (attention_module, "is not the code"),
    "class patch": (class_patch, "is not the code"),
    "class patch, functools.wraps": (class_patch_that_hides, "is not the code"),
    "class patch of a norm": (class_patch_of_a_norm, "is not the code"),
    "class patch of __call__": (class_patch_of_the_call, "is not the code"),
    "nn.Module.__call__": (module_call_patch, "__call__"),
    "nn.Module._call_impl": (call_impl_patch, "is not the code"),
    "instance patch, closure": (instance_closure, "was replaced"),
    "instance patch, model in closure": (instance_closure_over_the_model, "was replaced"),
    "instance patch, another's method": (instance_method_of_another, "was replaced"),
    "instance patch, MethodType": (instance_method_type, "was replaced"),
    "instance patch, object's method": (instance_method_of_an_object, "was replaced"),
    "instance patch, object": (instance_object, "was replaced"),
    "instance patch, global": (instance_global, "was replaced"),
    "hook after": (hook_after, "hooks of its own"),
    "hook before": (hook_before, "hooks of its own"),
    "hook with kwargs": (hook_with_kwargs, "hooks of its own"),
    "hook on the model": (hook_on_the_model, "hooks of its own"),
    "hook on the model, across positions": (
        hook_on_the_model_across_positions,
        "hooks of its own",
    ),
    "hook on the head": (hook_on_the_head, "hooks of its own"),
    "method of the head": (method_of_the_head, "was replaced"),
    "hook on row 0": (hook_on_row_zero, "hooks of its own"),
    "hook on row 0, two positions": (hook_on_row_zero_of_short_prompts, "hooks of its own"),
    "hook that refuses batches": (hook_that_refuses_batches, "hooks of its own"),
    "hook across positions": (hook_across_positions, "hooks of its own"),
    "global hook": (global_hook, "global hooks"),
    "global hook before": (global_hook_before, "global hooks"),
    "registry entry": (registry_entry, "'sdpa' was replaced"),
    "registry entry, functools.wraps": (registry_entry_that_hides, "'sdpa' was replaced"),
    "new attention": (new_attention, "'twice'"),
    "eager function": (eager_function, "eager_attention_forward"),
    "rotary function": (rotary_function, "apply_rotary_pos_emb"),
    "torch's attention": (torch_function, None),
    "not causal": (not_causal, "not causal"),
    "not causal by config": (not_causal_by_config, "not causal"),
    "another scale": (another_scale, None),
    "caps its logits": (lm_subclass(capped), "is not the code"),
    "scales its logits": (lm_subclass(scaled), "is not the code"),
    "returns a tuple": (lm_subclass(as_tuple), "is not the code"),
    "returns a tensor": (lm_subclass(as_tensor), "is not the code"),
    "another activation": (new_activation, None),
    "activation across positions": (function_activation, "is not the code"),
    "another eps": (new_eps, None),
}
"""Change of a model -> a part of its `resume_blocker`; None where passes may be resumed."""
