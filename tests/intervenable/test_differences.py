"""What differs from pyvene on purpose."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from intervenable_testing import LIBRARY, ids, plain, slots
from torch import Tensor

from vene_widgets.errors import RequestError
from vene_widgets.intervenable import (
    IntervenableConfig,
    IntervenableModel,
    LowRankRotatedSpaceIntervention,
    RepresentationConfig,
    VanillaIntervention,
    ZeroIntervention,
)
from vene_widgets.models import LanguageModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
]


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
        ({"component": "head_value_output"}, "slot 0: .*Give the slot unit 'h.pos'"),
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


def test_the_input_of_a_module_is_that_modules_alone(lm: Any):
    """`ln_2` reads the residual stream; a change of what it reads leaves the stream as it is."""
    built = IntervenableModel(
        [{"component": "transformer.h[2].ln_2.input", "intervention": lambda b, s: -b}], lm
    )

    def hook(_module: Any, args: Any) -> Any:
        new = args[0].clone()
        new[:, 4] *= -1
        return (new,)

    handle = lm.transformer.h[2].ln_2.register_forward_pre_hook(hook)
    with torch.no_grad():
        expected = plain(lm, ids(2)).logits
    handle.remove()
    found = built(ids(2), None, {"base": 4})[1].logits
    assert (found - expected).abs().max() <= 1e-6


def test_a_module_without_a_vector_per_position_is_one_sentence(lm: Any):
    """Positions' embeddings are one row for all examples."""
    built = IntervenableModel(
        [{"component": "transformer.wpe.output", "intervention": lambda b, s: -b}], lm
    )
    with pytest.raises(RequestError, match=r"'transformer.wpe.output' has shape \(1, 6, 24\)"):
        built(ids(3), None, {"base": 4})
