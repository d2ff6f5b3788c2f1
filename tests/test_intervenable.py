"""The second face: pyvene's names and call forms, its results, and what differs on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model, LlamaModel

import vene_widgets as vw
from vene_widgets import intervenable as face
from vene_widgets.errors import RequestError
from vene_widgets.intervenable import (
    GET_LOC,
    AdditionIntervention,
    BoundlessRotatedSpaceIntervention,
    CollectIntervention,
    ConstantSourceIntervention,
    IntervenableConfig,
    IntervenableModel,
    IntervenableRepresentationConfig,
    LowRankRotatedSpaceIntervention,
    NoiseIntervention,
    PCARotatedSpaceIntervention,
    RepresentationConfig,
    RotatedSpaceIntervention,
    SigmoidMaskIntervention,
    SubtractionIntervention,
    TrainableIntervention,
    VanillaIntervention,
    ZeroIntervention,
    create_gpt2,
    create_gpt2_lm,
    embed_to_distrib,
    format_token,
    top_vals,
)
from vene_widgets.models import LanguageModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
]

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
TOLERANCE = 1e-5
LIBRARY = [
    *(VanillaIntervention, AdditionIntervention, SubtractionIntervention, ZeroIntervention),
    *(CollectIntervention, NoiseIntervention, RotatedSpaceIntervention),
    *(LowRankRotatedSpaceIntervention, BoundlessRotatedSpaceIntervention),
    *(SigmoidMaskIntervention, PCARotatedSpaceIntervention),
]


@pytest.fixture
def lm(tiny_gpt2: LanguageModel) -> Any:
    return tiny_gpt2.model


@pytest.fixture
def bare(lm: Any) -> GPT2Model:
    return lm.transformer


@pytest.fixture
def encode(tiny_tokenizer: Any) -> Callable[..., Any]:
    return lambda text: tiny_tokenizer(text, return_tensors="pt")


def ids(rows: int, tokens: int = 6, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = torch.randint(1, 250, (rows, tokens), generator=generator)
    return {"input_ids": found, "attention_mask": torch.ones_like(found)}


def on(model: Any, encoding: Any) -> dict[str, Tensor]:
    """An encoding on a model's device, for calls that nothing of ours sees."""
    return {name: tensor.to(model.device) for name, tensor in encoding.items()}


def plain(model: Any, encoding: Any) -> Any:
    """The output of a model's own call."""
    return model(**on(model, encoding))


def slots(*layers: int, kind: Any = VanillaIntervention, **fields: Any) -> IntervenableConfig:
    representations = [RepresentationConfig(layer, **fields) for layer in layers]
    return IntervenableConfig(representations, intervention_types=kind)


# ---- the first tutorial ------------------------------------------------------------------------


@pytest.fixture(params=["tiny", "capitals"])
def tutorial(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A tokenizer and a GPT-2 without its head, as the tutorial has them."""
    if request.param == "capitals":
        _, tokenizer, gpt = create_gpt2("capitals")
    else:
        tokenizer = request.getfixturevalue("tiny_tokenizer")
        gpt = copy.deepcopy(request.getfixturevalue("tiny_gpt2").model.transformer)
        with torch.no_grad():  # a norm with equal weights gives states whose sum never changes
            gpt.ln_f.weight.copy_(torch.linspace(0.5, 1.5, gpt.ln_f.weight.numel()))
    return tokenizer, gpt


def old_config(gpt: Any, layers: list[int], kind: Any, **fields: Any) -> IntervenableConfig:
    """A config in the first tutorial's own words."""
    return IntervenableConfig(
        intervenable_model_type=type(gpt),
        intervenable_representations=[
            IntervenableRepresentationConfig(layer, "block_output", "pos", 1, **fields)
            for layer in layers
        ],
        intervenable_interventions_type=kind,
    )


def test_the_tutorial_grouped_is_ungrouped(tutorial: tuple[Any, Any]):
    tokenizer, gpt = tutorial
    base = tokenizer(SPAIN, return_tensors="pt")
    source = tokenizer(ITALY, return_tensors="pt")
    where = {"sources->base": ([[[3]], [[4]]], [[[3]], [[4]]])}
    apart = IntervenableModel(old_config(gpt, [0, 2], VanillaIntervention), gpt)
    together = IntervenableModel(old_config(gpt, [0, 2], VanillaIntervention, group_key=0), gpt)
    nothing, one = apart(base, [source, tokenizer(ITALY, return_tensors="pt")], where)
    _, other = together(base, [source], where)
    assert nothing is None
    assert torch.equal(one.last_hidden_state, other.last_hidden_state)
    assert not torch.equal(one.last_hidden_state, plain(gpt, base).last_hidden_state)


def test_the_tutorial_any_slot_of_three_alive(tutorial: tuple[Any, Any]):
    tokenizer, gpt = tutorial
    base = tokenizer(SPAIN, return_tensors="pt")
    source = tokenizer(ITALY, return_tensors="pt")
    model = IntervenableModel(old_config(gpt, [0, 0, 0], VanillaIntervention), gpt)
    found = []
    for alive in range(3):
        sources, places = [None] * 3, [None] * 3
        sources[alive], places[alive] = source, [[4]]  # type: ignore[call-overload]
        found.append(model(base, sources, {"sources->base": (places, places)})[1][0])
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
    assert not torch.equal(found[0], plain(gpt, base)[0])


def test_the_tutorial_linked_subspaces(
    tutorial: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
):
    tokenizer, gpt = tutorial
    base = tokenizer(SPAIN, return_tensors="pt")
    source = tokenizer(ITALY, return_tensors="pt")
    config = old_config(
        gpt,
        [0, 0],
        LowRankRotatedSpaceIntervention,
        intervenable_low_rank_dimension=2,
        subspace_partition=[[0, 1], [1, 2]],
        intervention_link_key=0,
    )
    model = IntervenableModel(config, gpt)
    at, both = [[4]], {"sources->base": ([[[4]], [[4]]], [[[4]], [[4]]])}
    _, one = model(
        base,
        [None, source],
        {"sources->base": ([None, at], [None, at])},
        subspaces=[None, [[1]]],
    )
    _, two = model(
        base,
        [source, None],
        {"sources->base": ([at, None], [at, None])},
        subspaces=[[[1]], None],
    )
    _, three = model(base, [source, source], both, subspaces=[[[0]], [[1]]])
    _, four = model(base, [source, source], both, subspaces=[[[1]], [[0]]])
    a, b, c, d = (output.last_hidden_state for output in (one, two, three, four))
    print(
        torch.equal(a, b),
        torch.equal(b, c),
        torch.allclose(a, c, atol=1e-5),
        torch.allclose(c, d, atol=1e-5),
    )
    assert capsys.readouterr().out == "True False False True\n"
    (rotation,) = model.get_trainable_parameters()
    assert rotation.grad is None
    four[0].sum().backward()
    assert rotation.grad is not None and rotation.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in gpt.parameters())
    assert all(weight.requires_grad for weight in gpt.parameters())


