"""Experiments are frozen, survive JSON, and every invalid request names the rule."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from request_testing import FRANCE, ITALY, SPAIN, ints, positions, prompts, swap

from vene_widgets.engine.planning import plan_experiment
from vene_widgets.errors import RequestError
from vene_widgets.experiments.components import COMPONENTS
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel

names = st.text(min_size=1, max_size=12)


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
            swap(component="attention_weight", head=3),
            r"slots\[1\]: component 'attention_weight' has heads 0 to 2, not 3",
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
