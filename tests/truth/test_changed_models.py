"""Whatever was done to a model, a result is what hooks by hand on the user's model give."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, check_everything, check_map, distance, plain_logits
from changed_models import KINDS, hook_on_row_zero
from torch import Tensor, nn
from tree_testing import blocks

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.fixture
def clean_registry() -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    yield
    ALL_ATTENTION_FUNCTIONS._global_mapping.pop("twice", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_model_gives_its_own_numbers(
    model: vw.LanguageModel, kind: str, monkeypatch: pytest.MonkeyPatch, clean_registry: None
) -> None:
    change, reason = KINDS[kind]
    before = plain_logits(model, PAIRS[1][1])
    change(model, monkeypatch)
    try:
        assert distance(plain_logits(model, PAIRS[1][1]), before) > 1e-3, "nothing was changed"
        check_everything(model)
        if reason is not None:
            assert reason in str(model.resume_blocker)
    finally:
        getattr(model, "undo", lambda: None)()


@pytest.mark.parametrize("kind", ["class patch", "instance patch, object", "hook after"])
def test_a_model_that_was_changed_before_it_was_wrapped(
    model: vw.LanguageModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, _ = KINDS[kind]
    change(model, monkeypatch)
    check_map(wrap(model.model, model.tokenizer), *PAIRS[1], "block_output")


def test_an_unchanged_model(model: vw.LanguageModel) -> None:
    assert model.resume_blocker is None
    check_everything(model)


def test_a_module_in_two_layers_is_changed_in_one(model: vw.LanguageModel) -> None:
    """By hand, a hook on a shared module acts in both layers; apart, the same weights do not."""
    apart = wrap(copy.deepcopy(model.model), model.tokenizer)
    first, third = blocks(model)[0], blocks(model)[2]
    third.mlp = first.mlp
    blocks(apart)[2].mlp = copy.deepcopy(blocks(apart)[0].mlp)
    for component in ("mlp_input", "mlp_output", "block_output"):
        check_map(apart, *PAIRS[1], component)
        expected = vw.sweep(apart, *PAIRS[1], component).logits
        assert distance(vw.sweep(model, *PAIRS[1], component).logits, expected) <= 1e-5
        slot = vw.Slot(layer=0, component=component, position=-1)
        experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])
        runs = (vw.run(each, experiment).logits for each in (model, apart))
        assert distance(*runs) <= 1e-5
    assert third.mlp is first.mlp


def test_one_block_as_every_layer(model: vw.LanguageModel) -> None:
    apart = wrap(copy.deepcopy(model.model), model.tokenizer)
    for each, share in ((model, lambda block: block), (apart, copy.deepcopy)):
        found: Any = each.tree.root.get_submodule(each.sites.architecture.blocks)
        for layer in (1, 2):
            found[layer] = share(found[0])
    for component in ("block_output", "value_output"):
        expected = vw.sweep(apart, *PAIRS[1], component).logits
        assert distance(vw.sweep(model, *PAIRS[1], component).logits, expected) <= 1e-5


def floats(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def test_a_fit_on_a_model_that_takes_one_prompt_at_a_time(model: vw.LanguageModel) -> None:
    """A hook on row 0 would act on one prompt of a batch only."""
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (SPAIN, "The capital of France is"), (ITALY, ITALY)]

    def fit(batch_size: int) -> Tensor:
        found = vw.fit_subspace(
            model,
            pairs,
            layer=2,
            position=3,
            rank=1,
            steps=4,
            batch_size=batch_size,
            held_out=0.5,
            progress=False,
        )
        return floats(*found.history["held_out_loss"], found.accuracy)

    batched = fit(2)
    hook_on_row_zero(model, pytest.MonkeyPatch())
    alone, several = fit(1), fit(2)
    assert torch.equal(alone, several)
    assert not torch.allclose(batched, several, atol=1e-3)


def test_a_known_module_in_anothers_place(tiny_gpt2: vw.LanguageModel) -> None:
    """Every class is one of the family's, and yet the block is another: it runs as it is."""
    model = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    block: Any = model.model.get_submodule("transformer.h.1")
    block.mlp = nn.Identity()
    assert model.resume_blocker is None
    cell = vw.sweep(model, SPAIN, ITALY).logits[0, 3]
    slot = vw.Slot(layer=0, position=3)
    alone = vw.run(model, vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])).logits[-1]
    assert torch.allclose(cell, alone.cpu(), atol=1e-5)