def test_the_tutorials_helpers(capsys: pytest.CaptureFixture[str]):
    config, tokenizer, gpt = create_gpt2("capitals")
    _, _, lm = create_gpt2_lm("capitals")
    base = tokenizer(SPAIN, return_tensors="pt")
    assert config.n_embd == gpt.wte.weight.shape[1]
    output = plain(gpt, base)
    distribution = embed_to_distrib(gpt, output.last_hidden_state)
    expected = plain(lm, base).logits.softmax(-1)
    assert torch.allclose(distribution, expected, atol=1e-6)
    logs = embed_to_distrib(lm, output.last_hidden_state, log=True)
    assert torch.allclose(logs.exp(), distribution, atol=1e-6)
    best = top_vals(tokenizer, distribution[0, -1], n=3, return_results=True)
    assert best is not None and best[0][0] == "_Madrid"
    top_vals(tokenizer, distribution[0, -1], n=3)
    assert capsys.readouterr().out.startswith("_Madrid ")
    assert format_token(tokenizer, base["input_ids"][0, 3]) == "_Spain"
    small = GPT2Config(vocab_size=1267, n_embd=8, n_layer=1, n_head=1, n_positions=8)
    assert create_gpt2_lm("capitals", config=small)[2].config.n_embd == 8


# ---- aliases and call styles -------------------------------------------------------------------


def test_every_way_to_write_a_config_gives_the_same(bare: Any, encode: Any):
    fields = {"layer": 1, "component": "mlp_output", "unit": "pos", "max_number_of_units": 1}
    ways = [
        IntervenableConfig(representations=[RepresentationConfig(**fields)]),
        IntervenableConfig(intervenable_representations=RepresentationConfig(**fields)),
        RepresentationConfig(1, "mlp_output", "pos", 1),
        [RepresentationConfig(1, "mlp_output")],
        fields,
        [fields],
        [(1, "mlp_output", "pos", 1)],
        (1, "mlp_output", "pos", 1),
        {"representations": [fields], "intervention_types": VanillaIntervention},
        {**fields, "intervention_type": VanillaIntervention},
        {"intervenable_layer": 1, "intervenable_representation_type": "mlp_output"},
    ]
    found = []
    for way in ways:
        model = IntervenableModel(way, model=bare)
        found.append(model(encode(SPAIN), encode(ITALY), {"sources->base": 3})[1][0])
        assert "mlp_output of layer 1" in str(model) and "VanillaIntervention" in repr(model)
        assert "mlp_output" in repr(model.config)
    assert all(torch.equal(one, found[0]) for one in found)


def test_every_way_to_write_locations_gives_the_same(bare: Any):
    model = IntervenableModel(slots(0, 1, group_key="g"), bare)
    base, source = ids(2), ids(2, seed=1)
    ways = [
        3,
        (3, 3),
        [3],
        ([3], [3]),
        ([[[3], [3]], [[3], [3]]], [[[3], [3]], [[3], [3]]]),
        [[[[3], [3]], [[3], [3]]], [[[3], [3]], [[3], [3]]]],
        ([[[3]], [[3]]], [[[3]], [[3]]]),
        ([[3], [3]], [[3], [3]]),
        (None, 3),
        -3,
        np.int64(3),
        (torch.tensor(3), np.array([3])),
    ]
    found = [model(base, [source], {"sources->base": way})[1][0] for way in ways]
    assert all(torch.equal(one, found[0]) for one in found)
    pair = model(base, [source], {"sources->base": (1, 3)})[1][0]
    positions = model(base, [source], {"sources->base": [1, 3]})[1][0]
    assert not torch.equal(pair, positions) and not torch.equal(pair, found[0])


