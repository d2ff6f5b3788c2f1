"""Whatever was done to a model, a result is what hooks by hand on the user's model give."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import (
    FAMILIES,
    ITALY,
    NORMS,
    PAIRS,
    SPAIN,
    check_everything,
    check_map,
    distance,
    own_copy,
    plain_logits,
    token_ids,
)
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.models import wrap

GLOBAL: Any = nn.modules.module
"""Where torch keeps the hooks of every module."""

Change = Callable[[vw.LanguageModel, pytest.MonkeyPatch], None]
"""What a test does to the user's model."""


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


@pytest.fixture
def llama(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy("tiny_llama", request)


@pytest.fixture
def gpt2(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy("tiny_gpt2", request)


def blocks(model: vw.LanguageModel) -> list[Any]:
    found: Any = model.tree.root.get_submodule(model.sites.architecture.blocks)
    return list(found)


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


# ---- kinds of change -----------------------------------------------------------------------------


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


@pytest.fixture
def clean_registry() -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    yield
    ALL_ATTENTION_FUNCTIONS._global_mapping.pop("twice", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_model_gives_its_own_numbers(
    model: vw.LanguageModel, kind: str, monkeypatch: pytest.MonkeyPatch, clean_registry: None
) -> None:
    change, reason = KINDS[kind]
    before = plain_logits(model, PAIRS[1][1])
    change(model, monkeypatch)
    try:
        assert distance(plain_logits(model, PAIRS[1][1]), before) > 1e-3, "nothing was changed"
        check_everything(model)
        if reason is not None:
            assert reason in str(model.resume_blocker)
    finally:
        getattr(model, "undo", lambda: None)()


@pytest.mark.parametrize("kind", ["class patch", "instance patch, object", "hook after"])
def test_a_model_that_was_changed_before_it_was_wrapped(
    model: vw.LanguageModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, _ = KINDS[kind]
    change(model, monkeypatch)
    check_map(wrap(model.model, model.tokenizer), *PAIRS[1], "block_output")


def test_an_unchanged_model(model: vw.LanguageModel) -> None:
    assert model.resume_blocker is None
    check_everything(model)


def test_a_module_in_two_layers_is_changed_in_one(model: vw.LanguageModel) -> None:
    """By hand, a hook on a shared module acts in both layers; apart, the same weights do not."""
    apart = wrap(copy.deepcopy(model.model), model.tokenizer)
    first, third = blocks(model)[0], blocks(model)[2]
    third.mlp = first.mlp
    blocks(apart)[2].mlp = copy.deepcopy(blocks(apart)[0].mlp)
    for component in ("mlp_input", "mlp_output", "block_output"):
        check_map(apart, *PAIRS[1], component)
        expected = vw.sweep(apart, *PAIRS[1], component).logits
        assert distance(vw.sweep(model, *PAIRS[1], component).logits, expected) <= 1e-5
        slot = vw.Slot(layer=0, component=component, position=-1)
        experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])
        runs = (vw.run(each, experiment).logits for each in (model, apart))
        assert distance(*runs) <= 1e-5
    assert third.mlp is first.mlp


def test_one_block_as_every_layer(model: vw.LanguageModel) -> None:
    apart = wrap(copy.deepcopy(model.model), model.tokenizer)
    for each, share in ((model, lambda block: block), (apart, copy.deepcopy)):
        found: Any = each.tree.root.get_submodule(each.sites.architecture.blocks)
        for layer in (1, 2):
            found[layer] = share(found[0])
    for component in ("block_output", "value_output"):
        expected = vw.sweep(apart, *PAIRS[1], component).logits
        assert distance(vw.sweep(model, *PAIRS[1], component).logits, expected) <= 1e-5


# ---- causality -----------------------------------------------------------------------------------


def idle_cells(model: vw.LanguageModel, component: str = "block_output") -> set[str | None]:
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.explorer.session.map_builder import idle_reason
    from vene_widgets.sweeps.planning import plan_sweep
    from vene_widgets.sweeps.preparing import prepare_sweep

    plan = plan_sweep(model, SPAIN, ITALY, SweepRequest(component=component))
    prepared = prepare_sweep(plan)
    return {
        idle_reason(prepared, layer, column)
        for layer in plan.layers
        for column in range(len(plan.positions))
    }


def test_a_causal_model_has_hatched_cells(model: vw.LanguageModel) -> None:
    assert idle_cells(model) == {"same", "causal", None}


@pytest.mark.parametrize("change", [not_causal, hook_across_positions])
def test_a_model_that_is_not_causal_has_no_hatched_cells(
    model: vw.LanguageModel, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(model, monkeypatch)
    model.accept_hooks()
    assert idle_cells(model) == {None}
    assert not model.behaviour.is_causal
    # Embeddings know no other token: block 0's input alone may be called the same.
    assert idle_cells(model, "block_input") == {"same", None}


def test_a_dependence_that_the_probes_do_not_meet(model: vw.LanguageModel) -> None:
    """Block 0 reads the last token of one prompt only: what was measured does not hold there."""
    italy = token_ids(model, ITALY)[0, 3]
    inputs: list[Tensor] = []

    def note(_module: nn.Module, args: Any, kwargs: Any) -> None:
        inputs[:] = [args[0] if args else kwargs["input_ids"]]

    def leak(_module: nn.Module, _args: Any, output: Any) -> Any:
        if not bool((inputs[0] == italy).any()):
            return None
        return (output[0] * 2, *output[1:])

    model.model.register_forward_pre_hook(note, with_kwargs=True)
    attention(model, 0).register_forward_hook(leak)
    model.accept_hooks()
    assert model.behaviour.is_causal
    check_map(model, SPAIN, ITALY, "block_output")


# ---- what a model is made of ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(model: vw.LanguageModel, dtype: torch.dtype) -> None:
    model.model.to(dtype)
    tolerance = 1e-5 if dtype is torch.float64 else 8 * torch.finfo(dtype).eps
    check_everything(model, tolerance)
    assert vw.run(model, vw.Experiment(base=SPAIN)).logits.dtype == dtype
    if dtype is torch.float64:
        assert model.resume_blocker is None
        check_map(model, *PAIRS[1], "attention_input")


@pytest.mark.parametrize("change", ["half", "to float64", "head in float32"])
def test_a_dtype_that_changes_after_wrapping(model: vw.LanguageModel, change: str) -> None:
    vw.sweep(model, SPAIN, ITALY)
    root: Any = model.model
    if change == "half":
        root.half()
    elif change == "to float64":
        root.to(torch.float64)
    else:  # a head in another dtype than the blocks
        if model.sites.architecture.name == "gpt2":
            pytest.skip("tied to the embedding")
        root.bfloat16()
        root.lm_head.float()
        root.lm_head.register_forward_pre_hook(lambda _m, args: (args[0].float(),))
    check_everything(model, 1e-5 if change == "to float64" else 0.05)


def test_training_mode_runs_in_evaluation_mode(model: vw.LanguageModel) -> None:
    for module in model.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    if model.sites.architecture.name == "llama":
        for layer in range(model.sites.layers):
            attention(model, layer).attention_dropout = 0.5
    model.model.train()
    check_everything(model)
    assert all(module.training for module in model.model.modules())


def test_inference_mode_around_every_call(model: vw.LanguageModel) -> None:
    with torch.inference_mode():
        check_everything(model)
    check_everything(model)  # the tree that was made above serves later runs


def test_inference_mode_around_training_code(model: vw.LanguageModel) -> None:
    """A tree that was made in inference mode carries gradients all the same."""
    slot = vw.Slot(layer=1, position=3, intervention="low_rank_rotated_space", rank=2)
    experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])
    with torch.inference_mode():
        vw.run(model, experiment)
    weights = vw.make_weights(model, experiment)
    vw.run(model, experiment, weights=weights, gradients=True).logits.sum().backward()
    weights = vw.make_weights(model, experiment)
    with torch.inference_mode():  # gradients that were asked for are there all the same
        logits = vw.run(model, experiment, weights=weights, gradients=True).logits
    logits.sum().backward()
    assert all(p.grad is not None for module in weights.values() for p in module.parameters())


def test_autocast_around_every_call(model: vw.LanguageModel) -> None:
    if model.device.type == "second":
        pytest.skip("the simulated device has no autocast")
    plain = vw.run(model, vw.Experiment(base=SPAIN)).logits
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        check_everything(model, 0.05)
        assert "autocast" in str(model.resume_blocker)
        own = plain_logits(model, SPAIN)
        assert distance(vw.run(model, vw.Experiment(base=SPAIN)).logits, own) <= 1e-3
        assert distance(own, plain) > 1e-4
    assert torch.equal(vw.run(model, vw.Experiment(base=SPAIN)).logits, plain)
    assert model.resume_blocker is None


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_heads(model: vw.LanguageModel, tied: bool) -> None:
    root: Any = model.model
    table, head = root.get_input_embeddings(), root.get_output_embeddings()
    head.weight = table.weight if tied else nn.Parameter(table.weight.detach().clone().flip(0))
    check_everything(model)
    assert (root.get_output_embeddings().weight is table.weight) == tied


def test_eager_attention(model: vw.LanguageModel) -> None:
    root: Any = model.model
    before = vw.sweep(model, SPAIN, ITALY).logits
    root.set_attn_implementation("eager")
    check_everything(model)
    assert distance(vw.sweep(model, SPAIN, ITALY).logits, before) <= 1e-5


def test_blocks_cut_off(model: vw.LanguageModel) -> None:
    """The config still says three; the layers that are there can be used."""
    names = model.sites.architecture
    parent, _, name = names.blocks.rpartition(".")
    owner: Any = model.model.get_submodule(parent)
    setattr(owner, name, getattr(owner, name)[:2])
    again = wrap(model.model, model.tokenizer)
    assert again.sites.layers == 2
    check_everything(again)
    slot = vw.Slot(layer=2, position=0, intervention="zero")
    with pytest.raises(vw.RequestError, match="2 layers"):
        vw.run(again, vw.Experiment(base=SPAIN, slots=[slot]))


def test_blocks_cut_off_after_wrapping(model: vw.LanguageModel) -> None:
    names = model.sites.architecture
    parent, _, name = names.blocks.rpartition(".")
    vw.sweep(model, SPAIN, ITALY)
    owner: Any = model.model.get_submodule(parent)
    setattr(owner, name, getattr(owner, name)[:2])
    experiment = vw.Experiment(base=SPAIN)
    for call in (
        lambda: vw.run(model, experiment),
        lambda: vw.sweep(model, SPAIN, ITALY),
        lambda: model.resume_blocker,
    ):
        with pytest.raises(vw.RequestError, match="3 layers when it was wrapped"):
            call()


@pytest.mark.parametrize("kind", ["dynamic", "linear", "yarn", "longrope"])
def test_other_rotary_embeddings(
    llama: vw.LanguageModel, kind: str, request: pytest.FixtureRequest
) -> None:
    from transformers import LlamaForCausalLM

    config: Any = copy.deepcopy(llama.model.config)
    rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 10000.0}
    if kind == "yarn":
        rope["original_max_position_embeddings"] = 4
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
        config.original_max_position_embeddings = 4
        rope["original_max_position_embeddings"] = 4
    config.rope_parameters = rope
    config.max_position_embeddings = 7
    other = LlamaForCausalLM(config).eval()
    other.load_state_dict(llama.model.state_dict())
    model = wrap(other, llama.tokenizer)
    assert distance(plain_logits(model, SPAIN), plain_logits(llama, SPAIN)) > 1e-3 or kind in (
        "dynamic",
    )
    check_everything(model)


