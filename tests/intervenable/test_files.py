"""Saving and loading with pyvene's names."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from intervenable_testing import LIBRARY, Mix, Scale, ids, slots

from vene_widgets import intervenable as face
from vene_widgets.errors import RequestError
from vene_widgets.intervenable import IntervenableModel, LowRankRotatedSpaceIntervention


@pytest.mark.parametrize("kind", [*LIBRARY, Mix], ids=lambda kind: kind.__name__)
def test_everything_that_saves_loads(kind: Any, tmp_path: Path, lm: Any):
    fields = {
        "low_rank_dimension": 4,
        "subspace_partition": [[0, 2], {2, 3}],
        "intervention_link_key": "shared",
    }
    model = IntervenableModel(slots(0, 2, kind=kind, group_key="g", **fields), lm)
    with torch.no_grad():
        for parameter in model.get_trainable_parameters():
            parameter.add_(0.1)
    call = (ids(2), ids(2, seed=1), {"sources->base": 4})
    model.save(tmp_path / "folder")
    again = IntervenableModel.load(tmp_path / "folder", lm, types={"Mix": Mix})
    for subspaces in (None, [[[0], [1]], [[1], [0]]]):
        one = model(*call, subspaces=subspaces)[1].logits
        assert torch.equal(one, again(*call, subspaces=subspaces)[1].logits)
    assert again.count_parameters() == model.count_parameters()
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [
        "intervenable.json",
        "interventions.safetensors",
    ]


def test_saving_and_loading_fail_with_the_reason(tmp_path: Path, lm: Any):
    function = IntervenableModel({"intervention": lambda b, s: b}, lm)
    with pytest.raises(RequestError, match="plain function"):
        function.save(tmp_path / "no")
    with pytest.raises(RequestError, match=r"has no intervenable\.json"):
        IntervenableModel.load(tmp_path, lm)
    IntervenableModel({"intervention_type": Scale}, lm).save(tmp_path / "own")
    with pytest.raises(RequestError, match=r"'Scale' is not known.*types="):
        IntervenableModel.load(tmp_path / "own", lm)
    file = tmp_path / "own" / "intervenable.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(RequestError, match="schema 9"):
        IntervenableModel.load(tmp_path / "own", lm, types={"Scale": Scale})


@pytest.mark.cuda
def test_saved_on_one_device_loads_on_another(tmp_path: Path, lm: Any):
    model = IntervenableModel(
        slots(1, kind=LowRankRotatedSpaceIntervention, low_rank_dimension=2), lm
    )
    model.save(tmp_path)
    there = IntervenableModel.load(tmp_path, copy.deepcopy(lm).cuda())
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    found, expected = (one(*call)[1].logits.cpu() for one in (there, model))
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("kind", ["Vanilla", "Addition", "Subtraction", "Zero", "Collect"])
def test_slots_whose_width_is_not_known_before_a_run(kind: str, tmp_path: Path, lm: Any):
    """Attention weights, and modules that do not tell: dropout."""
    operator = getattr(face, f"{kind}Intervention")
    config = [
        {"component": "attention_weight", "unit": "h", "layer": 1, "intervention_type": operator},
        {"component": "transformer.h[0].mlp.dropout.output", "intervention_type": operator},
    ]
    model = IntervenableModel(config, lm)
    model.save(tmp_path)
    again = IntervenableModel.load(tmp_path, lm)
    call = (ids(2), [ids(2, seed=1)] * 2, {"sources->base": 1})
    assert torch.equal(again(*call)[1].logits, model(*call)[1].logits)
    noise = IntervenableModel([{**config[0], "intervention_type": face.NoiseIntervention}], lm)
    with pytest.raises(RequestError, match="slot 0: noise is not saved where the width"):
        noise.save(tmp_path / "noise")