def test_base_locations_for_slots_that_read_no_source(bare: Any):
    model = IntervenableModel(slots(0, kind=ZeroIntervention), bare)
    found = [model(ids(1), unit_locations={"base": way})[1][0] for way in (3, [3], [[[3]]])]
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
    everywhere = model(ids(1))[1][0]
    assert torch.equal(everywhere, model(ids(1), unit_locations={"base": list(range(6))})[1][0])


def test_heads(bare: Any):
    config = slots(1, component="head_attention_value_output", unit="h.pos")
    model = IntervenableModel(config, bare)
    base, source = ids(2), ids(2, seed=1)
    nested = [[[[1], [1]], [[3], [3]]]]
    one = model(base, [source], {"sources->base": (nested, nested)})[1][0]
    where = GET_LOC((1, 3), batch_size=2)
    assert where == nested
    short = [[[1], [3]]]
    for way in ((where, where), where, (short, short), [where, where]):
        assert torch.equal(model(base, [source], {"sources->base": way})[1][0], one)
    mixed = [[[[1], [0, 2]], [[3], [3]]]]
    two = model(base, [source], {"sources->base": (mixed, mixed)})[1][0]
    assert torch.equal(two[0], one[0]) and not torch.equal(two[1], one[1])
    with pytest.raises(
        RequestError, match=r"slot 0 .*is invalid for unit 'h.pos': expected heads and positions"
    ):
        model(base, [source], {"sources->base": 3})


def test_output_forms(lm: Any):
    model = IntervenableModel(slots(0), lm)
    base, source = ids(1), ids(1, seed=1)
    unchanged = plain(lm, base).logits
    original, changed = model(base, source, {"sources->base": 5}, output_original_output=True)
    assert torch.equal(original.logits, unchanged) and torch.equal(changed[0], changed.logits)
    result = model(base, source, {"sources->base": 5}, return_dict=True)
    assert torch.equal(result.intervened_outputs.logits, changed.logits)
    (stats,) = result.receipts[0]
    assert stats.rows == 1 and stats.others_equal and stats.size > 0
    labelled = model(base, source, {"sources->base": 5}, labels=base["input_ids"])[1]
    assert labelled.loss.ndim == 0


# ---- the same results as pyvene ----------------------------------------------------------------


