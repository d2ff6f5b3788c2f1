"""A source prompt whose run gives NaN is said in one sentence, whatever reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import own_copy

import vene_widgets as vw

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
TARGETS = [" Rome", " Madrid"]
SAID = r"298 of 298 values are NaN or infinite, so there is no distribution"


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> vw.LanguageModel:
    """A model of which one token's embedding is NaN, and its output head is not."""
    model = own_copy("tiny_gpt2", request)
    head: Any = model.model.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    with torch.no_grad():
        model.model.transformer.wte.weight[model.token_id(" Italy")] = torch.nan
    assert vw.run(model, vw.Experiment(base=BASE)).logits.isfinite().all()
    return model


ASKED: dict[str, Callable[[vw.LanguageModel], Any]] = {
    "run": lambda m: vw.run(m, vw.Experiment(base=BASE, sources=SOURCE, slots=SLOT)).top(1),
    "sweep": lambda m: vw.sweep(m, BASE, SOURCE),
    "sweep, targets": lambda m: vw.sweep(m, BASE, SOURCE, targets=TARGETS, keep_bytes=0),
    "sweep, heads": lambda m: vw.sweep(m, BASE, SOURCE, "z", head="all"),
    "sweep, zero": lambda m: vw.sweep(m, BASE, SOURCE, intervention="zero"),
    "attribute": lambda m: vw.attribute(m, BASE, SOURCE),
    "paths": lambda m: vw.paths(m, BASE, SOURCE, targets=TARGETS),
    "paths, receivers": lambda m: vw.paths(m, BASE, SOURCE, receivers=["mlp1"]),
    "sweep_pairs": lambda m: vw.sweep_pairs(m, [(BASE, SOURCE)], controls=()),
    "lens": lambda m: vw.lens(m, vw.Experiment(base=BASE, sources=SOURCE, slots=SLOT)),
    "circuit": lambda m: vw.circuit(m, [BASE], [SOURCE], heads=["0.1"]),
}
"""Every method that reads a source's run."""

SLOT = vw.Slot(layer=0, position=3)


@pytest.mark.parametrize("name", ASKED)
def test_it_is_refused(name: str, broken: vw.LanguageModel) -> None:
    with pytest.raises(vw.RequestError, match=SAID) as caught:
        ASKED[name](broken)
    message = str(caught.value)
    assert message.count(". ") == 0
    assert name == "run" or "source" in message


def test_the_base_alone_is_swept(broken: vw.LanguageModel) -> None:
    """What reads no source needs none."""
    assert vw.sweep(broken, BASE, intervention="zero").frame["probability"].notna().all()


def test_of_a_data_set_the_pair_is_named(broken: vw.LanguageModel) -> None:
    """By its row, however many heads each pair has."""
    rows = [(BASE, "The capital of France is"), (SOURCE, BASE), (BASE, SOURCE)]
    words = f"^pairs 0 to 2: base logits of pair 1: {SAID}"
    with pytest.raises(vw.RequestError, match=words):
        vw.sweep_pairs(broken, rows, "z", head="all", controls=())
    with pytest.raises(vw.RequestError, match=f"^pair 2: source logits: {SAID}"):
        vw.sweep_pairs(broken, [rows[0], rows[0], rows[2]], pairs_per_chunk=1, controls=())
