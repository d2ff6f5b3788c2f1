"""A fingerprint notices every change of a model, and nothing else; what is kept rests on it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, NORMS, SPAIN, own_copy, token_ids
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from tree_testing import blocks

import vene_widgets as vw
from vene_widgets.engine.own_model import ModelChanged
from vene_widgets.models import checksums, wrap
from vene_widgets.sweeps import cells
from vene_widgets.sweeps.cells import sweep_rows
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.sweeps.preparing import prepare_sweep

EXPERIMENT = vw.Experiment(base=SPAIN, sources=ITALY, slots=[vw.Slot(layer=1, position=3)])

GLOBAL: Any = nn.modules.module
"""Where torch keeps the hooks of every module."""

Change = Callable[[vw.LanguageModel, ExitStack], None]
"""What a test does to the user's model; the stack undoes it."""


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


def part(model: vw.LanguageModel, path: str, layer: int = 1) -> Any:
    """A module of a block, by its name in the family's table or in `NORMS`."""
    family = model.sites.architecture
    name = NORMS[family.name].get(path) or getattr(family, path)
    return blocks(model)[layer].get_submodule(name)


def patched(stack: ExitStack) -> pytest.MonkeyPatch:
    return stack.enter_context(pytest.MonkeyPatch.context())


def doubled(output: Any) -> Any:
    return (output[0] * 2, *output[1:]) if isinstance(output, tuple) else output * 2


# ---- kinds of change -----------------------------------------------------------------------------


def train(model: vw.LanguageModel, kind: Any, **options: Any) -> None:
    """One optimiser step in training mode, in which it leaves the model."""
    root: Any = model.model
    root.train()
    ids = token_ids(model, SPAIN)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        root(input_ids=ids, labels=ids).loss.backward()
    kind(root.parameters(), lr=0.02, **options).step()


def fused_adam(model: vw.LanguageModel, stack: ExitStack) -> None:
    train(model, torch.optim.AdamW, fused=True)


def plain_descent(model: vw.LanguageModel, stack: ExitStack) -> None:
    train(model, torch.optim.SGD)


def write_by_data(model: vw.LanguageModel, stack: ExitStack) -> None:
    for weight in part(model, "attention_norm").parameters():
        weight.data.add_(0.3)


def write_in_place(model: vw.LanguageModel, stack: ExitStack) -> None:
    with torch.no_grad():
        next(part(model, "mlp").parameters())[0, 0] += 3  # one number; the counter moves


def write_by_numpy(model: vw.LanguageModel, stack: ExitStack) -> None:
    if model.device.type != "cpu":
        pytest.skip("numpy shares memory with tensors on the CPU only")
    numbers = next(part(model, "mlp").parameters()).detach().numpy()
    numbers *= 2


def load_weights(model: vw.LanguageModel, stack: ExitStack) -> None:
    model.model.load_state_dict({k: v * 1.1 for k, v in model.model.state_dict().items()})


def assign_weights(model: vw.LanguageModel, stack: ExitStack) -> None:
    state = {k: v * 1.1 for k, v in model.model.state_dict().items()}
    model.model.load_state_dict(state, assign=True)


def new_data(model: vw.LanguageModel, stack: ExitStack) -> None:
    weight = next(part(model, "mlp").parameters())
    weight.data = weight.data * 2


def new_parameter(model: vw.LanguageModel, stack: ExitStack) -> None:
    norm = part(model, "mlp_norm")
    norm.weight = nn.Parameter(norm.weight.detach() * 2)


def swapped_module(model: vw.LanguageModel, stack: ExitStack) -> None:
    name = "act" if model.sites.architecture.name == "gpt2" else "act_fn"
    setattr(part(model, "mlp"), name, nn.ReLU())


def swapped_blocks(model: vw.LanguageModel, stack: ExitStack) -> None:
    found: Any = model.tree.root.get_submodule(model.sites.architecture.blocks)
    found[0], found[1] = found[1], found[0]


def new_eps(model: vw.LanguageModel, stack: ExitStack) -> None:
    norm = part(model, "mlp_norm")
    setattr(norm, "eps" if hasattr(norm, "eps") else "variance_epsilon", 5.0)


def new_scaling(model: vw.LanguageModel, stack: ExitStack) -> None:
    part(model, "attention").scaling = 0.9


def eager(model: vw.LanguageModel, stack: ExitStack) -> None:
    root: Any = model.model
    root.set_attn_implementation("eager")


def not_causal(model: vw.LanguageModel, stack: ExitStack) -> None:
    part(model, "attention").is_causal = False


