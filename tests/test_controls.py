"""Controls: plain ipywidgets and the explorer's experiment update each other, without loops."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import ipywidgets
import pytest
from explorer_testing import SilentPainter

import vene_widgets as vw
from vene_widgets.explorer.controls import Controls, SlotControls

BASE = "The capital of Spain is"
SOURCES = {"italy": "The capital of Italy is", "france": "The capital of France is"}


Make = Callable[..., tuple[vw.Explorer, Controls]]


@pytest.fixture
def make(tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Make]:
    made: list[vw.Explorer] = []

    def make(*slots: vw.Slot, source: Any = SOURCES) -> tuple[vw.Explorer, Controls]:
        made.append(vw.explore(BASE, source, tiny_gpt2, slots))
        return made[-1], vw.controls(made[-1])

    yield make
    for explorer in made:
        explorer.close()


def slot(layer: int = 0, position: Any = 3, **more: Any) -> vw.Slot:
    return vw.Slot(layer=layer, position=position, source="italy", **more)


def shown(row: SlotControls) -> dict[str, Any]:
    names = ("layer", "component", "head", "position", "source", "source_position")
    more = ("intervention", "group", "skip", "subspace")
    return {name: getattr(row, name).value for name in (*names, *more)}


def test_every_choice_is_an_ordinary_widget_with_a_name(make: Make) -> None:
    _, panel = make(slot(), slot(1, 4, group="A"))
    assert isinstance(panel, ipywidgets.VBox) and len(panel.rows) == 2
    found: list[ipywidgets.Widget] = []

    def collect(of: Any) -> None:
        for child in of.children:
            found.append(child)
            if hasattr(child, "children"):
                collect(child)

    collect(panel)
    fields = [one for one in found if not isinstance(one, (ipywidgets.Box, ipywidgets.Label))]
    assert all(one.description for one in fields)
    assert len(fields) == 1 + 2 + 2 * 12 + 1  # base, sources, slots, add


def test_another_intervention_leaves_a_scale_that_it_would_ignore(make: Make) -> None:
    explorer, panel = make(slot(intervention="noise", scale=0.5))
    panel.rows[0].intervention.value = "zero"
    assert panel.error.value == ""
    assert explorer.experiment.slots[0].scale == 1


@pytest.mark.parametrize(
    ("name", "value", "change"),
    [
        ("layer", 2, {"layer": 2}),
        ("position", 4, {"position": 4}),
        ("source_position", 4, {"source_position": 4}),
        ("source", "france", {"source": "france"}),
        ("component", "mlp_output", {"component": "mlp_output"}),
        ("component", "head_value_output", {"component": "head_value_output", "head": 0}),
        ("intervention", "addition", {"intervention": "addition"}),
        (
            "intervention",
            "low_rank_rotated_space",
            {"intervention": "low_rank_rotated_space", "rank": 2},
        ),
        ("intervention", "mean", {"intervention": "mean", "prompts": (SOURCES["italy"],)}),
        ("group", "B", {"group": "B"}),
        ("skip", True, {"skip": True}),
        ("hold", True, {"hold": True}),
        ("subspace", "0:2", {"subspace": "0:2"}),
        ("subspace", "0, 3 5", {"subspace": (0, 3, 5)}),
    ],
)
def test_a_widget_changes_just_its_field_and_makes_one_experiment(
    make: Make, name: str, value: Any, change: dict[str, Any]
) -> None:
    explorer, panel = make(slot(), slot(1))
    changes: list[vw.Experiment] = []
    explorer.observe(lambda event: changes.append(event["new"]), "experiment")
    before = explorer.experiment.slots
    getattr(panel.rows[1], name).value = value
    assert changes == [explorer.experiment]
    assert panel.error.value == ""
    assert explorer.experiment.slots == (before[0], before[1].model_copy(update=change))


def test_an_experiment_moves_the_widgets_and_comes_back_unchanged(make: Make) -> None:
    explorer, panel = make(slot())
    wanted = vw.Experiment(
        base="The capital of France is",
        sources=SOURCES,
        slots=[
            slot(-1, " France", source_position=[4]),
            slot(1, [3, 4], component="head_value_output", head=2, group="A", skip=True),
            vw.Slot(layer=1, position=-1, intervention="zero"),
        ],
    )
    changes: list[vw.Experiment] = []
    explorer.observe(lambda event: changes.append(event["new"]), "experiment")
    explorer.experiment = wanted
    # Texts and negative indices stay as written: showing an experiment does not change it.
    assert changes == [wanted] and explorer.experiment == wanted
    assert panel.base.value == wanted.base
    first, second, third = map(shown, panel.rows)
    assert (first["layer"], first["position"], first["source_position"]) == (2, 3, 4)
    assert (second["head"], second["position"], second["group"]) == (2, (3, 4), "A")
    assert second["skip"] and third["intervention"] == "zero"
    assert panel.rows[2].source.disabled and panel.rows[2].source_position.disabled
    assert not panel.rows[0].source.disabled
    explorer.experiment = wanted.replace(slots=wanted.slots[:1])
    assert len(panel.rows) == 1


def test_a_slot_is_added_and_taken_out(make: Make) -> None:
    explorer, panel = make(slot(group="A"))
    panel.add.click()
    assert [one.group for one in explorer.experiment.slots] == ["A", "A"]
    panel.rows[0].layer.value = 1
    panel.rows[0].remove.click()
    assert [one.layer for one in explorer.experiment.slots] == [0]
    panel.rows[0].remove.click()
    assert explorer.experiment.slots == () and panel.rows == []
    panel.add.click()
    assert explorer.experiment.slots[0].source == "italy"


def test_without_sources_a_new_slot_zeroes(make: Make) -> None:
    explorer, panel = make(source={})
    panel.add.click()
    assert explorer.experiment.slots[0].intervention == "zero"
    assert panel.sources == {}


def test_named_subspaces_are_chosen_from_a_list(make: Make) -> None:
    partition = {"a": (0, 2), "b": (2, 3), "c": (3, 4)}
    explorer, panel = make(slot(partition=partition, subspace="b"))
    (row,) = panel.rows
    assert isinstance(row.subspace, ipywidgets.SelectMultiple) and row.subspace in row.children
    assert row.subspace.value == ("b",)
    row.subspace.value = ("a", "b")
    assert explorer.experiment.slots[0].subspace == (0, 1, 2)
    assert row.subspace.value == ("a", "b")
    row.subspace.value = ()
    assert explorer.experiment.slots[0].subspace is None
    row.subspace.value = ("c",)
    assert explorer.experiment.slots[0].subspace == "c"


def test_prompts_are_text(make: Make) -> None:
    explorer, panel = make(slot())
    panel.base.value = "The capital of France is"
    panel.sources["france"].value = "The capital of Spain is"
    assert explorer.experiment.base == "The capital of France is"
    assert explorer.experiment.sources["france"] == "The capital of Spain is"
    assert ("3 ␣France", 3) in panel.rows[0].position.options


@pytest.mark.parametrize(
    ("move", "rule"),
    [
        (lambda panel: setattr(panel.base, "value", ""), "base '' is empty"),
        (lambda panel: setattr(panel.base, "value", "The"), "out of range"),
        (
            lambda panel: setattr(panel.rows[0].subspace, "value", "9:99"),
            "is invalid: expected one or",
        ),
        (lambda panel: setattr(panel.rows[1].source, "value", "france"), "share one source"),
    ],
)
def test_an_invalid_value_is_refused_and_the_last_good_state_stays(
    make: Make, move: Callable[[Controls], None], rule: str
) -> None:
    explorer, panel = make(slot(group="A"), slot(1, group="A"))
    before, widgets = explorer.experiment, [shown(row) for row in panel.rows]
    move(panel)
    assert rule in panel.error.value
    assert explorer.experiment == before
    assert [shown(row) for row in panel.rows] == widgets and panel.base.value == BASE
    panel.rows[0].skip.value = True
    assert panel.error.value == ""


def test_an_error_of_the_run_is_shown_too(make: Make) -> None:
    explorer, panel = make(slot())
    explorer.wait(30)

    def out_of_memory() -> Generator[None, None, None]:
        yield
        raise ValueError("no memory")

    explorer.submit("answer", out_of_memory)
    explorer.wait(30)
    assert panel.error.value == "The run failed: ValueError: no memory"


def test_closed_controls_leave_the_explorer_alone(make: Make) -> None:
    explorer, panel = make(slot())
    panel.close()
    panel.close()
    explorer.experiment = explorer.experiment.replace(base="The capital of France is")
    assert panel.base.value == BASE
    assert explorer.wait(30).answer["revision"] == explorer.scene["revision"]
