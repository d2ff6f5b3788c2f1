"""One call form after the other, by pyvene and here, on the same random weights.

A form is written once, with the library as its first argument.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from intervenable_testing import TOLERANCE, VECTOR, WHERE, ids, on
from torch import Tensor, nn

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

Form = Callable[[Any, Any, Any, Any], Tensor]
FORMS: dict[str, Form] = {}


def form(function: Form) -> Form:
    FORMS[function.__name__] = function
    return function


def logits(built: Any, *call: Any, **named: Any) -> Tensor:
    return built(*call, **named)[1].logits


def ready(kind: str, **options: Any) -> Form:
    """A ready instance in the representation, built with keywords."""

    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        representation = {
            "layer": 1,
            "component": "block_output",
            "intervention": getattr(pv, kind)(**on_device(options, model.device)),
        }
        built = pv.IntervenableModel(representation_of(pv, representation), model=model)
        sources = [None] if built_without_source(kind, options) else [source]
        where = {"base": 4} if sources == [None] else dict(WHERE)
        return logits(built, base, sources, where)

    return run


def on_device(options: dict[str, Any], device: torch.device) -> dict[str, Any]:
    vector = options.get("source_representation")
    return options if vector is None else {**options, "source_representation": vector.to(device)}


def built_without_source(kind: str, options: dict[str, Any]) -> bool:
    return kind == "ZeroIntervention" or "source_representation" in options


def representation_of(pv: Any, fields: dict[str, Any]) -> Any:
    return pv.IntervenableConfig([pv.RepresentationConfig(**fields)])


for kind in ("Vanilla", "Addition", "Subtraction", "Zero"):
    name = f"{kind}Intervention"
    FORMS[f"{kind}()"] = ready(name)
    FORMS[f"{kind}(keep_last_dim=True)"] = ready(name, keep_last_dim=True)
    FORMS[f"{kind}(embed_dim=24)"] = ready(name, embed_dim=24)
    FORMS[f"{kind}(embed_dim=tensor, use_fast)"] = ready(
        name, embed_dim=torch.tensor(24), use_fast=False
    )
for kind in ("Vanilla", "Addition", "Subtraction"):
    FORMS[f"{kind}(source_representation=...)"] = ready(
        f"{kind}Intervention", source_representation=VECTOR
    )


def first_dims(kind: str, count: int) -> Form:
    """The first coordinates only."""

    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        intervention = getattr(pv, kind)(embed_dim=24)
        intervention.set_interchange_dim(count)
        config = representation_of(pv, {"layer": 1, "intervention": intervention})
        built = pv.IntervenableModel(config, model=model)
        return logits(built, base, [source], dict(WHERE))

    return run


for count in (1, 7, 24):
    for kind in ("Vanilla", "Addition", "Subtraction"):
        FORMS[f"{kind}.set_interchange_dim({count})"] = first_dims(f"{kind}Intervention", count)


def by_path(path: str, intervention: str) -> Form:
    """A module's path as the component, with a type or a function."""

    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        def doubled(b: Tensor, s: Any) -> Tensor:
            return b * 2

        fields: dict[str, Any] = {"component": path}
        if intervention == "function":
            fields["intervention"] = doubled
        else:
            fields["intervention_type"] = getattr(pv, intervention)
        built = pv.IntervenableModel(representation_of(pv, fields), model=model)
        assert built.sorted_keys[0] == f"comp_{path.replace('.', '_')}_unit_pos_nunit_1#0"
        return logits(built, base, [source], dict(WHERE))

    return run


for path in ("transformer.h[0].mlp.output", "transformer.h[1].output", "transformer.h[2].input"):
    for kind in ("VanillaIntervention", "AdditionIntervention", "function"):
        FORMS[f"{path}, {kind}"] = by_path(path, kind)
MODULES = (
    *("transformer.h.1.attn.output", "transformer.h[1].attn.c_proj.input"),
    *("transformer.h[1].attn.c_proj.output", "transformer.h[1].attn.c_attn.input"),
    *("transformer.h[1].attn.c_attn.output", "transformer.h[0].mlp.c_fc.output"),
    *("transformer.h[0].mlp.c_proj.input", "transformer.h[2].mlp.dropout.output"),
    *("transformer.h[0].ln_1.output", "transformer.ln_f.output"),
    *("transformer.wte.output", "transformer.drop.output", "lm_head.input", "lm_head.output"),
)
for path in MODULES:
    FORMS[path] = by_path(path, "VanillaIntervention")
    FORMS[f"{path}, zero"] = by_path(path, "ZeroIntervention")


