"""Stories: checked as a whole before anything changes, computed beforehand, walked without runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from explorer_testing import SilentPainter, ask

import vene_widgets as vw
from vene_widgets.explorer.session import answer
from vene_widgets.explorer.session.step import Step
from vene_widgets.explorer.session.story import StoryFeature
from vene_widgets.explorer.wire import messages

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


Make = Callable[..., vw.Explorer]


@pytest.fixture
def make(tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Make]:
    made: list[vw.Explorer] = []

    def make(**options: Any) -> vw.Explorer:
        made.append(vw.explore(BASE, SOURCE, tiny_gpt2, **options))
        return made[-1].wait(30)

    yield make
    for explorer in made:
        explorer.close()


FRANCE = vw.Experiment(
    base="The capital of France is", sources=SOURCE, slots=[vw.Slot(layer=1, position=3)]
)
STEPS = [
    vw.Step("The base", text="Nothing is copied."),
    vw.Step(
        "Early",
        [vw.Slot(layer=0, position=" Spain", source_position=" Italy")],
        question="What comes next?",
        choices=["Madrid", "Rome"],
        answer="Rome",
    ),
    {"title": "Another country", "experiment": FRANCE.model_dump()},
    {"title": "A group", "slots": [{"layer": 0, "position": 3, "group": "A"}]},
]


def test_a_step_takes_an_experiment_or_slots_as_values_or_dicts() -> None:
    slot = vw.Slot(layer=0, position=3)
    assert vw.Step("t", [slot]) == vw.Step("t", slots=[slot.model_dump()]) == vw.Step("t", slot)
    assert vw.Step("t", FRANCE).experiment == FRANCE == vw.Step("t", FRANCE.model_dump()).experiment
    assert vw.Step("t").experiment == ()
    with pytest.raises(ValueError, match="frozen"):
        vw.Step("t").title = "u"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"choices": ["a"]}, "require a question"),
        ({"question": "?", "choices": ["a", "a"]}, "must be at most 9 and all different"),
        ({"question": "?", "choices": list("abcdefghij")}, "at most 9"),
        ({"question": "?", "choices": ["Rome"], "answer": "Rom"}, "Did you mean 'Rome'"),
        ({"answer": "Rome"}, "one of the step's choices"),
        ({"quesion": "?"}, "quesion"),
    ],
)
def test_an_invalid_step_is_refused_with_the_rule(fields: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        vw.Step("t", **fields)


def test_a_story_is_computed_sent_and_begun(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    explorer.story(STEPS)
    explorer.wait(30)
    sent = messages.Story.model_validate(explorer.steps)
    assert [step.title for step in sent.steps] == [
        "The base",
        "Early",
        "Another country",
        "A group",
    ]
    assert explorer.step == 0 and explorer.experiment.slots == ()
    early = sent.steps[1]
    assert (early.choices, early.answer) == (["Madrid", "Rome"], 1)
    top = vw.run(tiny_gpt2, early.experiment, logits_to_keep=1).top(1).iloc[0]
    shown = early.result.runs[-1].top[0]
    assert (shown.token_id, shown.probability) == (top.token_id, top.probability)
    # Slots alone keep the prompts of the step before.
    assert sent.steps[3].experiment.base == FRANCE.base
    # One map for each pair of prompts, whole.
    assert [step.map for step in sent.steps] == [0, 0, 1, 1]
    assert [one.done for one in sent.maps] == [15, 15]


def test_what_is_sent_is_what_the_screen_shows_when_it_gets_there(make: Make) -> None:
    explorer = make()
    explorer.story(STEPS)
    for index, step in enumerate(messages.Story.model_validate(explorer.steps).steps):
        explorer.step = index
        explorer.wait(30)
        live = messages.Answer.model_validate(explorer.answer)
        assert live.model_copy(update={"revision": 0}) == step.result
        assert messages.Scene.model_validate(explorer.scene).slots == step.slots


def test_walking_runs_nothing_and_sets_experiment_and_step(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = make()
    explorer.story(STEPS)
    explorer.wait(30)
    ran: list[object] = []
    monkeypatch.setattr(answer, "run_exactly", lambda *given: ran.append(given))
    changes: list[tuple[int | None, vw.Experiment]] = []
    explorer.observe(lambda change: changes.append((explorer.step, change["new"])), "experiment")
    revision = explorer.scene["revision"]
    reply = ask(explorer, kind="step", step=2)
    assert reply["ok"] and explorer.scene["request"] == "r1"
    assert explorer.scene["revision"] == revision + 1  # one experiment, begun once
    assert explorer.step == 2 and explorer.experiment == FRANCE
    explorer.step = 1
    explorer.wait(30)
    assert explorer.experiment.slots[0].position == " Spain"
    assert [step for step, _ in changes] == [2, 1]
    assert ran == []
    assert explorer.answer["revision"] == explorer.scene["revision"]
    assert explorer.run.logits.shape[0] == 5  # complete runs are still available


def test_waiting_includes_a_story_and_its_first_step(make: Make) -> None:
    explorer = make()
    explorer.feature(StoryFeature).present(STEPS)
    assert explorer.wait(30).step == 0
    assert explorer.experiment == explorer.feature(StoryFeature).experiment(0)
    assert explorer.answer["revision"] == explorer.scene["revision"]


def test_an_observer_may_read_the_run_of_the_first_step(make: Make) -> None:
    explorer = make(slots=[vw.Slot(layer=2, position=3)])
    tops: list[torch.Tensor] = []
    explorer.observe(lambda _: tops.append(explorer.run.logits), "experiment")
    explorer.story(STEPS)
    explorer.wait(30)
    assert len(tops) == 1


def test_an_observer_may_read_the_run_of_a_click_and_of_a_step(make: Make) -> None:
    explorer = make()
    explorer.story(STEPS)
    explorer.wait(30)
    tops: list[torch.Tensor] = []
    explorer.observe(lambda _: tops.append(explorer.run.logits), "experiment")
    ask(explorer, kind="step", step=1)
    ask(explorer, kind="experiment", experiment=FRANCE.model_dump())
    assert len(tops) == 2


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        ({"title": "Far", "slots": [{"layer": 9, "position": 3}]}, r"steps\[1\] \('Far'\): .*9"),
        ({"title": "Far", "slots": [{"layer": 0}]}, r"steps\[1\] \('Far'\): .*position"),
        ({"title": "Bad", "experiment": {"base": ""}}, r"steps\[1\] \('Bad'\): .*empty"),
        ({"title": "Bad", "experiment": {"base": "a"}, "slots": []}, "not both"),
        ({"slots": []}, r"steps\[1\]: title is missing; given: slots"),
        ("Early", r"steps\[1\]: expected a vw.Step or a dict of its fields, got 'Early'"),
    ],
)
def test_errors_name_the_step_and_the_rule_and_change_nothing(
    make: Make, step: Any, rule: str
) -> None:
    explorer = make()
    explorer.story(STEPS[:1])
    explorer.wait(30)
    before = (explorer.steps, explorer.scene, explorer.step)
    with pytest.raises(vw.RequestError, match=rule):
        explorer.story([STEPS[0], step])
    with pytest.raises(vw.RequestError, match="no steps"):
        explorer.story([])
    assert before == (explorer.steps, explorer.scene, explorer.step)


def test_a_step_that_is_not_there_is_refused(make: Make) -> None:
    explorer = make()
    assert "there is no story" in ask(explorer, kind="step", step=0)["error"]
    explorer.story(STEPS)
    with pytest.raises(vw.RequestError, match="step 4 does not exist: the story has steps 0 to 3"):
        explorer.step = 4
    assert explorer.step == 0
    assert "steps 0 to 3" in ask(explorer, kind="step", step=-1)["error"]


def test_progress_is_shown_and_cancel_keeps_the_last_story(make: Make) -> None:
    explorer = make()
    explorer.story(STEPS[:1])
    explorer.wait(30)
    before = (explorer.steps, explorer.step)
    progress: list[float] = []

    def stop(change: dict[str, Any]) -> None:
        status = change["new"]
        if status["busy"] == "story" and status["progress"] is not None:
            progress.append(status["progress"])
            if status["progress"] > 0.2:
                ask_cancel()

    def ask_cancel() -> None:
        explorer.receive({"id": "r2", "kind": "cancel"})

    explorer.observe(stop, "status")
    explorer.story(STEPS)
    explorer.wait(30)
    assert progress[0] == 0.0 and progress == sorted(progress) and progress[-1] < 1
    assert (explorer.steps, explorer.step) == before
    assert explorer.status["busy"] is None and explorer.status["progress"] is None
    assert explorer.experiment.base == BASE


def test_step_is_the_public_name() -> None:
    assert vw.Step is Step


@pytest.mark.parametrize(
    "asked",
    [
        {"component": "mlp_output", "intervention": "mean"},
        {"component": "head_value_output", "head": "all", "layer": 1},
    ],
)
def test_the_maps_of_a_story_are_of_the_sweep_on_the_screen(
    make: Make, asked: dict[str, Any]
) -> None:
    explorer = make()
    assert ask(explorer, kind="sweep", **asked)["ok"]
    explorer.story(STEPS)
    explorer.wait(30)
    sent = messages.Story.model_validate(explorer.steps)
    for shown in sent.maps:
        assert shown.done == shown.total == len(shown.cells)
        for name, value in asked.items():
            assert getattr(shown, name) == value
    prompts = [[step.experiment.base, SOURCE] for step in (sent.steps[0], sent.steps[2])]
    wanted = prompts if "intervention" in asked else [[], []]
    assert [shown.prompts for shown in sent.maps] == wanted
