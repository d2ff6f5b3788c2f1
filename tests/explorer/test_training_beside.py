"""The user runs or trains the model while the explorer answers."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from explorer_testing import BASE, SOURCE, SilentPainter, ask
from model_changes_testing import EXPERIMENT, block, is_of, logits, write_data

import vene_widgets as vw
from vene_widgets.explorer import Explorer, exact_runs
from vene_widgets.models import wrap


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
        # A run that is under way when training rests may have used up its attempts.
        if count % 4 == 0 or not explorer.worker.is_busy("answer"):
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


def test_a_conversion_during_a_run_and_a_sweep_is_a_change_and_no_error(
    explorer: Explorer, own: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers of two dtypes do not fit each other; torch's words for it never reach the screen."""
    from vene_widgets.explorer.session import map as map_module

    errors: list[str | None] = []
    explorer.observe(lambda change: errors.append(change["new"]["error"]), "status")
    plain_run, plain_sweep = exact_runs.run_plan, map_module.sweep_steps
    left = ["double", "float"]

    def interrupted(plain: Any, *args: Any, **more: Any) -> Any:
        """Convert one layer, go on, and convert the others once that has failed."""
        convert = left.pop(0)
        getattr(block(own, 1), convert)()
        try:
            with pytest.raises(RuntimeError, match="type") as caught:
                list(plain(*args, **more))
            raise caught.value
        finally:
            getattr(own.model, convert)()

    def run(*args: Any, **more: Any) -> Any:
        return interrupted(plain_run, *args, **more) if len(left) == 2 else plain_run(*args, **more)

    def sweep(*args: Any) -> Any:
        return interrupted(plain_sweep, *args) if left else plain_sweep(*args)

    monkeypatch.setattr(exact_runs, "run_plan", run)
    monkeypatch.setattr(map_module, "sweep_steps", sweep)
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    explorer.wait(60)
    assert left == []
    assert not any(errors), errors
    assert explorer.status["note"]
    assert is_of(explorer, logits(own, EXPERIMENT))
    assert explorer.map["done"] == explorer.map["total"]
    assert explorer.map["revision"] >= explorer.scene["model_since"] > 0


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