def hook(model: vw.LanguageModel, stack: ExitStack) -> None:
    handle = part(model, "mlp").register_forward_hook(lambda _m, _a, output: doubled(output))
    stack.callback(handle.remove)


def instance_patch(model: vw.LanguageModel, stack: ExitStack) -> None:
    module = part(model, "mlp")
    original = module.forward
    module.forward = lambda *args: original(*args) * 2


def class_patch(model: vw.LanguageModel, stack: ExitStack) -> None:
    kind: Any = type(part(model, "mlp"))
    original = kind.forward

    @functools.wraps(original)
    def forward(self: Any, *args: Any) -> Any:
        return original(self, *args) * 2

    patched(stack).setattr(kind, "forward", forward)


def new_class(model: vw.LanguageModel, stack: ExitStack) -> None:
    kind: Any = type(part(model, "mlp"))

    class Loud(kind):
        def forward(self, *args: Any) -> Any:
            return super().forward(*args) * 2

    part(model, "mlp").__class__ = Loud


def patched_function(model: vw.LanguageModel, stack: ExitStack) -> None:
    """A helper that the family's modules look up by name."""
    import sys

    eager(model, stack)
    file: Any = sys.modules[model.sites.architecture.code]
    original = file.eager_attention_forward
    patch = patched(stack)
    patch.setattr(file, "eager_attention_forward", lambda *a, **k: doubled(original(*a, **k)))


def registry_entry(model: vw.LanguageModel, stack: ExitStack) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as FUNCTIONS

    original, patch = FUNCTIONS["sdpa"], patched(stack)
    patch.setitem(FUNCTIONS._global_mapping, "sdpa", lambda *a, **k: doubled(original(*a, **k)))


def global_hook(model: vw.LanguageModel, stack: ExitStack) -> None:
    kind = type(part(model, "mlp"))
    handle = GLOBAL.register_module_forward_hook(
        lambda module, _args, output: output * 2 if type(module) is kind else None
    )
    stack.callback(handle.remove)


def global_hook_before(model: vw.LanguageModel, stack: ExitStack) -> None:
    kind = type(part(model, "mlp"))
    handle = GLOBAL.register_module_forward_pre_hook(
        lambda module, args: (args[0] * 2,) if type(module) is kind else None
    )
    stack.callback(handle.remove)


def autocast(model: vw.LanguageModel, stack: ExitStack) -> None:
    if model.device.type == "second":
        pytest.skip("the simulated device has no autocast")
    around: AbstractContextManager[Any] = torch.autocast(model.device.type, dtype=torch.bfloat16)
    stack.enter_context(around)


def other_dtype(model: vw.LanguageModel, stack: ExitStack) -> None:
    model.model.half()


CHANGES: dict[str, Change] = {
    name.__name__.replace("_", " "): name
    for name in (
        fused_adam,
        plain_descent,
        write_by_data,
        write_in_place,
        write_by_numpy,
        load_weights,
        assign_weights,
        new_data,
        new_parameter,
        swapped_module,
        swapped_blocks,
        new_eps,
        new_scaling,
        not_causal,
        hook,
        instance_patch,
        class_patch,
        new_class,
        patched_function,
        registry_entry,
        global_hook,
        global_hook_before,
        autocast,
        other_dtype,
    )
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("name", CHANGES)
def test_a_kept_run_is_a_fresh_run_after_a_change(
    model: vw.LanguageModel, name: str, stack: ExitStack
) -> None:
    cache, before = vw.ActivationCache(), model.fingerprint
    first = vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1)
    first_map = vw.sweep(model, SPAIN, ITALY, cache=cache)
    CHANGES[name](model, stack)
    again = vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1)
    again_map = vw.sweep(model, SPAIN, ITALY, cache=cache)
    assert model.fingerprint != before
    fresh = wrap(model.model, model.tokenizer)
    assert torch.equal(again.logits, vw.run(fresh, EXPERIMENT, logits_to_keep=1).logits)
    fresh_map = vw.sweep(fresh, SPAIN, ITALY).logits
    # Cached prompts ran alone, fresh ones in a batch, which may round differently.
    limit = 1e-5 if fresh_map.dtype == torch.float32 else 1e-2
    assert (again_map.logits - fresh_map).abs().max() <= limit * fresh_map.abs().max()
    assert (again.logits - first.logits).abs().max() > 1e-4, "nothing was changed"
    assert (again_map.logits - first_map.logits).abs().max() > 1e-4
    # And back: nothing of the changed model is kept for the old one.
    stack.close()
    back = vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1)
    fresh = wrap(model.model, model.tokenizer)
    assert torch.equal(back.logits, vw.run(fresh, EXPERIMENT, logits_to_keep=1).logits)


