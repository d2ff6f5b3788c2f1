"""Whatever happens, the user's model is afterwards exactly what it was before."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from engine_testing import in_use
from torch import Tensor, nn

from vene_widgets.engine import hooks
from vene_widgets.engine.hooks import Edit, EditStats, intervene, record, record_final_state
from vene_widgets.engine.running import record_states, run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.sweep import sweep

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
SLOTS = (
    Slot(layer=0, position=3),
    Slot(layer=1, position=4, component="attention_output"),
    Slot(layer=2, position=4, component="mlp_input"),
)
EXPERIMENT = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=SLOTS)
REGISTRIES = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@pytest.fixture(params=["tiny_gpt2", "tiny_llama"])
def lived_in(request: pytest.FixtureRequest) -> LanguageModel:
    """A model in the middle of other work: mixed modes, frozen parts, gradients, hooks."""
    tidy: LanguageModel = request.getfixturevalue(request.param)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = LanguageModel("lived-in", copy.deepcopy(tidy.model), tidy.tokenizer)
        ids = _ids(model, SPAIN)
        model.model(input_ids=ids, labels=ids).loss.backward()
    blocks = model.model.get_submodule(model.sites.architecture.blocks)
    assert isinstance(blocks, nn.ModuleList)
    model.model.train()
    blocks[1].eval()
    for weight in blocks[2].parameters():
        weight.requires_grad_(False)
        weight.grad = None
    head = model.model.get_submodule(model.sites.unembedding)
    for module in (blocks[0], blocks[1], head):
        module.register_forward_hook(lambda *_: None)
        module.register_forward_hook(lambda _m, _a, _k, _o: None, with_kwargs=True)
        module.register_forward_hook(lambda *_: None, prepend=True)
        module.register_forward_pre_hook(lambda *_: None)
        module.register_full_backward_hook(lambda *_: None)
        module.register_full_backward_pre_hook(lambda *_: None)
    return model


def snapshot(model: LanguageModel) -> dict[str, Any]:
    """Everything of a model that a user could notice, by value or by identity."""
    hf: Any = model.model
    return {
        "state": {name: tensor.clone() for name, tensor in hf.state_dict().items()},
        "storage": {name: tensor.data_ptr() for name, tensor in hf.state_dict().items()},
        "grad": {n: None if p.grad is None else p.grad.clone() for n, p in hf.named_parameters()},
        "requires_grad": {n: p.requires_grad for n, p in hf.named_parameters()},
        "training": {n: m.training for n, m in hf.named_modules()},
        "hooks": {
            (n, kind): [(key, id(hook)) for key, hook in getattr(m, kind).items()]
            for n, m in hf.named_modules()
            for kind in (
                *REGISTRIES,
                "_forward_hooks_with_kwargs",
                "_forward_pre_hooks_with_kwargs",
            )
        },
        "forward": {n: m.__dict__.get("forward") for n, m in hf.named_modules()},
        "attributes": {n: sorted(m.__dict__) for n, m in hf.named_modules()},
        "config": hf.config.to_dict(),
        "generation": hf.generation_config.to_dict(),
        "grad mode": torch.is_grad_enabled(),
        "random": torch.random.get_rng_state(),
    }


def same(one: Any, other: Any) -> bool:
    """Deep equality with tensors compared bit by bit."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    return one == other


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in before if not same(before[name], after[name])]


def _ids(model: LanguageModel, prompt: str) -> Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)


@pytest.fixture
def untouched(lived_in: LanguageModel) -> Iterator[LanguageModel]:
    """The lived-in model; what a test does with it must leave no trace."""
    before = snapshot(lived_in)
    yield lived_in
    assert changes(before, snapshot(lived_in)) == []
    assert lived_in.lock.acquire(blocking=False)
    lived_in.lock.release()


