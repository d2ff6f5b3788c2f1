"""Left padding and position ids given by the caller, in pyvene's names."""

from __future__ import annotations

import pytest
import torch
from by_hand import SPAIN, distance, plain_logits, token_ids

import vene_widgets as vw


@pytest.mark.parametrize("with_source", [False, True])
def test_left_padding(model: vw.LanguageModel, with_source: bool) -> None:
    from vene_widgets.intervenable import IntervenableModel

    prompts = [SPAIN, " Madrid of Italy"]
    ids = [token_ids(model, prompt)[0] for prompt in prompts]
    missing = len(ids[0]) - len(ids[1])
    batch = torch.stack([ids[0], torch.cat([torch.zeros_like(ids[0][:missing]), ids[1]])])
    mask = torch.ones_like(batch)
    mask[1, :missing] = 0
    config = {"layer": 1, "component": "block_output"}
    face = IntervenableModel(config, model.model)
    base = {"input_ids": batch, "attention_mask": mask}
    if not with_source:
        original, _ = face(
            base,
            [{"input_ids": batch, "attention_mask": mask}],
            {"sources->base": len(ids[0]) - 1},
            output_original_output=True,
        )
        for row, prompt in enumerate(prompts):
            own = plain_logits(model, prompt)
            assert distance(original.logits[row, -len(own) :], own) <= 1e-5
        return
    source = torch.stack([batch[1].clone(), batch[0].clone()])
    source_mask = mask.flip(0)
    _, changed = face(
        base,
        [{"input_ids": source, "attention_mask": source_mask}],
        {"sources->base": len(ids[0]) - 1},
    )
    for row, (prompt, other) in enumerate(zip(prompts, prompts[::-1], strict=True)):
        slot = vw.Slot(layer=1, position=-1, source_position=-1)
        experiment = vw.Experiment(base=prompt, sources=other, slots=[slot])
        own = vw.run(model, experiment).logits
        assert distance(changed.logits[row, -len(own) :], own) <= 1e-5


def test_position_ids_of_the_users_own_are_kept(gpt2: vw.LanguageModel) -> None:
    from vene_widgets.intervenable import IntervenableModel

    ids = token_ids(gpt2, SPAIN)
    positions = torch.arange(5, 10, device=gpt2.device)[None]
    face = IntervenableModel({"layer": 1, "component": "block_output"}, gpt2.model)
    base = {"input_ids": ids, "position_ids": positions}
    original, _ = face(base, [base], {"sources->base": 4}, output_original_output=True)
    with torch.no_grad():
        own = gpt2.model(input_ids=ids, position_ids=positions).logits
    assert distance(original.logits, own) <= 1e-5
