"""pyvene's names give the CPU's numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from by_hand import ITALY, SPAIN, distance
from devices_testing import CLOSE

import vene_widgets as vw
from vene_widgets import intervenable
from vene_widgets.intervenable import IntervenableModel


def test_the_second_face_takes_encodings_from_the_cpu(
    model: vw.LanguageModel, twin: vw.LanguageModel, tmp_path: Path
) -> None:
    base, source = (
        model.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        for prompt in (SPAIN, ITALY)
    )
    mean = torch.linspace(-1, 1, model.sites.d_model)
    for name, more in (
        ("VanillaIntervention", {}),
        ("RotatedSpaceIntervention", {}),
        ("LowRankRotatedSpaceIntervention", {"low_rank_dimension": 2}),
        ("SigmoidMaskIntervention", {}),
        ("NoiseIntervention", {}),
        ("AdditionIntervention", {"source_representation": mean}),
        ("CollectIntervention", {}),
    ):
        kind = getattr(intervenable, name)
        config = {"layer": 1, "component": "block_output", "intervention_type": kind, **more}
        has_source = kind.needs_source and "source_representation" not in more
        call = ([source] if has_source else None, {"sources->base" if has_source else "base": 3})
        with torch.no_grad():
            found, expected = (
                IntervenableModel(config, one.model)(base, *call)[1].logits for one in (model, twin)
            )
            assert found.device == model.device
            assert distance(found, expected) <= CLOSE, name
            there = IntervenableModel(config, model.model)
            there.save(tmp_path / name)
            again = IntervenableModel.load(tmp_path / name, twin.model)(base, *call)[1].logits
            assert distance(again, there(base, *call)[1].logits) <= CLOSE, name