def test_another_attention_implementation_is_noticed(
    model: vw.LanguageModel, stack: ExitStack
) -> None:
    """Its numbers are nearly the same, so the change itself must be seen."""
    before = model.fingerprint
    eager(model, stack)
    assert model.fingerprint.difference(before) == "its modules or their settings"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_are_noticed(model: vw.LanguageModel) -> None:
    import peft

    targets = ["c_attn"] if model.sites.architecture.name == "gpt2" else ["q_proj"]
    config = peft.LoraConfig(
        r=2,
        lora_alpha=8,
        target_modules=targets,
        init_lora_weights=False,
        fan_in_fan_out=targets == ["c_attn"],
        task_type="CAUSAL_LM",
    )
    adapted: Any = peft.get_peft_model(model.model, config)
    wrapped, cache = wrap(adapted, model.tokenizer), vw.ActivationCache()
    seen: list[torch.Tensor] = []
    for change in (
        lambda: None,
        adapted.base_model.disable_adapter_layers,
        adapted.base_model.enable_adapter_layers,
        adapted.merge_adapter,
        adapted.unmerge_adapter,
    ):
        before = wrapped.fingerprint
        change()
        seen.append(vw.run(wrapped, EXPERIMENT, cache=cache).logits)
        fresh = wrap(adapted, model.tokenizer)
        assert torch.equal(seen[-1], vw.run(fresh, EXPERIMENT).logits)
        assert len(seen) == 1 or wrapped.fingerprint != before
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)
    assert torch.equal(seen[0], seen[2])


def test_a_changed_buffer_is_noticed(request: pytest.FixtureRequest) -> None:
    model, cache = own_copy("tiny_llama", request), vw.ActivationCache()
    first = vw.run(model, EXPERIMENT, cache=cache).logits
    rotary = model.model.get_submodule(model.sites.architecture.rotary)
    for buffer in rotary.buffers():
        buffer.mul_(0.5)
    again = vw.run(model, EXPERIMENT, cache=cache).logits
    assert not torch.allclose(again, first, atol=1e-3)
    assert torch.equal(again, vw.run(wrap(model.model, model.tokenizer), EXPERIMENT).logits)


def test_what_was_measured_is_measured_again(model: vw.LanguageModel, stack: ExitStack) -> None:
    assert model.behaviour.is_causal and model.resume_blocker is None
    for layer in range(model.sites.layers):
        part(model, "attention", layer).is_causal = False
    assert not model.behaviour.is_causal and "not causal" in str(model.resume_blocker)


# ---- during a sweep ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "when", ["before the first layer", "between two layers", "in the last layer"]
)
def test_a_change_during_a_sweep_is_said(
    model: vw.LanguageModel, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "_rows_at_once", lambda *_: 1)
    prepared = prepare_sweep(plan_sweep(model, SPAIN, ITALY))
    rows = sweep_rows(prepared)
    if when != "before the first layer":
        next(rows)
    if when == "in the last layer":
        next(rows)
    for weight in model.model.parameters():
        weight.data.mul_(1.5)
    with pytest.raises(ModelChanged, match=r"changed while it ran \(its weights\)"):
        list(rows)