def test_dynamic_rotary_embeddings_depend_on_the_calls_before(llama: vw.LanguageModel) -> None:
    """transformers keeps frequencies of the longest prompt so far: no pass may leave a trace."""
    from transformers import LlamaForCausalLM

    config: Any = copy.deepcopy(llama.model.config)
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    config.max_position_embeddings = 4
    other = LlamaForCausalLM(config).eval()
    other.load_state_dict(llama.model.state_dict())
    model = wrap(other, llama.tokenizer)
    short, long = " Madrid of", "The capital of Spain is Rome of"
    fresh = {p: plain_logits(wrap(copy.deepcopy(other), llama.tokenizer), p) for p in (short, long)}
    before = {name: buffer.clone() for name, buffer in other.named_buffers()}
    middle = "The capital of Spain is Rome"
    fresh[middle] = plain_logits(wrap(copy.deepcopy(other), llama.tokenizer), middle)
    for prompt in (short, long, middle, short, middle):
        found = vw.run(model, vw.Experiment(base=prompt)).logits
        assert distance(found, fresh[prompt]) <= 1e-5, prompt
    # A longer source in the same run leaves no trace either: with strength 0 nothing else does.
    slot = vw.Slot(layer=1, position=0, strength=0)
    found = vw.run(model, vw.Experiment(base=middle, sources=long, slots=[slot])).logits
    assert distance(found, fresh[middle]) <= 1e-5
    assert all(torch.equal(before[name], buffer) for name, buffer in other.named_buffers())


