"""The user changes the model: screen and Python show the model as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from explorer_testing import BASE, SOURCE, ask
from model_changes_testing import EXPERIMENT, block, is_of, logits, write_data
from torch import nn

import vene_widgets as vw
from vene_widgets.explorer import Explorer


def step_fused(model: vw.LanguageModel) -> None:
    optimiser = torch.optim.AdamW(model.model.parameters(), lr=0.05, fused=True)
    ids = torch.tensor([[1, 2, 3]], device=model.device)
    cast("Any", model.model)(ids, labels=ids).loss.backward()
    optimiser.step()
    optimiser.zero_grad()


def swap_activation(model: vw.LanguageModel) -> None:
    block(model, 1).mlp.act = nn.ReLU()


def change_eps(model: vw.LanguageModel) -> None:
    block(model, 2).ln_1.eps = 0.5


def load_weights(model: vw.LanguageModel) -> None:
    model.model.load_state_dict(
        {name: tensor * 1.2 for name, tensor in model.model.state_dict().items()}
    )


CHANGES = [step_fused, write_data, swap_activation, change_eps, load_weights]


@pytest.mark.parametrize("change", CHANGES)
def test_a_click_after_a_change_is_answered_by_the_model_as_it_is(
    explorer: Explorer, own: vw.LanguageModel, change: Callable[[vw.LanguageModel], None]
) -> None:
    assert is_of(explorer, logits(own, EXPERIMENT)) and explorer.scene["model_since"] == 0
    change(own)
    assert not is_of(explorer, logits(own, EXPERIMENT))
    slots = [{"layer": 1, "position": 3}]
    ask(explorer, kind="experiment", experiment={**EXPERIMENT.model_dump(), "slots": slots})
    assert is_of(explorer, logits(own, explorer.experiment))
    since = explorer.scene["model_since"]
    assert since > 0 and explorer.answer["revision"] >= since and explorer.map["revision"] >= since
    assert "The model has changed" in explorer.status["note"]
    old = [entry["revision"] < since for entry in explorer.past["entries"]]
    assert old == [True, False]
    # And what was answered before is answered anew.
    explorer.restore(0)
    explorer.wait(60)
    assert is_of(explorer, logits(own, EXPERIMENT))
    assert torch.allclose(explorer.run.logits[-1], logits(own, EXPERIMENT), atol=1e-5)


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_cell_the_screen_notices_a_change_by_itself(
    explorer: Explorer, own: vw.LanguageModel, change: Callable[[vw.LanguageModel], None]
) -> None:
    before = explorer.map
    explorer.notice_changes()  # what runs after every cell: nothing has changed
    assert explorer.scene["model_since"] == 0 and explorer.map is before
    change(own)
    explorer.notice_changes()
    explorer.wait(60)
    assert explorer.scene["model_since"] > 0
    assert is_of(explorer, logits(own, EXPERIMENT))
    swept = vw.sweep(own, BASE, SOURCE)
    cells = {(c["layer"], c["position"]): c for c in explorer.map["cells"]}
    target = explorer.map["targets"][0]["token_id"]
    p = swept.logits.softmax(-1)[:, :, target]
    for (layer, position), cell in cells.items():
        assert cell["probabilities"][0] == pytest.approx(float(p[layer, position]), abs=1e-5)


def test_reading_from_python_is_of_the_model_as_it_is(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    assert torch.allclose(explorer.run.logits[-1], logits(own, EXPERIMENT), atol=1e-5)
    write_data(own)
    assert torch.allclose(explorer.run.logits[-1], logits(own, EXPERIMENT), atol=1e-5)


def test_a_change_that_no_sample_shows_is_found_when_idle(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    explorer.worker.wait("verify", 60)
    weight = own.model.get_submodule("transformer.h.1.mlp.c_fc").weight
    state = own.fingerprint
    cast("torch.Tensor", weight).data.view(-1)[1] += 3.0  # the sample takes every 36th
    assert own.fingerprint == state
    ask(explorer, kind="experiment", experiment=EXPERIMENT.model_dump())
    explorer.worker.wait("verify", 60)
    explorer.wait(60)
    assert explorer.scene["model_since"] > 0
    assert is_of(explorer, logits(own, EXPERIMENT))


def test_a_story_is_not_exact_after_a_change(explorer: Explorer, own: vw.LanguageModel) -> None:
    explorer.story([vw.Step("Here", EXPERIMENT), vw.Step("There", [vw.Slot(layer=1, position=3)])])
    explorer.wait(60)
    assert explorer.steps["model_since"] == explorer.scene["model_since"] == 0
    write_data(own)
    explorer.step = 1
    explorer.wait(60)
    assert explorer.scene["model_since"] > explorer.steps["model_since"]
    assert is_of(explorer, logits(own, explorer.experiment))


def test_a_comparison_says_that_it_is_of_before(explorer: Explorer, own: vw.LanguageModel) -> None:
    side = {"title": "base", "experiment": {"base": BASE}}
    ask(explorer, kind="compare", left=side, right={**side, "title": "again"})
    assert explorer.contrast["error"] is None
    write_data(own)
    explorer.notice_changes()
    assert "The model has changed since" in explorer.contrast["error"]


def test_pairs_made_by_hand_survive_a_change_of_the_model(
    explorer: Explorer, own: vw.LanguageModel
) -> None:
    ask(
        explorer,
        kind="sweep",
        component="block_output",
        source="source",
        source_positions=[0, 1, 2, 4, 3],
    )
    write_data(own)
    explorer.notice_changes()
    explorer.wait(60)
    assert explorer.map["source_positions"] == [0, 1, 2, 4, 3]