def test_a_snapshot_notices_what_it_is_there_to_notice(lived_in: LanguageModel):
    before = snapshot(lived_in)
    assert changes(before, snapshot(lived_in)) == []
    head: Any = lived_in.model.get_submodule(lived_in.sites.unembedding)
    handle = head.register_forward_hook(lambda *_: None)
    assert changes(before, snapshot(lived_in)) == ["hooks"]
    handle.remove()
    head.eval()
    assert changes(before, snapshot(lived_in)) == ["training"]
    head.train()
    head.weight.grad[0, 0] += 1
    assert changes(before, snapshot(lived_in)) == ["grad"]
    head.weight.grad[0, 0] -= 1
    head.weight.data[0, 0] += 1
    assert "state" in changes(before, snapshot(lived_in))


# ---- after success -------------------------------------------------------------------------------


def test_a_run_leaves_no_trace(untouched: LanguageModel):
    result = run(untouched, EXPERIMENT)
    assert all(receipt.fired for receipt in result.record)
    assert not result.logits.requires_grad and not result.states.requires_grad


def test_a_sweep_leaves_no_trace(untouched: LanguageModel):
    assert sweep(untouched, SPAIN, ITALY).logits.isfinite().all()


def test_a_sweep_that_resumes_leaves_no_trace(lived_in: LanguageModel):
    """Without hooks of the user's, a sweep takes the model's parts one by one."""
    for module in lived_in.model.modules():
        for kind in REGISTRIES:
            getattr(module, kind).clear()
    before = snapshot(lived_in)
    for component in ("block_output", "value_output"):
        sweep(lived_in, SPAIN, ITALY, component)
    assert changes(before, snapshot(lived_in)) == []


