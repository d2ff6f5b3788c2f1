"""Copies and pickles of models and results."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, SPAIN, own_copy
from engine_testing import check_same_frame, in_use
from tree_testing import EXPERIMENT

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


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
    assert torch.equal(again.logits, swept.logits)
    check_same_frame(again.frame, swept.frame, capitals.device)
    assert repr(again) == repr(swept) and again.targets == swept.targets
    found, expected = (one.plot().data.drop(columns="note") for one in (again, swept))
    check_same_frame(found, expected, capitals.device)
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
