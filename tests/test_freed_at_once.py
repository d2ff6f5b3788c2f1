"""Tensors of a request are freed when it ends, not when the garbage collector comes by.

A device's memory is small, and nothing tells the collector that it runs short.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN
from torch import nn

import vene_widgets as vw
from vene_widgets.models import wrap
from vene_widgets.sweeps import cells
from vene_widgets.sweeps.pairs.maps import pair_maps
from vene_widgets.sweeps.planning import plan_sweep

PAIRS = [(SPAIN, ITALY), (ITALY, SPAIN), (SPAIN, "The capital of France is")]
EXPERIMENT = vw.Experiment(base=SPAIN, sources=ITALY, slots=[vw.Slot(layer=1, position=3)])


# Not a fit: torch's parametrised modules refer to themselves.
REQUESTS: dict[str, Callable[[vw.LanguageModel], object]] = {
    "run": lambda model: vw.run(model, EXPERIMENT),
    "run from a cache": lambda model: vw.run(model, EXPERIMENT, cache=vw.ActivationCache()),
    "compare": lambda model: vw.compare(vw.run(model, EXPERIMENT), vw.run(model, EXPERIMENT)).frame,
    "sweep": lambda model: vw.sweep(model, SPAIN, ITALY).frame,
    "sweep of heads": lambda model: (
        vw.sweep(model, SPAIN, ITALY, "head_attention_value_output", head="all").frame
    ),
    "sweep of a mean": lambda model: vw.sweep(
        model, SPAIN, intervention="mean", prompts=[SPAIN, ITALY]
    ),
    "maps of pairs": lambda model: pair_maps([plan_sweep(model, *p) for p in PAIRS], [[5]] * 3),
}


def tensors(model: vw.LanguageModel) -> set[int]:
    """Which tensors there are that have numbers of their own, other than the model's."""
    weights = {weight.data_ptr() for weight in model.model.parameters()}
    return {
        id(one)
        for one in gc.get_objects()
        if type(one) in (torch.Tensor, nn.Parameter) and one.data_ptr() not in weights
    }


@pytest.fixture(params=["resumed", "full passes"])
def either(
    tiny_gpt2: vw.LanguageModel, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> vw.LanguageModel:
    monkeypatch.setattr(cells, "_resumes", lambda _chunk: request.param == "resumed")
    return tiny_gpt2


def left_by(model: vw.LanguageModel, request: Callable[[], object]) -> int:
    """How many tensors of a request are there after it, without its result."""
    request()  # what is measured once per model stays
    gc.collect()
    before = tensors(model)
    gc.disable()
    try:
        request()
        return len(tensors(model) - before)
    finally:
        gc.enable()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_leaves_no_tensor(either: vw.LanguageModel, name: str) -> None:
    assert left_by(either, lambda: REQUESTS[name](either)) == 0


def test_a_sweep_that_ran_out_of_memory_leaves_no_tensor(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The halves need the room of what failed."""
    from vene_widgets.engine import resume

    monkeypatch.setattr(cells, "_resumes", lambda _chunk: True)
    apply, calls = resume.apply, []
    there: list[int] = []
    run_chunk = cells._run_chunk

    def sometimes(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        return apply(*args, **named)

    def counted(chunk: Any) -> Any:
        there.append(len(tensors(tiny_gpt2)))
        return run_chunk(chunk)

    def request() -> None:
        calls.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            vw.sweep(tiny_gpt2, SPAIN, ITALY)

    monkeypatch.setattr(resume, "apply", sometimes)
    monkeypatch.setattr(cells, "_run_chunk", counted)
    assert left_by(tiny_gpt2, request) == 0
    whole, first, *_ = there[-3:]
    assert first == whole  # nothing of the pass that failed


def test_a_sweep_that_fails_leaves_no_tensor(tiny_gpt2: vw.LanguageModel) -> None:
    model = wrap(tiny_gpt2.model, tiny_gpt2.tokenizer)

    def request() -> None:
        with pytest.raises(vw.RequestError):
            vw.sweep(model, SPAIN, ITALY, targets=["no such token at all"])

    assert left_by(tiny_gpt2, request) == 0
