"""During a run, the user's model, hooks, gradients and random numbers are the user's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, SPAIN, distance, own_copy, plain_logits, token_ids
from torch import Tensor
from tree_testing import EXPERIMENT, blocks, everything_of, part

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.running import run_plan
from vene_widgets.interventions import Intervention
from vene_widgets.models import wrap


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