def test_quantised_linears(llama: vw.LanguageModel) -> None:
    import warnings

    if llama.device.type != "cpu":
        pytest.skip("torch quantises linears on the CPU only")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(llama.model), {nn.Linear}, dtype=torch.qint8
        )
        model = wrap(quantised, llama.tokenizer)
        assert distance(plain_logits(model, SPAIN), plain_logits(llama, SPAIN)) > 1e-4
        # Each batch has one scale for its activations, so rows are not independent.
        check_everything(model, 1e-5)
        assert model.resume_blocker is not None


# ---- adapters ------------------------------------------------------------------------------------


def lora(model: vw.LanguageModel, **more: Any) -> Any:
    import peft

    targets = ["c_attn"] if model.sites.architecture.name == "gpt2" else ["q_proj", "v_proj"]
    return peft.LoraConfig(
        r=2,
        lora_alpha=8,
        target_modules=targets,
        init_lora_weights=False,
        fan_in_fan_out=model.sites.architecture.name == "gpt2",
        task_type="CAUSAL_LM",
        **more,
    )


# transformers warns of a name that peft still uses.
peft_warns = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@peft_warns
@pytest.mark.parametrize("state", ["on", "merged", "disabled", "merged away"])
def test_lora_by_peft(model: vw.LanguageModel, state: str) -> None:
    import peft

    plain = plain_logits(model, SPAIN)
    adapted: Any = peft.get_peft_model(model.model, lora(model)).eval()
    wrapped = wrap(adapted, model.tokenizer)
    vw.sweep(wrapped, SPAIN, ITALY)
    if state == "merged":
        adapted.merge_adapter()
    elif state == "disabled":
        adapted.base_model.disable_adapter_layers()
    elif state == "merged away":
        wrapped = wrap(adapted.merge_and_unload(), model.tokenizer)
    own = plain_logits(wrapped, SPAIN, adapted)
    assert (distance(own, plain) > 1e-3) == (state != "disabled")
    assert distance(vw.run(wrapped, vw.Experiment(base=SPAIN)).logits, own) <= 1e-5
    check_everything(wrapped)
    assert (wrapped.resume_blocker is None) == (state == "merged away")


