"""Operators: built-in and user-defined, with given source states, trained, in a chain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from intervenable_testing import Mix, Scale, ids, plain, slots
from torch import Tensor
from transformers import LlamaModel

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import (
    CollectIntervention,
    IntervenableConfig,
    IntervenableModel,
    LowRankRotatedSpaceIntervention,
    NoiseIntervention,
    RepresentationConfig,
    VanillaIntervention,
    ZeroIntervention,
)
from vene_widgets.models import LanguageModel


def test_noise_fits_any_shape(lm: Any):
    config = slots(0, 1, kind=NoiseIntervention)
    model = IntervenableModel(config, lm)
    one = model(ids(3, 5), unit_locations={"base": [0, 2, 3]})[1].logits
    again = IntervenableModel(config, lm)(ids(3, 5), unit_locations={"base": [0, 2, 3]})[1].logits
    assert torch.equal(one, again) and not torch.equal(one, plain(lm, ids(3, 5)).logits)


class Half(VanillaIntervention):
    """A user-defined subclass of one of ours."""

    def forward(self, base: Tensor, source: Any, subspaces: Any = None) -> Tensor:
        return (base + source) / 2


def test_user_defined_classes(lm: Any):
    base, source, where = ids(2), ids(2, seed=1), {"sources->base": [2, 4]}
    model = IntervenableModel({"layer": 1, "intervention_type": Mix}, lm)
    output = model(base, source, where, subspaces=[[[0], [1]]])[1]
    (share,) = model.get_trainable_parameters()
    output.logits.sum().backward()
    assert share.grad is not None and share.grad != 0
    assert model.interventions[model.sorted_keys[0]].seen == [[0], [1]]
    half = IntervenableModel({"layer": 1, "intervention_type": Half}, lm)(base, source, where)[1]
    same = IntervenableModel({"layer": 1, "intervention": lambda b, s: (b + s) / 2}, lm)(
        base, source, where
    )[1]
    assert torch.equal(half.logits, same.logits)
    three = IntervenableModel({"layer": 1, "intervention_type": Scale}, lm)
    function = IntervenableModel({"layer": 1, "intervention": lambda b, s: b * 3}, lm)
    where = {"base": [2, 4]}
    one = three(base, unit_locations=where)[1].logits
    assert torch.equal(one, function(base, unit_locations=where)[1].logits)
    with pytest.raises(RequestError, match=r"returned .*a tensor of the base's shape"):
        IntervenableModel({"layer": 1, "intervention": lambda b, s: b[:, :1]}, lm)(
            base, unit_locations=where
        )


def test_source_representations(lm: Any):
    base, source = ids(2), ids(2, seed=1)
    collect = IntervenableModel(slots(1, kind=CollectIntervention), lm)
    (_, (vectors,)), _ = collect(source, unit_locations={"base": 2})
    model = IntervenableModel(slots(1), lm)
    expected = model(base, source, {"sources->base": (2, 4)})[1].logits
    where = {"sources->base": (None, 4)}
    for one in (vectors, [vectors], {model.sorted_keys[0]: vectors}, {0: vectors[:, 0]}):
        found = model(base, unit_locations=where, source_representations=one)[1].logits
        assert torch.equal(found, expected)
    constant = IntervenableModel(slots(1, source_representation=torch.zeros(24)), lm)
    zero = IntervenableModel(slots(1, kind=ZeroIntervention), lm)
    where = {"base": 4}
    found = constant(base, unit_locations=where)[1].logits
    assert torch.equal(found, zero(base, unit_locations=where)[1].logits)


def test_gradients_only_if_something_can_be_trained(lm: Any):
    model = IntervenableModel(
        slots(1, kind=LowRankRotatedSpaceIntervention, low_rank_dimension=2), lm
    )
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    assert model(*call)[1].logits.requires_grad
    with torch.no_grad():
        assert not model(*call)[1].logits.requires_grad
    assert not IntervenableModel(slots(1), lm)(*call)[1].logits.requires_grad


def test_a_llama_without_its_head(tiny_llama: LanguageModel):
    whole: Any = tiny_llama.model
    assert isinstance(whole.model, LlamaModel)
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    one = IntervenableModel(slots(1), whole.model)(*call)[1].last_hidden_state
    two = IntervenableModel(slots(1), whole)(*call)[1].logits
    assert torch.equal(whole.lm_head(one), two)


def test_serial_mode_is_a_chain(lm: Any):
    config = IntervenableConfig([RepresentationConfig(0), RepresentationConfig(1)], mode="serial")
    model = IntervenableModel(config, lm)
    a, b, base = ids(1, seed=1), ids(1, seed=2), ids(1)
    where = {"source_0->source_1": 3, "source_1->base": 5}
    chained = model(base, [a, b], where)[1].logits
    single = IntervenableModel(slots(1), lm)
    direct = single(base, b, {"sources->base": 5})[1].logits
    assert not torch.equal(chained, direct)
    assert torch.equal(model(base, [None, b], where)[1].logits, direct)
    assert torch.equal(model(base, [a, b], {"source_1->base": 5})[1].logits, direct)
    with pytest.raises(RequestError, match="acts on the run of source 1, which is None"):
        model(base, [a, None], where)
    with pytest.raises(RequestError, match="'sources->base' is not known"):
        model(base, [a, b], {"sources->base": 3})