class Oracle:
    """pyvene on a copy of the same weights."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model)

    def build(self, representations: list[dict[str, Any]], kind: str, mode: str) -> Any:
        import pyvene

        config = pyvene.IntervenableConfig(
            representations=[pyvene.RepresentationConfig(**r) for r in representations],
            intervention_types=getattr(pyvene, kind),
            mode=mode,
        )
        built = pyvene.IntervenableModel(config, self.model)
        built.set_device(str(self.model.device))
        return built


VALUES = {"component": "head_value_output", "unit": "h.pos"}
CASES: dict[str, tuple[list[dict[str, Any]], str, str, Any, Any, Any]] = {
    "one slot": ([{"layer": 1}], "Vanilla", "parallel", (1,), {"sources->base": (2, 4)}, None),
    "two slots": (
        [{"layer": 0}, {"layer": 2, "component": "mlp_input"}],
        *("Vanilla", "parallel", (1, 2)),
        *({"sources->base": ([[[1, 2]], [[3]]], [[[2, 5]], [[4]]])}, None),
    ),
    "groups": (
        [{"layer": 0, "group_key": 0}, {"layer": 1, "group_key": 0}, {"layer": 2, "group_key": 1}],
        *("Vanilla", "parallel", (1, 2)),
        *({"sources->base": ([[[1]], [[3]], [[2]]], [[[2]], [[4]], [[2]]])}, None),
    ),
    "skips": (
        [{"layer": 0}, {"layer": 0}, {"layer": 2}],
        *("Vanilla", "parallel", (None, 1, None)),
        *({"sources->base": ([None, [[4]], None], [None, [[4]], None])}, None),
    ),
    "addition": ([{"layer": 1}], "Addition", "parallel", (1,), {"sources->base": (2, 4)}, None),
    "subtraction": (
        [{"layer": 1, "component": "attention_output"}],
        *("Subtraction", "parallel", (1,), {"sources->base": (2, 4)}, None),
    ),
    # Nested, because pyvene reads a flat [2, 3] as source 2 to base 3.
    "zero": ([{"layer": 1}], "Zero", "parallel", None, {"base": [[[2, 3]]]}, None),
    "dims": ([{"layer": 1}], "Vanilla", "parallel", (1,), {"sources->base": (2, 4)}, [0, 5, 7]),
    "heads": (
        [{"layer": 1, **VALUES}],
        *("Vanilla", "parallel", (1,)),
        *({"sources->base": ([[[[0, 2]], [[3]]]], [[[[1, 2]], [[4]]]])}, None),
    ),
    "serial": (
        [{"layer": 0}, {"layer": 1}],
        *("Vanilla", "serial", (1, 2)),
        {
            "source_0->source_1": ([[[2]]], [[[3]]]),
            "source_1->base": ([[[4]]], [[[4]]]),
        },
        None,
    ),
    "rotation": (
        [{"layer": 1, "low_rank_dimension": 3, "subspace_partition": [[0, 1], [1, 3]]}],
        *("LowRankRotatedSpace", "parallel", (1,), {"sources->base": (4, 4)}, 1),
    ),
    "whole rotation": (
        [{"layer": 1, "component": "mlp_output"}],
        *("RotatedSpace", "parallel", (1,), {"sources->base": (4, 4)}, [0, 1, 2]),
    ),
}


def repeated(value: Any, batch: int) -> Any:
    """Nested locations of one example for a whole batch."""
    if isinstance(value, dict):
        return {key: repeated(one, batch) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(repeated(one, batch) for one in value)
    if isinstance(value, list) and value and isinstance(value[0], list):
        inner = value[0] if not isinstance(value[0][0], int) else None
        return [repeated(one, batch) for one in value] if inner is not None else value * batch
    if isinstance(value, list):
        return [repeated(one, batch) for one in value]
    return value


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_parity(case: str, batch: int, lm: Any, record_property: Callable[[str, object], None]):
    representations, kind, mode, names, where, subspaces = CASES[case]
    base = on(lm, ids(batch))
    sources = None
    if names is not None:
        sources = [None if name is None else on(lm, ids(batch, seed=name)) for name in names]
    where = repeated(where, batch)
    theirs = Oracle(lm).build(representations, f"{kind}Intervention", mode)
    config = IntervenableConfig(
        [RepresentationConfig(**fields) for fields in representations],
        intervention_types=getattr(face, f"{kind}Intervention"),
        mode=mode,
    )
    ours = IntervenableModel(config, lm)
    if ours.get_trainable_parameters():
        copy_rotation(ours, theirs)
    with torch.no_grad():
        mine = ours(base, sources, where, subspaces=subspaces)[1].logits
        # Copies: pyvene modifies its arguments.
        other = theirs(base, sources and list(sources), copy.deepcopy(where), subspaces=subspaces)[
            1
        ].logits
    worst = (mine - other).abs().max().item()
    record_property("parity", f"{case}, batch {batch}: {worst:.3g}")
    print(f"{case}, batch {batch}: worst |Δ logit| {worst:.3g}")
    assert worst <= TOLERANCE
    assert not torch.equal(mine, plain(lm, base).logits)


PLACES = st.fixed_dictionaries(
    {
        "layer": st.integers(0, 2),
        "component": st.sampled_from(
            [
                *("block_input", "block_output", "mlp_output", "mlp_activation"),
                *("attention_output", "query_output", "value_output"),
                *("head_value_output", "head_query_output"),
            ]
        ),
        "head": st.integers(0, 2),
        "skip": st.booleans(),
        "reads": st.integers(0, 5),
        "acts": st.integers(0, 5),
    }
)


def test_parity_of_random_batches(lm: Any):
    """Random sites, heads, positions, skips and types, with batches of one to three rows."""
    found: list[float] = []
    moved: list[bool] = []
    oracle = Oracle(lm)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(PLACES, min_size=1, max_size=3),
        st.sampled_from(["Vanilla", "Addition", "Subtraction"]),
        st.integers(1, 3),
        st.integers(0, 999),
    )
    def check(places: list[dict[str, Any]], kind: str, batch: int, seed: int) -> None:
        if all(place["skip"] for place in places):
            places[0]["skip"] = False  # pyvene fails on a call without any slot
        fields = []
        reads: list[Any] = []
        acts: list[Any] = []
        for place in places:
            by_head = place["component"].startswith("head_")
            unit = "h.pos" if by_head else "pos"
            fields.append({"layer": place["layer"], "component": place["component"], "unit": unit})
            for name, located in (("reads", reads), ("acts", acts)):
                at: Any = [[place[name]]] * batch
                if by_head:  # the heads of all rows first, then their positions
                    at = [[[place["head"]]] * batch, at]
                located.append(None if place["skip"] else at)
        base = on(lm, ids(batch, seed=seed))
        sources = [
            None if place["skip"] else on(lm, ids(batch, seed=seed + n + 1))
            for n, place in enumerate(places)
        ]
        where = {"sources->base": (reads, acts)}
        theirs = oracle.build(fields, f"{kind}Intervention", "parallel")
        config = IntervenableConfig(
            [RepresentationConfig(**one) for one in fields],
            intervention_types=getattr(face, f"{kind}Intervention"),
        )
        with torch.no_grad():
            mine = IntervenableModel(config, lm)(base, sources, where)[1].logits
            other = theirs(base, list(sources), copy.deepcopy(where))[1].logits
        found.append((mine - other).abs().max().item())
        moved.append(not torch.equal(mine, plain(lm, base).logits))
        assert found[-1] <= TOLERANCE

    check()
    assert sum(moved) > len(moved) / 2, "most experiments must change something"
    print(f"{len(found)} random batches: worst |Δ logit| {max(found):.3g}")


def copy_rotation(ours: IntervenableModel, theirs: Any) -> None:
    """Give pyvene's operators our rotations."""
    from torch.nn.utils import parametrize

    mine: Any
    for mine, other in zip(ours.interventions.values(), theirs.interventions.values(), strict=True):
        layer: Any = other.rotate_layer
        weight = mine.rotate_layer.weight.detach().clone()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer.weight = nn.Parameter(weight)


