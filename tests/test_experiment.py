"""Experiments are frozen, survive JSON, and every invalid request names the rule."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vene_widgets import interventions
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.positions import align, resolve_positions
from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import Token

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel

SPAIN, ITALY, FRANCE = (f"The capital of {c} is" for c in ("Spain", "Italy", "France"))

names = st.text(min_size=1, max_size=12)
prompts = st.text(min_size=1, max_size=20)
ints = st.integers(-20, 20)
several = st.lists(ints, min_size=1, max_size=4, unique=True).map(tuple)
positions = st.one_of(ints, several, st.text(max_size=6))


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    sources = draw(st.dictionaries(names, prompts, min_size=1, max_size=3))
    group_sources = {group: draw(st.sampled_from(sorted(sources))) for group in ("a", "b")}
    slots = []
    for _ in range(draw(st.integers(0, 4))):
        group = draw(st.sampled_from([None, "a", "b"]))
        own = draw(st.sampled_from(sorted(sources)))
        slots.append(
            Slot(
                layer=draw(ints),
                position=draw(positions),
                component=draw(st.sampled_from(COMPONENTS)),
                head=draw(st.none() | ints),
                source=own if group is None else group_sources[group],
                source_position=draw(st.none() | positions),
                group=group,
                skip=draw(st.booleans()),
            )
        )
    return Experiment(base=draw(prompts), sources=sources, slots=tuple(slots))


def swap(layer: int = 0, position: Any = 3, **more: Any) -> Slot:
    return Slot(layer=layer, position=position, **more)


def tokens(*texts: str) -> tuple[Token, ...]:
    """Tokens whose ids follow their texts."""
    return tuple(Token(i, sum(map(ord, text)), text) for i, text in enumerate(texts))


# ---- plain data ---------------------------------------------------------------------------------


@given(experiments())
@settings(deadline=None, max_examples=60)
def test_json_gives_the_same_experiment_back(experiment: Experiment):
    text = experiment.model_dump_json()
    again = Experiment.model_validate_json(text)
    assert again == experiment
    assert again.model_dump_json() == text
    assert Experiment.model_validate(json.loads(text)) == experiment
    assert Experiment.model_validate(experiment.model_dump()) == experiment


def test_experiments_and_slots_are_frozen():
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=(swap(),))
    with pytest.raises(RequestError, match="frozen"):
        experiment.base = ITALY  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RequestError, match="frozen"):
        experiment.slots[0].layer = 2  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(experiment.slots, tuple)


def test_making_an_experiment_imports_no_torch():
    """Every validator runs; a fresh interpreter shows which modules they import."""
    make = f"""
import sys
from vene_widgets import Experiment, Slot

def torch_is_loaded():
    return any(name.split(".")[0] == "torch" for name in sys.modules)

