"""An intervenable model is a module: devices, gradients, temperatures, counts, folders."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from intervenable_testing import TOLERANCE, VECTOR, WHERE, built, ids, on
from torch import nn

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]


def test_it_is_a_module(lm: Any) -> None:
    flags = {name: weight.requires_grad for name, weight in lm.named_parameters()}
    one = built(face, lm)
    assert issubclass(type(one), nn.Module) and one.get_device() == lm.device
    assert {name for name, _ in one.named_parameters()} == {
        f"{one.sorted_keys[0]}.{name}"
        for name in ("boundary", "rotate_layer.parametrizations.weight.original")
    }
    assert list(map(id, one.parameters())) == list(map(id, one.get_trainable_parameters()))
    assert one.count_parameters() == 24 * 24 + 1
    everything = one.count_parameters(include_model=True)
    assert everything == one.count_parameters() + face.count_parameters(lm)
    assert any(name.startswith("model.") for name in one.state_dict())
    assert any(name.startswith("interventions.") for name in one.state_dict())
    assert one.train() is one and lm.training
    assert one.eval() is one and not lm.training
    one.disable_model_gradients()
    one.disable_intervention_gradients()
    assert {name: weight.requires_grad for name, weight in lm.named_parameters()} == flags
    with pytest.raises(ValueError, match="no state is kept between calls"):
        one.get_cached_activations()


def test_gradients_are_dropped(lm: Any) -> None:
    one = built(face, lm)
    lm.lm_head.weight.grad = torch.ones_like(lm.lm_head.weight)
    for drop in (one.zero_grad, one.set_zero_grad):
        one(ids(1), [ids(1, seed=1)], dict(WHERE))[1].logits.sum().backward()
        assert all(p.grad is not None for p in one.parameters())
        drop()
        assert all(p.grad is None for p in one.parameters())
    assert lm.lm_head.weight.grad is not None  # the user's own
    lm.lm_head.weight.grad = None


def test_a_device_is_set(lm: Any, device: torch.device) -> None:
    model = copy.deepcopy(lm).cpu()
    one = built(face, model)
    one.set_device("cpu", set_model=False)
    one.set_device(device)
    assert one.get_device().type == model.device.type == device.type
    assert {p.device.type for p in one.parameters()} == {device.type}
    one(ids(1), [ids(1, seed=1)], dict(WHERE))


def test_soft_masks_have_pyvenes_methods(lm: Any) -> None:
    import pyvene

    for kind in ("BoundlessRotatedSpaceIntervention", "SigmoidMaskIntervention"):
        theirs, ours = built(pyvene, copy.deepcopy(lm), kind), built(face, lm, kind)
        for one in (theirs, ours):
            one.set_temperature(torch.tensor(3.5))
            (module,) = one.interventions.values()
            assert module.get_temperature().item() == 3.5
            module.set_temperature(torch.tensor(7.0))
            assert module.temperature.item() == 7.0
    (mine,) = built(face, lm).interventions.values()
    mine.set_intervention_boundaries(0.25)
    assert mine.get_boundary_parameters() is mine.intervention_boundaries
    assert mine.intervention_boundaries.item() == 0.25
    assert mine.intervention_population.tolist() == list(range(24))
    assert isinstance(mine, face.TrainableIntervention) and str(mine).endswith("Intervention()")


def test_saved_under_either_name(lm: Any, tmp_path: Any) -> None:
    one = built(face, lm, "LowRankRotatedSpaceIntervention")
    call = ids(1), [ids(1, seed=1)], dict(WHERE)
    expected = one(*call)[1].logits
    one.save(save_directory=tmp_path / "a")
    again = face.IntervenableModel.load(load_directory=tmp_path / "a", model=lm)
    assert torch.equal(again(*call)[1].logits, expected)
    assert torch.equal(face.IntervenableModel.load(tmp_path / "a", lm)(*call)[1].logits, expected)
    for bad in (lambda: one.save(), lambda: one.save(tmp_path, save_directory=tmp_path)):
        with pytest.raises(ValueError, match="expected one folder, as folder or save_directory"):
            bad()
    with pytest.raises(ValueError, match="load needs model"):
        face.IntervenableModel.load(tmp_path / "a")


def test_a_ready_instance_is_saved_with_what_it_brings(lm: Any, tmp_path: Any) -> None:
    ready = face.VanillaIntervention(source_representation=VECTOR, subspace_partition=[[0, 4]])
    one = face.IntervenableModel([{"layer": 1, "intervention": ready}], lm)
    call: dict[str, Any] = {"unit_locations": {"base": 4}, "subspaces": 0}
    expected = one(ids(1), **call)[1].logits
    one.save(tmp_path / "a")
    assert torch.equal(
        face.IntervenableModel.load(tmp_path / "a", lm)(ids(1), **call)[1].logits, expected
    )
    ready.set_interchange_dim(3)
    with pytest.raises(ValueError, match="its interchange_dim is not saved"):
        one.save(tmp_path / "b")


def test_more_keywords_reach_a_class_of_my_own(lm: Any) -> None:
    """As in pyvene; what a class has no parameter for, it does not get."""
    import pyvene

    base, found = on(lm, ids(2)), []
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):

        class Times(pv.ConstantSourceIntervention):
            def forward(
                self, base: Any, source: Any = None, subspaces: Any = None, **more: Any
            ) -> Any:
                return base * more["factor"]

        built = pv.IntervenableModel(pv.IntervenableConfig([{"layer": 1}], Times), model)
        more = {"intervention_additional_kwargs": {"factor": -2.0, "other": 3}}
        with torch.no_grad():
            found.append(built(base, [None], {"base": 4}, **more)[1].logits)
    assert (found[0] - found[1]).abs().max() <= TOLERANCE
    assert not torch.equal(found[1], lm(**base).logits)


def test_a_call_of_the_base_alone_is_the_plain_run(lm: Any) -> None:
    """A slot without its source changes nothing, as in pyvene, and a warning says so."""
    base = on(lm, ids(2))
    one = face.IntervenableModel([{"layer": 1}, {"layer": 2, "component": "mlp_output"}], lm)
    with pytest.warns(UserWarning, match=r"slot 0 .* slot 1 .*reads a source") as said:
        original, found = one(base, output_original_output=True)
    assert said[0].filename == __file__
    with torch.no_grad():
        plain = lm(**base, use_cache=False).logits
    assert torch.equal(found.logits, plain) and torch.equal(original.logits, plain)
    with pytest.raises(ValueError, match="reads a source, but the call has none"):
        one(base, unit_locations={"base": 3})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "component", ["transformer.h[1].attn.c_proj.output", "mlp_output", "block_output", "mlp_input"]
)
def test_an_adaptor_gets_what_the_module_gets(component: str, batch: int, lm: Any) -> None:
    """A low-rank adaptation beside a module, as pyvene runs it."""
    import pyvene

    generator = torch.Generator().manual_seed(0)
    down, up = (torch.randn(24, 24, generator=generator).to(lm.device) for _ in range(2))
    base, found = on(lm, ids(batch)), []
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):

        class Adapt(pv.ConstantSourceIntervention):
            def forward(self, base: Any, *_: Any, **more: Any) -> Any:
                return base + (more["args"] @ down @ up).reshape(base.shape) / 50

        fields = {"layer": 1, "component": component}
        config = pv.IntervenableConfig([{**fields, "intervention_type": Adapt}])
        built = pv.IntervenableModel(config, model, as_adaptor=True)
        with torch.no_grad():
            found.append(built(base, None, {"base": 4})[1].logits)
    assert (found[0] - found[1]).abs().max() <= TOLERANCE
    assert not torch.equal(found[1], lm(**base).logits)


def test_an_adaptor_is_no_part_of_a_text(lm: Any) -> None:
    one = face.IntervenableModel([{"intervention": lambda b, s: b}], lm, as_adaptor=True)
    with pytest.raises(ValueError, match="not available while a text is generated"):
        one.generate(ids(1), max_new_tokens=1)
