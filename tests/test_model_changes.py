"""The explorer beside a user who changes the model, trains it, or watches it."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from explorer_testing import SilentPainter, ask
from torch import nn

import vene_widgets as vw
from vene_widgets.explorer import Explorer, exact_runs
from vene_widgets.explorer.session import file_queue
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.wire import incoming
from vene_widgets.models import wrap

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
EXPERIMENT = vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(layer=0, position=3)])


@pytest.fixture
def own(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    return wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)


@pytest.fixture
def explorer(own: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Explorer]:
    made = Explorer(own, EXPERIMENT).wait(60)
    yield made
    made.close()


def logits(model: vw.LanguageModel, experiment: vw.Experiment) -> torch.Tensor:
    """By hooks of our own on the user's model, eval mode, last position."""
    net: Any = copy.deepcopy(model.model).eval()
    ids = [
        torch.tensor([[t.id for t in model.tokens(p)]], device=model.device) for p in (BASE, SOURCE)
    ]
    blocks: Any = net.get_submodule("transformer.h")
    states: list[torch.Tensor] = []
    slot = experiment.slots[0]
    place: Any = slot.position
    with torch.no_grad():
        handle = blocks[slot.layer].register_forward_hook(lambda _m, _a, out: states.append(out))
        net(ids[1])
        handle.remove()

        def put(_m: nn.Module, _a: Any, out: torch.Tensor) -> torch.Tensor:
            new = out.clone()
            new[:, place] = states[0][:, place]
            return new

        blocks[slot.layer].register_forward_hook(put)
        return net(ids[0]).logits[0, -1]


def shown(explorer: Explorer) -> dict[int, float]:
    """Probabilities of the result on the screen, by token."""
    return {row["token_id"]: row["probabilities"][-1] for row in explorer.answer["tokens"]}


def is_of(explorer: Explorer, wanted: torch.Tensor) -> bool:
    p = wanted.softmax(-1)
    return all(abs(value - float(p[token])) < 1e-5 for token, value in shown(explorer).items())


def block(model: vw.LanguageModel, layer: int) -> Any:
    return model.model.get_submodule(f"transformer.h.{layer}")


def step_fused(model: vw.LanguageModel) -> None:
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=0.05, fused=True)
    ids = torch.tensor([[1, 2, 3]], device=model.device)
    cast("Any", model.model)(ids, labels=ids).loss.backward()
    optimiser.step()
    optimiser.zero_grad()


def write_data(model: vw.LanguageModel) -> None:
    block(model, 1).mlp.c_fc.weight.data.mul_(1.5)


def swap_activation(model: vw.LanguageModel) -> None:
    block(model, 1).mlp.act = nn.ReLU()


def change_eps(model: vw.LanguageModel) -> None:
    block(model, 2).ln_1.eps = 0.5


def load_weights(model: vw.LanguageModel) -> None:
    model.model.load_state_dict(
        {name: tensor * 1.2 for name, tensor in model.model.state_dict().items()}
    )


CHANGES = [step_fused, write_data, swap_activation, change_eps, load_weights]


@pytest.mark.parametrize("change", CHANGES)
def test_a_click_after_a_change_is_answered_by_the_model_as_it_is(
    explorer: Explorer, own: vw.LanguageModel, change: Callable[[vw.LanguageModel], None]
) -> None:
    assert is_of(explorer, logits(own, EXPERIMENT)) and explorer.scene["model_since"] == 0
    change(own)
    assert not is_of(explorer, logits(own, EXPERIMENT))
    slots = [{"layer": 1, "position": 3}]
    ask(explorer, kind="experiment", experiment={**EXPERIMENT.model_dump(), "slots": slots})
    assert is_of(explorer, logits(own, explorer.experiment))
    since = explorer.scene["model_since"]
    assert since > 0 and explorer.answer["revision"] >= since and explorer.map["revision"] >= since
    assert "The model has changed" in explorer.status["note"]
    old = [entry["revision"] < since for entry in explorer.past["entries"]]
    assert old == [True, False]
    # And what was answered before is answered anew.
    explorer.restore(0)
    explorer.wait(60)
    assert is_of(explorer, logits(own, EXPERIMENT))
    assert torch.allclose(explorer.run.logits[-1], logits(own, EXPERIMENT), atol=1e-5)


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_cell_the_screen_notices_a_change_by_itself(
    explorer: Explorer, own: vw.LanguageModel, change: Callable[[vw.LanguageModel], None]
) -> None:
    before = explorer.map
    explorer.notice_changes()  # what runs after every cell: nothing has changed
    assert explorer.scene["model_since"] == 0 and explorer.map is before
    change(own)
    explorer.notice_changes()
    explorer.wait(60)
    assert explorer.scene["model_since"] > 0
    assert is_of(explorer, logits(own, EXPERIMENT))
    swept = vw.sweep(own, BASE, SOURCE)
    cells = {(c["layer"], c["position"]): c for c in explorer.map["cells"]}
    target = explorer.map["targets"][0]["token_id"]
    p = swept.logits.softmax(-1)[:, :, target]
    for (layer, position), cell in cells.items():
        assert cell["probabilities"][0] == pytest.approx(float(p[layer, position]), abs=1e-5)


