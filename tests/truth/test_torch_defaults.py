"""A default dtype or device of torch changes no result."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from by_hand import ITALY, PAIRS, SPAIN, distance
from torch import Tensor

import vene_widgets as vw
from vene_widgets.models import wrap


def floats(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def numbers_in(frame: Any) -> Tensor:
    return torch.from_numpy(frame.select_dtypes("number").astype("float64").fillna(-1).to_numpy())


def everything(model: vw.LanguageModel) -> dict[str, Tensor]:
    """Numbers of every kind of request."""
    noise = vw.Slot(layer=1, position=3, intervention="noise", scale=0.5, seed=3)
    rotation = vw.Slot(layer=1, position=4, intervention="low_rank_rotated_space", rank=2, seed=1)
    experiment = vw.Experiment(base=SPAIN, sources=ITALY, slots=[noise, rotation])
    left = vw.run(model, experiment)
    right = vw.run(model, experiment.replace(slots=[rotation]), cache=vw.ActivationCache())
    comparison = vw.compare(left, right)
    fitted = vw.fit_subspace(
        model,
        [(SPAIN, ITALY), (ITALY, SPAIN), (SPAIN, "The capital of France is")],
        layer=1,
        position=3,
        rank=1,
        steps=3,
        held_out=0.4,
        progress=False,
    )
    swept = vw.sweep(model, *PAIRS[1])
    noisy = vw.sweep(model, SPAIN, ITALY, "mlp_output", intervention="noise")
    pair: Any = {"base": SPAIN, "source": ITALY, "targets": (" Rome", " Madrid")}
    ends: Any = {"senders": "all", "receivers": ["mlp1", ("2.0", "k")]}
    estimated = vw.attribute(model, **pair, steps=2)
    return {
        "estimates": estimated.estimates,
        "paths": numbers_in(vw.paths(model, **pair, senders="all").frame),
        "paths between": numbers_in(vw.paths(model, **pair, **ends, norms="frozen").frame),
        "paths through MLPs": numbers_in(vw.paths(model, **pair, **ends, mlps="recomputed").frame),
        "circuit": numbers_in(vw.circuit(model, **pair, heads=["0.1"]).frame),
        "attention": numbers_in(vw.attention(model, SPAIN).frame),
        "lens": numbers_in(vw.lens(model, experiment).frame),
        "run": left.logits,
        "cached": right.logits,
        "compare": floats(comparison.max_abs, comparison.kl),
        "frame": numbers_in(comparison.frame),
        "map": swept.logits,
        "map frame": numbers_in(swept.frame),
        "noisy map": noisy.logits,
        "fit": floats(fitted.accuracy, *fitted.history["held_out_loss"]),
        "fitted": torch.cat([p.detach().flatten() for p in fitted.intervention.parameters()]),
    }


@pytest.mark.parametrize("default", ["dtype", "half", "device"])
def test_torchs_defaults_change_nothing(
    request: pytest.FixtureRequest, model: vw.LanguageModel, default: str
) -> None:
    expected = everything(wrap(copy.deepcopy(model.model), model.tokenizer))
    dtype = torch.get_default_dtype()
    try:
        if default == "device":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64 if default == "dtype" else torch.bfloat16)
        found = everything(model)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
    for name, numbers in expected.items():
        assert found[name].device == numbers.device, name
        assert found[name].dtype == numbers.dtype, name
        assert torch.equal(found[name], numbers) or distance(found[name], numbers) < 1e-6, name


@pytest.mark.parametrize("default", ["dtype", "device"])
def test_torchs_defaults_change_nothing_on_screen(
    tiny_gpt2: vw.LanguageModel, default: str, silent_painter: Any
) -> None:
    def shown() -> dict[str, Any]:
        model = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
        explorer = vw.explore(SPAIN, ITALY, model=model)
        try:
            explorer.wait(60)
            views = {n: getattr(explorer, n) for n in ("answer", "map") if explorer.has_trait(n)}
            return copy.deepcopy(views)
        finally:
            explorer.close()

    expected = shown()
    dtype = torch.get_default_dtype()
    try:
        if default == "device":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64)
        found = shown()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
    assert len(numbers_of(expected)) > 100
    assert numbers_of(found) == pytest.approx(numbers_of(expected), abs=1e-6)


def numbers_of(value: Any) -> list[float]:
    """Every probability and logit in a nested value, in order; times of a run are left out."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, (int, float)):
        return [float(value)]
    if isinstance(value, dict):
        return [
            number
            for key, item in value.items()
            if key not in ("milliseconds", "revision")
            for number in numbers_of(item)
        ]
    return [number for item in value for number in numbers_of(item)]