@pytest.mark.parametrize("batch", [1, 3])
def test_collected_vectors_agree(batch: int, lm: Any):
    base = on(lm, ids(batch))
    where = {"base": [[[2, 4]] * batch]}
    # pyvene splits the vectors if the number of units differs from the announced one.
    announced = [{"layer": 1, "max_number_of_units": 2}]
    theirs = Oracle(lm).build(announced, "CollectIntervention", "parallel")
    ours = IntervenableModel(slots(1, kind=CollectIntervention), lm)
    (original, found), output = ours(base, unit_locations=where)
    (_, expected), _ = theirs(base, unit_locations=copy.deepcopy(where))
    assert original is None and torch.equal(output.logits, plain(lm, base).logits)
    assert found[0].shape == expected[0].shape == (batch, 2, 24)
    assert (found[0] - expected[0]).abs().max() <= TOLERANCE


def test_a_ragged_batch_gives_what_its_rows_give_alone(lm: Any):
    # pyvene needs equally many positions in every row.
    model = IntervenableModel(slots(0, 1), lm)
    base, sources = ids(3), [ids(3, seed=1), ids(3, seed=2)]
    left = [[[1], [2, 3], [5]], [[2], [0], [4, 1]]]
    right = [[[2], [4, 5], [1]], [[3], [5], [3, 2]]]
    together = model(base, sources, {"sources->base": (left, right)})[1].logits
    for row in range(3):
        one = model(
            {name: value[row : row + 1] for name, value in base.items()},
            [{name: value[row : row + 1] for name, value in s.items()} for s in sources],
            {"sources->base": ([[s[row]] for s in left], [[s[row]] for s in right])},
        )[1].logits
        assert (together[row] - one[0]).abs().max() <= TOLERANCE


# ---- what differs from pyvene --------------------------------------------------------------------


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_none_skips_every_type_in_every_mode(kind: Any, mode: str, lm: Any):
    config = IntervenableConfig(
        [RepresentationConfig(1, low_rank_dimension=2)], intervention_types=kind, mode=mode
    )
    model = IntervenableModel(config, lm)
    key = "sources->base" if mode == "parallel" else "source_0->base"
    output = model(ids(1), [ids(1, seed=1)], {key: ([None], [None])})[1]
    assert torch.equal(output.logits, plain(lm, ids(1)).logits)
    if kind.needs_source:
        output = model(ids(1), [None], {key: ([[[3]]], [[[3]]])})[1]
        assert torch.equal(output.logits, plain(lm, ids(1)).logits)


def rotations(model: IntervenableModel) -> list[Any]:
    return [*model.interventions.values()]


def test_linked_slots_read_their_own_base(lm: Any):
    fields = {"low_rank_dimension": 2}
    linked = IntervenableModel(
        slots(0, 2, kind=LowRankRotatedSpaceIntervention, intervention_link_key="r", **fields), lm
    )
    apart = IntervenableModel(slots(0, 2, kind=LowRankRotatedSpaceIntervention, **fields), lm)
    state = linked.interventions[linked.sorted_keys[0]].state_dict()
    one, other = (module.rotate_layer.weight for module in rotations(apart))
    assert not torch.equal(one, other)  # without a link, each its own
    for module in apart.interventions.values():
        module.load_state_dict(state)
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    assert torch.equal(linked(*call)[1].logits, apart(*call)[1].logits)
    assert len(linked.get_trainable_parameters()) == 1 == len(apart.get_trainable_parameters()) - 1
    assert linked.count_parameters() == 24 * 2


def test_group_keys_are_any_names_and_mix_with_slots_without(lm: Any):
    a, b, c = ids(1, seed=1), ids(1, seed=2), ids(1, seed=3)
    where = {"sources->base": ([[[1]], [[2]], [[3]], [[4]]], [[[1]], [[2]], [[3]], [[4]]])}

    def result(keys: list[Any], sources: list[Any]) -> Tensor:
        config = [RepresentationConfig(i % 3, group_key=key) for i, key in enumerate(keys)]
        return IntervenableModel(config, lm)(ids(1), sources, where)[1].logits

    expected = result([None] * 4, [a, b, a, c])
    for keys in (["z", None, "z", "a"], [7, ("x",), 7, 0], [1, 0, 1, None]):
        assert torch.equal(result(keys, [a, b, c]), expected)
    with pytest.raises(RequestError, match="2 sources for 3 groups"):
        result(["z", None, "z", "a"], [a, b])


def test_a_source_runs_once_and_arguments_stay(lm: Any):
    runs = []
    handle = lm.register_forward_hook(lambda *_: runs.append(1))
    try:
        source = ids(1, seed=1)
        sources = [source, ids(1, seed=1), source]
        given = list(sources)
        where = {"sources->base": ([[[1]], [[2]], [[3]]], [[[1]], [[2]], [[3]]])}
        before = copy.deepcopy(where)
        model = IntervenableModel(slots(0, 1, 2), lm)
        model(ids(1), sources, where)
        assert len(runs) == 2
        single = [source]
        model(ids(1), single, where)
        assert single == [source] and sources == given and where == before
    finally:
        handle.remove()


def test_a_call_leaves_nothing_behind(lm: Any):
    model = IntervenableModel(slots(0), lm)
    base, source = ids(2), ids(2, seed=1)
    ragged = {"sources->base": ([[[1], [3]]], [[[1], [3]]])}
    before = model(base, source, ragged)[1].logits
    model(base, source, {"sources->base": 4}, subspaces=[0])
    assert torch.equal(model(base, source, ragged)[1].logits, before)


