"""Interventions as the cells of a sweep."""

from __future__ import annotations

import pytest
import torch
from interventions_testing import ITALY, SPAIN

from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.sweep import sweep


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("name", ["addition", "zero", "noise", "vanilla", "sigmoid_mask"])
def test_a_cell_of_a_sweep_is_a_run_of_its_own(tiny_gpt2: LanguageModel, name: str, hooked: bool):
    # A user-defined hook makes the sweep run full forward passes instead of resuming.
    block = tiny_gpt2.model.get_submodule("transformer.h.2")
    handle = block.register_forward_hook(lambda *_: None) if hooked else None
    try:
        found = sweep(tiny_gpt2, SPAIN, ITALY, intervention=name)
        for row, column in ((0, 0), (1, 1), (1, 3), (2, 4), (2, 2)):
            slot = Slot(layer=row, position=column, intervention=name)
            alone = run(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=[slot]))
            assert torch.allclose(found.logits[row, column], alone.logits[-1].cpu(), atol=1e-5), (
                slot
            )
    finally:
        if handle is not None:
            handle.remove()


@pytest.mark.parametrize(
    ("name", "message"),
    [("mean", "'mean' needs prompts"), ("low_rank_rotated_space", "rank None is invalid for")],
)
def test_a_sweep_refuses_what_it_has_no_options_for(
    tiny_gpt2: LanguageModel, name: str, message: str
):
    with pytest.raises(RequestError, match=message):
        sweep(tiny_gpt2, SPAIN, ITALY, intervention=name)
