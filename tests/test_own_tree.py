"""During a run and after it, the user's model, results and random numbers are the user's own."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, SPAIN, check_map, distance, own_copy, plain_logits, token_ids
from engine_testing import in_use
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.running import record_states, run_plan
from vene_widgets.interventions import Intervention
from vene_widgets.models import wrap
from vene_widgets.models.own_tree import own_tree, unshare

EXPERIMENT = vw.Experiment(
    base=SPAIN,
    sources=ITALY,
    slots=[vw.Slot(layer=0, position=3), vw.Slot(layer=1, position=4, component="mlp_output")],
)


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


@pytest.fixture
def lived_in(model: vw.LanguageModel) -> vw.LanguageModel:
    """A model in the middle of other work: mixed modes, frozen parts, gradients, hooks."""
    root: Any = model.model
    ids = token_ids(model, SPAIN)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        root(input_ids=ids, labels=ids).loss.backward()
    root.train()
    blocks(model)[1].eval()
    for weight in blocks(model)[2].parameters():
        weight.requires_grad_(False)
        weight.grad = None
    root.seen = []
    blocks(model)[0].register_forward_hook(lambda _m, _a, output: root.seen.append(output))
    return wrap(root, model.tokenizer)


def blocks(model: vw.LanguageModel) -> list[Any]:
    found: Any = model.tree.root.get_submodule(model.sites.architecture.blocks)
    return list(found)


def part(model: vw.LanguageModel, path: str, layer: int = 1) -> Any:
    return blocks(model)[layer].get_submodule(getattr(model.sites.architecture, path))


def everything_of(root: Any) -> dict[str, Any]:
    """All that a user can notice of a model, and of torch."""
    found: dict[str, Any] = {
        "config": root.config.to_dict(),
        "grad mode": torch.is_grad_enabled(),
        "random": torch.random.get_rng_state().tolist(),
    }
    for name, module in root.named_modules():
        plain = {
            key: (type(value), id(value))
            for key, value in module.__dict__.items()
            if key not in ("training", "_parameters", "_buffers", "_modules")
        }
        hooks = {
            key: [(number, id(hook)) for number, hook in value.items()]
            for key, value in module.__dict__.items()
            if key.endswith(("_hooks", "_hooks_with_kwargs")) and isinstance(value, dict)
        }
        children = {key: id(child) for key, child in module._modules.items()}
        found[name] = id(module), type(module), module.training, plain, hooks, children
    for name, tensor in (*root.named_parameters(), *root.named_buffers()):
        grad = None if tensor.grad is None else tensor.grad.double().sum().item()
        found[f"tensor {name}"] = (
            id(tensor),
            tensor.data_ptr(),
            tensor._version,
            tensor.requires_grad,
            id(tensor.grad),
            grad,
            tensor.detach().double().sum().item(),
        )
    return found


# ---- during a pass and after it ------------------------------------------------------------------


@pytest.fixture
def inspect(
    lived_in: vw.LanguageModel, restored_registry: None
) -> Iterator[tuple[vw.LanguageModel, list[str]]]:
    """A model, and what differs on it whenever the operator `inspecting` runs, on two threads."""
    root, changed = lived_in.model, list[str]()
    grad_modes: list[bool] = []
    before = everything_of(root)

    def look(with_modes: bool) -> None:
        now = everything_of(root)
        keys = {key for key in (*before, *now) if before.get(key) != now.get(key)}
        changed.extend(sorted(keys - (set() if with_modes else {"grad mode"})))

    class Inspecting(Intervention):
        name = "inspecting"
        needs_source = False

        def forward(self, base: Tensor, source: Any = None, subspace: Any = None) -> Tensor:
            grad_modes.append(torch.is_grad_enabled())  # ours, on this thread alone
            look(with_modes=False)
            thread = threading.Thread(target=look, args=(True,))
            thread.start()
            thread.join()
            return base * 1.5

    vw.register(Inspecting.name, Inspecting)
    yield lived_in, changed
    assert grad_modes, "the operator did not run"
    look(with_modes=True)
    assert changed == []


def inspecting() -> vw.Experiment:
    slot = vw.Slot(layer=1, position=2, intervention="inspecting")
    return EXPERIMENT.replace(slots=(*EXPERIMENT.slots, slot))


@pytest.mark.parametrize("gradients", [False, True])
def test_nothing_is_touched_while_a_run_is_going_on(inspect: Any, gradients: bool) -> None:
    model, changed = inspect
    seen = len(model.model.seen)
    plan = plan_experiment(model, inspecting())
    run_plan(model, plan, gradients=gradients)
    assert changed == []
    # The hook stood when the model was wrapped: it acts, on a list of the tree's own.
    assert len(model.model.seen) == seen


def test_nothing_is_touched_while_a_kept_run_is_going_on(inspect: Any) -> None:
    model, changed = inspect
    cache = vw.ActivationCache()
    for _ in range(2):
        run_plan(model, plan_experiment(model, inspecting()), cache=cache, logits_to_keep=1)
    assert changed == []


def test_nothing_is_touched_while_a_sweep_is_going_on(inspect: Any) -> None:
    model, changed = inspect
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.sweeps.cells import sweep_rows
    from vene_widgets.sweeps.planning import plan_sweep
    from vene_widgets.sweeps.preparing import prepare_sweep

    request = SweepRequest(intervention="inspecting")
    assert list(sweep_rows(prepare_sweep(plan_sweep(model, SPAIN, ITALY, request))))
    assert changed == []


def test_random_numbers_are_the_users(model: vw.LanguageModel) -> None:
    model.model.train()
    noise = vw.Slot(layer=1, position=3, intervention="noise", seed=3)
    rotation = vw.Slot(layer=1, position=2, intervention="low_rank_rotated_space", rank=2)
    experiment = EXPERIMENT.replace(slots=(noise, rotation))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    vw.run(model, experiment)
    vw.sweep(model, SPAIN, ITALY, intervention="noise")
    model.behaviour  # noqa: B018
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_users_training_is_his_own_while_runs_go_on(model: vw.LanguageModel) -> None:
    """Steps of an optimiser on one thread, runs on another: every step sees dropout, no hook."""
    root: Any = model.model
    root.train()
    modes: list[bool] = []
    for block in blocks(model):
        block.register_forward_hook(lambda module, _a, _o: modes.append(module.training))
    plan, stop, errors = plan_experiment(model, EXPERIMENT), threading.Event(), []

    def runs() -> None:
        try:
            while not stop.is_set():
                run_plan(model, plan)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=runs)
    thread.start()
    ids = token_ids(model, SPAIN)
    steps = 12
    for _ in range(steps):
        root(input_ids=ids, labels=ids).loss.backward()
    stop.set()
    thread.join()
    assert errors == []
    assert modes == [True] * (steps * len(blocks(model)))


# ---- the user's hooks ----------------------------------------------------------------------------


def test_a_recording_hook_sees_no_background_run(model: vw.LanguageModel) -> None:
    seen: list[int] = []
    part(model, "mlp").register_forward_hook(lambda *_: seen.append(1))
    plan = plan_experiment(model, EXPERIMENT)
    run_plan(model, plan)
    assert seen == []
    vw.run(model, EXPERIMENT)  # the user's own request: what stands now is part of the model
    assert len(seen) == 2  # the source's pass and the base's


def test_a_hook_that_stands_acts(model: vw.LanguageModel) -> None:
    plain = vw.run(model, EXPERIMENT).logits
    handle = part(model, "mlp").register_forward_hook(lambda _m, _a, output: output * 2)
    hooked = vw.run(model, EXPERIMENT).logits
    assert not torch.allclose(hooked, plain, atol=1e-3)
    run = run_plan(model, plan_experiment(model, EXPERIMENT)).logits
    assert torch.equal(run, hooked)  # until the user runs something without it
    handle.remove()
    assert torch.equal(vw.run(model, EXPERIMENT).logits, plain)


def test_the_second_face_accepts_what_stands(model: vw.LanguageModel) -> None:
    from vene_widgets.intervenable import IntervenableModel

    face = IntervenableModel({"layer": 1, "component": "block_output"}, model.model)
    base = {"input_ids": token_ids(model, SPAIN)}
    part(model, "mlp").register_forward_hook(lambda _m, _a, output: output * 2)
    original, _ = face(base, [base], {"sources->base": 3}, output_original_output=True)
    assert distance(original.logits[0], plain_logits(model, SPAIN)) <= 1e-5


def test_runs_inside_a_run(model: vw.LanguageModel, restored_registry: None) -> None:
    """An operator may ask the model something itself."""
    inner = EXPERIMENT.replace(slots=EXPERIMENT.slots[:1])
    expected = vw.run(model, inner).logits
    found: list[Tensor] = []

    class Asking(Intervention):
        name = "asking"
        needs_source = False

        def forward(self, base: Tensor, source: Any = None, subspace: Any = None) -> Tensor:
            found.append(vw.run(model, inner).logits)
            return base * 2

    class Doubling(Asking):
        name = "doubling"

        def forward(self, base: Tensor, source: Any = None, subspace: Any = None) -> Tensor:
            return base * 2

    vw.register(Asking.name, Asking)
    vw.register(Doubling.name, Doubling)
    slots = [
        [vw.Slot(layer=n, position=3, intervention=name) for n in (0, 2)]
        for name in ("asking", "doubling")
    ]
    asked, plain = (vw.run(model, EXPERIMENT.replace(slots=tuple(s))).logits for s in slots)
    assert torch.equal(asked, plain)
    assert len(found) == 2 and all(torch.equal(logits, expected) for logits in found)
    assert torch.equal(vw.run(model, inner).logits, expected)


# ---- gradients -----------------------------------------------------------------------------------


def test_gradients_reach_the_interventions_alone(model: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=3, intervention="low_rank_rotated_space", rank=2)
    experiment = EXPERIMENT.replace(slots=(slot,))
    flags = {name: p.requires_grad for name, p in model.model.named_parameters()}
    weights = vw.make_weights(model, experiment)
    run = vw.run(model, experiment, weights=weights, gradients=True)
    run.logits.sum().backward()
    assert all(p.grad is not None for m in weights.values() for p in m.parameters())
    assert all(p.grad is None for p in model.model.parameters())
    assert {name: p.requires_grad for name, p in model.model.named_parameters()} == flags


# ---- shared weights ------------------------------------------------------------------------------


def test_the_tree_follows_training(model: vw.LanguageModel) -> None:
    root: Any = model.model
    first = vw.run(model, EXPERIMENT).logits
    optimiser = torch.optim.AdamW(root.parameters(), lr=0.02)
    ids = token_ids(model, SPAIN)
    for _ in range(2):
        root(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        found = vw.run(model, vw.Experiment(base=SPAIN)).logits
        assert distance(found, plain_logits(model, SPAIN)) <= 1e-5
    assert not torch.allclose(vw.run(model, EXPERIMENT).logits, first, atol=1e-3)


def test_weights_are_shared_and_tied_ones_stay_tied(model: vw.LanguageModel) -> None:
    root: Any = model.model
    root.get_output_embeddings().weight = root.get_input_embeddings().weight
    tree: Any = own_tree(root)
    theirs, ours = dict(root.named_parameters()), dict(tree.named_parameters())
    assert list(theirs) == list(ours)
    for name, parameter in theirs.items():
        assert ours[name] is not parameter
        assert ours[name].data_ptr() == parameter.data_ptr()
        assert not ours[name].requires_grad
    assert tree.get_output_embeddings().weight is tree.get_input_embeddings().weight
    assert not ({id(m) for m in root.modules()} & {id(m) for m in tree.modules()})
    assert tree.config is not root.config and tree.config.to_dict() == root.config.to_dict()


def test_a_config_has_one_copy(model: vw.LanguageModel) -> None:
    tree: Any = own_tree(model.model)
    configs = {id(m.__dict__["config"]) for m in tree.modules() if "config" in m.__dict__}
    assert configs == {id(tree.config)}


# ---- references ----------------------------------------------------------------------------------


def test_plain_references_to_modules_lead_to_the_copies(model: vw.LanguageModel) -> None:
    root: Any = model.model
    first = blocks(model)[0]
    first.__dict__["owner"] = root  # not a child
    first.__dict__["friends"] = {"list": [blocks(model)[2], 3], "tuple": (root,)}
    tree: Any = own_tree(root)
    copied = list(tree.get_submodule(model.sites.architecture.blocks))
    assert copied[0].owner is tree
    assert copied[0].friends["list"] == [copied[2], 3] and copied[0].friends["tuple"] == (tree,)
    assert first.friends["list"][0] is blocks(model)[2]


class Patch:
    """A user-defined object with references to modules, and to itself."""

    def __init__(self, module: Any) -> None:
        self.module, self.me, self.calls = module, self, list[int]()

    def hook(self, _module: Any, _args: Any, output: Any) -> Any:
        self.calls.append(1)
        assert not self.module.training and self.me is not None
        return output * 2


def test_objects_that_refer_to_modules_are_copied(model: vw.LanguageModel) -> None:
    root: Any = model.model
    root.train()
    patch = Patch(part(model, "mlp", 0))
    part(model, "mlp").register_forward_hook(patch.hook)
    tree: Any = own_tree(root)
    copied = tree.get_submodule(model.sites.architecture.blocks)[1]
    (hook,) = copied.get_submodule(model.sites.architecture.mlp)._forward_hooks.values()
    assert hook.__self__ is not patch and hook.__self__.me is hook.__self__
    assert hook.__self__.module is not patch.module and patch.module.training
    assert hook.__self__.calls is patch.calls  # what it records, the user reads
    vw.run(model, EXPERIMENT)
    assert len(patch.calls) == 2


def test_objects_that_refer_to_no_module_are_themselves(model: vw.LanguageModel) -> None:
    patch = Patch(None)
    closure = types.SimpleNamespace(alpha=2.0)

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        return output * closure.alpha

    part(model, "mlp").register_forward_hook(hook)
    part(model, "mlp").register_forward_hook(functools.partial(Patch.hook, patch))
    tree: Any = own_tree(model.model)
    copied = tree.get_submodule(model.sites.architecture.blocks)[1]
    hooks = copied.get_submodule(model.sites.architecture.mlp)._forward_hooks
    first, second = hooks.values()
    assert first is hook and second.args == (patch,)


MODULE: Any = None
ALPHA = 2.0


def test_functions_are_bound_to_the_copies(
    model: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closures, defaults, keyword defaults, partials, globals, methods and their wrappers."""
    root: Any = model.model
    root.train()
    target = part(model, "mlp", 0)
    monkeypatch.setitem(globals(), "MODULE", target)
    met: dict[str, Any] = {}

    def meet(name: str, module: Any) -> None:
        met[name] = module

    def by_closure(_m: Any, _a: Any, output: Any) -> None:
        meet("closure", target)

    def by_default(_m: Any, _a: Any, output: Any, module: Any = target) -> None:
        meet("default", module)

    def by_keyword(_m: Any, _a: Any, output: Any, *, module: Any = target) -> None:
        meet("keyword", module)

    def by_partial(module: Any, _m: Any, _a: Any, output: Any) -> None:
        meet("partial", module)

    def by_global(_m: Any, _a: Any, output: Any) -> Any:
        meet("global", MODULE)
        return output * ALPHA

    def by_container(_m: Any, _a: Any, output: Any, table: Any = {"m": [target]}) -> None:  # noqa: B006
        meet("container", table["m"][0])

    def outer(_m: Any, _a: Any, output: Any) -> None:
        by_closure(_m, _a, output)  # a function in a closure
        meet("nested", target)

    hooks: tuple[Callable[..., Any], ...] = (
        outer,
        by_default,
        by_keyword,
        functools.partial(by_partial, target),
        by_global,
        by_container,
    )
    for hook in hooks:
        part(model, "mlp").register_forward_hook(hook)
    vw.run(model, EXPERIMENT)
    names = ("closure", "nested", "default", "keyword", "partial", "global", "container")
    assert set(met) == set(names)
    for name in names:
        assert met[name] is not target and not met[name].training, name
        assert type(met[name]) is type(target)
    first = vw.run(model, EXPERIMENT).logits
    monkeypatch.setitem(globals(), "ALPHA", 3.0)  # other globals are looked up as they are now
    assert not torch.allclose(vw.run(model, EXPERIMENT).logits, first, atol=1e-3)


