"""Faults in the middle of work: the reason is shown, nothing is lost, the next click is right."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, SilentPainter, ask, setting, slot
from model_changes_testing import is_of, logits
from torch.utils._python_dispatch import TorchDispatchMode

import vene_widgets as vw
from vene_widgets.explorer.session import worker
from vene_widgets.models import wrap


class Mute(Exception):
    """An error whose text raises."""

    def __str__(self) -> str:
        raise ValueError


class Switch:
    """A hook of the user that raises what it holds, once, and then is harmless again."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __call__(self, *_: object) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def hooked(tiny_gpt2: vw.LanguageModel, switch: Switch) -> vw.LanguageModel:
    """A model with a user-defined hook on its second block."""
    net: Any = copy.deepcopy(tiny_gpt2.model)
    net.transformer.h[1].register_forward_hook(switch)
    return wrap(net, tiny_gpt2.tokenizer)


def census(model: vw.LanguageModel) -> list[Any]:
    """What a user could find changed on a model: modes, hooks, attributes, weights, gradients."""
    found: list[Any] = []
    for name, module in model.model.named_modules():
        hooks = [len(getattr(module, key)) for key in vars(module) if key.endswith("_hooks")]
        found.append((name, module.training, hooks, sorted(vars(module)), type(module)))
    for name, weight in model.model.named_parameters():
        found.append((name, float(weight.detach().double().sum()), weight.requires_grad))
        assert weight.grad is None
    return [*found, torch.get_rng_state().tolist(), torch.is_grad_enabled()]


@pytest.fixture(autouse=True)
def unharmed(hooked: vw.LanguageModel) -> Iterator[None]:
    """The user's model and torch's state are after every fault as they were before."""
    before = census(hooked)
    yield
    assert census(hooked) == before


def is_right(explorer: vw.Explorer) -> bool:
    return is_of(explorer, logits(explorer.model, explorer.experiment))


