"""Slots that are held in the map: what it sweeps, when, and what is said and kept of it."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw

OUT = vw.Slot(layer=1, component="mlp_output", position=" Spain", intervention="zero", hold=True)
NOISE = vw.Slot(layer=0, component="block_input", position=3, intervention="noise", hold=True)
HELD = {"component": "mlp_output", "intervention": "zero", "hold": True}
NUMBERS = ["layer", "position", "target_id", "probability", "delta", "log_ratio", "kl", "recovery"]


def check_map(explorer: vw.Explorer, *sweep: Any, **options: Any) -> None:
    """The map's table and its cells are those of `vw.sweep`."""
    found = vw.sweep(explorer.model, *sweep, **options)
    columns = [*NUMBERS, "head"] if options.get("head") else NUMBERS
    own, expected = explorer.map_frame[columns], found.frame[columns]
    # Recovery divides rounding by what the plain runs differ in, which may be little.
    np.testing.assert_allclose(own.to_numpy(float), expected.to_numpy(float), rtol=1e-4, atol=1e-5)
    targets = [target["token_id"] for target in explorer.map["targets"]]
    first = found.frame[found.frame["target_id"] == found.targets[0]]["probability"]
    place = targets.index(found.targets[0])
    assert [cell["probabilities"][place] for cell in explorer.map["cells"]] == pytest.approx(
        first.tolist(), abs=1e-6
    )


def test_hold_changes_no_run_and_is_written_only_if_true(tiny_gpt2: vw.LanguageModel) -> None:
    experiments = [
        vw.Experiment(base=BASE, sources=SOURCE, slots=OUT.replace(hold=hold))
        for hold in (True, False)
    ]
    held, free = (vw.run(tiny_gpt2, experiment).logits for experiment in experiments)
    assert torch.equal(held, free)
    assert [vw.script(tiny_gpt2, one).count("hold=True") for one in experiments] == [1, 0]


@pytest.mark.parametrize("held", [OUT, NOISE], ids=["knocked out", "noise"])
def test_every_tile_has_the_held_slot(make: Make, held: vw.Slot) -> None:
    explorer = make(slots=[held, vw.Slot(layer=0, position=4)])
    check_map(explorer, BASE, SOURCE, fixed=[held.replace(hold=False)])
    plain = vw.run(explorer.model, vw.Experiment(base=BASE)).logits[-1].softmax(-1)
    alone = vw.run(explorer.model, vw.Experiment(base=BASE, slots=held)).logits[-1].softmax(-1)
    for target in explorer.map["targets"]:
        token = target["token_id"]
        assert target["plain"] == pytest.approx(plain[token].item(), rel=1e-4)
        assert target["base"] == pytest.approx(alone[token].item(), rel=1e-4)
    assert abs(plain - alone).max() > 1e-6
    assert explorer.map["cells"][-1]["sentence"].startswith("With 1 slot held, patching")


def test_an_answers_sentence_is_the_maps_before_it_is_exact(make: Make) -> None:
    """Both compare with the plain base, as the numbers beside them do."""
    explorer = make(slots=OUT)
    cells = {(cell["layer"], cell["position"]): n for n, cell in enumerate(explorer.map["cells"])}
    for place in ((0, 3), (0, 4), (1, 4)):
        assert ask(explorer, **setting(slot(1, 3, **HELD), slot(*place)))["ok"]
        said = explorer.map["sentences"][cells[place]]
        assert said.startswith("A held slot and patching ")
        assert explorer.answer["sentence"] == said
    assert not make().map["sentences"]


def test_maps_of_all_heads_of_means_and_of_one_prompt_hold_it_too(make: Make) -> None:
    explorer, fixed = make(slots=OUT), [OUT.replace(hold=False)]
    heads = {"component": "head_value_output", "head": "all", "layer": 1}
    assert ask(explorer, kind="sweep", **heads)["ok"]
    check_map(explorer, BASE, SOURCE, "head_value_output", head="all", layers=1, fixed=fixed)
    assert ask(explorer, kind="sweep", component="block_output", intervention="mean")["ok"]
    means = {"intervention": "mean", "prompts": [BASE, SOURCE]}
    check_map(explorer, BASE, SOURCE, fixed=fixed, **means)
    alone = make(source={}, slots=OUT)
    check_map(alone, BASE, intervention="zero", fixed=fixed)


def test_a_held_slot_may_read_another_source_than_the_map(make: Make) -> None:
    sources = {"one": SOURCE, "two": "The capital of France is"}
    held = vw.Slot(layer=0, position=3, source="two", hold=True)
    explorer = make(source=sources, slots=held)
    check_map(explorer, BASE, SOURCE, fixed=[held], sources=sources)


def test_the_map_is_swept_anew_for_other_held_slots_alone(make: Make) -> None:
    explorer = make()

    def swept(*slots: dict[str, Any]) -> tuple[int, int]:
        assert ask(explorer, **setting(*slots))["ok"]
        return explorer.map["revision"], len(explorer.map["held"])

    assert swept(slot(1, 3, **HELD)) == (2, 1)
    moved = slot(0, 4)
    assert swept(slot(1, 3, **HELD), moved) == (2, 1)
    assert swept(slot(1, 3, **HELD, group="A"), {**moved, "group": "A"}) == (2, 1)
    assert swept(moved, slot(1, 3, **HELD)) == (2, 1)
    assert swept(slot(1, 4, **HELD), moved) == (6, 1)
    assert swept(slot(1, 4, **HELD, skip=True), moved) == (7, 0)
    assert swept(moved) == (7, 0)