@pytest.mark.parametrize("kind", ["weight_norm", "parametrize", "old weight_norm", "spectral_norm"])
def test_parametrized_modules(model: vw.LanguageModel, kind: str) -> None:
    """Their weights are computed from others before, or in, every forward."""
    import warnings

    layer = part(model, "mlp") if model.sites.architecture.name == "llama" else None
    linear = layer.up_proj if layer is not None else part(model, "mlp").c_fc
    parametrizations = nn.utils.parametrizations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "weight_norm":
            parametrizations.weight_norm(linear)
            linear.parametrizations.weight.original0.data.mul_(1.5)
        elif kind == "old weight_norm":
            nn.utils.weight_norm(linear)
            linear.weight_g.data.mul_(1.5)
        elif kind == "spectral_norm":
            parametrizations.spectral_norm(linear)
        else:

            class Twice(nn.Module):
                def forward(self, weight: Tensor) -> Tensor:
                    return weight * 2

            nn.utils.parametrize.register_parametrization(linear, "weight", Twice())
    model.model.eval()
    before = everything_of(model.model)
    wrapped = wrap(model.model, model.tokenizer)
    check_map(wrapped, SPAIN, ITALY, "mlp_output")
    assert distance(vw.run(wrapped, EXPERIMENT).logits, plain_logits(model, SPAIN)) > 1e-4
    after = everything_of(model.model)
    if kind != "old weight_norm":  # by hand, its hook sets a new attribute at every call
        assert {key for key in after if after[key] != before.get(key)} == set()


