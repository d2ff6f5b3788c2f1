"""Slots that read means or a vector: what the screen, its caption and its figures say of them."""

from __future__ import annotations

from typing import Any

import pytest
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.explorer.export.share_token import decode
from vene_widgets.explorer.slot_edits import intervention_fields
from vene_widgets.figures.setup_lines import runs_setup

STEER: dict[str, Any] = {
    "intervention": "addition",
    "prompts": [SOURCE, BASE],
    "minus": [BASE],
    "source_layer": 0,
    "strength": -2.0,
}


def test_a_steering_slot_is_said_as_it_is(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    assert ask(explorer, **setting(slot(1, 3, **STEER)))["ok"]
    answer = explorer.answer
    assert answer["sentence"].startswith(
        "Adding a difference of means (2 prompts − 1) to “Spain” after block 1 "
        "(read at layer 0) at strength −2 "
    )
    experiment = vw.Experiment(
        base=BASE, sources=SOURCE, slots=[vw.Slot(layer=1, position=3, **STEER)]
    )
    run = vw.run(tiny_gpt2, experiment)
    top = run.top(1).iloc[0]
    assert answer["runs"][-1]["top"][0]["probability"] == pytest.approx(top["probability"])
    for part in ("minus=[", "source_layer=0", "strength=-2.0"):
        assert part in explorer.code()
    line = runs_setup(plan_experiment(tiny_gpt2, experiment), "tiny")
    assert "−2 × addition" in line and "mean over 2 minus 1 prompts of layer 0" in line
    assert "addition over" not in line


def test_the_share_token_has_what_a_slot_reads(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3, **STEER)))
    before = explorer.experiment.slots[0]
    shared = decode(explorer.state())
    assert shared.experiment.slots[0] == before
    assert before.minus == (BASE,) and before.source_layer == 0


def test_another_operator_that_reads_keeps_what_is_read(make: Make) -> None:
    now = vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(layer=1, position=3, **STEER)])
    fields = intervention_fields("subtraction", now, now.slots[0])
    kept = now.slots[0].replace(**fields)
    assert (kept.prompts, kept.minus, kept.source) == ((SOURCE, BASE), (BASE,), None)
    zero = now.slots[0].replace(**intervention_fields("zero", now, now.slots[0]))
    assert (zero.prompts, zero.minus, zero.source_layer) == ((), (), None)


def test_a_vector_of_python_stays_when_its_strength_changes(make: Make) -> None:
    explorer = make()
    width = explorer.scene["model"]["widths"]["block_output"]
    vector = [0.25 * n for n in range(width)]
    explorer.experiment = vw.Experiment(
        base=BASE,
        sources=SOURCE,
        slots=[vw.Slot(layer=1, position=3, intervention="addition", vector=vector)],
    )
    explorer.wait(30)
    assert f"Adding a vector of {width} numbers to “Spain”" in explorer.answer["sentence"]
    [sent] = explorer.scene["experiment"]["slots"]
    assert ask(explorer, **setting({**sent, "strength": 0.5}))["ok"]
    assert explorer.experiment.slots[0].vector == tuple(vector)
