"""The explorer's kernel half: requests in, traits out, the last good state stays."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, count_calls, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.export import static_files
from vene_widgets.explorer.session.figure import FigureFeature
from vene_widgets.explorer.wire import messages


def test_it_opens_with_the_map_filled(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    assert explorer.map["done"] == explorer.map["total"] == 3 * 5
    assert len(explorer.map["cells"]) == 15
    assert [run["role"] for run in explorer.answer["runs"]] == ["base", "source"]
    assert explorer.scene["base"][3]["label"] == "␣Spain"
    assert explorer.map["first_difference"] == 3
    assert "No slots yet. " in explorer.answer["sentence"]


def test_a_click_is_answered_exactly(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    reply = ask(explorer, **setting(slot(layer=1)))
    assert reply["id"] == "r1" and reply["ok"] and reply["error"] is None
    assert explorer.scene["request"] == "r1"
    assert explorer.answer["revision"] == explorer.scene["revision"]
    expected = vw.run(tiny_gpt2, explorer.experiment)
    assert torch.equal(explorer.run.logits, expected.logits)
    top = explorer.answer["runs"][-1]["top"][0]
    shown = vw.run(tiny_gpt2, explorer.experiment, logits_to_keep=1).top(1).iloc[0]
    assert (top["token_id"], top["probability"]) == (shown.token_id, shown.probability)


@pytest.mark.parametrize(
    "slots", [[slot(1, 3)], [slot(0, 3, group="A"), slot(2, 4, group="A")]], ids=["plain", "group"]
)
def test_a_click_plans_its_experiment_and_splits_its_prompts_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, slots: list[dict[str, Any]]
) -> None:
    explorer = make()
    plans, modules = count_calls(monkeypatch, "plan_experiment")
    assert modules >= {
        *("engine.planning", "engine.running", "engine.weights"),
        *("codegen.script", "explorer.session.session"),
    }
    prompts: Counter[str] = Counter()
    split = vw.LanguageModel.tokens

    def counted(model: vw.LanguageModel, prompt: str) -> Any:
        prompts[prompt] += 1
        return split(model, prompt)

    monkeypatch.setattr(vw.LanguageModel, "tokens", counted)
    assert ask(explorer, **setting(*slots))["ok"]
    # The run, the scripts and the receipts are all made from the one plan.
    assert explorer.answer["revision"] == explorer.scene["revision"]
    assert explorer.answer["scripts"][0]["text"] and len(explorer.answer["receipts"]) == len(slots)
    assert [experiment for _, experiment in plans] == [explorer.experiment]
    assert prompts == {BASE: 1, SOURCE: 1}


def test_the_map_previews_what_a_click_answers(make: Make) -> None:
    explorer = make()
    for cell in explorer.map["cells"]:
        ask(explorer, **setting(slot(cell["layer"], cell["position"])))
        exact = explorer.answer["runs"][-1]["top"][0]
        assert cell["top"][0]["token_id"] == exact["token_id"]
        assert cell["top"][0]["probability"] == pytest.approx(exact["probability"], abs=1e-5)


def test_grouped_and_ungrouped_are_separate_runs_and_bit_equal(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3, group="A"), slot(2, 4, group="A")))
    roles = [run["role"] for run in explorer.answer["runs"]]
    assert roles == ["base", "source", "ungrouped", "grouped"]
    runs = {run["role"]: run["source_runs"] for run in explorer.answer["runs"]}
    assert runs["ungrouped"] == 2 and runs["grouped"] == 1
    assert [v["verdict"] for v in explorer.answer["verdicts"]] == ["bit-equal"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (setting(slot(layer=9)), "layer 9 is out of range"),
        (setting(slot(position=17)), "17 is out of range"),
        (setting(slot(component="block_outputt")), "Did you mean 'block_output'"),
        (setting(slot(colour="red")), "colour"),
        (setting(base=""), "base '' is empty"),
        ({"kind": "sweep", "component": "nowhere"}, "nowhere"),
        ({"kind": "sweep", "component": "head_query_output", "head": 9}, "0 to 2, not 9"),
        ({"kind": "sweep", "component": "mlp_output", "source": "x"}, "source 'x'"),
        ({"kind": "figure", "figure": "pie"}, "pie"),
        ({"kind": "dance"}, "dance"),
    ],
)
def test_a_bad_request_is_refused_and_nothing_changes(
    make: Make, request_: dict[str, Any], message: str
) -> None:
    explorer = make(slots=[vw.Slot(layer=1, position=3)])
    before = explorer.scene, explorer.answer, explorer.map, explorer.experiment
    reply = ask(explorer, **request_)
    assert not reply["ok"] and message in reply["error"]
    assert "https://" not in reply["error"]
    after = explorer.scene, explorer.answer, explorer.map, explorer.experiment
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_errors_start_with_the_field_and_not_with_the_kind_of_request(make: Make) -> None:
    explorer = make()
    requests = get_args(get_args(messages.Request)[0])
    assert len(requests) > 10
    for request in requests:
        kind = request.model_fields["kind"].default
        reply = ask(explorer, kind=kind, colour="red")
        assert not reply["ok"]
        required = {name for name, field in request.model_fields.items() if field.is_required()}
        missing = [f"{name} is missing" for name in required - {"id"}]
        # The location `experiment` is dropped: the user never writes it.
        missing = ["Field required" if kind == "experiment" else text for text in missing]
        wrong = "colour: Extra inputs are not permitted (given: 'red')"
        problems, more = [wrong, *missing], len(missing) + 1 - 2
        texts = reply["error"].split("; ")
        assert set(texts[:2]) <= set(problems) and len(texts) == min(len(problems), 3)
        assert more <= 0 or texts[2] == f"and {more} more"


def test_python_changes_the_screen_and_observes_clicks(make: Make) -> None:
    explorer = make()
    seen: list[vw.Experiment] = []
    explorer.observe(lambda change: seen.append(change["new"]), "experiment")
    mine = explorer.experiment.replace(slots=(vw.Slot(layer=2, position=" Spain"),))
    explorer.experiment = mine
    assert torch.equal(explorer.run.logits, vw.run(explorer.model, mine).logits)
    assert explorer.scene["slots"][0]["base_positions"] == [3]
    assert explorer.scene["request"] is None
    ask(explorer, **setting(slot(0)))
    assert [len(e.slots) for e in seen] == [1, 1] and seen[1].slots[0].layer == 0


def test_python_is_refused_as_the_browser_is(make: Make) -> None:
    explorer = make()
    before = explorer.experiment
    with pytest.raises(vw.RequestError, match="layer 7 is out of range"):
        explorer.experiment = before.replace(slots=(vw.Slot(layer=7, position=0),))
    assert explorer.experiment is before


def test_new_prompts_fill_a_new_map(make: Make) -> None:
    explorer = make()
    ask(
        explorer,
        **setting(base="The capital of France is", source="Madrid is the capital of Spain"),
    )
    assert [t["label"] for t in explorer.scene["base"]][3] == "␣France"
    assert explorer.map["done"] == explorer.map["total"]
    assert explorer.map["revision"] == explorer.scene["revision"]


def test_another_component_can_be_swept(make: Make) -> None:
    explorer = make()
    assert ask(explorer, kind="sweep", component="head_value_output", head=1)["ok"]
    assert (explorer.map["component"], explorer.map["head"]) == ("head_value_output", 1)
    assert explorer.map["done"] == 15


def test_without_a_source_the_map_zeroes_each_tile(make: Make) -> None:
    explorer = make(source={})
    shown = explorer.map
    assert (shown["intervention"], shown["source"]) == ("zero", None)
    assert shown["done"] == shown["total"] == len(shown["cells"]) > 0
    assert [run["role"] for run in explorer.answer["runs"]] == ["base"]
    cell = next(c for c in shown["cells"] if (c["layer"], c["position"]) == (0, 3))
    assert cell["sentence"].startswith("Zeroing “Spain” after block 0 ")
    ask(explorer, **setting(slot(intervention="zero")))  # with a source, the map copies again
    assert (explorer.map["intervention"], explorer.map["source"]) == ("vanilla", "source")


def test_a_failing_run_keeps_the_last_good_answer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vene_widgets.explorer import exact_runs

    explorer = make()
    good = explorer.answer

    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(exact_runs, "run_plan", broken)
    assert ask(explorer, **setting(slot()))["ok"]
    assert explorer.status["error"] == "The run failed: RuntimeError: out of memory"
    assert explorer.status["busy"] is None
    assert explorer.answer is good
    with pytest.raises(RuntimeError, match="out of memory"):
        _ = explorer.run
    monkeypatch.undo()


def test_a_started_run_finishes_and_says_which_revision_it_answers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vene_widgets.explorer import exact_runs

    explorer = make()
    gate, begun, plain = threading.Event(), threading.Event(), exact_runs.run_plan

    def slow(*args: Any, **more: Any) -> Any:
        begun.set()
        assert gate.wait(10)
        return plain(*args, **more)

    shown: list[int] = []
    explorer.observe(lambda change: shown.append(change["new"]["revision"]), "answer")
    monkeypatch.setattr(exact_runs, "run_plan", slow)
    first = explorer.experiment.replace(slots=(vw.Slot(layer=0, position=3),))
    explorer.experiment = first
    assert begun.wait(10)
    explorer.experiment = first.replace(slots=(vw.Slot(layer=1, position=3),))
    gate.set()
    explorer.wait(30)
    revision = explorer.scene["revision"]
    assert shown == [revision - 1, revision]
    assert explorer.run.experiment.slots[0].layer == 1
    assert [entry.experiment.slots[0].layer for entry in explorer.history[-2:]] == [0, 1]


def test_close_frees_thread_and_runs(make: Make) -> None:
    explorer = make()
    thread = explorer.worker._thread
    assert thread is not None
    explorer.close()
    explorer.close()
    assert not thread.is_alive()
    with pytest.raises(vw.RequestError, match="closed"):
        _ = explorer.run


def test_two_explorers_share_a_model(make: Make) -> None:
    one, two = make(), make(base="The capital of France is")
    for layer in range(3):
        one.experiment = one.experiment.replace(slots=(vw.Slot(layer=layer, position=3),))
        two.experiment = two.experiment.replace(slots=(vw.Slot(layer=layer, position=3),))
        for explorer in (one, two):
            expected = vw.run(explorer.model, explorer.experiment)
            assert torch.equal(explorer.run.logits, expected.logits)


def test_a_missing_bundle_says_how_to_build_it(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_files, "STATIC", tmp_path)
    with pytest.raises(vw.RequestError, match="make js"):
        static_files.built("explorer.js")


def test_a_text_is_split_while_it_is_typed_and_nothing_else_changes(make: Make) -> None:
    explorer = make()
    before = explorer.scene, explorer.answer, explorer.map, explorer.experiment
    reply = ask(explorer, kind="tokens", text=" Spain is")
    tokens = explorer.model.tokens(" Spain is")
    assert reply["ok"]
    assert [(t["index"], t["id"], t["text"]) for t in reply["tokens"]] == [
        (t.index, t.id, t.text) for t in tokens
    ]
    refused = ask(explorer, kind="tokens", text="")
    assert not refused["ok"] and refused["tokens"] is None
    assert "expected at least one" in refused["error"]
    after = explorer.scene, explorer.answer, explorer.map, explorer.experiment
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert explorer.status["error"] is None


def test_a_map_takes_pairs_by_hand_until_the_prompts_change(make: Make) -> None:
    explorer = make(source="The capital of old Italy is")
    suggested = explorer.map["source_positions"]
    pairs = [0, 1, 2, 4, 5]
    assert suggested != pairs
    sweep = {"kind": "sweep", "component": "block_output", "source": "source"}
    assert ask(explorer, **sweep, source_positions=pairs)["ok"]
    assert explorer.map["source_positions"] == pairs
    assert [c["source_position"] for c in explorer.map["cells"] if c["layer"] == 0] == pairs
    for wrong, message in [([0, 1, 2, 3], "4 source positions"), ([0, 1, 2, 3, 9], "9 is out of")]:
        refused = ask(explorer, **sweep, source_positions=wrong)
        assert not refused["ok"] and message in refused["error"]
    assert explorer.map["source_positions"] == pairs
    ask(explorer, **setting(slot(0, 3)))
    assert explorer.map["source_positions"] == [0, 1, 2, 3, 4]


def test_the_code_on_the_screen_is_the_explorers_own(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(layer=1, strength=0.5)))
    explorer.wait()
    scripts = {s["face"]: s for s in explorer.answer["scripts"]}
    assert list(scripts) == ["vene_widgets", "intervenable", "pyvene"]
    assert scripts["vene_widgets"]["text"] == explorer.code() and "strength=0.5" in explorer.code()
    assert scripts["pyvene"]["text"] is None and "has strength 0.5" in scripts["pyvene"]["why"]
    names = {"hf_model": explorer.model.model, "tokenizer": explorer.model.tokenizer}
    exec(explorer.code(), names)  # noqa: S102
    assert torch.equal(names["logits"], explorer.run.logits)  # type: ignore[arg-type]
    before = explorer.experiment.replace(slots=())
    assert "# changed" in explorer.code(since=before)


def test_what_is_taken_can_be_changed_without_changing_the_screen(make: Make) -> None:
    """Tables and figures are the user's own copies: the next ones are as before."""
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    before = {name: frame.copy() for name, frame in explorer.tables().items()}
    for frame in (*explorer.tables().values(), explorer.map_frame, explorer.frame):
        del frame[frame.columns[0]]
    for kind in ("token_heatmap", "difference_panel", "sweep_map"):
        shown: Any = explorer.feature(FigureFeature).snapshot(kind).order.frames[kind]
        del shown[shown.columns[0]]
    for name, frame in explorer.tables().items():
        pd.testing.assert_frame_equal(frame, before[name])
        assert frame.attrs == before[name].attrs