def test_modules_that_several_layers_share_are_apart_in_the_copy(model: vw.LanguageModel) -> None:
    root: Any = model.model
    blocks(model)[2].mlp = blocks(model)[0].mlp
    tree: Any = own_tree(root)
    layers = tree.get_submodule(model.sites.architecture.blocks)
    assert layers[2].mlp is layers[0].mlp
    unshare(layers)
    one, other = layers[0].mlp, layers[2].mlp
    assert one is not other and one._forward_hooks is not other._forward_hooks
    for a, b in zip(one.modules(), other.modules(), strict=True):
        assert a is not b and type(a) is type(b)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert a is b


# ---- copies and pickles --------------------------------------------------------------------------


def test_copies_of_a_model_run(model: vw.LanguageModel) -> None:
    expected = vw.run(model, EXPERIMENT).logits
    for copied in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(vw.run(copied, EXPERIMENT).logits, expected)
        assert copied.lock is not model.lock and copied.tree is not model.tree
    shallow, deep = copy.copy(model), copy.deepcopy(model)
    assert shallow.model is model.model and deep.model is not model.model
    with model.lock:
        assert shallow.lock.acquire(blocking=False)
        shallow.lock.release()


def test_a_model_copied_in_the_middle_of_a_run(model: vw.LanguageModel) -> None:
    expected = vw.run(model, EXPERIMENT).logits
    with in_use(model):
        copied = copy.deepcopy(model)
    assert torch.equal(vw.run(copied, EXPERIMENT).logits, expected)


