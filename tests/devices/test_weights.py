"""Weights of interventions: trained, fitted, saved on one device and restored on another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_hand import ITALY, SPAIN, distance
from devices_testing import CLOSE, FRANCE, of_operator

import vene_widgets as vw
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.interventions.saving import restore, save


def test_gradients_and_an_optimiser(model: vw.LanguageModel) -> None:
    experiment = of_operator("low_rank_rotated_space")
    weights = vw.make_weights(model, experiment)
    parameters = [p for module in weights.values() for p in module.parameters()]
    assert {p.device for p in parameters} == {model.device}
    optimiser = torch.optim.Adam(parameters, lr=0.1)
    before = vw.run(model, experiment, weights=weights, gradients=True).logits
    before[-1].log_softmax(-1)[3].neg().backward()
    optimiser.step()
    after = vw.run(model, experiment, weights=weights).logits
    assert after[-1].log_softmax(-1)[3] > before[-1].log_softmax(-1)[3]


def test_a_fit(model: vw.LanguageModel, twin: vw.LanguageModel) -> None:
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (FRANCE, ITALY), (SPAIN, FRANCE)]
    found, expected = (
        vw.fit_subspace(
            one, pairs, layer=1, position=3, rank=2, steps=12, held_out=0.5, progress=False
        )
        for one in (model, twin)
    )
    assert {p.device for p in found.intervention.parameters()} == {model.device}
    losses = [fit.history["held_out_loss"].tolist() for fit in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert found.frame["accuracy"].tolist() == expected.frame["accuracy"].tolist()


@pytest.mark.parametrize("name", [n for n in BUILT_IN if n not in ("mean", "collect")])
def test_saved_on_one_device_restored_on_another(
    model: vw.LanguageModel, twin: vw.LanguageModel, name: str, tmp_path: Path
) -> None:
    experiment = of_operator(name)
    for folder, one, other in ((tmp_path / "a", model, twin), (tmp_path / "b", twin, model)):
        weights = vw.make_weights(one, experiment)
        with torch.no_grad():
            for module in weights.values():
                for parameter in module.parameters():
                    parameter += (
                        torch.linspace(0, 0.1, parameter.numel())
                        .view_as(parameter)
                        .to(parameter.device)
                    )
        save(folder, experiment, weights)
        read, again = restore(folder)
        again = {key: module.to(other.device) for key, module in again.items()}
        expected = vw.run(one, experiment, weights=weights).logits
        assert distance(vw.run(other, read, weights=again).logits, expected) <= CLOSE


def test_weights_on_another_device_are_refused_in_a_sentence(
    model: vw.LanguageModel, twin: vw.LanguageModel, elsewhere: torch.device
) -> None:
    experiment = of_operator("low_rank_rotated_space")
    weights = vw.make_weights(twin, experiment)
    with pytest.raises(vw.RequestError, match="'slot 0' are on cpu and the model is on") as raised:
        vw.run(model, experiment, weights=weights)
    assert "weights['slot 0'].to(model.device)" in str(raised.value)
    for one in weights.values():
        one.to(model.device)
    vw.run(model, experiment, weights=weights)
