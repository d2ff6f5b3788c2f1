"""Runs and sweeps of every kind give the CPU's numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, distance, plain_logits
from devices_testing import CLOSE, FRANCE, of_operator

import vene_widgets as vw
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.models import placement
from vene_widgets.sweeps import cells


@pytest.mark.parametrize("part", ["all", "subspace", "strength"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_operator(
    model: vw.LanguageModel, twin: vw.LanguageModel, name: str, part: str
) -> None:
    more: dict[str, Any] = {"subspace": {"subspace": [0, 2]}, "strength": {"strength": 0.5}}
    if name == "collect" and part != "all":
        pytest.skip("collect takes no options")
    experiment = of_operator(name, **more.get(part, {}))
    found, expected = vw.run(model, experiment), vw.run(twin, experiment)
    for tensor in (found.logits, found.states, found.last_hidden_state):
        assert tensor.device == model.device
    assert distance(found.logits, expected.logits) <= CLOSE
    changes = found.receipts, expected.receipts
    assert changes[0].fired.all() and changes[0].others_equal.all()
    assert changes[0]["size"].tolist() == pytest.approx(changes[1]["size"].tolist(), rel=1e-3)
    moved = distance(found.logits, vw.run(model, vw.Experiment(base=SPAIN)).logits)
    assert (moved > CLOSE) == (name != "collect")
    assert vw.compare(found, expected).verdict in ("bit-equal", "allclose")
    assert found.top(3).token.tolist() == expected.top(3).token.tolist()


def test_runs_of_every_kind(model: vw.LanguageModel, twin: vw.LanguageModel) -> None:
    sources = {"a": ITALY, "b": FRANCE}
    slots = [
        vw.Slot(layer=0, position=3, source="a", group="g"),
        vw.Slot(layer=1, position=4, source="b", component="head_value_output", head=1),
        vw.Slot(layer=2, position=" is", source="a", component="mlp_activation", group="g"),
    ]
    experiment = vw.Experiment(base=SPAIN, sources=sources, slots=slots)
    expected = vw.run(twin, experiment).logits
    cache = vw.ActivationCache()
    options: tuple[dict[str, Any], ...] = (
        {},
        {"share_sources": False},
        {"cache": cache},
        {"cache": cache},
    )
    for more in options:
        found = vw.run(model, experiment, **more)
        assert distance(found.logits, expected) <= CLOSE
        assert torch.equal(found.logits, vw.run(model, experiment).logits)
    last = vw.run(model, experiment, logits_to_keep=1).logits
    assert distance(last[0], expected[-1], expected) <= CLOSE
    serial = vw.Experiment(
        base=SPAIN,
        sources=sources,
        slots=[vw.Slot(layer=n, position=3, source=name) for n, name in enumerate("ab")],
        mode="serial",
    )
    assert distance(vw.run(model, serial).logits, vw.run(twin, serial).logits) <= CLOSE
    assert vw.commute(model, experiment, 0, 2).verdict in ("bit-equal", "allclose", "different")


def test_a_run_is_the_users_own_call(model: vw.LanguageModel) -> None:
    found = vw.run(model, vw.Experiment(base=SPAIN)).logits
    assert torch.equal(found, plain_logits(model, SPAIN))


@pytest.mark.parametrize("way", ["resumed", "as the device does", "batched"])
def test_sweeps_of_every_component(
    model: vw.LanguageModel, twin: vw.LanguageModel, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.resume_blocker is None
    if way == "resumed":  # an accelerator takes full passes for as few cells as here
        monkeypatch.setattr(cells, "FULL_ROWS", 0)
    if way == "batched":
        model.model.register_forward_hook(lambda *_: None)
        model.accept_hooks()
    assert (model.resume_blocker is None) == (way != "batched")
    for component in model.sites.components:
        heads: Any = None if model.sites.head_count(component) is None else "all"
        found, expected = (
            vw.sweep(one, SPAIN, ITALY, component, head=heads) for one in (model, twin)
        )
        assert distance(found.logits, expected.logits) <= CLOSE, component
        for name in found.frame.select_dtypes("float").columns:
            numbers = [one.frame[name].astype("float64").tolist() for one in (found, expected)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-3, nan_ok=True), (component, name)


@pytest.mark.parametrize("name", ["addition", "zero", "noise", "sigmoid_mask"])
def test_sweeps_of_other_operators(
    model: vw.LanguageModel, twin: vw.LanguageModel, name: str
) -> None:
    cache = vw.ActivationCache()
    expected = vw.sweep(twin, *PAIRS[1], intervention=name).logits
    options: tuple[dict[str, Any], ...] = ({}, {"cache": cache}, {"cache": cache})
    for more in options:
        found = vw.sweep(model, *PAIRS[1], intervention=name, targets=[" Rome"], **more)
        assert distance(found.logits, expected) <= CLOSE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(model: vw.LanguageModel, dtype: torch.dtype, device: torch.device) -> None:
    if dtype not in (getattr(torch, name) for name in placement.DTYPES) or (
        device.type == "mps" and dtype == torch.float64
    ):
        pytest.skip(f"no {dtype} on {device}")
    model.model.to(dtype=dtype)
    experiment = of_operator("vanilla")
    run = vw.run(model, experiment)
    assert run.logits.dtype == dtype
    assert torch.equal(run.logits, vw.run(model, experiment).logits)
    assert torch.equal(vw.run(model, vw.Experiment(base=SPAIN)).logits, plain_logits(model, SPAIN))
    cell = vw.sweep(model, SPAIN, ITALY, "mlp_output").logits[1, 3]
    slot = vw.Slot(layer=1, position=3, component="mlp_output")
    alone = vw.run(model, vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])).logits
    limit = 0.05 if dtype.itemsize == 2 else CLOSE
    assert distance(cell, alone[-1], alone) <= limit