def test_reading_from_python_is_of_the_model_as_it_is(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    assert torch.allclose(explorer.run.logits[-1], logits(own, EXPERIMENT), atol=1e-5)
    write_data(own)
    assert torch.allclose(explorer.run.logits[-1], logits(own, EXPERIMENT), atol=1e-5)


def test_a_change_that_no_sample_shows_is_found_when_idle(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    explorer.worker.wait("verify", 60)
    weight = own.model.get_submodule("transformer.h.1.mlp.c_fc").weight
    state = own.fingerprint
    cast("torch.Tensor", weight).data.view(-1)[1] += 3.0  # the sample takes every 36th
    assert own.fingerprint == state
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    explorer.worker.wait("verify", 60)
    explorer.wait(60)
    assert explorer.scene["model_since"] > 0
    assert is_of(explorer, logits(own, EXPERIMENT))


def test_a_story_is_not_exact_after_a_change(explorer: Explorer, own: vw.LanguageModel) -> None:
    explorer.story([vw.Step("Here", EXPERIMENT), vw.Step("There", [vw.Slot(layer=1, position=3)])])
    explorer.wait(60)
    assert explorer.steps["model_since"] == explorer.scene["model_since"] == 0
    write_data(own)
    explorer.step = 1
    explorer.wait(60)
    assert explorer.scene["model_since"] > explorer.steps["model_since"]
    assert is_of(explorer, logits(own, explorer.experiment))


def test_a_comparison_says_that_it_is_of_before(explorer: Explorer, own: vw.LanguageModel) -> None:
    side = {"title": "base", "experiment": {"base": BASE}}
    ask(explorer, kind="compare", left=side, right={**side, "title": "again"})
    assert explorer.contrast["error"] is None
    write_data(own)
    explorer.notice_changes()
    assert "The model has changed since" in explorer.contrast["error"]


def test_brief_hooks_of_other_cells_see_no_pass_and_change_no_answer(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    wanted, seen = logits(own, EXPERIMENT), []
    handles = [
        block(own, 1).register_forward_hook(lambda *_: seen.append(1)),
        block(own, 2).register_forward_hook(lambda _m, _a, out: out * 0),
    ]
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    for handle in handles:
        handle.remove()
    assert seen == [] and is_of(explorer, wanted) and explorer.scene["model_since"] == 0


def test_hooks_that_stand_when_the_user_runs_are_part_of_the_model(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    without = logits(own, EXPERIMENT)
    handle = block(own, 2).register_forward_hook(lambda _m, _a, out: out.roll(1, -1))
    by_hand = vw.run(own, EXPERIMENT).logits[-1]
    assert not torch.allclose(by_hand, without, atol=1e-3)
    explorer.notice_changes()
    explorer.wait(60)
    assert is_of(explorer, by_hand)
    assert explorer.map["slow"] == "the model carries hooks of its own"
    # And no longer when they are gone, though nobody ran the model since.
    handle.remove()
    explorer.notice_changes()
    explorer.wait(60)
    assert is_of(explorer, without) and explorer.map["slow"] is None


def test_hooks_that_stood_when_it_was_wrapped_act_and_the_screen_says_so(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    net = copy.deepcopy(tiny_gpt2.model)
    net.get_submodule("transformer.h.2").register_forward_hook(lambda _m, _a, out: out.roll(1, -1))
    own = wrap(net, tiny_gpt2.tokenizer)
    explorer = Explorer(own, EXPERIMENT).wait(60)
    assert is_of(explorer, logits(own, EXPERIMENT))
    assert "carries hooks or replaced methods of its own" in explorer.status["note"]
    explorer.close()
    plain = Explorer(tiny_gpt2, EXPERIMENT).wait(60)
    assert plain.status["note"] is None
    plain.close()


def test_flags_and_random_streams_stay_while_the_explorer_works(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    """From another thread: the user switches modes and draws numbers during the explorer's runs."""
    own.model.train()
    ids = torch.tensor([[1, 2, 3]], device=own.device)
    slots = [
        {"layer": n, "position": 3, "intervention": "low_rank_rotated_space", "rank": 2}
        for n in (0, 1)
    ]
    torch.manual_seed(7)
    alone = [cast("Any", own.model)(ids).logits for _ in range(20)]
    torch.manual_seed(7)
    stop = threading.Event()

    def click() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            content = {**EXPERIMENT.model_dump(), "slots": [slots[n % 2]]}
            explorer.receive({"id": f"r{n}", "kind": "experiment", "experiment": content})
            explorer.worker.wait("answer", 10)

    thread = threading.Thread(target=click)
    thread.start()
    try:
        beside = [cast("Any", own.model)(ids).logits for _ in range(20)]
    finally:
        stop.set()
        thread.join(30)
    assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True))
    assert not torch.equal(alone[0], alone[1])  # dropout was on
    assert all(module.training for module in own.model.modules())


def test_training_beside_clicks_is_right_and_every_exact_answer_is_of_one_state(
    own: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    """Bounded by counts: 40 fused steps with dropout, a click after each.

    After every fourth step training rests until the click is answered; the others race with it.
    """
    twin = wrap(copy.deepcopy(own.model), own.tokenizer)
    ids = torch.tensor([[t.id for t in own.tokens(BASE)]], device=own.device)
    steps = 40

    def train(model: vw.LanguageModel, after: Callable[[], None]) -> None:
        net: Any = model.model.train()
        optimiser = torch.optim.AdamW(net.parameters(), lr=0.02, fused=True)
        torch.manual_seed(3)
        for _ in range(steps):
            net(ids, labels=ids).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            after()

    states: list[torch.Tensor] = []
    train(twin, lambda: states.append(logits(twin, EXPERIMENT)))
    explorer = Explorer(own, EXPERIMENT).wait(60)
    states.append(logits(own, EXPERIMENT))
    answers: list[dict[str, Any]] = []
    explorer.observe(lambda change: answers.append(change["new"]), "answer")
    count = 0

    def click() -> None:
        nonlocal count
        count += 1
        if not explorer.worker.is_busy("answer"):
            explorer.receive(
                {"id": f"r{count}", "kind": "experiment", "experiment": EXPERIMENT.model_dump()}
            )
        if count % 4 == 0:
            explorer.worker.wait("answer", 30)

    train(own, click)
    explorer.wait(60)
    for one, other in zip(own.model.parameters(), twin.model.parameters(), strict=True):
        assert torch.equal(one, other)
    distributions = [state.softmax(-1) for state in states]
    assert len(answers) >= steps / 4
    for answer in answers:
        rows = {row["token_id"]: row["probabilities"][-1] for row in answer["tokens"]}
        fits = [all(abs(v - float(p[t])) < 1e-4 for t, v in rows.items()) for p in distributions]
        assert any(fits)
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    assert is_of(explorer, logits(own, EXPERIMENT))
    explorer.close()


def test_a_change_during_a_run_gives_answer_and_map_of_the_new_state(
    explorer: Explorer, own: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, changes = exact_runs.run_plan, iter([True])

    def changing_once(*args: Any, **more: Any) -> Any:
        result = plain(*args, **more)
        if next(changes, False):
            write_data(own)
        return result

    monkeypatch.setattr(exact_runs, "run_plan", changing_once)
    before = explorer.map
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    assert explorer.scene["model_since"] == explorer.scene["revision"]
    assert is_of(explorer, logits(own, EXPERIMENT))
    assert explorer.map is not before
    target = explorer.map["targets"][0]["token_id"]
    p = vw.sweep(own, BASE, SOURCE).logits.softmax(-1)[:, :, target]
    for cell in explorer.map["cells"]:
        expected = float(p[cell["layer"], cell["position"]])
        assert cell["probabilities"][0] == pytest.approx(expected, abs=1e-5)


def test_a_model_that_never_rests_is_said_to_change(
    explorer: Explorer, own: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = exact_runs.run_plan

    def changing(*args: Any, **more: Any) -> Any:
        result = plain(*args, **more)
        block(own, 0).mlp.c_fc.weight.data.add_(0.01)
        return result

    monkeypatch.setattr(exact_runs, "run_plan", changing)
    before = explorer.answer
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    assert explorer.answer is before
    assert "the model is changing while it runs (its weights)" in explorer.status["error"]


# ---- lives of explorers --------------------------------------------------------------------------


def test_explorers_that_are_dropped_are_collected_with_all_that_is_theirs(
    own: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    from ipywidgets.widgets import widget as registry

    gc.collect()
    threads, widgets = threading.active_count(), len(registry._instances)
    references = []
    for _ in range(12):
        explorer = Explorer(own, EXPERIMENT).wait(60)
        references.append(weakref.ref(explorer))
        layouts = explorer.layout
    del explorer, layouts
    for _ in range(100):
        gc.collect()
        if not any(reference() for reference in references):
            break
        time.sleep(0.05)
    assert [reference for reference in references if reference()] == []
    assert len(registry._instances) == widgets
    for _ in range(100):
        if threading.active_count() <= threads:
            break
        time.sleep(0.05)
    assert threading.active_count() <= threads


def test_a_displayed_explorer_is_held_until_it_is_closed(
    own: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    explorer = Explorer(own, EXPERIMENT).wait(60)
    explorer._repr_mimebundle_()
    reference = weakref.ref(explorer)
    del explorer
    gc.collect()
    live = reference()
    assert live is not None
    layout = live.layout
    live.close()
    assert layout.comm is None
    del live, layout
    gc.collect()
    assert reference() is None


def test_many_downloads_have_one_thread_and_too_many_are_refused(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, replies = threading.Event(), []
    figure = explorer.feature(FigureFeature)
    monkeypatch.setattr(figure, "snapshot", lambda *_: gate.wait(30) and 1 / 0)
    monkeypatch.setattr(explorer, "send", lambda content, *_: replies.append(content))
    before = threading.active_count()
    for n in range(50):
        explorer.receive(
            {"id": f"d{n}", "kind": "take", "figure": "result", "format": "pdf", "dpi": 100}
        )
    assert threading.active_count() <= before + 1
    refused = [reply for reply in replies if not reply["ok"]]
    assert len(refused) == 50 - file_queue.MAX_WAITING - 1
    assert "files are waiting" in refused[0]["error"]
    gate.set()
    for _ in range(200):
        if len(replies) == 50:
            break
        time.sleep(0.02)
    assert {reply["id"] for reply in replies} == {f"d{n}" for n in range(50)}


# ---- messages ------------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "experiment",
        {},
        {"id": 7, "kind": "cancel", "more": nested(900)},
        {"id": "x", "kind": "experiment", "experiment": nested(20)},
        {"id": "x", "kind": "split", "text": "\ud800"},
        {"id": "x" * 10**6, "kind": "dance"},
        {"id": "x", "kind": "split", "text": "word " * 2 * 10**6},
        {"id": "x", "kind": "experiment", "experiment": {"base": "word " * 300_000}},
        {"id": "x", "kind": "experiment", "experiment": {"base": BASE, "slots": [{}] * 10**5}},
    ],
)
def test_every_message_gets_one_short_reply_at_once(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    replies: list[Any] = []
    monkeypatch.setattr(explorer, "send", lambda content, *_: replies.append(content))
    before = explorer.scene, explorer.answer, explorer.map
    start = time.process_time()
    explorer.receive(content)
    assert time.process_time() - start < 5  # seconds; it took half a minute
    assert len(replies) == 1 and not replies[0]["ok"]
    assert len(replies[0]["id"]) <= 200 and len(replies[0]["error"]) < 2000
    replies[0]["error"].encode()
    assert (explorer.scene, explorer.answer, explorer.map) == before


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "must be an object, got a NoneType"),
        ({"text": "\udc00"}, "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
        ({"text": "x" * (incoming.MAX_CHARACTERS + 1)}, "this one has more"),
        ({"items": [0] * (incoming.MAX_ITEMS + 1)}, "this one has more"),
        ({"deep": nested(incoming.MAX_DEPTH + 1)}, "this one has more"),
    ],
)
def test_a_message_is_measured_before_anything_is_made_of_it(content: Any, rule: str) -> None:
    incoming.check_size({"text": "x" * 1000, "items": [0] * 1000, "deep": nested(20)})
    with pytest.raises(vw.RequestError, match=rule):
        incoming.check_size(content)


def test_the_failure_of_a_run_that_was_overtaken_is_not_shown(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, plain, calls = threading.Event(), exact_runs.run_plan, []

    def fails_once(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            assert gate.wait(10)
            raise RuntimeError("of an experiment that is no longer on the screen")
        return plain(*args, **more)

    monkeypatch.setattr(exact_runs, "run_plan", fails_once)
    for n, layer in enumerate((1, 2)):
        content = {**EXPERIMENT.model_dump(), "slots": [{"layer": layer, "position": 3}]}
        explorer.receive({"id": f"o{n}", "kind": "experiment", "experiment": content})
        while not calls:
            time.sleep(0.01)
    gate.set()
    explorer.wait(60)
    assert explorer.status["error"] is None
    assert explorer.answer["revision"] == explorer.scene["revision"]


def test_pairs_made_by_hand_survive_a_change_of_the_model(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    ask(
        explorer,
        kind="sweep",
        component="block_output",
        source="source",
        source_positions=[0, 1, 2, 4, 3],
    )
    write_data(own)
    explorer.notice_changes()
    explorer.wait(60)
    assert explorer.map["source_positions"] == [0, 1, 2, 4, 3]


def test_after_cancel_the_run_says_that_it_was_cancelled(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    plain = exact_runs.run_plan
    monkeypatch.setattr(exact_runs, "run_plan", lambda *a, **k: gate.wait(10) and plain(*a, **k))
    explorer.receive({"id": "a", "kind": "experiment", "experiment": EXPERIMENT.model_dump()})
    explorer.receive({"id": "b", "kind": "cancel"})
    gate.set()
    with pytest.raises(vw.RequestError, match=r"was cancelled: assign explorer\.experiment"):
        _ = explorer.run
    explorer.experiment = EXPERIMENT.replace(slots=[vw.Slot(layer=1, position=3)])
    assert explorer.run.experiment.slots[0].layer == 1


def test_clicks_faster_than_answers_are_answered_all_the_same(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, answers = exact_runs.run_plan, []

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(0.05)
        return plain(*args, **more)

    monkeypatch.setattr(exact_runs, "run_plan", slow)
    explorer.observe(lambda change: answers.append(change["new"]["revision"]), "answer")
    for n in range(40):
        slots = [{"layer": n % 3, "position": 1 + n % 4}]
        content = {**EXPERIMENT.model_dump(), "slots": slots}
        explorer.receive({"id": f"c{n}", "kind": "experiment", "experiment": content})
        time.sleep(0.02)
    explorer.wait(60)
    # 0.8 s of clicks, 0.15 s a run: at least every second run's time has an answer.
    assert len(answers) >= 3 and answers[-1] == explorer.scene["revision"]


def test_names_that_a_browser_would_sort_keep_their_order(explorer: Explorer) -> None:
    explorer.experiment = vw.Experiment(base=BASE, sources={"b": SOURCE, "1": BASE})
    assert explorer.scene["experiment"]["sources"] == [("b", SOURCE), ("1", BASE)]
    assert [source["name"] for source in explorer.scene["sources"]] == ["b", "1"]