slot = Slot(
    layer=-1, position=" Spain", source="italy", intervention="low_rank_rotated_space", rank=2,
    partition={{"left": (0, 1)}}, subspace="left", link="l", group="g", source_position=[3],
)
mean = Slot(layer=0, position=[3], intervention="mean", prompts=[{ITALY!r}])
experiment = Experiment(base={SPAIN!r}, sources={{"italy": {ITALY!r}}}, slots=[slot, mean])
again = Experiment.model_validate_json(experiment.model_dump_json())
print(again == experiment, torch_is_loaded())
import torch
print(torch_is_loaded())
"""
    done = subprocess.run([sys.executable, "-c", make], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]


def test_the_callers_dict_and_list_are_copied():
    sources, slots = {"italy": ITALY}, [swap()]
    experiment = Experiment(base=SPAIN, sources=sources, slots=slots)  # pyright: ignore[reportArgumentType]
    sources["italy"], slots[0] = FRANCE, swap(2)
    assert experiment.sources == {"italy": ITALY} and experiment.slots == (swap(),)


def test_unknown_fields_are_refused():
    with pytest.raises(RequestError, match="positions"):
        Slot(layer=0, position=3, positions=[3])  # pyright: ignore[reportCallIssue]
    with pytest.raises(RequestError, match="sourcs"):
        Experiment(base=SPAIN, sourcs={"italy": ITALY})  # pyright: ignore[reportCallIssue]
    with pytest.raises(RequestError, match="colour"):
        Experiment.model_validate({"base": SPAIN, "colour": "red"})


def test_unknown_component_and_intervention_name_the_closest():
    with pytest.raises(RequestError, match=r"'block_ouput'.*Did you mean 'block_output'"):
        swap(component="block_ouput")
    with pytest.raises(RequestError, match=r"'vanila'.*Did you mean 'vanilla'.*Valid: "):
        swap(intervention="vanila")


def test_a_bare_prompt_is_the_one_source():
    experiment = Experiment.model_validate({"base": SPAIN, "sources": ITALY, "slots": [swap()]})
    assert experiment.sources == {"source": ITALY}
    assert experiment.source_of(experiment.slots[0]) == "source"


@pytest.mark.parametrize(
    "fields", [{"base": ""}, {"base": SPAIN, "sources": {"italy": ""}}, {"base": 3}, {}]
)
def test_empty_prompts_are_refused(fields: dict[str, Any]):
    with pytest.raises(RequestError):
        Experiment.model_validate(fields)


# ---- positions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (3, 3),
        (-2, -2),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        ([1, 3], (1, 3)),
        ((np.int32(1), -1), (1, -1)),
        (range(1, 4), (1, 2, 3)),
        (np.arange(2), (0, 1)),
        (" Spain", " Spain"),
        ("3", "3"),
    ],
)
def test_positions_become_plain_ints_tuples_or_text(written: Any, stored: Any):
    for slot in (swap(position=written), swap(position=0, source_position=written)):
        value = slot.position if slot.source_position is None else slot.source_position
        assert value == stored and type(value) is type(stored)
        if isinstance(value, tuple):
            assert {type(item) for item in value} == {int}


def test_torch_integers_are_positions_too():
    import torch

    assert swap(position=torch.tensor(3)).position == 3
    assert swap(position=torch.tensor([1, 2])).position == (1, 2)
    assert swap(layer=torch.tensor(2)).layer == 2  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", [True, [True, 1], np.bool_(True), np.array([True, False])])
@pytest.mark.parametrize("field", ["position", "source_position"])
def test_bools_are_no_positions(field: str, value: Any):
    with pytest.raises(RequestError, match="bool"):
        Slot.model_validate({"layer": 0, "position": 0, field: value})


@pytest.mark.parametrize("value", [True, np.bool_(False)])
@pytest.mark.parametrize("field", ["layer", "head"])
def test_bools_are_no_layers_and_no_heads(field: str, value: Any):
    with pytest.raises(RequestError, match="bool"):
        Slot.model_validate({"layer": 0, "position": 0, field: value})


@pytest.mark.parametrize("value", [[], (), 1.5, None, [1.5], [[1]], {"a": 1}])
def test_other_positions_are_refused(value: Any):
    with pytest.raises(RequestError):
        swap(position=value)


def test_positions_are_resolved_against_the_prompts_tokens(tiny_gpt2: LanguageModel):
    base = tuple(tiny_gpt2.tokens(SPAIN))
    assert resolve_positions(3, base, "slots[0].position", "base") == (3,)
    assert resolve_positions(-1, base, "slots[0].position", "base") == (4,)
    assert resolve_positions((0, -5 + 1), base, "slots[0].position", "base") == (0, 1)
    assert resolve_positions(" Spain", base, "slots[0].position", "base") == (3,)


@given(st.integers(1, 9), st.integers(-12, 12))
def test_negative_positions_count_from_the_end(count: int, position: int):
    prompt = tokens(*(f"t{i}" for i in range(count)))
    if -count <= position < count:
        expected = list(range(count))[position]
        assert resolve_positions(position, prompt, "slots[0].position", "base") == (expected,)
    else:
        with pytest.raises(RequestError) as caught:
            resolve_positions(position, prompt, "slots[0].position", "base")
        message = str(caught.value)
        assert f"slots[0].position {position} " in message
        assert f"{count} tokens, 0 to {count - 1}" in message
        assert all(f"{token.index} {token.text!r}" in message for token in prompt)


def test_a_text_that_does_not_occur_names_the_tokens():
    prompt = tokens("The", " capital")
    with pytest.raises(RequestError, match=r"' Spain' does not occur in the base.*1 ' capital'"):
        resolve_positions(" Spain", prompt, "slots[2].position", "base")


def test_a_text_that_occurs_twice_says_where():
    prompt = tokens(" a", " b", " a")
    with pytest.raises(RequestError, match=r"slots\[2\].position ' a' occurs 2 times, at \[0, 2\]"):
        resolve_positions(" a", prompt, "slots[2].position", "base")


def test_a_base_position_is_named_once_a_source_position_as_often_as_wanted():
    prompt = tokens("a", "b", "c")
    with pytest.raises(RequestError, match="names a position twice"):
        resolve_positions((1, -2), prompt, "slots[0].position", "base", distinct=True)
    assert resolve_positions((1, 1), prompt, "slots[0].source_position", "source 's'") == (1, 1)


# ---- sources and groups -------------------------------------------------------------------------


def test_an_interchange_without_any_source_is_refused():
    with pytest.raises(RequestError, match=r"slots\[0\] \(vanilla at layer 2\) names no source"):
        Experiment(base=SPAIN, slots=(swap(2),))


def test_several_sources_need_a_name():
    sources = {"italy": ITALY, "france": FRANCE}
    with pytest.raises(RequestError, match=r"slots\[1\].*has 2. Sources: 'italy', 'france'"):
        Experiment(base=SPAIN, sources=sources, slots=(swap(source="italy"), swap()))


def test_an_unknown_source_names_the_closest():
    with pytest.raises(RequestError, match=r"slots\[0\].source 'itly'.*Did you mean 'italy'"):
        Experiment(base=SPAIN, sources={"italy": ITALY}, slots=(swap(source="itly"),))


def test_a_group_reads_one_source():
    sources = {"italy": ITALY, "france": FRANCE}
    slots = (swap(source="italy", group="g"), swap(1, source="france", group="g"))
    with pytest.raises(RequestError, match=r"slots\[1\].*'france'.*group 'g'.*slots\[0\]"):
        Experiment(base=SPAIN, sources=sources, slots=slots)
    apart = Experiment(
        base=SPAIN,
        sources=sources,
        slots=(slots[0], slots[1].model_copy(update={"group": "h"}), swap(source="france")),
    )
    assert apart.has_groups


def test_a_group_may_leave_its_one_source_unnamed():
    slots = (swap(group="g"), swap(1, source="italy", group="g"))
    assert Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots).has_groups


# ---- derived experiments ------------------------------------------------------------------------


def test_replace_makes_a_new_validated_experiment():
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=(swap(),))
    changed = experiment.replace(base=FRANCE)
    assert (changed.base, changed.slots) == (FRANCE, experiment.slots)
    assert experiment.base == SPAIN
    with pytest.raises(RequestError, match=r"field of Experiment 'slot'.*Did you mean 'slots'"):
        experiment.replace(slot=())
    with pytest.raises(RequestError, match="names no source"):
        experiment.replace(sources={})


def test_nothing_in_an_experiment_can_be_changed_in_place():
    slot = swap(partition={"left": (0, 1)}, subspace="left", source="italy")
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=[slot])
    text = experiment.model_dump_json()
    sources: Any = experiment.sources
    changes: list[Any] = [
        lambda: sources.__setitem__("italy", ""),
        lambda: sources.__delitem__("italy"),
        lambda: sources.__ior__({"spain": SPAIN}),
        lambda: sources.update(spain=SPAIN),
        lambda: sources.setdefault("spain", SPAIN),
        lambda: sources.pop("italy"),
        lambda: sources.popitem(),
        lambda: sources.clear(),
        lambda: slot.partition and slot.partition.clear(),
    ]
    for change in changes:
        with pytest.raises(RequestError, match=r"cannot be changed in place.*replace\(sources="):
            change()
    assert experiment.model_dump_json() == text
    assert sources | {"spain": SPAIN} == {"italy": ITALY, "spain": SPAIN}
    given = {"italy": ITALY}
    copied = Experiment(base=SPAIN, sources=given)
    given.clear()
    assert copied.sources == {"italy": ITALY}


def test_equal_experiments_have_one_hash_and_survive_copies():
    fields: dict[str, Any] = {"partition": {"left": (0, 1)}, "subspace": "left", "source": "italy"}
    sources = {"italy": ITALY, "france": FRANCE}
    one, same = (Experiment(base=SPAIN, sources=sources, slots=[swap(**fields)]) for _ in range(2))
    for twin in (
        same,
        Experiment.model_validate_json(one.model_dump_json()),
        pickle.loads(pickle.dumps(one)),  # noqa: S301  # our own
        copy.copy(one),
        copy.deepcopy(one),
        one.model_copy(deep=True),
    ):
        assert twin == one
        assert hash(twin) == hash(one)
        with pytest.raises(RequestError, match="in place"):
            twin.sources["italy"] = FRANCE
    assert {one: "answer"}[same] == "answer"
    assert one.model_dump(mode="json")["sources"] == sources
    assert one != SPAIN


def test_another_order_of_sources_is_another_experiment():
    """In serial mode it is another chain."""
    one = Experiment(base=SPAIN, sources={"italy": ITALY, "france": FRANCE})
    other = Experiment(base=SPAIN, sources={"france": FRANCE, "italy": ITALY})
    assert one != other
    assert one.sources == other.sources


def test_skipped_slots_keep_their_index():
    slots = (swap(), swap(1, skip=True), swap(2))
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots)
    assert experiment.live == (0, 2)


def test_ungrouped_changes_nothing_but_the_groups():
    slots = (swap(group="g", source="italy", skip=True), swap(1))
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots)
    assert experiment.has_groups and not experiment.ungrouped().has_groups
    assert experiment.ungrouped().slots == (swap(source="italy", skip=True), swap(1))
    assert experiment.slots[0].group == "g"


# ---- plan ---------------------------------------------------------------------------------------


def test_a_plan_holds_integers_only(tiny_gpt2: LanguageModel):
    slots = (
        swap(-1, " Spain", source_position=" Italy"),
        swap(0, [-1, 0], source_position=[0, -1], skip=True),
        swap(1, -1),
    )
    planned = plan_experiment(
        tiny_gpt2, Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots)
    )
    assert [p.site.layer for p in planned.slots] == [2, 0, 1]
    assert [p.base_positions for p in planned.slots] == [(3,), (4, 0), (4,)]
    assert [p.source_positions for p in planned.slots] == [(3,), (0, 4), (4,)]
    assert [p.index for p in planned.live] == [0, 2]
    assert [t.text for t in planned.base] == ["The", " capital", " of", " Spain", " is"]


def test_a_text_position_stands_for_the_same_index_in_the_source(tiny_gpt2: LanguageModel):
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=(swap(0, " Spain"),))
    (planned,) = plan_experiment(tiny_gpt2, experiment).slots
    assert (planned.base_positions, planned.source_positions) == ((3,), (3,))


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        (swap(3), r"slots\[1\]: layer 3 is out of range.*3 layers, 0 to 2"),
        (swap(0, 5), r"slots\[1\].position 5 .* base has 5 tokens.*3 ' Spain'"),
        (swap(0, -6), r"slots\[1\].position -6 .* base has 5 tokens"),
        (swap(0, " Rome"), r"slots\[1\].position ' Rome' does not occur in the base"),
        (
            swap(0, 0, source_position=9),
            r"slots\[1\].source_position 9 .* source 'italy' has 5 tokens.*3 ' Italy'",
        ),
        (
            swap(0, [1, 2], source_position=[1]),
            r"slots\[1\] pairs 1 source positions \[1\] with 2 base positions \[1, 2\]",
        ),
        (swap(component="head_value_output"), r"slots\[1\]: .* needs a head: 0 to 2, not None"),
        (swap(head=1), r"slots\[1\]: head 1 is invalid for component 'block_output'"),
        (
            swap(component="attention_weight"),
            r"slots\[1\]: component 'attention_weight' cannot be reached",
        ),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_a_plan_error_names_the_slot(
    tiny_gpt2: LanguageModel, slot: Slot, message: str, skip: bool
):
    slots = (swap(), slot.model_copy(update={"skip": skip}))
    with pytest.raises(RequestError, match=message):
        plan_experiment(tiny_gpt2, Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots))


def test_a_prompt_longer_than_the_model_is_refused(tiny_gpt2: LanguageModel):
    with pytest.raises(RequestError, match="33 tokens; tiny-gpt2 takes at most 32"):
        plan_experiment(tiny_gpt2, Experiment(base="The" + " capital" * 32))


# ---- operators, subspaces, links -----------------------------------------------------------------


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


# ---- serial mode ---------------------------------------------------------------------------------


def test_in_a_chain_slots_act_on_the_run_after_the_one_that_they_read(tiny_gpt2: LanguageModel):
    sources = {"italy": ITALY, "long": "of " + ITALY, "france": FRANCE}
    slots = [
        swap(source="france", position=-1),
        swap(source="italy", position=-1),
        swap(source="long", position=" France"),
        swap(intervention="zero"),
    ]
    experiment = Experiment(base=SPAIN, sources=sources, slots=slots, mode="serial")
    planned = plan_experiment(tiny_gpt2, experiment).slots
    assert [p.target for p in planned] == [None, "long", "france", None]
    assert [p.base_positions for p in planned] == [(4,), (6,), (3,), (3,)]
    assert [p.source_positions for p in planned] == [(4,), (4,), (3,), ()]
    parallel = experiment.replace(mode="parallel", slots=slots[:2])
    assert [p.target for p in plan_experiment(tiny_gpt2, parallel).slots] == [None, None]
    with pytest.raises(
        RequestError, match=r"slots\[2\].position ' France' does not occur in .*bas"
    ):
        plan_experiment(tiny_gpt2, experiment.replace(mode="parallel"))
    with pytest.raises(RequestError, match=r"slots\[0\].position 5 .* source 'france' has 5 tok"):
        plan_experiment(
            tiny_gpt2,
            experiment.replace(slots=[swap(source="long", position=5, source_position=0)]),
        )


def test_an_unknown_mode_is_refused():
    mode: Any = "both"
    with pytest.raises(RequestError, match="mode"):
        Experiment(base=SPAIN, mode=mode)


# ---- align --------------------------------------------------------------------------------------

words = st.lists(st.sampled_from("abc"), min_size=1, max_size=7)


@given(words, words)
def test_align_pairs_every_base_position_in_order(base: list[str], source: list[str]):
    b, s = tokens(*base), tokens(*source)
    paired = align(b, s)
    assert len(paired) == len(b)
    assert all(0 <= partner < len(s) for partner in paired)
    assert list(paired) == sorted(paired)
    if len(b) == len(s):
        assert paired == tuple(range(len(b)))


@given(words, words, st.lists(st.sampled_from("xy"), min_size=1, max_size=4), words)
def test_align_keeps_a_common_beginning_and_a_common_end(
    begin: list[str], end: list[str], inner: list[str], other: list[str]
):
    # Capitals keep the two middles apart, so that beginning and end are exactly what is common.
    b = tokens(*begin, *inner, *end)
    s = tokens(*begin, *(word.upper() for word in other), *end)
    paired = align(b, s)
    assert paired[: len(begin)] == tuple(range(len(begin)))
    if len(b) == len(s):
        return
    assert paired[len(begin) + len(inner) :] == tuple(range(len(s) - len(end), len(s)))
    last = len(begin) + len(other) - 1
    middle = [min(i, last) for i in range(len(begin), len(begin) + len(inner))]
    assert list(paired[len(begin) : len(begin) + len(inner)]) == middle


def test_align_pairs_what_lies_between_in_order_and_the_rest_with_the_last():
    base = tokens("The", " a", " b", " c", " is")
    source = tokens("The", " x", " y", " is")
    assert align(base, source) == (0, 1, 2, 2, 3)
    assert align(source, base) == (0, 1, 2, 4)