def test_every_row_has_its_own_subspaces(lm: Any):
    model = IntervenableModel(slots(1, subspace_partition=[[0, 8], [8, 24]]), lm)
    base, source = ids(2), ids(2, seed=1)
    where = {"sources->base": 4}
    both = model(base, source, where, subspaces=[[[0], [1]]])[1].logits
    first = model(base, source, where, subspaces=0)[1].logits
    second = model(base, source, where, subspaces=1)[1].logits
    assert torch.equal(both[0], first[0]) and torch.equal(both[1], second[1])
    assert not torch.equal(first, second)


def test_a_partition_of_dims_is_not_a_range(lm: Any):
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    dims = IntervenableModel(slots(1, subspace_partition=[{0, 5}, [1, 2, 3]]), lm)
    plain = IntervenableModel(slots(1), lm)
    for subspace, expected in ((0, [0, 5]), (1, [1, 2, 3])):
        found = dims(*call, subspaces=subspace)[1].logits
        assert torch.equal(found, plain(*call, subspaces=expected)[1].logits)
    ranged = IntervenableModel(slots(1, subspace_partition=[[0, 5]]), lm)
    found = ranged(*call, subspaces=0)[1].logits
    assert torch.equal(found, plain(*call, subspaces=[0, 1, 2, 3, 4])[1].logits)


def test_padding_is_respected(lm: Any):
    base, source = ids(2), ids(1, seed=1)
    base["attention_mask"][1, 4:] = 0
    model = IntervenableModel(slots(0), lm)
    source = {name: value.repeat(2, 1)[:, :4] for name, value in source.items()}
    found = model(base, source, {"sources->base": -1})[1].logits
    at = ([[[3], [3]]], [[[5], [3]]])
    assert torch.equal(found, model(base, source, {"sources->base": at})[1].logits)
    with pytest.raises(RequestError, match="example 1: position 4 is padding"):
        model(base, source, {"sources->base": (1, 4)})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"component": "block_outptu"}, "component 'block_outptu' .*mean 'block_output'"),
        ({"unit": "position"}, "unit 'position' .*'pos', 'h.pos'"),
        ({"layers": 1}, "representation 'layers' is not known. Did you mean 'layer'"),
        ({"layer": 9}, "slot 0: layer 9 is out of range: the model has 3 layers"),
        ({"component": "head_value_output"}, "slot 0: .*need unit 'h.pos'"),
        ({"component": "attention_weight"}, "slot 0: .*cannot be reached"),
        ({"intervention_type": "Vanilla"}, "slot 0: 'Vanilla' is not an intervention"),
        ({"intervention_type": LowRankRotatedSpaceIntervention}, "slot 0: rank None"),
        ({"subspace_partition": [[5, 2]]}, r"slot 0: subspace \[5, 2\] is invalid"),
        ({"layer": 0, "intervenable_layer": 0}, "'layer' is given twice"),
        ({"representations": [], "mode": "both"}, "mode 'both'"),
        ([3], "representation 3 is a int; expected a RepresentationConfig"),
    ],
)
def test_an_invalid_config_is_refused_with_the_reason(config: Any, message: str, lm: Any):
    with pytest.raises(RequestError, match=message):
        IntervenableModel(config, lm)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": None}, "slot 0 .*reads a source, but the call has none"),
        ({"sources": [ids(1), ids(1)]}, "2 sources for 1 groups; expected one per group"),
        ({"sources": "The capital"}, r"sources\[0\] is a str; expected an encoding"),
        ({"unit_locations": {"sources->base": 6}}, r"position 6 is out of range: there are 6"),
        ({"unit_locations": {"source->base": 1}}, "'source->base' .*mean 'sources->base'"),
        ({"unit_locations": {"sources->base": "4"}}, "holds '4', a str"),
        ({"unit_locations": {"sources->base": True}}, "holds True, a bool"),
        (
            {"unit_locations": {"sources->base": ([1, 2], [3])}},
            "2 source places for 1 base places; expected equally many",
        ),
        ({"unit_locations": {"sources->base": [3, 3]}}, r"positions \[3, 3\] name a place twice"),
        ({"unit_locations": {"sources->base": [[[1]], [[2]]]}}, "2 entries for 1 slots"),
        ({"unit_locations": {"sources->base": [[[1], [2]]]}}, "2 examples; the batch has 1"),
        ({"unit_locations": 3}, "unit_locations is a int; expected a dict"),
        ({"subspaces": 24}, "subspace 24 of example 0 is out of range: 0 to 23"),
        ({"subspaces": [[[1], [2]]]}, r"subspaces\[0\] .* is invalid for a batch of 1"),
        ({"base": {"input_ids": [1, 2]}}, "base has input_ids of type list; expected a tensor"),
        (
            {"base": {"input_ids": torch.ones(3)}},
            r"base has input_ids of shape \(3,\); expected a tensor",
        ),
    ],
)
def test_an_invalid_call_is_refused_with_the_reason(change: Any, message: str, lm: Any):
    model = IntervenableModel(slots(0), lm)
    call = {"base": ids(1), "sources": [ids(1)], "unit_locations": {"sources->base": 1}}
    with pytest.raises(RequestError, match=message):
        model(**{**call, **change})