def test_a_slot_that_acts_on_a_source_is_refused_and_everything_stays(make: Make) -> None:
    sources = {"one": SOURCE, "two": "The capital of France is"}
    explorer = make(source=sources, slots=OUT)
    before, map_before = explorer.experiment, explorer.map
    chain = vw.Slot(layer=0, position=3, source="one", hold=True)
    with pytest.raises(vw.RequestError, match=r"slots\[1\] cannot be held.*source 'two'"):
        explorer.experiment = before.replace(mode="serial", slots=[OUT, chain])
    assert explorer.experiment == before and explorer.map is map_before
    last = chain.replace(source="two")
    explorer.experiment = before.replace(mode="serial", slots=[OUT, last])
    explorer.wait(30)
    assert len(explorer.map["held"]) == 2


def test_state_history_and_stories_have_it(make: Make) -> None:
    explorer = make(slots=OUT.replace(hold=False))
    explorer.experiment = explorer.experiment.replace(slots=OUT)
    explorer.wait(30)
    (entry,) = explorer.past["entries"]
    assert entry["experiment"]["slots"][0]["hold"] is True
    again = vw.from_state(explorer.state(), explorer.model).wait(30)
    try:
        assert again.map["held"] == explorer.map["held"] != []
        check_map(again, BASE, SOURCE, fixed=[OUT.replace(hold=False)])
    finally:
        again.close()
    free = [vw.Slot(layer=0, position=3)]
    explorer.story([vw.Step("Free", free), vw.Step("Held", [OUT, *free])]).wait(30)
    assert [step["map"] for step in explorer.steps["steps"]] == [0, 1]
    assert [len(one["held"]) for one in explorer.steps["maps"]] == [0, 1]


def test_an_archive_says_what_was_held_and_its_code_gives_the_map(
    capitals: vw.LanguageModel, tmp_path: Path
) -> None:
    explorer = vw.explore(BASE, {"italy": SOURCE}, capitals, slots=[OUT]).wait(60)
    try:
        path = explorer.save_figure(tmp_path / "map.zip", "sweep_map")
        with zipfile.ZipFile(path) as packed:
            texts = {
                name.split("/", 1)[1]: packed.read(name).decode()
                for name in packed.namelist()
                if name.endswith((".py", ".txt"))
            }
        assert (
            "each tile with the same held slots (zero at the MLP output of layer 1, position 3), "
            "and compared with the run of these alone." in texts["caption.txt"]
        )
        assert explorer.map["code"] in texts["code.py"]
        space: dict[str, Any] = {}
        exec(texts["code.py"], space)  # noqa: S102
        own, other = explorer.map_frame[NUMBERS], space["sweep"].frame[NUMBERS]
        np.testing.assert_allclose(own.to_numpy(float), other.to_numpy(float), atol=1e-5)
    finally:
        explorer.close()


@pytest.mark.parametrize(
    "held",
    [
        {"position": 3, "intervention": "rotated_space", "subspace": "0:3", "seed": 4},
        {"position": [3, -1], "intervention": "low_rank_rotated_space", "rank": 2, "link": "x"},
        {"position": -1, "intervention": "addition", "strength": -0.5, "group": "A"},
        {"position": "all", "intervention": "mean", "prompts": [BASE, SOURCE]},
        {"position": 4, "component": "head_value_output", "head": 1, "source_layer": 2},
        {"position": 3, "intervention": "noise", "scale": 0.5, "seed": 2**60, "layer": -1},
    ],
    ids=["rotated", "linked", "added", "mean", "head", "noise"],
)
def test_a_tile_is_the_run_of_held_and_clicked_slots(make: Make, held: dict[str, Any]) -> None:
    first = vw.Slot(layer=0, position=4, intervention="zero", component="mlp_output")
    fixed = vw.Slot(**{"layer": 1, "hold": True, **held})
    explorer = make(slots=[first, fixed])
    targets = [target["token_id"] for target in explorer.map["targets"]]
    for cell in explorer.map["cells"]:
        clicked = vw.Slot(layer=cell["layer"], position=cell["position"])
        experiment = explorer.experiment.replace(slots=[fixed, clicked])
        p = vw.run(explorer.model, experiment).logits[-1].softmax(-1)[targets]
        assert cell["probabilities"] == pytest.approx(p.tolist(), rel=2e-3, abs=1e-7)


def test_specifications_are_of_the_slot_that_is_moved(make: Make) -> None:
    explorer = make(slots=[OUT, vw.Slot(layer=0, position=" Spain")])
    assert ask(explorer, kind="specification", templates=[])["ok"]
    explorer.wait(60)
    assert explorer.specification["site"] == "␣Spain after block 0"


def test_a_held_slot_that_no_pass_comes_by_is_said(
    tiny_gpt2: vw.LanguageModel, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = vw.wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    mlp = own.model.transformer.h[1].mlp
    monkeypatch.setattr(mlp, "forward", lambda x: mlp.c_proj(mlp.c_fc(x)))
    own.accept_hooks()
    explorer = make(model=own)
    before = explorer.map
    assert explorer.status["error"] is None and before["held"] == []
    silent = slot(1, 2, component="mlp_activation", intervention="zero")
    moving = slot(0, 1)
    assert ask(explorer, **setting(moving, {**silent, "hold": True}))["ok"]
    assert explorer.status["error"] == (
        "The map could not be filled: slots[1] never acted: a pass of the model does not come by "
        "mlp_activation of layer 1. Choose another component."
    )
    # No map stands there as if it had the slot; the answer's receipt says that nothing happened.
    assert explorer.map == before
    assert [receipt["fired"] for receipt in explorer.answer["receipts"]] == [True, False]
    ask(explorer, **setting(silent))
    assert explorer.status["error"] is None and explorer.map["done"] == explorer.map["total"]
