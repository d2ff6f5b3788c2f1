"""What is handed out may be written into: results and operators share nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import FAMILIES, ITALY, SPAIN, distance, own_copy
from torch import Tensor, nn
from tree_testing import EXPERIMENT

import vene_widgets as vw
from vene_widgets.engine.running import record_states
from vene_widgets.interventions import Intervention


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


def tensors_in(value: Any, seen: set[int] | None = None) -> list[Tensor]:
    """Every tensor that a result can be asked for."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        return [value]
    if id(value) in seen or isinstance(value, (vw.LanguageModel, nn.Module, str, int, float)):
        return []
    seen.add(id(value))
    if isinstance(value, dict):
        return [t for item in value.values() for t in tensors_in(item, seen)]
    if isinstance(value, (list, tuple, set)):
        return [t for item in value for t in tensors_in(item, seen)]
    return tensors_in(getattr(value, "__dict__", {}), seen)


def scribble(*results: Any) -> int:
    """Write into every tensor of some results."""
    tensors = [tensor for result in results for tensor in tensors_in(result)]
    for tensor in tensors:
        with torch.no_grad():
            tensor.fill_(7)
    return len(tensors)


@pytest.mark.parametrize("kept", [True, False])
def test_results_may_be_written_into(model: vw.LanguageModel, kept: bool) -> None:
    cache = vw.ActivationCache() if kept else None
    sites = [model.sites.site(1, name) for name in ("block_output", "value_output", "mlp_input")]
    plain = vw.Experiment(base=SPAIN)
    state = model.model.state_dict()
    state = {name: tensor.clone() for name, tensor in state.items()}

    def everything() -> dict[str, Any]:
        return {
            "plain": vw.run(model, plain, cache=cache),
            "run": vw.run(model, EXPERIMENT, cache=cache),
            "last": vw.run(model, EXPERIMENT, cache=cache, logits_to_keep=1),
            "map": vw.sweep(model, SPAIN, ITALY, cache=cache),
            "same": vw.sweep(model, SPAIN, SPAIN, cache=cache),
            "other map": vw.sweep(model, SPAIN, ITALY, "value_output", cache=cache),
            "states": record_states(model, SPAIN, sites),
            "compare": vw.compare(*(vw.run(model, e, cache=cache) for e in (plain, EXPERIMENT))),
        }

    first = everything()
    before = [tensor.clone() for tensor in tensors_in(first)]
    assert scribble(first) == len(before) > 30
    after = tensors_in(everything())
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_results_of_one_run_share_nothing(model: vw.LanguageModel) -> None:
    """Writing into one tensor of a result changes no other."""
    sites = [model.sites.site(1, "value_output"), model.sites.site(1, "head_value_output", 0)]
    results: list[Any] = [record_states(model, SPAIN, sites)]
    results += [vw.run(model, EXPERIMENT), vw.sweep(model, SPAIN, SPAIN)]
    results.append(vw.compare(results[1], vw.run(model, vw.Experiment(base=SPAIN))))
    for result in results:
        tensors = tensors_in(result)
        for n, tensor in enumerate(tensors):
            others = [other.clone() for m, other in enumerate(tensors) if m != n]
            with torch.no_grad():
                tensor.fill_(float(n))
            now = [other for m, other in enumerate(tensors) if m != n]
            assert all(torch.equal(a, b) for a, b in zip(others, now, strict=True)), n


def test_an_operator_may_keep_and_write_what_it_is_given(
    model: vw.LanguageModel, restored_registry: None
) -> None:
    given: list[Tensor] = []

    class Keeping(Intervention):
        name = "keeping"

        def forward(self, base: Tensor, source: Tensor, subspace: Any = None) -> Tensor:
            new = source.clone()
            given.extend((base, source))
            base.fill_(7)
            source.fill_(7)
            return new

    vw.register(Keeping.name, Keeping)
    swap = vw.Experiment(base=SPAIN, sources=ITALY, slots=[vw.Slot(layer=1, position=3)])
    keeping = swap.replace(slots=(vw.Slot(layer=1, position=3, intervention="keeping"),))
    cache = vw.ActivationCache()
    expected = vw.run(model, swap).logits
    expected_map = vw.sweep(model, SPAIN, ITALY).logits
    for _ in range(2):
        kept = vw.run(model, keeping, cache=cache)
        assert torch.equal(kept.logits, expected)
        assert kept.receipts.equals(vw.run(model, swap).receipts)
        found = vw.sweep(model, SPAIN, ITALY, intervention="keeping", cache=cache).logits
        assert distance(found, expected_map) <= 1e-5
        for tensor in given:
            tensor.fill_(9)
        assert torch.equal(vw.run(model, swap, cache=cache).logits, expected)
