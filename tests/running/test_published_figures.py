"""Published figures of pretrained models."""

from __future__ import annotations

import pytest
import torch
from running_testing import EVERYWHERE, ITALY, SPAIN, differ, everywhere, plain, swap, swapped

from vene_widgets.engine.running import Run, run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel


def probability(result: Run, text: str) -> float:
    return result.logits[-1].softmax(-1)[result.model.token_id(text)].item()


def test_smollm2_hands_the_answer_over_after_layer_22(smollm2: LanguageModel):
    assert probability(run(smollm2, Experiment(base=SPAIN)), " Madrid") == pytest.approx(
        0.377, abs=2e-3
    )
    assert probability(run(smollm2, Experiment(base=ITALY)), " Rome") == pytest.approx(
        0.380, abs=2e-3
    )
    rome = {
        (layer, position): probability(run(smollm2, swapped(swap(layer, position))), " Rome")
        for layer in (22, 23)
        for position in (3, 4)
    }
    assert rome[22, 3] == pytest.approx(0.335, abs=2e-3)
    assert rome[23, 4] == pytest.approx(0.315, abs=2e-3)
    assert rome[22, 4] < rome[22, 3] and rome[23, 3] < rome[23, 4]


def test_smollm2_obeys_the_identities(smollm2: LanguageModel):
    """A real model of another family and size: few runs, each many slots at once."""
    base = run(smollm2, Experiment(base=SPAIN))
    assert torch.equal(base.logits, plain(smollm2, SPAIN))
    itself = run(smollm2, swapped(*everywhere(smollm2, 0), *everywhere(smollm2, 17), source=SPAIN))
    assert torch.equal(itself.logits, base.logits)
    source = run(smollm2, swapped(swap(0, EVERYWHERE, "block_input")))
    assert torch.equal(source.logits, plain(smollm2, ITALY))
    slots = swap(12, 3, group="g"), swap(3, 4, "head_key_output", head=2, group="g")
    grouped = run(smollm2, swapped(*slots))
    ungrouped = run(smollm2, swapped(*slots[::-1]).ungrouped(), share_sources=False)
    assert torch.equal(grouped.logits, ungrouped.logits) and differ(grouped, base)
    assert torch.equal(grouped.logits[:3], base.logits[:3])


def test_gpt2_gives_the_published_figures(gpt2_hub: LanguageModel):
    spain, italy = (run(gpt2_hub, Experiment(base=prompt)) for prompt in (SPAIN, ITALY))
    for result, expected in (
        (spain, {" Madrid": 0.105012, " the": 0.094970, " Barcelona": 0.070279}),
        (italy, {" Rome": 0.157349, " the": 0.073164, " Milan": 0.046879}),
    ):
        assert result.top(3).token.tolist() == list(expected)
        for token, value in expected.items():
            assert probability(result, token) == pytest.approx(value, abs=1e-5)
    early = run(gpt2_hub, swapped(swap(0, 3)))
    assert probability(early, " Madrid") == pytest.approx(0.006, abs=1e-3)
    assert probability(early, " Rome") == pytest.approx(0.118, abs=1e-3)
    late = run(gpt2_hub, swapped(swap(11, 4, "attention_output")))
    assert probability(late, " Madrid") == pytest.approx(0.155, abs=1e-3)
