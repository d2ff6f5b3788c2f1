"""Call forms of pyvene's that both libraries run: each is written once, with the library first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from intervenable_testing import VECTOR, WHERE
from torch import Tensor, nn

from vene_widgets import intervenable as face

READY = "a ready instance with its keywords and methods"
PATHS = "a component by its module's path"
CONFIGS = "a config in any of its forms"
OWN = "a class or function of your own"
COMPONENTS = "a component by its name"
PLACES = "locations"
GIVEN = "source representations"
SUBSPACES = "subspaces"
CALLS = "arguments of a call"

Form = Callable[[Any, Any, Any, Any], Tensor]
FORMS: dict[str, dict[str, Form]] = {}
"""Group -> name -> form."""


def group(name: str) -> dict[str, Form]:
    """The forms of a group, to add one to."""
    return FORMS.setdefault(name, {})


def form(name: str) -> Callable[[Form], Form]:
    """Add a function to a group, under its own name."""

    def add(function: Form) -> Form:
        group(name)[function.__name__] = function
        return function

    return add


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
    group(READY)[f"{kind}()"] = ready(name)
    group(READY)[f"{kind}(keep_last_dim=True)"] = ready(name, keep_last_dim=True)
    group(READY)[f"{kind}(embed_dim=24)"] = ready(name, embed_dim=24)
    group(READY)[f"{kind}(embed_dim=tensor, use_fast)"] = ready(
        name, embed_dim=torch.tensor(24), use_fast=False
    )
for kind in ("Vanilla", "Addition", "Subtraction"):
    group(READY)[f"{kind}(source_representation=...)"] = ready(
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
        group(READY)[f"{kind}.set_interchange_dim({count})"] = first_dims(
            f"{kind}Intervention", count
        )


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
        group(PATHS)[f"{path}, {kind}"] = by_path(path, kind)
MODULES = (
    *("transformer.h.1.attn.output", "transformer.h[1].attn.c_proj.input"),
    *("transformer.h[1].attn.c_proj.output", "transformer.h[1].attn.c_attn.input"),
    *("transformer.h[1].attn.c_attn.output", "transformer.h[0].mlp.c_fc.output"),
    *("transformer.h[0].mlp.c_proj.input", "transformer.h[2].mlp.dropout.output"),
    *("transformer.h[0].ln_1.output", "transformer.ln_f.output"),
    *(
        "transformer.output",
        "transformer.wte.output",
        "transformer.drop.output",
        "lm_head.input",
        "lm_head.output",
    ),
)
for path in MODULES:
    group(PATHS)[path] = by_path(path, "VanillaIntervention")
    group(PATHS)[f"{path}, zero"] = by_path(path, "ZeroIntervention")


@form(READY)
def partition_of_a_ready_instance(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    intervention = pv.VanillaIntervention(embed_dim=24, subspace_partition=[[0, 8], [8, 24]])
    built = pv.IntervenableModel(
        representation_of(pv, {"layer": 0, "intervention": intervention}), model=model
    )
    return logits(built, base, [source], dict(WHERE), subspaces=1)


@form(CONFIGS)
def added_to_a_config(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    config = pv.IntervenableConfig([{"layer": 0, "intervention_type": pv.VanillaIntervention}])
    config.add_intervention({"layer": 2, "intervention_type": pv.AdditionIntervention})
    config.add_intervention([{"layer": 1, "intervention_type": pv.SubtractionIntervention}])
    built = pv.IntervenableModel(config, model=model)
    return logits(built, base, [source] * 3, dict(WHERE))


@form(CONFIGS)
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


@form(OWN)
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


@form(OWN)
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


@form(OWN)
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


@form(OWN)
def an_intervention_output(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    class Mine(pv.SourcelessIntervention):
        def forward(self, base: Tensor, source: Any = None, subspaces: Any = None, **_: Any) -> Any:
            return pv.InterventionOutput(output=base * 2, latent=None)

    built = pv.IntervenableModel(pv.IntervenableConfig([{"layer": 1}], Mine), model)
    return logits(built, base, [None], {"base": 4})


@form(READY)
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


def of_one(fields: dict[str, Any], where: Any = None, **call: Any) -> Form:
    """One slot, by the fields of its representation; an interchange unless they say another."""

    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        rows = base["input_ids"].shape[0]
        config = pv.IntervenableConfig([pv.RepresentationConfig(**fields)], pv.VanillaIntervention)
        places = where(rows) if callable(where) else dict(WHERE) if where is None else where
        return logits(pv.IntervenableModel(config, model), base, [source], places, **call)

    return run


WHOLE = (
    *("block_input", "block_output", "mlp_input", "mlp_activation", "mlp_output"),
    *("attention_input", "attention_output", "attention_value_output"),
    *("query_output", "key_output", "value_output"),
)
for component in WHOLE:
    group(COMPONENTS)[component] = of_one({"layer": 1, "component": component})
for component in ("attention_value_output", "query_output", "key_output", "value_output"):
    of_heads: dict[str, Any] = {"layer": 1, "component": f"head_{component}"}

    def heads_and_positions(rows: int) -> Any:
        side = [[[[0, 2]] * rows, [[3]] * rows]]
        return {"sources->base": (side, side)}

    def heads(rows: int) -> Any:
        return {"sources->base": ([[[1, 2]] * rows], [[[1, 2]] * rows])}

    by_head = of_one({**of_heads, "unit": "h.pos"}, heads_and_positions)
    group(COMPONENTS)[f"head_{component}, unit h.pos"] = by_head
    group(COMPONENTS)[f"head_{component}, unit h"] = of_one({**of_heads, "unit": "h"}, heads)

LAYER: dict[str, Any] = {"layer": 1}
group(PLACES)["an int"] = of_one(LAYER, {"sources->base": 3})
group(PLACES)["a pair"] = of_one(LAYER, {"sources->base": (2, 4)})
group(PLACES)["a list"] = of_one(LAYER, {"sources->base": [2, 4, 5]})
group(PLACES)["a pair of nested lists"] = of_one(
    LAYER, lambda rows: {"sources->base": ([[[2]] * rows], [[[4]] * rows])}
)
group(PLACES)["several positions"] = of_one(
    {"layer": 1, "max_number_of_units": 2},
    lambda rows: {"sources->base": ([[[1, 2]] * rows], [[[4, 3]] * rows])},
)
group(PLACES)["other ones in each example"] = of_one(
    LAYER,
    lambda rows: {
        "sources->base": ([[[n] for n in range(rows)]], [[[n + 2] for n in range(rows)]])
    },
)
group(PLACES)["none at all"] = of_one(LAYER, lambda _rows: None)
group(PLACES)["unit t"] = of_one({"layer": 1, "unit": "t"}, lambda _rows: None)


def of_zero(where: Any) -> Form:
    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        config = pv.IntervenableConfig([pv.RepresentationConfig(layer=1)], pv.ZeroIntervention)
        built = pv.IntervenableModel(config, model)
        return logits(built, base, None, where(base["input_ids"].shape[0]))

    return run


group(PLACES)["base, an int"] = of_zero(lambda _rows: {"base": 3})
group(PLACES)["base, a list"] = of_zero(lambda _rows: {"base": [1, 2, 4]})
group(PLACES)["base, nested lists"] = of_zero(lambda rows: {"base": [[[1, 4]] * rows]})
group(PLACES)["base, everywhere"] = of_zero(lambda _rows: None)


def of_config(make: Callable[[Any], Any], count: int = 1) -> Form:
    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        built = pv.IntervenableModel(make(pv), model=model)
        return logits(built, base, [source] * count, dict(WHERE))

    return run


VALUES: dict[str, Any] = {"layer": 1, "component": "mlp_output"}
group(CONFIGS).update(
    {
        "a dict": of_config(lambda pv: {**VALUES, "intervention_type": pv.VanillaIntervention}),
        "a list of dicts": of_config(
            lambda pv: [
                {"layer": layer, "intervention_type": pv.AdditionIntervention} for layer in (0, 2)
            ],
            2,
        ),
        "fields in order": of_config(
            lambda pv: pv.IntervenableConfig(
                [pv.RepresentationConfig(1, "block_output", "pos", 1)], pv.VanillaIntervention
            )
        ),
        "lists of fields": of_config(
            lambda pv: pv.IntervenableConfig([[1, "mlp_input", "pos", 1]], pv.VanillaIntervention)
        ),
        "one representation": of_config(
            lambda pv: pv.IntervenableConfig(
                pv.RepresentationConfig(1, "mlp_input"), pv.VanillaIntervention
            )
        ),
        "a type for each": of_config(
            lambda pv: pv.IntervenableConfig(
                [{"layer": 0}, {"layer": 1}], [pv.VanillaIntervention, pv.AdditionIntervention]
            ),
            2,
        ),
        "types in the representations": of_config(
            lambda pv: pv.IntervenableConfig(
                [
                    {"layer": 0, "intervention_type": pv.VanillaIntervention},
                    {"layer": 1, "intervention_type": pv.SubtractionIntervention},
                ]
            ),
            2,
        ),
        "model_type": of_config(
            lambda pv: pv.IntervenableConfig(
                model_type=object,
                representations=[VALUES],
                intervention_types=pv.VanillaIntervention,
            )
        ),
        "a group": of_config(
            lambda pv: pv.IntervenableConfig(
                [{"layer": 0, "group_key": 0}, {"layer": 2, "group_key": 0}],
                pv.VanillaIntervention,
            )
        ),
        "a function": of_config(lambda _pv: [{"layer": 1, "intervention": lambda b, s: b + s / 2}]),
    }
)


def of_constants(make: Callable[[Any, Tensor], Any]) -> Form:
    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        config = pv.IntervenableConfig([{"layer": 0}, {"layer": 1}], pv.AdditionIntervention)
        built = pv.IntervenableModel(config, model)
        given = make(built, VECTOR.to(model.device))
        where: Any = {"sources->base": (None, 4)} if pv is not face else {"base": 4}
        return logits(built, base, None, where, source_representations=given)

    return run


group(GIVEN)["a tensor"] = of_constants(lambda _built, vector: vector)
group(GIVEN)["a list"] = of_constants(lambda _built, vector: [vector, 2 * vector])
group(GIVEN)["a dict by key"] = of_constants(
    lambda built, vector: {key: n * vector for n, key in enumerate(built.sorted_keys, 1)}
)

PARTS: dict[str, Any] = {"layer": 1, "subspace_partition": [[0, 8], [8, 20], [20, 24]]}
DIMS: dict[str, Any] = {"layer": 1, "subspace_partition": [[0, 3, 5], [1, 2, 4, 23]]}
group(SUBSPACES)["an int"] = of_one(PARTS, subspaces=1)
group(SUBSPACES)["a list"] = of_one(PARTS, subspaces=[0, 2])
group(SUBSPACES)["single dims"] = of_one(DIMS, subspaces=[1])


@form(SUBSPACES)
def nested_lists(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    rows = base["input_ids"].shape[0]
    run = of_one(PARTS, subspaces=[[[0, 1]] * rows])
    return run(pv, model, base, source)


@form(SUBSPACES)
def dims_without_a_partition(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    rows = base["input_ids"].shape[0]
    run = of_one(LAYER, subspaces=[[[0, 7, 23]] * rows])
    return run(pv, model, base, source)


def called(call: Callable[[Any, Any, Any], Tensor]) -> Form:
    def run(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
        config = pv.IntervenableConfig([{"layer": 1}], pv.VanillaIntervention)
        return call(pv.IntervenableModel(config, model), base, source)

    return run


group(CALLS).update(
    {
        "by name": called(
            lambda one, base, source: (
                one(base=base, sources=[source], unit_locations=dict(WHERE))[1].logits
            )
        ),
        "one source, not in a list": called(
            lambda one, base, source: logits(one, base, source, dict(WHERE))
        ),
        "return_dict": called(
            lambda one, base, source: (
                one(base, [source], dict(WHERE), return_dict=True).intervened_outputs.logits
            )
        ),
        "output_original_output": called(
            lambda one, base, source: _difference(
                *one(base, [source], dict(WHERE), output_original_output=True)
            )
        ),
        "labels": called(
            lambda one, base, source: one(base, [source], dict(WHERE), labels=base["input_ids"])[
                1
            ].loss.reshape(1, 1, 1)
        ),
        "use_cache": called(
            lambda one, base, source: logits(one, base, [source], dict(WHERE), use_cache=True)
        ),
    }
)


def _difference(original: Any, changed: Any) -> Tensor:
    return changed.logits - original.logits


@form(CALLS)
def serial(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    config = pv.IntervenableConfig(
        [{"layer": 0}, {"layer": 1}], pv.VanillaIntervention, mode="serial"
    )
    where = {"source_0->source_1": 3, "source_1->base": (2, 4)}
    built = pv.IntervenableModel(config, model)
    flipped = {name: tensor.flip(-1) for name, tensor in source.items()}
    return logits(built, base, [source, flipped], where)


@form(CALLS)
def several_sources(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    config = pv.IntervenableConfig([{"layer": 0}, {"layer": 2}], pv.VanillaIntervention)
    flipped = {name: tensor.flip(-1) for name, tensor in source.items()}
    rows = base["input_ids"].shape[0]
    where = {"sources->base": ([[[2]] * rows, [[3]] * rows], [[[4]] * rows, [[5]] * rows])}
    return logits(pv.IntervenableModel(config, model), base, [source, flipped], where)


@form(CALLS)
def a_skipped_slot(pv: Any, model: Any, base: Any, source: Any) -> Tensor:
    config = pv.IntervenableConfig([{"layer": 0}, {"layer": 2}], pv.VanillaIntervention)
    rows = base["input_ids"].shape[0]
    where = {"sources->base": ([None, [[3]] * rows], [None, [[5]] * rows])}
    return logits(pv.IntervenableModel(config, model), base, [None, source], where)
