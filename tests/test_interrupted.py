"""Ctrl-C at any line of a run leaves the user's model, torch and the process as they were."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN, token_ids
from census import census
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.intervenable import IntervenableModel
from vene_widgets.models import wrap

PACKAGE = Path(vw.__file__).parent
WATCHED = tuple(
    str(PACKAGE / path)
    for path in (
        *("engine/", "sweeps/", "intervenable/model.py", "intervenable/runs.py"),
        *("models/model_tree.py", "models/own_tree.py", "models/fingerprint.py"),
        *("models/additions.py", "models/checksums.py"),
    )
)
"""The files in which a run may be interrupted."""

EXPERIMENT = vw.Experiment(
    base=SPAIN,
    sources=ITALY,
    slots=[
        vw.Slot(layer=0, position=3),
        vw.Slot(layer=1, position=4, component="mlp_output"),
        vw.Slot(layer=1, position=2, intervention="mean", prompts=[SPAIN]),
    ],
)

Line = tuple[str, int]
Call = Callable[[vw.LanguageModel], Tensor]


def run(model: vw.LanguageModel) -> Tensor:
    return vw.run(model, EXPERIMENT).logits


def kept_run(model: vw.LanguageModel) -> Tensor:
    cache = vw.ActivationCache()
    vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1)
    return vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1).logits


def run_with_gradients(model: vw.LanguageModel) -> Tensor:
    return vw.run(model, EXPERIMENT, gradients=True).logits


def sweep(model: vw.LanguageModel) -> Tensor:
    return vw.sweep(model, SPAIN, ITALY, "value_output", positions=[2, 3]).logits


def second_face(model: vw.LanguageModel) -> Tensor:
    face = IntervenableModel({"layer": 1, "component": "block_output"}, model.model)
    base, source = ({"input_ids": token_ids(model, prompt)} for prompt in (SPAIN, ITALY))
    _, changed = face(base, [source], {"sources->base": 3}, output_original_output=True)
    return changed.logits


CALLS: dict[str, Call] = {
    call.__name__.replace("_", " "): call
    for call in (run, kept_run, run_with_gradients, sweep, second_face)
}


class Tracer:
    """Notes the lines of the package that run on this thread, or raises at one of them.

    Args:
        line: where to raise KeyboardInterrupt.
        time: at the how manieth time that the line is reached, from 1.
    """

    def __init__(self, line: Line | None = None, time: int = 1) -> None:
        self.seen: dict[Line, int] = {}
        self._line, self._time = line, time
        self._files = WATCHED if line is None else (line[0],)

    def __enter__(self) -> Tracer:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._trace if frame.f_code.co_filename.startswith(self._files) else None

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            here = frame.f_code.co_filename, frame.f_lineno
            self.seen[here] = self.seen.get(here, 0) + 1
            if here == self._line and self.seen[here] == self._time:
                raise KeyboardInterrupt
        return self._trace


@pytest.fixture
def user(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    """A model of two layers in training mode, with gradients on its weights."""
    root: Any = copy.deepcopy(tiny_gpt2.model)
    root.transformer.h = root.transformer.h[:2]
    root.config.n_layer = 2
    ids = token_ids(tiny_gpt2, SPAIN)
    with torch.random.fork_rng(devices=[]):
        root(input_ids=ids, labels=ids).loss.backward()
    root.train()
    return wrap(root, tiny_gpt2.tokenizer)


def state_of(root: Any) -> list[Any]:
    """What a user can notice of a model: flags, hooks, attributes, gradients, weights."""
    modules = [
        (
            id(module),
            type(module),
            {k: id(v) for k, v in module.__dict__.items() if not k.startswith("_")},
            {k: list(v) for k, v in module.__dict__.items() if k.endswith(("hooks", "kwargs"))},
            [id(child) for child in module._modules.values()],
        )
        for module in root.modules()
    ]
    tensors = [
        (
            id(tensor),
            tensor.data_ptr(),
            tensor._version,
            tensor.requires_grad,
            tensor.detach().double().sum().item(),
            None if tensor.grad is None else tensor.grad.double().sum().item(),
        )
        for tensor in (*root.parameters(), *root.buffers())
    ]
    return [modules, tensors, root.config.to_dict(), torch.is_grad_enabled()]


def is_free(model: vw.LanguageModel) -> bool:
    """Whether another thread can take the model's lock."""
    found: list[bool] = []

    def take() -> None:
        found.append(model.lock.acquire(timeout=5))
        if found[0]:
            model.lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