def test_the_users_hooks_run_in_every_pass_and_in_their_order(tiny_gpt2: LanguageModel):
    model = LanguageModel("copy", copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    block = model.model.get_submodule("transformer.h.0")
    called: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: called.append(name)

    block.register_forward_hook(note("second"))
    block.register_forward_hook(note("third"))
    block.register_forward_hook(note("first"), prepend=True)
    block.register_forward_pre_hook(note("before"))
    run(model, EXPERIMENT)
    assert called == ["before", "first", "second", "third"] * 2  # the source's pass and the base's


# ---- after a fault -------------------------------------------------------------------------------


class Fault(Exception):
    """Raised on purpose."""


def broken(*_: Any, **__: Any) -> Any:
    raise Fault


def test_an_exception_inside_an_edit_leaves_no_trace(untouched: LanguageModel):
    site = untouched.sites.site(1, "block_output")
    zero = torch.tensor([0])
    with (
        pytest.raises(Fault),
        in_use(untouched),
        intervene(untouched, [Edit(site, zero, zero, broken)]),
    ):
        untouched.net(input_ids=_ids(untouched, SPAIN))


def test_an_exception_inside_an_intervention_leaves_no_trace(
    untouched: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    from vene_widgets import interventions

    monkeypatch.setattr(interventions.Vanilla, "forward", broken)
    for use in (lambda: run(untouched, EXPERIMENT), lambda: sweep(untouched, SPAIN, ITALY)):
        with pytest.raises(Fault):
            use()


@pytest.mark.parametrize("where", ["blocks.2", "unembedding"])
def test_an_exception_inside_the_forward_pass_leaves_no_trace(
    untouched: LanguageModel, monkeypatch: pytest.MonkeyPatch, where: str
):
    a = untouched.sites.architecture
    module = untouched.model.get_submodule(
        a.unembedding[0] if where == "unembedding" else f"{a.blocks}.2"
    )
    with monkeypatch.context() as patch:
        patch.setattr(type(module), "forward", broken)
        for use in (
            lambda: run(untouched, EXPERIMENT),
            lambda: sweep(untouched, SPAIN, ITALY),
            lambda: record_states(untouched, SPAIN, [untouched.sites.site(0, "mlp_output")]),
        ):
            with pytest.raises(Fault):
                use()


@pytest.mark.parametrize("side", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_failing_registration_takes_the_earlier_ones_back(
    untouched: LanguageModel, monkeypatch: pytest.MonkeyPatch, side: str, fails_at: int
):
    component = "block_output" if side == "register_forward_hook" else "mlp_input"
    slots = tuple(Slot(layer=layer, position=3, component=component) for layer in range(3))
    register, calls = getattr(nn.Module, side), []

    def sometimes(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        calls.append(self)
        if len(calls) == fails_at + 1:
            raise Fault
        return register(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, side, sometimes)
        with pytest.raises(Fault):
            run(untouched, EXPERIMENT.replace(slots=slots))
        assert len(calls) == fails_at + 1


def test_a_refused_request_leaves_no_trace(untouched: LanguageModel):
    with pytest.raises(RequestError):
        run(untouched, EXPERIMENT.replace(slots=(*SLOTS, Slot(layer=9, position=0))))


def test_a_run_after_a_fault_is_the_run_without_one(tiny_gpt2: LanguageModel):
    expected = run(tiny_gpt2, EXPERIMENT)
    site, zero = tiny_gpt2.sites.site(0, "block_output"), torch.tensor([0])
    edits = [Edit(site, zero, zero, broken)]
    with pytest.raises(Fault), in_use(tiny_gpt2), intervene(tiny_gpt2, edits):
        tiny_gpt2.net(input_ids=_ids(tiny_gpt2, SPAIN))
    assert torch.equal(run(tiny_gpt2, EXPERIMENT).logits, expected.logits)


# ---- modes ---------------------------------------------------------------------------------------


def test_dropout_is_off_in_a_run_and_on_again_afterwards(tiny_gpt2: LanguageModel):
    model = LanguageModel("training", copy.deepcopy(tiny_gpt2.model).train(), tiny_gpt2.tokenizer)
    assert model.model.config.resid_pdrop > 0  # pyright: ignore[reportAttributeAccessIssue]
    ids = _ids(model, SPAIN)
    with torch.no_grad():
        assert not torch.equal(model.model(input_ids=ids).logits, model.model(input_ids=ids).logits)
    first, second = run(model, EXPERIMENT), run(model, EXPERIMENT)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.logits, run(tiny_gpt2, EXPERIMENT).logits)
    assert all(module.training for module in model.model.modules())
    with torch.no_grad():
        assert not torch.equal(model.model(input_ids=ids).logits, model.model(input_ids=ids).logits)


def test_gradients_work_as_before_inside_and_after_a_run(tiny_gpt2: LanguageModel):
    model = LanguageModel("copy", copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    with torch.enable_grad():
        run(model, EXPERIMENT)
        assert torch.is_grad_enabled()
        assert model.model(input_ids=_ids(model, SPAIN)).logits.requires_grad


# ---- what record and intervene do ----------------------------------------------------------------


def test_record_gives_what_the_users_own_hook_would_see(tiny_gpt2: LanguageModel):
    seen: list[Tensor] = []
    module = tiny_gpt2.model.get_submodule("transformer.h.1.mlp")

    def see(_module: nn.Module, _args: Any, output: Tensor) -> None:
        seen.append(output)

    handle = module.register_forward_hook(see)
    site = tiny_gpt2.sites.site(1, "mlp_output")
    with torch.no_grad():
        tiny_gpt2.model(input_ids=_ids(tiny_gpt2, SPAIN))
    handle.remove()
    with in_use(tiny_gpt2), record(tiny_gpt2, [site]) as found:
        assert found == {}
        tiny_gpt2.net(input_ids=_ids(tiny_gpt2, SPAIN))
    assert torch.equal(found[site], seen[0]) and len(seen) == 1


def test_the_final_norms_output_is_the_last_hidden_state(tiny_llama: LanguageModel):
    ids = _ids(tiny_llama, SPAIN)
    with in_use(tiny_llama), record_final_state(tiny_llama) as found:
        tiny_llama.net(input_ids=ids)
    backbone = tiny_llama.model.get_submodule("model")
    with torch.no_grad():
        assert torch.equal(found[0], backbone(input_ids=ids).last_hidden_state)


def test_an_edit_changes_its_rows_and_positions_only_and_reports_it(tiny_gpt2: LanguageModel):
    site = tiny_gpt2.sites.site(1, "head_value_output", 2)
    applied: list[EditStats] = []
    edit = Edit(
        site,
        rows=torch.tensor([0, 2]),
        positions=torch.tensor([3, 1]),
        change=lambda vectors: vectors + vectors.new_tensor([[3.0], [4.0]]),
        on_applied=applied.append,
    )
    ids = _ids(tiny_gpt2, SPAIN).expand(3, -1)
    place = tiny_gpt2.sites.site(1, "value_output")
    with in_use(tiny_gpt2), record(tiny_gpt2, [place]) as before:
        tiny_gpt2.net(input_ids=ids)
    with (
        in_use(tiny_gpt2),
        intervene(tiny_gpt2, [edit]),
        record(tiny_gpt2, [place]) as after,
    ):
        tiny_gpt2.net(input_ids=ids)
    expected = before[place].clone()
    expected[0, 3, 16:24] += 3
    expected[2, 1, 16:24] += 4
    assert torch.equal(after[place], expected)
    (touch,) = applied
    assert (touch.shape, touch.rows, touch.others_equal) == ((3, 5, 8), 2, True)
    assert touch.size == pytest.approx((8 * (9 + 16)) ** 0.5, rel=1e-5)


def test_a_report_notices_when_something_else_changed(tiny_gpt2: LanguageModel):
    """`others_equal` can be False: here the edit's function writes where it should not."""
    site, applied = tiny_gpt2.sites.site(0, "mlp_output"), []
    tensor = torch.ones(1, 3, 24)

    def trespass(vectors: Tensor) -> Tensor:
        tensor[0, 2, 5] = 7
        return vectors * 2

    zero = torch.tensor([0])
    hooks.apply_edit(tensor, Edit(site, zero, zero, trespass, applied.append))
    hooks.apply_edit(tensor, Edit(site, zero, zero, lambda v: v * 2, applied.append))
    assert [touch.others_equal for touch in applied] == [False, True]


# ---- threads -------------------------------------------------------------------------------------


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Run functions at the same time and return what they gave; their exceptions come out here."""
    results: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def call(index: int) -> None:
        start.wait()
        try:
            results[index] = works[index]()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def test_two_threads_get_what_one_alone_gets(tiny_gpt2: LanguageModel):
    other = Experiment(
        base=ITALY, sources={"spain": SPAIN}, slots=(Slot(layer=1, position=3), SLOTS[2])
    )
    alone = [run(tiny_gpt2, EXPERIMENT).logits, run(tiny_gpt2, other).logits]
    cells = sweep(tiny_gpt2, SPAIN, ITALY).logits

    def many(experiment: Experiment) -> Callable[[], list[Tensor]]:
        return lambda: [run(tiny_gpt2, experiment).logits for _ in range(15)]

    one, two, swept = in_threads(
        many(EXPERIMENT),
        many(other),
        lambda: [sweep(tiny_gpt2, SPAIN, ITALY).logits for _ in range(10)],
    )
    assert all(torch.equal(logits, alone[0]) for logits in one)
    assert all(torch.equal(logits, alone[1]) for logits in two)
    # Bit-equal: the other threads' hooks do not send a sweep the other way either.
    assert all(torch.equal(logits, cells) for logits in swept)


def test_the_users_own_call_in_another_thread_meets_no_hook_of_ours(tiny_gpt2: LanguageModel):
    ids = _ids(tiny_gpt2, SPAIN)
    with torch.no_grad():
        plain = tiny_gpt2.model(input_ids=ids).logits

    def users() -> Tensor:
        with torch.no_grad():
            return tiny_gpt2.model(input_ids=ids).logits

    sites = [tiny_gpt2.sites.site(0, c) for c in ("block_input", "block_output")]
    zero = torch.tensor([0])
    edits = [Edit(site, zero, zero, torch.zeros_like) for site in sites]
    with (
        in_use(tiny_gpt2),
        intervene(tiny_gpt2, edits),
        record(tiny_gpt2, sites) as found,
    ):
        (theirs,) = in_threads(users)
        assert found == {}
        ours = tiny_gpt2.net(input_ids=ids).logits
    assert torch.equal(theirs, plain) and not torch.equal(ours, plain)
    assert set(found) == set(sites)