def test_lora_by_transformers(model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations import peft as integration

    # The newest peft of a registry may be older than what transformers asks for.
    monkeypatch.setattr(integration, "check_peft_version", lambda **_: None)
    root: Any = model.model
    plain = plain_logits(model, SPAIN)
    before = vw.sweep(model, SPAIN, ITALY).logits
    root.add_adapter(lora(model))
    assert distance(plain_logits(model, SPAIN), plain) > 1e-3
    check_everything(model)
    root.disable_adapters()
    check_everything(model)
    assert distance(vw.sweep(model, SPAIN, ITALY).logits, before) <= 1e-5
    root.enable_adapters()
    check_everything(model)


@peft_warns
def test_prompt_tuning_is_refused(model: vw.LanguageModel) -> None:
    import peft

    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    adapted = peft.get_peft_model(model.model, config)
    with pytest.raises(vw.RequestError, match="virtual tokens"):
        wrap(adapted, model.tokenizer)


# ---- torch.compile -------------------------------------------------------------------------------


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("compiled code ran")


def test_compiled_in_place(model: vw.LanguageModel) -> None:
    model.model.compile(backend=refuse)
    fresh = wrap(model.model, model.tokenizer)
    model.model._compiled_call_impl = None  # for the numbers by hand
    own = plain_logits(model, SPAIN)
    model.model.compile(backend=refuse)
    assert distance(vw.run(fresh, vw.Experiment(base=SPAIN)).logits, own) <= 1e-5
    assert model.model._compiled_call_impl is not None
    blocks(model)[1].compile(backend=refuse)
    assert vw.sweep(fresh, SPAIN, ITALY).logits.isfinite().all()


def test_compiled_around(model: vw.LanguageModel) -> None:
    compiled: Any = torch.compile(model.model, backend=refuse)
    wrapped = wrap(compiled, model.tokenizer)
    assert wrapped.model is compiled
    check_everything(wrapped)


def test_a_compiled_block(model: vw.LanguageModel) -> None:
    """`torch.compile` of one block puts a wrapper in its place, whose children have other paths."""
    found: Any = model.model.get_submodule(model.sites.architecture.blocks)
    own = plain_logits(model, SPAIN)
    found[1] = torch.compile(found[1], backend=refuse)
    wrapped = wrap(model.model, model.tokenizer)
    assert distance(vw.run(wrapped, vw.Experiment(base=SPAIN)).logits, own) <= 1e-5
    own_sweep = vw.sweep(wrapped, *PAIRS[1], "value_output").logits
    found[1] = found[1]._orig_mod
    expected = vw.sweep(wrap(model.model, model.tokenizer), *PAIRS[1], "value_output").logits
    assert distance(own_sweep, expected) <= 1e-5


# ---- families that are not understood ------------------------------------------------------------


def test_a_family_that_was_declared_a_llama(
    llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen 3 normalises queries and keys: one line of declaration gives right numbers, slowly."""
    import dataclasses

    from transformers import Qwen3Config, Qwen3ForCausalLM

    from vene_widgets.models.architectures import ARCHITECTURES, LLAMA

    config = Qwen3Config(
        vocab_size=len(llama.tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    qwen = Qwen3ForCausalLM(config).eval()
    for name, weight in qwen.named_parameters():
        if "_norm" in name:
            weight.data.uniform_(0.3, 2)
    monkeypatch.setitem(ARCHITECTURES, "qwen3", dataclasses.replace(LLAMA, name="qwen3"))
    model = wrap(qwen, llama.tokenizer)
    assert "is not the code" in str(model.resume_blocker)
    check_everything(model)


def test_a_family_that_caps_its_logits(
    llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from transformers import Gemma2Config, Gemma2ForCausalLM

    from vene_widgets.models.architectures import ARCHITECTURES, LLAMA

    config = Gemma2Config(
        vocab_size=len(llama.tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=32,
        initializer_range=0.3,
        final_logit_softcapping=1.0,
        sliding_window=3,
    )
    torch.manual_seed(0)
    gemma = Gemma2ForCausalLM(config).eval()
    monkeypatch.setitem(ARCHITECTURES, "gemma2", dataclasses.replace(LLAMA, name="gemma2"))
    model = wrap(gemma, llama.tokenizer)
    assert model.resume_blocker is not None
    assert plain_logits(model, SPAIN).abs().max() <= 1
    check_everything(model)


# ---- left padding, in the second face ------------------------------------------------------------


@pytest.mark.parametrize("with_source", [False, True])
def test_left_padding(model: vw.LanguageModel, with_source: bool) -> None:
    from vene_widgets.intervenable import IntervenableModel

    prompts = [SPAIN, " Madrid of Italy"]
    ids = [token_ids(model, prompt)[0] for prompt in prompts]
    missing = len(ids[0]) - len(ids[1])
    batch = torch.stack([ids[0], torch.cat([torch.zeros_like(ids[0][:missing]), ids[1]])])
    mask = torch.ones_like(batch)
    mask[1, :missing] = 0
    config = {"layer": 1, "component": "block_output"}
    face = IntervenableModel(config, model.model)
    base = {"input_ids": batch, "attention_mask": mask}
    if not with_source:
        original, _ = face(
            base,
            [{"input_ids": batch, "attention_mask": mask}],
            {"sources->base": len(ids[0]) - 1},
            output_original_output=True,
        )
        for row, prompt in enumerate(prompts):
            own = plain_logits(model, prompt)
            assert distance(original.logits[row, -len(own) :], own) <= 1e-5
        return
    source = torch.stack([batch[1].clone(), batch[0].clone()])
    source_mask = mask.flip(0)
    _, changed = face(
        base,
        [{"input_ids": source, "attention_mask": source_mask}],
        {"sources->base": len(ids[0]) - 1},
    )
    for row, (prompt, other) in enumerate(zip(prompts, prompts[::-1], strict=True)):
        slot = vw.Slot(layer=1, position=-1, source_position=-1)
        experiment = vw.Experiment(base=prompt, sources=other, slots=[slot])
        own = vw.run(model, experiment).logits
        assert distance(changed.logits[row, -len(own) :], own) <= 1e-5


def test_position_ids_of_the_users_own_are_kept(gpt2: vw.LanguageModel) -> None:
    from vene_widgets.intervenable import IntervenableModel

    ids = token_ids(gpt2, SPAIN)
    positions = torch.arange(5, 10, device=gpt2.device)[None]
    face = IntervenableModel({"layer": 1, "component": "block_output"}, gpt2.model)
    base = {"input_ids": ids, "position_ids": positions}
    original, _ = face(base, [base], {"sources->base": 4}, output_original_output=True)
    with torch.no_grad():
        own = gpt2.model(input_ids=ids, position_ids=positions).logits
    assert distance(original.logits, own) <= 1e-5


# ---- torch's defaults ----------------------------------------------------------------------------


def floats(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def numbers_in(frame: Any) -> Tensor:
    return torch.from_numpy(frame.select_dtypes("number").astype("float64").fillna(-1).to_numpy())


def everything(model: vw.LanguageModel) -> dict[str, Tensor]:
    """Numbers of every kind of request."""
    noise = vw.Slot(layer=1, position=3, intervention="noise", scale=0.5, seed=3)
    rotation = vw.Slot(layer=1, position=4, intervention="low_rank_rotated_space", rank=2, seed=1)
    experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[noise, rotation])
    left = vw.run(model, experiment)
    right = vw.run(model, experiment.replace(slots=[rotation]), cache=vw.ActivationCache())
    comparison = vw.compare(left, right)
    fitted = vw.fit_subspace(
        model,
        [(SPAIN, ITALY), (ITALY, SPAIN), (SPAIN, "The capital of France is")],
        layer=1,
        position=3,
        rank=1,
        steps=3,
        held_out=0.4,
        progress=False,
    )
    swept = vw.sweep(model, *PAIRS[1])
    noisy = vw.sweep(model, SPAIN, ITALY, "mlp_output", intervention="noise")
    return {
        "run": left.logits,
        "cached": right.logits,
        "compare": floats(comparison.max_abs, comparison.kl),
        "frame": numbers_in(comparison.frame),
        "map": swept.logits,
        "map frame": numbers_in(swept.frame),
        "noisy map": noisy.logits,
        "fit": floats(fitted.accuracy, *fitted.history["held_out_loss"]),
        "fitted": torch.cat([p.detach().flatten() for p in fitted.intervention.parameters()]),
    }


@pytest.mark.parametrize("default", ["dtype", "half", "device"])
def test_torchs_defaults_change_nothing(
    request: pytest.FixtureRequest, model: vw.LanguageModel, default: str
) -> None:
    expected = everything(wrap(copy.deepcopy(model.model), model.tokenizer))
    dtype = torch.get_default_dtype()
    try:
        if default == "device":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64 if default == "dtype" else torch.bfloat16)
        found = everything(model)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
    for name, numbers in expected.items():
        assert found[name].device == numbers.device, name
        assert found[name].dtype == numbers.dtype, name
        assert torch.equal(found[name], numbers) or distance(found[name], numbers) < 1e-6, name


@pytest.mark.parametrize("default", ["dtype", "device"])
def test_torchs_defaults_change_nothing_on_screen(
    tiny_gpt2: vw.LanguageModel, default: str, silent_painter: Any
) -> None:
    def shown() -> dict[str, Any]:
        model = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
        explorer = vw.explore(SPAIN, ITALY, model=model)
        try:
            explorer.wait(60)
            views = {n: getattr(explorer, n) for n in ("answer", "map") if explorer.has_trait(n)}
            return copy.deepcopy(views)
        finally:
            explorer.close()

    expected = shown()
    dtype = torch.get_default_dtype()
    try:
        if default == "device":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64)
        found = shown()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
    assert len(numbers_of(expected)) > 100
    assert numbers_of(found) == pytest.approx(numbers_of(expected), abs=1e-6)


def numbers_of(value: Any) -> list[float]:
    """Every probability and logit in a nested value, in order; times of a run are left out."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, (int, float)):
        return [float(value)]
    if isinstance(value, dict):
        return [
            number
            for key, item in value.items()
            if key not in ("milliseconds", "revision")
            for number in numbers_of(item)
        ]
    return [number for item in value for number in numbers_of(item)]


# ---- fits ----------------------------------------------------------------------------------------


def test_a_fit_on_a_model_that_takes_one_prompt_at_a_time(model: vw.LanguageModel) -> None:
    """A hook on row 0 would act on one prompt of a batch only."""
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (SPAIN, "The capital of France is"), (ITALY, ITALY)]

    def fit(batch_size: int) -> Tensor:
        found = vw.fit_subspace(
            model,
            pairs,
            layer=2,
            position=3,
            rank=1,
            steps=4,
            batch_size=batch_size,
            held_out=0.5,
            progress=False,
        )
        return floats(*found.history["held_out_loss"], found.accuracy)

    batched = fit(2)
    hook_on_row_zero(model, pytest.MonkeyPatch())
    alone, several = fit(1), fit(2)
    assert torch.equal(alone, several)
    assert not torch.allclose(batched, several, atol=1e-3)


def test_a_known_module_in_anothers_place(tiny_gpt2: vw.LanguageModel) -> None:
    """Every class is one of the family's, and yet the block is another: it runs as it is."""
    model = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    block: Any = model.model.get_submodule("transformer.h.1")
    block.mlp = nn.Identity()
    assert model.resume_blocker is None
    cell = vw.sweep(model, SPAIN, ITALY).logits[0, 3]
    slot = vw.Slot(layer=0, position=3)
    alone = vw.run(model, vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])).logits[-1]
    assert torch.allclose(cell, alone.cpu(), atol=1e-5)
