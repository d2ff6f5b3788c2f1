"""Every way to write a config, locations and a call, and the forms of the output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from intervenable_testing import ITALY, SPAIN, ids, plain, slots

import vene_widgets as vw
from vene_widgets import intervenable as face
from vene_widgets.errors import RequestError
from vene_widgets.intervenable import (
    GET_LOC,
    IntervenableConfig,
    IntervenableModel,
    RepresentationConfig,
    VanillaIntervention,
    ZeroIntervention,
)


def test_every_way_to_write_a_config_gives_the_same(bare: Any, encode: Any):
    fields = {"layer": 1, "component": "mlp_output", "unit": "pos", "max_number_of_units": 1}
    ways = [
        IntervenableConfig(representations=[RepresentationConfig(**fields)]),
        IntervenableConfig(intervenable_representations=RepresentationConfig(**fields)),
        RepresentationConfig(1, "mlp_output", "pos", 1),
        [RepresentationConfig(1, "mlp_output")],
        fields,
        [fields],
        [(1, "mlp_output", "pos", 1)],
        (1, "mlp_output", "pos", 1),
        {"representations": [fields], "intervention_types": VanillaIntervention},
        {**fields, "intervention_type": VanillaIntervention},
        {"intervenable_layer": 1, "intervenable_representation_type": "mlp_output"},
    ]
    found = []
    for way in ways:
        model = IntervenableModel(way, model=bare)
        found.append(model(encode(SPAIN), encode(ITALY), {"sources->base": 3})[1][0])
        assert "mlp_output of layer 1" in str(model) and "VanillaIntervention" in repr(model)
        assert "mlp_output" in repr(model.config)
    assert all(torch.equal(one, found[0]) for one in found)


def test_every_way_to_write_locations_gives_the_same(bare: Any):
    model = IntervenableModel(slots(0, 1, group_key="g"), bare)
    base, source = ids(2), ids(2, seed=1)
    ways = [
        3,
        (3, 3),
        [3],
        ([3], [3]),
        ([[[3], [3]], [[3], [3]]], [[[3], [3]], [[3], [3]]]),
        [[[[3], [3]], [[3], [3]]], [[[3], [3]], [[3], [3]]]],
        ([[[3]], [[3]]], [[[3]], [[3]]]),
        ([[3], [3]], [[3], [3]]),
        (None, 3),
        -3,
        np.int64(3),
        (torch.tensor(3), np.array([3])),
    ]
    found = [model(base, [source], {"sources->base": way})[1][0] for way in ways]
    assert all(torch.equal(one, found[0]) for one in found)
    pair = model(base, [source], {"sources->base": (1, 3)})[1][0]
    positions = model(base, [source], {"sources->base": [1, 3]})[1][0]
    assert not torch.equal(pair, positions) and not torch.equal(pair, found[0])


def test_base_locations_for_slots_that_read_no_source(bare: Any):
    model = IntervenableModel(slots(0, kind=ZeroIntervention), bare)
    found = [model(ids(1), unit_locations={"base": way})[1][0] for way in (3, [3], [[[3]]])]
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
    everywhere = model(ids(1))[1][0]
    assert torch.equal(everywhere, model(ids(1), unit_locations={"base": list(range(6))})[1][0])


def test_heads(bare: Any):
    config = slots(1, component="head_attention_value_output", unit="h.pos")
    model = IntervenableModel(config, bare)
    base, source = ids(2), ids(2, seed=1)
    nested = [[[[1], [1]], [[3], [3]]]]
    one = model(base, [source], {"sources->base": (nested, nested)})[1][0]
    where = GET_LOC((1, 3), batch_size=2)
    assert where == nested
    short = [[[1], [3]]]
    for way in ((where, where), where, (short, short), [where, where]):
        assert torch.equal(model(base, [source], {"sources->base": way})[1][0], one)
    mixed = [[[[1], [0, 2]], [[3], [3]]]]
    two = model(base, [source], {"sources->base": (mixed, mixed)})[1][0]
    assert torch.equal(two[0], one[0]) and not torch.equal(two[1], one[1])
    with pytest.raises(
        RequestError, match=r"slot 0 .*is invalid for unit 'h.pos': expected heads and positions"
    ):
        model(base, [source], {"sources->base": 3})


def test_output_forms(lm: Any):
    model = IntervenableModel(slots(0), lm)
    base, source = ids(1), ids(1, seed=1)
    unchanged = plain(lm, base).logits
    original, changed = model(base, source, {"sources->base": 5}, output_original_output=True)
    assert torch.equal(original.logits, unchanged) and torch.equal(changed[0], changed.logits)
    result = model(base, source, {"sources->base": 5}, return_dict=True)
    assert torch.equal(result.intervened_outputs.logits, changed.logits)
    (stats,) = result.receipts[0]
    assert stats.rows == 1 and stats.others_equal and stats.size > 0
    labelled = model(base, source, {"sources->base": 5}, labels=base["input_ids"])[1]
    assert labelled.loss.ndim == 0


def test_the_star_import_gives_every_name():
    names: dict[str, Any] = {}
    exec("from vene_widgets.intervenable import *", names)  # noqa: S102
    assert set(face.__all__) == set(names) - {"__builtins__"}


def test_one_source_place_may_be_read_for_two_base_places(tiny_gpt2: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=[3, 4], source_position=[2, 2])
    experiment = vw.Experiment(
        base="The capital of Spain is", sources="The capital of Italy is", slots=[slot]
    )
    model = IntervenableModel(RepresentationConfig(1, "block_output"), tiny_gpt2.model)
    base, source = (
        {"input_ids": torch.tensor([[token.id for token in tiny_gpt2.tokens(text)]])}
        for text in (experiment.base, experiment.sources["source"])
    )
    _, output = model(base, [source], {"sources->base": ([[[2, 2]]], [[[3, 4]]])})
    assert torch.equal(output.logits[0], vw.run(tiny_gpt2, experiment).logits)