@pytest.mark.parametrize("fails", [False, True])
def test_the_users_model_is_exactly_as_before(fails: bool, tiny_gpt2: LanguageModel):
    lm: Any = copy.deepcopy(tiny_gpt2.model)
    lm.train()
    lm.transformer.h[1].eval()
    lm.transformer.wte.weight.requires_grad = False
    seen: list[int] = []
    handle = lm.transformer.h[0].register_forward_hook(lambda *_: seen.append(1))
    flags = [m.training for m in lm.modules()]
    gradient_flags = [p.requires_grad for p in lm.parameters()]
    state = {name: value.clone() for name, value in lm.state_dict().items()}

    def operator(base: Tensor, source: Tensor | None) -> Tensor:
        if fails:
            raise ZeroDivisionError
        return base * 2

    model = IntervenableModel({"layer": 1, "intervention": operator}, lm.transformer)
    if fails:
        with pytest.raises(ZeroDivisionError):
            model(ids(1), unit_locations={"base": 2})
    else:
        model(ids(1), unit_locations={"base": 2})
    assert [m.training for m in lm.modules()] == flags
    assert [p.requires_grad for p in lm.parameters()] == gradient_flags
    assert all(torch.equal(value, state[name]) for name, value in lm.state_dict().items())
    assert len(seen) == 1 and handle.id in lm.transformer.h[0]._forward_hooks
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in lm.modules()) == 1


def test_a_slot_that_never_fires_is_an_error(lm: Any):
    short = copy.deepcopy(lm)
    short.transformer.h[1].forward = lambda states, *_, **__: states
    where = {"sources->base": 2}
    for kind, message in ((ZeroIntervention, "did not fire"), (VanillaIntervention, "reads mlp")):
        model = IntervenableModel(slots(1, component="mlp_output", kind=kind), short)
        with pytest.raises(RequestError, match=f"slot 0 .*{message}"):
            model(ids(1), ids(1, seed=1), where)


# ---- operators ---------------------------------------------------------------------------------


def test_noise_fits_any_shape(lm: Any):
    config = slots(0, 1, kind=NoiseIntervention)
    model = IntervenableModel(config, lm)
    one = model(ids(3, 5), unit_locations={"base": [0, 2, 3]})[1].logits
    again = IntervenableModel(config, lm)(ids(3, 5), unit_locations={"base": [0, 2, 3]})[1].logits
    assert torch.equal(one, again) and not torch.equal(one, plain(lm, ids(3, 5)).logits)


class Scale(ConstantSourceIntervention):
    """A user-defined class without a source."""

    def __init__(self, embed_dim: int, **_: Any) -> None:
        super().__init__()
        self.width = embed_dim

    def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
        assert base.shape[-1] == self.width and base.ndim == 3
        return base * 3