@form
def partition_of_a_ready_instance(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    intervention = pv.VanillaIntervention(embed_dim=24, subspace_partition=[[0, 8], [8, 24]])
    built = pv.IntervenableModel(
        representation_of(pv, {"layer": 0, "intervention": intervention}), model=model
    )
    return logits(built, base, [source], dict(WHERE), subspaces=1)


@form
def added_to_a_config(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    config = pv.IntervenableConfig([{"layer": 0, "intervention_type": pv.VanillaIntervention}])
    config.add_intervention({"layer": 2, "intervention_type": pv.AdditionIntervention})
    config.add_intervention([{"layer": 1, "intervention_type": pv.SubtractionIntervention}])
    built = pv.IntervenableModel(config, model=model)
    return logits(built, base, [source] * 3, dict(WHERE))


@form
def inside_another_module(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = pv.IntervenableConfig([{"layer": 1}], pv.VanillaIntervention)
            self.inner = pv.IntervenableModel(config, model)

        def forward(self, *call: Any) -> Any:
            return self.inner(*call)

    outer = Outer().eval()
    assert any(module is model for module in outer.modules())
    return logits(outer, base, [source], dict(WHERE))


@form
def a_class_of_my_own(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    class Mine(pv.TrainableIntervention, pv.DistributedRepresentationIntervention):
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            assert self.keep_last_dim is False and int(self.embed_dim) == 24
            self.share = nn.Parameter(torch.tensor(0.25))

        def forward(self, base: Tensor, source: Tensor, subspaces: Any = None, **_: Any) -> Tensor:
            return base + self.share * (source - base)

    built = pv.IntervenableModel(pv.IntervenableConfig([{"layer": 1}], Mine), model)
    assert built.count_parameters() == 1
    return logits(built, base, [source], dict(WHERE))


@form
def a_dict_of_subspaces(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    class Mine(pv.Intervention):
        def forward(self, base: Tensor, source: Tensor, subspaces: Any = None, **_: Any) -> Tensor:
            new = base.clone()
            new[..., subspaces["dims"]] = source[..., subspaces["dims"]] * subspaces["times"]
            return new

    config = pv.IntervenableConfig([{"layer": 0}, {"layer": 1}], [Mine, pv.VanillaIntervention])
    built = pv.IntervenableModel(config, model)
    given: Any = [{"dims": [0, 5], "times": 2.0}, None]
    if pv is face:
        return logits(built, base, [source] * 2, dict(WHERE), subspaces=given)
    rows = base["input_ids"].shape[0]
    every = [[*range(24)]] * rows  # None is no entry for it
    return logits(built, base, [source] * 2, dict(WHERE), subspaces=[given[0], every])


@form
def a_function_that_returns_nothing(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    """It looks; another slot changes something."""
    seen: list[Tensor] = []

    def look(b: Tensor, s: Any) -> None:
        seen.append(b)

    config = pv.IntervenableConfig(
        [
            {"layer": 0, "intervention": look},
            {"layer": 1, "intervention": lambda b, s: b * 2},
        ]
    )
    found = logits(pv.IntervenableModel(config, model), base, [source] * 2, dict(WHERE))
    assert seen[0].shape[-1] == 24
    return found


@form
def an_intervention_output(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    class Mine(pv.SourcelessIntervention):
        def forward(self, base: Tensor, source: Any = None, subspaces: Any = None, **_: Any) -> Any:
            return pv.InterventionOutput(output=base * 2, latent=None)

    built = pv.IntervenableModel(pv.IntervenableConfig([{"layer": 1}], Mine), model)
    return logits(built, base, [None], {"base": 4})


@form
def principal_components(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)

    class Fitted:
        components_ = torch.linalg.qr(torch.randn(24, 24, generator=generator)).Q.numpy()

    intervention = pv.PCARotatedSpaceIntervention(
        pca=Fitted, pca_mean=0.5, pca_std=2.0, embed_dim=torch.tensor(24)
    )
    intervention.set_interchange_dim(5)
    intervention.to(model.device)
    config = representation_of(pv, {"layer": 1, "intervention": intervention})
    return logits(pv.IntervenableModel(config, model), base, [source], dict(WHERE))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", FORMS)
def test_a_form(name: str, batch: int, lm: Any) -> None:
    base, source = on(lm, ids(batch)), on(lm, ids(batch, seed=1))
    plain = lm(**base).logits
    with torch.no_grad():
        expected = FORMS[name](importlib.import_module("pyvene"), copy.deepcopy(lm), base, source)
        found = FORMS[name](face, lm, base, source)
    assert (found - expected).abs().max() <= TOLERANCE
    assert not torch.equal(found, plain)


def test_a_path_below_a_model_without_a_head(bare: Any, tmp_path: Any) -> None:
    one = face.IntervenableModel([{"component": "h[1].mlp.output"}], bare)
    other = face.IntervenableModel([{"layer": 1, "component": "mlp_output"}], bare)
    call = ids(1), [ids(1, seed=1)], dict(WHERE)
    expected = other(*call)[1].last_hidden_state
    assert torch.equal(one(*call)[1].last_hidden_state, expected)
    one.save(tmp_path / "a")
    again = face.IntervenableModel.load(tmp_path / "a", bare)
    assert torch.equal(again(*call)[1].last_hidden_state, expected)