FAULTS: dict[str, tuple[Callable[[], BaseException], str]] = {
    "an error": (lambda: RuntimeError("shape mismatch"), "RuntimeError: shape mismatch"),
    "full memory": (lambda: torch.OutOfMemoryError("CUDA out of memory."), "out of memory"),
    "the end of the program": (lambda: SystemExit(3), "SystemExit"),
    "an interrupt": (KeyboardInterrupt, "KeyboardInterrupt"),
    "the end of a generator": (lambda: StopIteration("over"), "StopIteration"),
    "the end of a task": (lambda: GeneratorExit("over"), "GeneratorExit"),
    "an error without a text": (Mute, "Mute"),
    "a long text": (lambda: ValueError("x" * 100_000 + "\n" * 1000), "ValueError: xxx"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_error_in_a_hook(
    hooked: vw.LanguageModel, switch: Switch, make: Make, name: str
) -> None:
    error, reason = FAULTS[name]
    explorer = make(model=hooked)
    good = explorer.answer
    wanted = setting(slot(0))
    switch.error = error()
    assert ask(explorer, **wanted)["ok"]
    assert switch.error is None  # it was met
    # The reason is shown in a line; the last good answer stays, and is not the experiment's.
    assert explorer.status["error"].startswith("The run failed: ")
    assert reason in explorer.status["error"]
    assert len(explorer.status["error"]) < 1000 and "\n" not in explorer.status["error"]
    assert explorer.answer is good and good["revision"] < explorer.scene["revision"]
    assert explorer.experiment.slots[0].layer == 0
    assert explorer.status["busy"] is None
    with pytest.raises(Exception) as raised:  # noqa: PT011  # Python gets the error itself
        _ = explorer.run
    assert type(error()) in (type(raised.value), type(raised.value.__cause__))
    # The same click again, and then another.
    for layer in (0, 2):
        assert ask(explorer, **setting(slot(layer)))["ok"]
        assert explorer.status["error"] is None
        assert explorer.answer["revision"] == explorer.scene["revision"]
        assert is_right(explorer)


@pytest.mark.parametrize("name", FAULTS)
def test_an_error_while_the_map_is_made(
    hooked: vw.LanguageModel, switch: Switch, make: Make, name: str
) -> None:
    error, _ = FAULTS[name]
    explorer = make(model=hooked)
    ask(explorer, **setting(slot(0)))
    whole = {**explorer.map}
    met = threading.Event()

    def arm(change: Any) -> None:  # the answer of the new prompts is there, the map comes next
        if not met.is_set():
            met.set()
            switch.error = error()

    explorer.observe(arm, "answer")
    other = "The capital of France is"
    ask(explorer, **setting(slot(0), base=other))
    explorer.unobserve(arm, "answer")
    assert met.is_set() and switch.error is None
    if explorer.status["error"] is not None:  # full memory: the map goes on with fewer cells
        assert explorer.status["error"].startswith("The map ")
    assert is_right_for(explorer, other)
    # The prompts from before bring the whole map back.
    ask(explorer, **setting(slot(0)))
    assert explorer.status["error"] is None
    assert explorer.map["cells"] == whole["cells"] and is_right(explorer)


def is_right_for(explorer: vw.Explorer, base: str) -> bool:
    run = vw.run(explorer.model, explorer.experiment)
    assert run.experiment.base == base
    return is_of(explorer, run.logits[-1])


def test_an_operator_that_raises(
    make: Make, hooked: vw.LanguageModel, restored_registry: object
) -> None:
    def broken(base: torch.Tensor, source: torch.Tensor | None) -> torch.Tensor:
        raise ZeroDivisionError("my own mistake")

    vw.register("broken", broken)
    explorer = make(model=hooked)
    ask(explorer, **setting(slot(0)))
    good = explorer.answer
    assert ask(explorer, **setting(slot(0, intervention="broken")))["ok"]
    assert "my own mistake" in explorer.status["error"]
    assert explorer.answer is good
    ask(explorer, **setting(slot(1)))
    assert explorer.status["error"] is None and is_right(explorer)


def test_observers_that_raise(
    make: Make, hooked: vw.LanguageModel, caplog: pytest.LogCaptureFixture
) -> None:
    explorer = make(model=hooked)

    def broken(_change: object) -> None:
        raise ZeroDivisionError("an observer's own mistake")

    for trait in ("answer", "status", "past", "scene"):
        explorer.observe(broken, trait)
        explorer.receive({"id": "x", **setting(slot(1))})
        explorer.wait(30)
        explorer.unobserve(broken, trait)
        ask(explorer, **setting(slot(0)))
        assert explorer.answer["revision"] == explorer.scene["revision"]
        assert is_right(explorer)


def test_a_front_end_that_is_gone(make: Make, hooked: vw.LanguageModel) -> None:
    explorer = make(model=hooked)

    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError("no one is there")

    explorer.send = broken
    with pytest.raises(BrokenPipeError):
        explorer.receive({"id": "x", **setting(slot(1))})
    explorer.wait(30)
    explorer.experiment = explorer.experiment.replace(slots=(vw.Slot(layer=0, position=3),))
    explorer.wait(30)
    assert is_right(explorer)
    explorer.comm.close()
    explorer.experiment = explorer.experiment.replace(slots=(vw.Slot(layer=2, position=3),))
    explorer.wait(30)
    assert is_right(explorer)


def test_an_explorer_that_is_dropped_while_its_job_runs(
    hooked: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    begun, gate = threading.Event(), threading.Event()

    class Slow(Switch):
        def __call__(self, *_: object) -> None:
            begun.set()
            assert gate.wait(30)

    net: Any = copy.deepcopy(hooked.model)
    handle = net.transformer.h[0].register_forward_hook(Slow())
    explorer = vw.explore(BASE, SOURCE, wrap(net, hooked.tokenizer))
    assert begun.wait(30)
    gone = weakref.ref(explorer)
    thread = explorer.worker
    del explorer
    gc.collect()
    gate.set()
    for kind in ("answer", "sweep", "story", "verify"):
        assert thread.wait(kind, 60)
    silent_painter.orders.clear()
    for _ in range(100):  # the thread's last step lets go of the explorer a moment later
        gc.collect()
        if gone() is None:
            break
        time.sleep(0.05)
    assert gone() is None
    handle.remove()


def test_a_thread_that_cannot_start(
    make: Make, hooked: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
    explorer = make(model=hooked)
    ask(explorer, **setting(slot(2)))
    thread = explorer.worker._thread
    if thread is not None:
        thread.join(30)
        assert not thread.is_alive()

    def refuse(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert ask(explorer, **setting(slot(0)))["ok"]
    assert "can't start new thread" in explorer.status["error"]
    monkeypatch.undo()
    ask(explorer, **setting(slot(1)))
    assert explorer.status["error"] is None and is_right(explorer)


class FullDevice(TorchDispatchMode):
    """No operator of this thread finds memory."""

    def __torch_dispatch__(self, *_: Any, **_named: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_click_is_taken_while_there_is_no_room_to_look_at_the_model(
    hooked: vw.LanguageModel, make: Make
) -> None:
    """The look itself needs a little memory of the device."""
    explorer = make(model=hooked)
    replies: list[dict[str, Any]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)
    for request in (setting(slot(0)), {"kind": "sweep", "component": "mlp_output"}):
        with FullDevice():
            explorer.receive({"id": "r1", **request})
        explorer.wait(60)
        assert replies.pop()["ok"]
        assert is_right(explorer)
    assert explorer.map["component"] == "mlp_output" and explorer.status["error"] is None