class Mix(TrainableIntervention):
    """A user-defined class with a weight, which records its subspaces."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.share = nn.Parameter(torch.tensor(0.25))
        self.seen: Any = None

    def forward(self, base: Tensor, source: Tensor, subspaces: Any = None) -> Tensor:
        self.seen = subspaces
        return base + self.share * (source - base)


class Half(VanillaIntervention):
    """A user-defined subclass of one of ours."""

    def forward(self, base: Tensor, source: Any, subspaces: Any = None) -> Tensor:
        return (base + source) / 2


def test_user_defined_classes(lm: Any):
    base, source, where = ids(2), ids(2, seed=1), {"sources->base": [2, 4]}
    model = IntervenableModel({"layer": 1, "intervention_type": Mix}, lm)
    output = model(base, source, where, subspaces=[[[0], [1]]])[1]
    (share,) = model.get_trainable_parameters()
    output.logits.sum().backward()
    assert share.grad is not None and share.grad != 0
    assert model.interventions[model.sorted_keys[0]].seen == [[0], [1]]
    half = IntervenableModel({"layer": 1, "intervention_type": Half}, lm)(base, source, where)[1]
    same = IntervenableModel({"layer": 1, "intervention": lambda b, s: (b + s) / 2}, lm)(
        base, source, where
    )[1]
    assert torch.equal(half.logits, same.logits)
    three = IntervenableModel({"layer": 1, "intervention_type": Scale}, lm)
    function = IntervenableModel({"layer": 1, "intervention": lambda b, s: b * 3}, lm)
    where = {"base": [2, 4]}
    one = three(base, unit_locations=where)[1].logits
    assert torch.equal(one, function(base, unit_locations=where)[1].logits)
    with pytest.raises(RequestError, match=r"returned .*a tensor of the base's shape"):
        IntervenableModel({"layer": 1, "intervention": lambda b, s: b[:, :1]}, lm)(
            base, unit_locations=where
        )


def test_source_representations(lm: Any):
    base, source = ids(2), ids(2, seed=1)
    collect = IntervenableModel(slots(1, kind=CollectIntervention), lm)
    (_, (vectors,)), _ = collect(source, unit_locations={"base": 2})
    model = IntervenableModel(slots(1), lm)
    expected = model(base, source, {"sources->base": (2, 4)})[1].logits
    where = {"sources->base": (None, 4)}
    for one in (vectors, [vectors], {model.sorted_keys[0]: vectors}, {0: vectors[:, 0]}):
        found = model(base, unit_locations=where, source_representations=one)[1].logits
        assert torch.equal(found, expected)
    constant = IntervenableModel(slots(1, source_representation=torch.zeros(24)), lm)
    zero = IntervenableModel(slots(1, kind=ZeroIntervention), lm)
    where = {"base": 4}
    found = constant(base, unit_locations=where)[1].logits
    assert torch.equal(found, zero(base, unit_locations=where)[1].logits)


def test_gradients_only_if_something_can_be_trained(lm: Any):
    model = IntervenableModel(
        slots(1, kind=LowRankRotatedSpaceIntervention, low_rank_dimension=2), lm
    )
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    assert model(*call)[1].logits.requires_grad
    with torch.no_grad():
        assert not model(*call)[1].logits.requires_grad
    assert not IntervenableModel(slots(1), lm)(*call)[1].logits.requires_grad


def test_a_llama_without_its_head(tiny_llama: LanguageModel):
    whole: Any = tiny_llama.model
    assert isinstance(whole.model, LlamaModel)
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    one = IntervenableModel(slots(1), whole.model)(*call)[1].last_hidden_state
    two = IntervenableModel(slots(1), whole)(*call)[1].logits
    assert torch.equal(whole.lm_head(one), two)


def test_serial_mode_is_a_chain(lm: Any):
    config = IntervenableConfig([RepresentationConfig(0), RepresentationConfig(1)], mode="serial")
    model = IntervenableModel(config, lm)
    a, b, base = ids(1, seed=1), ids(1, seed=2), ids(1)
    where = {"source_0->source_1": 3, "source_1->base": 5}
    chained = model(base, [a, b], where)[1].logits
    single = IntervenableModel(slots(1), lm)
    direct = single(base, b, {"sources->base": 5})[1].logits
    assert not torch.equal(chained, direct)
    assert torch.equal(model(base, [None, b], where)[1].logits, direct)
    assert torch.equal(model(base, [a, b], {"source_1->base": 5})[1].logits, direct)
    with pytest.raises(RequestError, match="acts on the run of source 1, which is None"):
        model(base, [a, None], where)
    with pytest.raises(RequestError, match="'sources->base' is not known"):
        model(base, [a, b], {"sources->base": 3})


# ---- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*LIBRARY, Mix], ids=lambda kind: kind.__name__)
def test_everything_that_saves_loads(kind: Any, tmp_path: Path, lm: Any):
    fields = {
        "low_rank_dimension": 4,
        "subspace_partition": [[0, 2], {2, 3}],
        "intervention_link_key": "shared",
    }
    model = IntervenableModel(slots(0, 2, kind=kind, group_key="g", **fields), lm)
    with torch.no_grad():
        for parameter in model.get_trainable_parameters():
            parameter.add_(0.1)
    call = (ids(2), ids(2, seed=1), {"sources->base": 4})
    model.save(tmp_path / "folder")
    again = IntervenableModel.load(tmp_path / "folder", lm, types={"Mix": Mix})
    for subspaces in (None, [[[0], [1]], [[1], [0]]]):
        one = model(*call, subspaces=subspaces)[1].logits
        assert torch.equal(one, again(*call, subspaces=subspaces)[1].logits)
    assert again.count_parameters() == model.count_parameters()
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == [
        "intervenable.json",
        "interventions.safetensors",
    ]


def test_saving_and_loading_fail_with_the_reason(tmp_path: Path, lm: Any):
    function = IntervenableModel({"intervention": lambda b, s: b}, lm)
    with pytest.raises(RequestError, match="plain function"):
        function.save(tmp_path / "no")
    with pytest.raises(RequestError, match=r"has no intervenable\.json"):
        IntervenableModel.load(tmp_path, lm)
    IntervenableModel({"intervention_type": Scale}, lm).save(tmp_path / "own")
    with pytest.raises(RequestError, match=r"'Scale' is not known.*types="):
        IntervenableModel.load(tmp_path / "own", lm)
    file = tmp_path / "own" / "intervenable.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(RequestError, match="schema 9"):
        IntervenableModel.load(tmp_path / "own", lm, types={"Scale": Scale})


@pytest.mark.cuda
def test_saved_on_one_device_loads_on_another(tmp_path: Path, lm: Any):
    model = IntervenableModel(
        slots(1, kind=LowRankRotatedSpaceIntervention, low_rank_dimension=2), lm
    )
    model.save(tmp_path)
    there = IntervenableModel.load(tmp_path, copy.deepcopy(lm).cuda())
    call = (ids(1), ids(1, seed=1), {"sources->base": 4})
    assert (there(*call)[1].logits.cpu() - model(*call)[1].logits).abs().max() < 1e-3


def test_the_star_import_gives_every_name():
    names: dict[str, Any] = {}
    exec("from vene_widgets.intervenable import *", names)  # noqa: S102
    assert set(face.__all__) == set(names) - {"__builtins__"}


def test_one_source_place_may_be_read_for_two_base_places(tiny_gpt2: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=1, position=[3, 4], source_position=[2, 2])
    experiment = vw.Experiment(
        base="The capital of Spain is", sources="The capital of Italy is", slots=[slot]
    )
    model = IntervenableModel(RepresentationConfig(1, "block_output"), tiny_gpt2.model)
    base, source = (
        {"input_ids": torch.tensor([[token.id for token in tiny_gpt2.tokens(text)]])}
        for text in (experiment.base, experiment.sources["source"])
    )
    _, output = model(base, [source], {"sources->base": ([[[2, 2]]], [[[3, 4]]])})
    assert torch.equal(output.logits[0], vw.run(tiny_gpt2, experiment).logits)
