"""The user changes the model without a pause while the explorer is clicked.

Every exact answer is that of one state of the model, or there is a reason on the screen instead.
"""

from __future__ import annotations

import collections
import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from explorer_testing import SilentPainter, ask, setting, slot
from model_changes_testing import EXPERIMENT, block, is_of, logits

import vene_widgets as vw
from vene_widgets.explorer import Explorer

WAIT = 300
CELLS = [(0, 3), (1, 3), (1, 4)]

State = Callable[[vw.LanguageModel], object]
"""Puts the user's model into one state."""


def dtypes(model: vw.LanguageModel) -> list[State]:
    """Weights that half precision holds exactly, in three precisions."""
    model.model.half().float()
    return [
        lambda model: model.model.double(),
        lambda model: model.model.half(),
        lambda model: model.model.float(),
    ]


def weights(model: vw.LanguageModel) -> list[State]:
    """Two sets of weights, loaded in place."""
    first = copy.deepcopy(model.model.state_dict())
    second = {name: tensor * 1.3 for name, tensor in first.items()}
    return [
        lambda model: model.model.load_state_dict(second),
        lambda model: model.model.load_state_dict(first),
    ]


def hooks(model: vw.LanguageModel) -> list[State]:
    """A hook that comes and goes."""
    handles: list[Any] = []

    def add(model: vw.LanguageModel) -> None:
        handles.append(block(model, 1).register_forward_hook(lambda _m, _a, out: out * 1.5))
        model.accept_hooks()

    def remove(model: vw.LanguageModel) -> None:
        while handles:
            handles.pop().remove()

    return [add, remove]


def modules(model: vw.LanguageModel) -> list[State]:
    """Two MLPs that take turns in a block."""
    first = block(model, 1).mlp
    second = copy.deepcopy(first)
    with torch.no_grad():
        second.c_fc.weight.mul_(1.7)
    return [
        lambda model: setattr(block(model, 1), "mlp", second),
        lambda model: setattr(block(model, 1), "mlp", first),
    ]


def replaced_parameters(model: vw.LanguageModel) -> list[State]:
    """New parameters in a block's place of the old ones."""
    layer = block(model, 1).mlp.c_fc
    plain = layer.weight.detach().clone()

    def put(factor: float) -> State:
        return lambda model: setattr(layer, "weight", torch.nn.Parameter(plain * factor))

    return [put(1.7), put(1.0)]


def expected(model: vw.LanguageModel) -> dict[tuple[int, int], torch.Tensor]:
    """The probabilities of every cell in the present state, by hooks of our own."""
    found: dict[tuple[int, int], torch.Tensor] = {}
    for layer, position in CELLS:
        experiment = EXPERIMENT.replace(slots=[vw.Slot(layer=layer, position=position)])
        found[layer, position] = logits(model, experiment).double().softmax(-1)
    return found


@pytest.fixture
def explorer(own: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Explorer]:
    made = Explorer(own, EXPERIMENT).wait(WAIT)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("states", "changes"),
    [
        (dtypes, 12),
        (weights, 12),
        *(
            pytest.param(states, 600, marks=pytest.mark.torture)
            for states in (dtypes, weights, hooks, modules, replaced_parameters)
        ),
    ],
)
def test_every_exact_answer_is_of_one_state_while_the_model_is_changed(
    explorer: Explorer, own: vw.LanguageModel, states: Callable[..., list[State]], changes: int
) -> None:
    """One thread changes the model, another one clicks; now and then the first one rests."""
    setters = states(own)
    right: list[dict[tuple[int, int], torch.Tensor]] = []
    for put in setters:
        put(own)
        right.append(expected(own))
    assert not torch.allclose(right[0][CELLS[0]], right[1][CELLS[0]], atol=1e-7)
    scenes: dict[int, tuple[int, int]] = {}
    answers: list[dict[str, Any]] = []
    errors: collections.Counter[str] = collections.Counter()

    def scene(change: dict[str, Any]) -> None:
        one = change["new"]["experiment"]["slots"][0]
        scenes[change["new"]["revision"]] = one["layer"], one["position"]

    def status(change: dict[str, Any]) -> None:
        if change["new"]["error"]:
            errors[change["new"]["error"]] += 1

    explorer.send = lambda content, buffers=None: (
        None if content["ok"] else errors.update([f"refused: {content['error']}"])
    )
    explorer.observe(scene, "scene")
    explorer.observe(lambda change: answers.append(change["new"]), "answer")
    explorer.observe(status, "status")
    stop, clicked = threading.Event(), threading.Event()
    clicks = 0

    def click() -> None:
        nonlocal clicks
        while not stop.is_set():
            cell = CELLS[clicks % len(CELLS)]
            clicks += 1
            explorer.receive({"id": f"r{clicks}", **setting(slot(*cell))})
            clicked.set()
            explorer.worker.wait("answer", 0.05 if clicks % 3 else WAIT)

    clicker = threading.Thread(target=click)
    clicker.start()
    try:
        for n in range(changes):
            setters[n % len(setters)](own)
            clicked.clear()
            assert clicked.wait(WAIT)
            if n % 4 == 0:
                explorer.worker.wait("answer", WAIT)
    finally:
        stop.set()
        clicker.join(WAIT)
    explorer.wait(WAIT)
    print(
        f"{states.__name__}: {changes} changes, {clicks} clicks, {len(answers)} answers, "
        f"reasons: {dict(errors)}"
    )
    assert not clicker.is_alive()
    for answer in answers:
        cell = scenes.get(answer["revision"], CELLS[0])
        off = [
            max(
                abs(row["probabilities"][-1] - float(state[cell][row["token_id"]]))
                for row in answer["tokens"]
            )
            for state in right
        ]
        assert min(off) < 1e-5, (answer["revision"], cell, off)
    assert len(answers) >= changes / 10
    for error in errors:
        # A conversion and its reverse within one run leave no change to be named.
        assert "chang" in error or (states is dtypes and "type" in error), error
    ask(explorer, **setting(slot(*CELLS[1])))
    explorer.wait(WAIT)
    assert explorer.status["error"] is None
    assert is_of(explorer, logits(own, explorer.experiment).double())
