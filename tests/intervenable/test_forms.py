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
from intervenable_testing import TOLERANCE, ids, on, slots
from torch import Tensor, nn

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

Form = Callable[[Any, Any, Any, Any], Tensor]
FORMS: dict[str, Form] = {}
WHERE: dict[str, Any] = {"sources->base": 4}


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


VECTOR = torch.linspace(-1, 1, 24)
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
for path in ("transformer.h.1.attn.output", "transformer.h[1].attn.c_proj.input"):
    FORMS[path] = by_path(path, "VanillaIntervention")


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


# ---- the model as a module -----------------------------------------------------------------------


def built(pv: Any, model: Any, kind: str = "BoundlessRotatedSpaceIntervention") -> Any:
    fields = {"layer": 1, "low_rank_dimension": 3}
    return pv.IntervenableModel(pv.IntervenableConfig([fields], getattr(pv, kind)), model)


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
    with pytest.raises(ValueError, match=r"weights constant.*get_trainable_parameters"):
        one.enable_model_gradients()
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


# ---- names and keywords --------------------------------------------------------------------------


def test_every_name_of_pyvene_is_there_or_says_so() -> None:
    import types

    import pyvene

    names = [
        name
        for name, value in vars(pyvene).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    ]
    assert len(names) > 60
    missing = [name for name in names if not hasattr(face, name) or name not in face.__all__]
    assert missing == ["create_directory"]  # Path(...).mkdir()


@pytest.mark.parametrize("name", sorted(face.unavailable.REASONS))
def test_a_missing_name_says_so_where_it_is_used(name: str) -> None:
    kind: Any = getattr(face, name)
    words = f"{name} of pyvene is not available here: "
    uses: list[Callable[[], object]] = [
        lambda: kind(),
        lambda: kind(1, embed_dim=2),
        lambda: kind.from_pretrained,
        lambda: type("Mine", (kind,), {}),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=words) as error:
            use()
        assert str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda _: face.VanillaIntervention(embed_dims=3), r"'embed_dims' is not known.*embed_dim"),
        (lambda _: face.RotatedSpaceIntervention(), "needs embed_dim, the width of the site"),
        (lambda _: face.NoiseIntervention(scale=3), "'scale' is not known.*noise_level"),
        (lambda lm: face.IntervenableModel([{}], lm, fast=1), "'fast' is not known.*use_fast"),
        (lambda lm: face.IntervenableModel([{}], lm, as_adaptor=True), "as_adaptor=True"),
        (
            lambda lm: face.IntervenableModel([{"component": "transformer.h[0].mpl.output"}], lm),
            r"slot 0: no component is at 'transformer.h\[0\].mpl.output'. Did you mean "
            r"'transformer.h.0.mlp.output'\? In layer 0: ",
        ),
        (
            lambda lm: face.IntervenableModel([{}], lm)(
                ids(1), [ids(1)], dict(WHERE), subspaces=[{"dims": [1]}]
            ),
            "slot 0 .*a dict, which VanillaIntervention cannot read",
        ),
        (
            lambda _: face.IntervenableConfig([{}]).add_intervention({"layer": 1}),
            "needs intervention_type or intervention",
        ),
    ],
)
def test_a_wrong_keyword_is_one_sentence(use: Callable[[Any], object], words: str, lm: Any) -> None:
    with pytest.raises(ValueError, match=words) as error:
        use(lm)
    assert str(error.value).count("\n") == 0


# ---- gradients to what the caller passes ---------------------------------------------------------


def loss_of(built: Any, *call: Any, **named: Any) -> Tensor:
    return built(*call, **named)[1].logits[:, -1].log_softmax(-1)[:, 7].sum()


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_flow_to_a_source_representation(batch: int, lm: Any) -> None:
    """The gradient that finite differences give, and that pyvene gives."""
    import pyvene

    lm = copy.deepcopy(lm).double()
    base = on(lm, ids(batch))
    found: list[Tensor] = []
    for pv, model in ((pyvene, copy.deepcopy(lm)), (face, lm)):
        config = pv.IntervenableConfig([{"layer": 1}], pv.AdditionIntervention)
        built = pv.IntervenableModel(config, model)
        vector = VECTOR.double().to(model.device).requires_grad_()
        by_key = {built.sorted_keys[0]: vector}
        where: Any = {"sources->base": (None, 4)} if pv is pyvene else {"base": 4}
        (gradient,) = torch.autograd.grad(
            loss_of(built, base, None, where, source_representations=by_key), vector
        )
        found.append(gradient)
    assert found[1].abs().max() > 1e-3
    assert torch.allclose(found[0], found[1], atol=1e-10)
    assert all(weight.grad is None for weight in lm.parameters())


def test_gradients_flow_to_embeddings(lm: Any) -> None:
    """Of the base, and through a source's state; against hooks by hand."""
    lm = copy.deepcopy(lm).double()
    tables = lm.get_input_embeddings()
    base, source = (
        tables(on(lm, ids(1, seed=n))["input_ids"]).detach().requires_grad_() for n in (0, 1)
    )
    built = face.IntervenableModel(slots(1), lm)
    loss = loss_of(
        built, {"inputs_embeds": base}, [{"inputs_embeds": source}], {"sources->base": (2, 4)}
    )
    found = torch.autograd.grad(loss, (base, source))
    states: list[Tensor] = []

    def put(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        new = output.clone()
        new[:, 4] = states[0][:, 2]
        return new

    block = lm.transformer.h[1]
    handle = block.register_forward_hook(lambda *call: states.append(call[2]))
    lm(inputs_embeds=source)
    handle.remove()
    handle = block.register_forward_hook(put)
    by_hand = lm(inputs_embeds=base).logits[:, -1].log_softmax(-1)[:, 7].sum()
    handle.remove()
    expected = torch.autograd.grad(by_hand, (base, source))
    assert torch.equal(loss, by_hand) or (loss - by_hand).abs() < 1e-10
    for mine, other in zip(found, expected, strict=True):
        assert other.abs().max() > 1e-3 and torch.allclose(mine, other, atol=1e-10)


def test_a_path_below_a_model_without_a_head(bare: Any, tmp_path: Any) -> None:
    one = face.IntervenableModel([{"component": "h[1].mlp.output"}], bare)
    other = face.IntervenableModel([{"layer": 1, "component": "mlp_output"}], bare)
    call = ids(1), [ids(1, seed=1)], dict(WHERE)
    expected = other(*call)[1].last_hidden_state
    assert torch.equal(one(*call)[1].last_hidden_state, expected)
    one.save(tmp_path / "a")
    again = face.IntervenableModel.load(tmp_path / "a", bare)
    assert torch.equal(again(*call)[1].last_hidden_state, expected)


@pytest.mark.parametrize("kind", ["BoundlessRotatedSpaceIntervention", "SigmoidMaskIntervention"])
def test_a_temperature_set_before_the_backward_pass_is_the_next_passs(kind: str, lm: Any) -> None:
    """Schedules set it wherever they like: the gradient is that of the pass."""
    found: list[Tensor] = []
    for is_early in (True, False):
        one = built(face, lm, kind)
        one.set_temperature(2.0)
        loss = loss_of(one, on(lm, ids(2)), [on(lm, ids(2, seed=1))], dict(WHERE))
        if is_early:
            one.set_temperature(0.1)
        loss.backward()
        (gradient,) = [p.grad for p in one.parameters() if p.shape in ((1,), (24,))]
        found.append(gradient)
    assert torch.equal(*found) and found[0].abs().max() > 0