def test_an_interrupted_call_leaves_no_trace(user: vw.LanguageModel) -> None:
    before, threads = state_of(user.model), threading.active_count()
    done: set[Line] = set()
    plain = vw.run(user, vw.Experiment(base=SPAIN)).logits
    for name, call in CALLS.items():
        call(wrap(user.model, user.tokenizer))  # imports happen once
        model = wrap(user.model, user.tokenizer)
        with Tracer() as tracer:
            expected = call(model).detach().clone()
        lines = [line for line in tracer.seen if line not in done]
        done |= set(lines)
        for n, line in enumerate(lines):
            model = wrap(user.model, user.tokenizer)
            where = f"{name}: {Path(line[0]).name}:{line[1]}"
            with pytest.raises(KeyboardInterrupt), Tracer(line):
                call(model)
            assert state_of(user.model) == before, where
            assert is_free(model), where
            # A change that stayed would show here; in the same call again it might not.
            assert torch.equal(vw.run(model, vw.Experiment(base=SPAIN)).logits, plain), where
            if n % 4 == 0:
                assert torch.equal(call(model).detach(), expected), where
    assert len(done) > 1000
    assert threading.active_count() == threads


def test_an_interrupt_at_any_hook(user: vw.LanguageModel) -> None:
    """Between a hook and the note to remove it, at every hook that a call registers."""
    plain = vw.run(user, vw.Experiment(base=SPAIN)).logits
    expected, before = run(user).detach().clone(), state_of(user.model)
    with Tracer() as tracer:
        run(user)
    lines = {line: n for line, n in tracer.seen.items() if line[0].endswith("engine/hooks.py")}
    for line, count in lines.items():
        for time in range(2, min(count, 12) + 1):
            with pytest.raises(KeyboardInterrupt), Tracer(line, time):
                run(user)
            where = f"hooks.py:{line[1]}, time {time}"
            assert torch.equal(vw.run(user, vw.Experiment(base=SPAIN)).logits, plain), where
            assert torch.equal(run(user).detach(), expected), where
    assert state_of(user.model) == before


def test_every_line_that_was_to_be_reached_is_reached(user: vw.LanguageModel) -> None:
    """The tests above interrupt the places that matter."""
    with Tracer() as tracer:
        for call in CALLS.values():
            call(wrap(user.model, user.tokenizer))
    files = {Path(file).relative_to(PACKAGE).as_posix() for file, _ in tracer.seen}
    assert files >= {
        *("engine/own_model.py", "engine/forward.py", "engine/hooks.py", "engine/running.py"),
        *("engine/behaviour.py", "engine/resume.py", "engine/cache.py", "engine/attention.py"),
        *("sweeps/cells.py", "sweeps/sweep.py", "models/model_tree.py", "models/own_tree.py"),
        *("models/fingerprint.py", "models/additions.py", "models/checksums.py"),
        *("intervenable/model.py", "intervenable/runs.py"),
    }


def test_an_interrupt_inside_the_models_own_code(user: vw.LanguageModel) -> None:
    """Ctrl-C usually comes while a module computes."""
    expected, before = run(user).clone(), state_of(user.model)
    kind: Any = type(user.model.get_submodule(user.sites.architecture.blocks)[1].mlp)  # type: ignore[index]
    original, calls = kind.forward, []

    for fails_at in range(1, 7):  # three passes through two layers
        calls.clear()

        def forward(self: Any, *args: Any, fails_at: int = fails_at) -> Any:
            calls.append(1)
            if len(calls) == fails_at:
                raise KeyboardInterrupt
            return original(self, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kind, "forward", forward)
            with pytest.raises(KeyboardInterrupt):
                run(user)
        assert state_of(user.model) == before
        assert is_free(user)
        assert torch.equal(run(user), expected)


# ---- what is global ------------------------------------------------------------------------------


def test_a_census_notices_what_it_is_there_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    before = census()
    monkeypatch.setenv("VENE_TEST", "1")
    monkeypatch.setattr(nn.functional, "linear", lambda *_: None)
    torch.rand(1)
    with torch.enable_grad() if not torch.is_grad_enabled() else torch.no_grad():
        after = census()
    found = {name for name in before if before[name] != after[name]}
    assert found == {"environment", "patched", "random", "grad"}


def fit(model: vw.LanguageModel) -> Tensor:
    pairs, more = [(SPAIN, ITALY), (ITALY, SPAIN)], {"steps": 2, "progress": False}
    vw.fit_subspace(model, pairs, layer=1, position=3, rank=1, held_out=0.5, **more)
    return torch.empty(0)


def refused(model: vw.LanguageModel) -> Tensor:
    with pytest.raises(vw.RequestError):
        vw.run(model, vw.Experiment(base=SPAIN, slots=[vw.Slot(layer=9, position=0)]))
    return torch.empty(0)


@pytest.mark.parametrize("call", [*CALLS.values(), fit, refused])
def test_nothing_global_changes(user: vw.LanguageModel, call: Call) -> None:
    threads = {thread.name for thread in threading.enumerate()}
    call(user)  # imports happen here
    assert {thread.name for thread in threading.enumerate()} == threads
    before = census()
    call(wrap(user.model, user.tokenizer))
    after = census()
    assert {n: (before[n], after[n]) for n in before if before[n] != after[n]} == {}