def test_a_change_that_is_taken_back_is_said(
    model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the changed model must not come out, even if it is as before at the end."""
    monkeypatch.setattr(cells, "_rows_at_once", lambda *_: 1)
    rows = sweep_rows(prepare_sweep(plan_sweep(model, SPAIN, ITALY)))
    next(rows)
    weight = next(part(model, "mlp").parameters())
    weight.data.mul_(2)
    with pytest.raises(ModelChanged):
        next(rows)


def test_a_change_while_the_last_rows_run_is_said(
    model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cells.ResumedBatch.logits

    def logits(self: Any, order: Any = None) -> Any:
        next(part(model, "mlp").parameters()).data.mul_(2)  # training on another thread
        return original(self, order)

    prepared = prepare_sweep(plan_sweep(model, SPAIN, ITALY))
    monkeypatch.setattr(cells, "FULL_ROWS", 0)  # cells are resumed on an accelerator too
    monkeypatch.setattr(cells.ResumedBatch, "logits", logits)
    with pytest.raises(ModelChanged):
        list(sweep_rows(prepared))


def test_a_change_during_a_fit_is_said(model: vw.LanguageModel) -> None:
    calls: list[int] = []

    def train_elsewhere(_module: Any, _args: Any, _output: Any) -> None:
        calls.append(1)
        if len(calls) == 12:
            for weight in model.model.parameters():
                weight.data.mul_(1.5)

    part(model, "mlp").register_forward_hook(train_elsewhere)
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN)]
    with pytest.raises(ModelChanged, match=r"changed while it ran \(its weights\)"):
        vw.fit_subspace(
            model, pairs, layer=1, position=3, rank=1, steps=20, held_out=0.5, progress=False
        )
    assert len(calls) > 12


# ---- nothing changed -----------------------------------------------------------------------------


def test_an_unchanged_model_has_one_fingerprint(model: vw.LanguageModel) -> None:
    first, root = model.fingerprint, model.model
    vw.run(model, EXPERIMENT)
    vw.sweep(model, SPAIN, ITALY)
    with torch.no_grad():
        root(input_ids=token_ids(model, SPAIN))
    root.train()
    assert model.fingerprint is first
    root.eval()
    ids: Any = token_ids(model, SPAIN)
    root(input_ids=ids, labels=ids).loss.backward()  # gradients are no part of a forward pass
    for weight in root.parameters():
        weight.requires_grad_(False)
    with torch.inference_mode():
        assert model.fingerprint is first
    assert model.fingerprint is first and first.difference(first) is None


def test_hooks_that_come_and_go_are_no_part_of_the_model(model: vw.LanguageModel) -> None:
    first = model.fingerprint
    handle = part(model, "mlp").register_forward_hook(lambda *_: None)
    assert model.fingerprint is first
    model.accept_hooks()
    assert model.fingerprint.difference(first) == "its hooks or replaced methods"
    handle.remove()
    model.accept_hooks()
    assert model.fingerprint == first


# ---- what it costs, and what it sees -------------------------------------------------------------


class Counted(TorchDispatchMode):
    """Counts torch's operators."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_fingerprint_costs_few_operators(model: vw.LanguageModel) -> None:
    model.fingerprint  # noqa: B018  # makes the views of the samples
    with Counted() as counted:
        model.fingerprint  # noqa: B018
    assert 0 < len(counted.calls) <= 8, counted.calls


def test_every_tensor_is_sampled(model: vw.LanguageModel) -> None:
    assert checksums.SAMPLES >= 64
    for tensor in (*model.model.parameters(), *model.model.buffers()):
        sample = checksums.samples_of(tensor)
        assert sample.numel() >= min(64, tensor.numel())
        assert sample.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    wide = torch.zeros(7, 1000, dtype=torch.float32, device="cpu")
    for other in (wide.t(), wide[:, ::3], wide[2:5], wide[:, :1], wide[0, 0]):
        assert checksums.samples_of(other).numel() >= min(64, other.numel())


def test_every_stretch_of_a_tensor_is_sampled(model: vw.LanguageModel) -> None:
    """A change of any 5 % of a tensor in a row is seen, even through `.data`."""
    weight = next(part(model, "mlp").parameters())
    count = weight.numel()
    for start in range(0, count - count // 20, count // 20):
        before = model.fingerprint
        weight.data.view(-1)[start : start + count // 20] += 1
        assert model.fingerprint != before, start


def checksum(model: vw.LanguageModel) -> int:
    *_, last = model.tree.checksum()
    assert last is not None
    return last


def test_a_checksum_sees_one_number(model: vw.LanguageModel) -> None:
    before, total = model.fingerprint, checksum(model)
    assert checksum(model) == total
    weight = next(part(model, "mlp").parameters())
    flat = weight.data.view(-1)
    sampled = checksums.samples_of(weight)
    step = sampled.stride(0) if sampled.numel() > 1 else 1
    assert step > 1
    flat[1] += 1e-3  # between the first sample and the second
    assert model.fingerprint is before, "the sample was to miss it"
    assert checksum(model) != total
    model.tree.weights_changed()
    assert model.fingerprint.difference(before) == "its weights"
    flat[1], flat[2] = flat[2].clone(), flat[1].clone()
    swapped = checksum(model)
    flat[1], flat[2] = flat[2].clone(), flat[1].clone()
    assert flat[1] == flat[2] or checksum(model) != swapped


def test_a_checksum_reads_every_dtype(model: vw.LanguageModel) -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        model.model.to(dtype)
        total = checksum(model)
        next(part(model, "mlp").parameters()).data.view(-1)[-1] += 1
        assert checksum(model) != total


def test_a_fingerprint_keeps_no_weights_alive(model: vw.LanguageModel) -> None:
    """One in a result must not hold a model that the user has deleted."""
    import gc
    import weakref

    other = wrap(copy.deepcopy(model.model), model.tokenizer)
    kept = other.fingerprint
    gone = weakref.ref(other.model)
    del other
    gc.collect()
    assert gone() is None and repr(kept).startswith("<Fingerprint of")