def weight_bytes(model: vw.LanguageModel) -> int:
    return sum(p.numel() * p.element_size() for p in model.model.parameters())


def test_a_pickled_run_carries_no_weights(capitals: vw.LanguageModel) -> None:
    run = vw.run(capitals, EXPERIMENT, logits_to_keep=1)
    data = pickle.dumps(run)
    # Its own tensors, and the tokenizer.
    own = sum(t.numel() * t.element_size() for t in (run.logits, run.last_hidden_state, run.states))
    reports = 8 * run.states.numel()
    tokenizer = len(pickle.dumps(capitals.tokenizer))
    assert len(data) < own + reports + tokenizer + 50_000 < weight_bytes(capitals)
    again: vw.Run = pickle.loads(data)  # noqa: S301
    assert torch.equal(again.logits, run.logits) and torch.equal(again.states, run.states)
    assert again.frame.equals(run.frame) and again.top(3).equals(run.top(3))
    assert again.receipts.equals(run.receipts)
    assert again.experiment == run.experiment and again.tokens == run.tokens
    assert repr(again) == repr(run) and again._repr_html_() == run._repr_html_()
    assert vw.compare(again, run).verdict == "bit-equal"
    with pytest.raises(vw.RequestError, match="pickled without the weights"):
        vw.run(again.model, run.experiment)
    # The original is as it was.
    assert run.model is capitals


