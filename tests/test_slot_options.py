"""Operators, subspaces, ranks, links and seeds of slots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from request_testing import FRANCE, ITALY, SPAIN, ints, positions, prompts, swap

from vene_widgets import interventions
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel


def rotated(**more: Any) -> Slot:
    return swap(**{"intervention": "low_rank_rotated_space", "rank": 4, **more})


def planned_dims(model: LanguageModel, slot: Slot) -> tuple[int, ...] | None:
    return plan_experiment(model, Experiment(base=SPAIN, sources=ITALY, slots=[slot])).slots[0].dims


@st.composite
def operations(draw: st.DrawFn) -> Slot:
    partition = draw(st.none() | st.just({"left": (0, 1), "right": (1, 2)}))
    subspaces = [None, "0:2", (0,), (3, 1)] + (["left", "right"] if partition else [])
    kinds = ["zero", "noise", "mean", "collect", "rotated_space", "pca_rotated_space"]
    kind = draw(st.sampled_from(kinds))
    return Slot(
        layer=draw(ints),
        position=draw(positions),
        intervention=kind,
        strength=draw(st.floats(-2, 2)),
        subspace=draw(st.sampled_from(subspaces)),
        partition=partition,
        rank=draw(st.none() | st.integers(1, 5)) if kind == "pca_rotated_space" else None,
        scale=draw(st.floats(0, 3)) if kind == "noise" else 1.0,
        seed=draw(st.integers(0, 9)),
        prompts=tuple(draw(st.lists(prompts, min_size=1, max_size=3))),
    )


@given(st.lists(operations(), max_size=3), st.sampled_from(["parallel", "serial"]))
def test_operators_and_modes_come_back_from_json(slots: list[Slot], mode: Any):
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slots, mode=mode)
    text = experiment.model_dump_json()
    assert Experiment.model_validate_json(text) == experiment
    assert Experiment.model_validate_json(text).model_dump_json() == text


def test_a_subspace_may_be_dims_a_range_or_a_name(tiny_gpt2: LanguageModel):
    halves = {"left": (0, 1), "right": (1, 2)}
    for fields, dims in (
        ({}, None),
        ({"subspace": [3, 1]}, (3, 1)),
        ({"subspace": np.arange(2)}, (0, 1)),
        ({"subspace": range(1, 3)}, (1, 2)),
        ({"subspace": "0:2"}, (0, 1)),
        ({"subspace": "1:4"}, (1, 2, 3)),
        ({"subspace": [0, 2]}, (0, 2)),  # two dims, never mistaken for a range
        ({"subspace": "left", "partition": halves}, (0,)),
        ({"subspace": "right", "partition": halves}, (1,)),
        ({"subspace": "0:4", "partition": halves}, (0, 1, 2, 3)),
    ):
        assert planned_dims(tiny_gpt2, rotated(**fields)) == dims, fields


@pytest.mark.parametrize("subspace", [[4], [-1], [0, 0], [], "0:5", "2:2", "3:1"])
def test_a_subspace_out_of_range_names_the_slot_and_the_size(
    tiny_gpt2: LanguageModel, subspace: Any
):
    slots = [swap(), rotated(subspace=subspace)]
    with pytest.raises(RequestError, match=r"slots\[1\]: subspace .* is invalid.*from 0 to 3"):
        plan_experiment(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=slots))


def test_without_a_rotation_a_subspace_is_of_the_site(tiny_gpt2: LanguageModel):
    slot = swap(component="head_value_output", head=1, subspace=[7])
    assert planned_dims(tiny_gpt2, slot) == (7,)
    with pytest.raises(RequestError, match="from 0 to 7"):
        planned_dims(tiny_gpt2, slot.model_copy(update={"subspace": (8,)}))
    wide = swap(component="mlp_activation", subspace=[95])
    assert planned_dims(tiny_gpt2, wide) == (95,)


@pytest.mark.parametrize("subspace", ["middle", "0-2", "-1:2", ":", "a:b", ""])
def test_a_text_that_is_no_subspace_lists_the_names(subspace: str):
    with pytest.raises(RequestError, match=r"neither a half-open range.*Names: 'left', 'right'"):
        rotated(subspace=subspace, partition={"left": (0, 1), "right": (1, 2)})
    with pytest.raises(RequestError, match="Names: none"):
        rotated(subspace=subspace)


@pytest.mark.parametrize("value", [True, [0, False], [0.5], 1])
def test_other_subspaces_are_refused(value: Any):
    with pytest.raises(RequestError, match="subspace"):
        rotated(subspace=value)


@pytest.mark.parametrize("rank", [None, 0, -2, 25])
def test_a_rank_that_does_not_fit_names_the_slot(tiny_gpt2: LanguageModel, rank: int | None):
    slots = [swap(), rotated(rank=rank)]
    with pytest.raises(RequestError, match=rf"slots\[1\]: rank {rank} is invalid for.*1 to 24"):
        plan_experiment(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=slots))
    for fits in (1, 24):
        plan_experiment(
            tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=[rotated(rank=fits)])
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"rank": 3},
        {"seed": 1},
        {"intervention": "pca_rotated_space"},
    ],
)
def test_linked_slots_have_one_kind_of_weights(fields: dict[str, Any]):
    one, other = rotated(link="l"), rotated(layer=1, link="l", **fields)
    with pytest.raises(RequestError, match=r"slots\[2\] and slots\[0\] share link 'l' but not"):
        Experiment(base=SPAIN, sources=ITALY, slots=[one, swap(), other])
    apart = other.model_copy(update={"link": "m"})
    Experiment(base=SPAIN, sources=ITALY, slots=[one, swap(), apart])


def test_linked_noise_has_one_scale():
    one, other = (swap(intervention="noise", link="l", scale=scale) for scale in (1, 2))
    with pytest.raises(RequestError, match=r"slots\[1\] and slots\[0\] share link 'l' but not"):
        Experiment(base=SPAIN, slots=[one, other])


def test_an_option_that_an_operator_ignores_is_refused():
    for name in set(BUILT_IN) - {"low_rank_rotated_space", "pca_rotated_space"}:
        with pytest.raises(
            RequestError,
            match=rf"rank 2 has no effect on intervention '{name}'.*'low_rank_rotated_space', 'p",
        ):
            swap(intervention=name, rank=2, prompts=[ITALY])
        assert swap(intervention=name, rank=None, scale=1, prompts=[ITALY]).scale == 1
    for name in set(BUILT_IN) - {"noise"}:
        with pytest.raises(
            RequestError, match=rf"scale 0.5 has no effect on intervention '{name}'.*'noise'"
        ):
            swap(intervention=name, scale=0.5, prompts=[ITALY])


@pytest.mark.usefixtures("restored_registry")
def test_a_users_class_may_use_every_option_and_a_function_none():
    interventions.register("shrunk", type("Shrunk", (interventions.Vanilla,), {}))
    interventions.register("doubled", lambda base, source: 2 * base)
    assert swap(intervention="shrunk", rank=2, scale=0.5).rank == 2
    with pytest.raises(RequestError, match="rank 2 has no effect on intervention 'doubled'"):
        swap(intervention="doubled", rank=2)


@pytest.mark.parametrize("ends", [(2, 2), (3, 1), (-1, 2)])
def test_every_range_of_a_partition_is_one(ends: tuple[int, int]):
    """Also of a name that no subspace asks for."""
    with pytest.raises(RequestError, match=r"partition 'bad' .*0 <= start < stop <= \d+, got \("):
        rotated(partition={"good": (0, 1), "bad": ends}, subspace="good")


def test_linked_slots_may_differ_in_everything_else(tiny_gpt2: LanguageModel):
    sources = {"italy": ITALY, "france": FRANCE}
    slots = [
        rotated(link="l", source="italy", subspace="0:1"),
        rotated(layer=2, position=4, link="l", source="france", subspace=[3], strength=0.5),
        rotated(component="mlp_output", link="l", source="italy", skip=True),
    ]
    planned = plan_experiment(tiny_gpt2, Experiment(base=SPAIN, sources=sources, slots=slots)).slots
    assert [p.weights_key for p in planned] == ["link l"] * 3
    alone = plan_experiment(
        tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=[rotated(), rotated()])
    )
    assert [p.weights_key for p in alone.slots] == ["slot 0", "slot 1"]


def test_linked_slots_have_one_width(tiny_gpt2: LanguageModel):
    slots = [rotated(link="l"), rotated(link="l", component="mlp_activation")]
    with pytest.raises(
        RequestError, match=r"slots\[1\] and slots\[0\] share 'link l', .* 96 and 24 wide"
    ):
        plan_experiment(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=slots))


def test_a_mean_needs_prompts_and_their_errors_name_the_slot(tiny_gpt2: LanguageModel):
    with pytest.raises(RequestError, match="intervention 'mean' needs prompts"):
        swap(intervention="mean")

    def planned(*texts: str, **more: Any) -> tuple[tuple[int, ...], ...]:
        slots = [swap(), swap(intervention="mean", prompts=texts, **more)]
        return (
            plan_experiment(tiny_gpt2, Experiment(base=SPAIN, sources=ITALY, slots=slots))
            .slots[1]
            .mean_positions
        )

    assert planned(ITALY, FRANCE) == ((3,), (3,))
    assert planned("of " + ITALY, FRANCE, position=-1) == ((6,), (4,))
    assert planned(ITALY, "of " + ITALY, source_position=" Italy") == ((3,), (5,))
    with pytest.raises(RequestError, match=r"slots\[1\].prompts: prompt '' has no tokens"):
        planned(ITALY, "")
    with pytest.raises(RequestError, match=r"slots\[1\].prompts: prompt .* 33 tokens"):
        planned("The" + " capital" * 32)
    with pytest.raises(RequestError, match=r"slots\[1\].source_position 3 .*prompt 'The capital'"):
        planned("The capital")


@pytest.mark.parametrize("name", ["zero", "noise", "collect"])
def test_operators_without_a_source_need_no_sources(tiny_gpt2: LanguageModel, name: str):
    slot = swap(intervention=name)
    (planned,) = plan_experiment(tiny_gpt2, Experiment(base=SPAIN, slots=[slot])).slots
    assert (planned.source, planned.source_positions) == (None, ())
    with pytest.raises(RequestError, match=r"slots\[0\].source 'itly'.*'italy'"):
        Experiment(
            base=SPAIN,
            sources={"italy": ITALY},
            slots=[slot.model_copy(update={"source": "itly"})],
        )


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), "much"])
def test_strengths_that_mean_nothing_are_refused(strength: Any):
    with pytest.raises(RequestError, match="strength"):
        swap(strength=strength)
    with pytest.raises(RequestError, match="scale"):
        swap(scale=-1 if strength == "much" else strength)


def test_an_unknown_field_is_named_with_those_there_are():
    with pytest.raises(RequestError, match=r"field of Slot 'positions' .*Did you mean 'posit"):
        swap(positions=3)
    text = '{"base": "a", "source": "b"}'
    with pytest.raises(RequestError, match=r"field of Experiment 'source' .*'sources'"):
        Experiment.model_validate_json(text)


@pytest.mark.parametrize("field", ["rank", "seed"])
def test_a_bool_is_no_number(field: str):
    fields: dict[str, Any] = {field: True}
    with pytest.raises(RequestError, match="True is a bool"):
        rotated(**fields)


def test_a_seed_is_one_that_torch_takes(tiny_gpt2: LanguageModel):
    with pytest.raises(RequestError, match="less than"):
        swap(intervention="noise", seed=2**63)
    slot = swap(intervention="noise", seed=2**63 - 1)
    assert run(tiny_gpt2, Experiment(base=SPAIN, slots=[slot])).receipts["fired"].all()
