"""A model changed and changed back during a run: the result is of one state, never of two."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from explorer_testing import SilentPainter, ask, setting, slot
from model_changes_testing import EXPERIMENT, block, is_of, logits
from torch import nn

import vene_widgets as vw
from vene_widgets.explorer import Explorer, exact_runs
from vene_widgets.models import model_tree, wrap

Put = Callable[[], None]


@pytest.fixture
def own(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    return wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)


@pytest.fixture(params=["module", "parameter"])
def turns(own: vw.LanguageModel, request: pytest.FixtureRequest) -> tuple[Put, Put]:
    """Puts another MLP, or another weight, into the second block; and the first one back."""
    mlp = block(own, 1).mlp
    if request.param == "module":
        other = copy.deepcopy(mlp)
        with torch.no_grad():
            other.c_fc.weight.mul_(1.7)
        return (
            lambda: setattr(block(own, 1), "mlp", other),
            lambda: setattr(block(own, 1), "mlp", mlp),
        )
    weight = mlp.c_fc.weight
    other = nn.Parameter(weight.detach() * 1.7)
    return lambda: setattr(mlp.c_fc, "weight", other), lambda: setattr(mlp.c_fc, "weight", weight)


@pytest.mark.parametrize("comes_back", [True, False])
def test_while_the_tree_is_made(
    own: vw.LanguageModel,
    turns: tuple[Put, Put],
    comes_back: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, back = turns
    before = logits(own, EXPERIMENT)
    plain, made = model_tree.own_tree, list[nn.Module]()

    def own_tree(*given: Any) -> nn.Module:
        if made:
            return plain(*given)
        there()
        made.append(plain(*given))
        if comes_back:
            back()
        return made[0]

    monkeypatch.setattr(model_tree, "own_tree", own_tree)
    found = vw.run(own, EXPERIMENT).logits[-1]
    assert made
    assert torch.allclose(found, logits(own, EXPERIMENT), atol=1e-5)
    assert torch.allclose(found, before, atol=1e-5) == comes_back
    # Nor does the tree of the other state serve a later run.
    back()
    assert torch.allclose(vw.run(own, EXPERIMENT).logits[-1], before, atol=1e-5)


@pytest.mark.parametrize("is_copied", [True, False])
def test_a_setting_that_changes_while_the_tree_is_made(
    own: vw.LanguageModel, is_copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree of the new setting does not serve the old one."""
    before, norm = logits(own, EXPERIMENT), block(own, 1).ln_1
    plain, eps = model_tree.own_tree, norm.eps

    def own_tree(*given: Any) -> nn.Module:
        if is_copied:
            norm.eps = 0.7
        made = plain(*given)
        norm.eps = 0.7
        return made

    monkeypatch.setattr(model_tree, "own_tree", own_tree)
    found = vw.run(own, EXPERIMENT).logits[-1]
    assert torch.allclose(found, logits(own, EXPERIMENT), atol=1e-5)
    assert not torch.allclose(found, before, atol=1e-5)
    monkeypatch.undo()
    norm.eps = eps
    assert torch.allclose(vw.run(own, EXPERIMENT).logits[-1], before, atol=1e-5)


def test_a_model_that_never_rests_is_refused(
    own: vw.LanguageModel, turns: tuple[Put, Put], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, back = turns
    plain = model_tree.own_tree

    def own_tree(*given: Any) -> nn.Module:
        there()
        made = plain(*given)
        back()
        return made

    monkeypatch.setattr(model_tree, "own_tree", own_tree)
    with pytest.raises(vw.RequestError, match="the model is changing"):
        vw.run(own, EXPERIMENT)
    monkeypatch.undo()
    found = vw.run(own, EXPERIMENT).logits[-1]
    assert torch.allclose(found, logits(own, EXPERIMENT), atol=1e-5)


@pytest.fixture
def explorer(own: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Explorer]:
    made = Explorer(own, EXPERIMENT).wait(60)
    yield made
    made.close()


def other_state_during(
    module: Any, turns: tuple[Put, Put], call: int, monkeypatch: pytest.MonkeyPatch
) -> list[object]:
    """Put the model into its other state for one call, from 0, of `run_plan` as a module calls it.

    Returns:
        The calls, in a list that grows.
    """
    there, back = turns
    plain, calls = module.run_plan, list[object]()

    def run_plan(*given: Any, **more: Any) -> Any:
        calls.append(given)
        if len(calls) - 1 != call:
            return plain(*given, **more)
        there()
        try:
            return plain(*given, **more)
        finally:
            back()

    monkeypatch.setattr(module, "run_plan", run_plan)
    return calls


@pytest.mark.parametrize("call", [1, 2])
def test_between_the_runs_of_an_answer(
    own: vw.LanguageModel,
    turns: tuple[Put, Put],
    explorer: Explorer,
    call: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second and the third of its runs find the other state; a new attempt finds none."""
    calls = other_state_during(exact_runs, turns, call, monkeypatch)
    assert ask(explorer, **setting(slot(1, 4)))["ok"]
    assert len(calls) > 3  # it began anew
    assert explorer.status["error"] is None
    assert explorer.answer["revision"] == explorer.scene["revision"]
    assert is_of(explorer, logits(own, explorer.experiment))


def test_between_the_sides_of_a_comparison(
    own: vw.LanguageModel,
    turns: tuple[Put, Put],
    explorer: Explorer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vene_widgets.explorer.session import compare

    other_state_during(compare, turns, 1, monkeypatch)
    side = setting(slot(1))["experiment"]
    wire = {**side, "sources": list(side["sources"].items())}
    sides = {name: {"title": name, "experiment": wire} for name in ("left", "right")}
    assert ask(explorer, kind="compare", **sides)["ok"]
    assert "chang" in explorer.contrast["error"]
    assert explorer.contrast["verdict"] is None