def test_a_pickled_run_with_gradients(model: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=3, intervention="low_rank_rotated_space", rank=2)
    experiment = EXPERIMENT.replace(slots=(slot,))
    weights = vw.make_weights(model, experiment)
    run = vw.run(model, experiment, weights=weights, gradients=True)
    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):  # noqa: S301
        assert torch.equal(again.logits, run.logits) and again.frame.equals(run.frame)


@pytest.mark.parametrize("head", [None, [0, 1]])
def test_a_pickled_sweep_carries_no_weights(capitals: vw.LanguageModel, head: Any) -> None:
    component = "block_output" if head is None else "head_value_output"
    swept: Any = vw.sweep(capitals, SPAIN, ITALY, component, head=head)
    data = pickle.dumps(swept)
    kept = swept.logits.numel() * swept.logits.element_size()
    tokenizer = len(pickle.dumps(capitals.tokenizer))
    assert len(data) < 2 * kept + tokenizer + 200_000 < weight_bytes(capitals)
    again: Any = pickle.loads(data)  # noqa: S301
    assert torch.equal(again.logits, swept.logits) and again.frame.equals(swept.frame)
    assert repr(again) == repr(swept) and again.targets == swept.targets
    assert again.plot().data.equals(swept.plot().data)
    plan = (again if head is None else again.sweeps[0]).plan
    with pytest.raises(vw.RequestError, match="pickled without the weights"):
        vw.sweep(plan.model, SPAIN, ITALY)
    assert plan.model.token_text(5) == capitals.token_text(5)


def test_a_pickled_comparison(capitals: vw.LanguageModel) -> None:
    plain = vw.run(capitals, vw.Experiment(base=SPAIN))
    comparison = vw.compare(plain, vw.run(capitals, EXPERIMENT))
    again = pickle.loads(pickle.dumps(comparison))  # noqa: S301
    assert again.frame.equals(comparison.frame) and again.words == comparison.words


def test_a_deleted_model_is_gone(model: vw.LanguageModel) -> None:
    import weakref

    other = wrap(copy.deepcopy(model.model), model.tokenizer)
    vw.sweep(other, SPAIN, ITALY)
    gone = weakref.ref(other.model)
    del other
    gc.collect()
    assert gone() is None


# ---- what is handed out --------------------------------------------------------------------------


def tensors_in(value: Any, seen: set[int] | None = None) -> list[Tensor]:
    """Every tensor that a result can be asked for."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        return [value]
    if id(value) in seen or isinstance(value, (vw.LanguageModel, nn.Module, str, int, float)):
        return []
    seen.add(id(value))
    if isinstance(value, dict):
        return [t for item in value.values() for t in tensors_in(item, seen)]
    if isinstance(value, (list, tuple, set)):
        return [t for item in value for t in tensors_in(item, seen)]
    return tensors_in(getattr(value, "__dict__", {}), seen)


def scribble(*results: Any) -> int:
    """Write into every tensor of some results."""
    tensors = [tensor for result in results for tensor in tensors_in(result)]
    for tensor in tensors:
        with torch.no_grad():
            tensor.fill_(7)
    return len(tensors)


@pytest.mark.parametrize("kept", [True, False])
def test_results_may_be_written_into(model: vw.LanguageModel, kept: bool) -> None:
    cache = vw.ActivationCache() if kept else None
    sites = [model.sites.site(1, name) for name in ("block_output", "value_output", "mlp_input")]
    plain = vw.Experiment(base=SPAIN)
    state = model.model.state_dict()
    state = {name: tensor.clone() for name, tensor in state.items()}

    def everything() -> dict[str, Any]:
        return {
            "plain": vw.run(model, plain, cache=cache),
            "run": vw.run(model, EXPERIMENT, cache=cache),
            "last": vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1),
            "map": vw.sweep(model, SPAIN, ITALY, cache=cache),
            "same": vw.sweep(model, SPAIN, SPAIN, cache=cache),
            "other map": vw.sweep(model, SPAIN, ITALY, "value_output", cache=cache),
            "states": record_states(model, SPAIN, sites),
            "compare": vw.compare(*(vw.run(model, e, cache=cache) for e in (plain, EXPERIMENT))),
        }

    first = everything()
    before = [tensor.clone() for tensor in tensors_in(first)]
    assert scribble(first) == len(before) > 30
    after = tensors_in(everything())
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_results_of_one_run_share_nothing(model: vw.LanguageModel) -> None:
    """Writing into one tensor of a result changes no other."""
    sites = [model.sites.site(1, "value_output"), model.sites.site(1, "head_value_output", 0)]
    results: list[Any] = [record_states(model, SPAIN, sites)]
    results += [vw.run(model, EXPERIMENT), vw.sweep(model, SPAIN, SPAIN)]
    results.append(vw.compare(results[1], vw.run(model, vw.Experiment(base=SPAIN))))
    for result in results:
        tensors = tensors_in(result)
        for n, tensor in enumerate(tensors):
            others = [other.clone() for m, other in enumerate(tensors) if m != n]
            with torch.no_grad():
                tensor.fill_(float(n))
            now = [other for m, other in enumerate(tensors) if m != n]
            assert all(torch.equal(a, b) for a, b in zip(others, now, strict=True)), n


def test_an_operator_may_keep_and_write_what_it_is_given(
    model: vw.LanguageModel, restored_registry: None
) -> None:
    given: list[Tensor] = []

    class Keeping(Intervention):
        name = "keeping"

        def forward(self, base: Tensor, source: Tensor, subspace: Any = None) -> Tensor:
            new = source.clone()
            given.extend((base, source))
            base.fill_(7)
            source.fill_(7)
            return new

    vw.register(Keeping.name, Keeping)
    swap = vw.Experiment(base=SPAIN, sources=ITALY, slots=[vw.Slot(layer=1, position=3)])
    keeping = swap.replace(slots=(vw.Slot(layer=1, position=3, intervention="keeping"),))
    cache = vw.ActivationCache()
    expected = vw.run(model, swap).logits
    expected_map = vw.sweep(model, SPAIN, ITALY).logits
    for _ in range(2):
        kept = vw.run(model, keeping, cache=cache)
        assert torch.equal(kept.logits, expected)
        assert kept.receipts.equals(vw.run(model, swap).receipts)
        found = vw.sweep(model, SPAIN, ITALY, intervention="keeping", cache=cache).logits
        assert distance(found, expected_map) <= 1e-5
        for tensor in given:
            tensor.fill_(9)
        assert torch.equal(vw.run(model, swap, cache=cache).logits, expected)
