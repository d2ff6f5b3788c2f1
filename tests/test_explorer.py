"""The explorer's kernel half: requests in, traits out, the last good state stays."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from explorer_testing import SilentPainter, ask, count_calls

import vene_widgets as vw
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.explorer.export import static_files
from vene_widgets.explorer.painter.orders import Picture
from vene_widgets.explorer.session.figure import FIGURES, FigureFeature
from vene_widgets.explorer.wire import messages
from vene_widgets.interventions import INTERVENTIONS, unregister

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


Make = Callable[..., vw.Explorer]


@pytest.fixture
def make(tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Make]:
    made: list[vw.Explorer] = []

    def make(base: str = BASE, source: Any = SOURCE, **options: Any) -> vw.Explorer:
        options.setdefault("model", tiny_gpt2)
        made.append(vw.explore(base, source, **options))
        return made[-1].wait(30)

    yield make
    for explorer in made:
        explorer.close()


def slot(layer: int = 0, position: int | list[int] = 3, **more: Any) -> dict[str, Any]:
    return {"layer": layer, "position": position, **more}


def setting(*slots: dict[str, Any], base: str = BASE, source: str = SOURCE) -> dict[str, Any]:
    experiment = {"base": base, "sources": {"source": source}, "slots": list(slots)}
    return {"kind": "experiment", "experiment": experiment}


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


def test_a_skipped_slot_keeps_its_index(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3, skip=True), slot(1, 3)))
    assert [s["skip"] for s in explorer.scene["slots"]] == [True, False]
    assert [(r["index"], r["skipped"], r["fired"]) for r in explorer.answer["receipts"]] == [
        (0, True, False),
        (1, False, True),
    ]
    alone = vw.run(
        explorer.model,
        vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(layer=1, position=3)]),
    )
    assert torch.equal(explorer.run.logits, alone.logits)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (setting(slot(layer=9)), "layer 9 is out of range"),
        (setting(slot(position=17)), "17 is out of range"),
        (setting(slot(component="block_outputt")), "Did you mean 'block_output'"),
        (setting(slot(colour="red")), "colour"),
        (setting(base=""), "base '' is empty"),
        ({"kind": "sweep", "component": "nowhere"}, "nowhere"),
        ({"kind": "sweep", "component": "head_query_output"}, "needs a head"),
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


def test_the_menu_says_what_each_operator_needs(make: Make) -> None:
    kinds = {kind["name"]: kind for kind in make().scene["model"]["interventions"]}
    assert set(BUILT_IN) <= set(kinds)
    for name, kind in kinds.items():
        assert kind["formula"] == INTERVENTIONS[name].formula
        assert kind["needs_source"] == INTERVENTIONS[name].needs_source
    assert [n for n in BUILT_IN if kinds[n]["needs_rank"]] == ["low_rank_rotated_space"]
    assert [n for n in BUILT_IN if kinds[n]["takes_rank"]] == [
        "low_rank_rotated_space",
        "pca_rotated_space",
    ]
    assert [n for n in BUILT_IN if not kinds[n]["has_weights"]] == [
        *("vanilla", "addition", "subtraction", "zero", "mean", "noise", "collect")
    ]


def test_a_user_defined_operator_is_in_the_menu(make: Make) -> None:
    vw.register("halved", lambda base, _source: base / 2, needs_source=False)
    try:
        explorer = make()
        mine = explorer.scene["model"]["interventions"][-1]
        assert (mine["name"], mine["needs_source"], mine["has_weights"]) == ("halved", False, False)
        assert ask(explorer, **setting(slot(intervention="halved")))["ok"]
        assert explorer.answer["sentence"].startswith("Applying halved to “Spain” after block 0 ")
    finally:
        unregister("halved")


def test_a_row_has_what_its_controls_need(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    part = {"a": [0, 1], "b": [1, 2]}
    low = {"intervention": "low_rank_rotated_space", "rank": 2, "partition": part, "link": "L1"}
    reply = ask(
        explorer,
        **setting(
            slot(0, subspace="a", strength=0.5, **low),
            slot(1, subspace="b", **low),
            slot(2, subspace="0:3"),
        ),
    )
    assert reply["ok"], reply
    one, two, three = explorer.scene["slots"]
    assert (one["intervention"], one["rank"], one["strength"]) == (low["intervention"], 2, 0.5)
    assert one["partition"] == part and one["link"] == two["link"] == "L1"
    assert (one["subspace"], one["dims"], one["coordinates"]) == ("a", [0], 2)
    assert (two["subspace"], two["dims"]) == ("b", [1])
    width = tiny_gpt2.sites.site(2, "block_output").width
    assert (three["subspace"], three["dims"], three["coordinates"]) == ("0:3", [0, 1, 2], width)
    assert torch.equal(explorer.run.logits, vw.run(tiny_gpt2, explorer.experiment).logits)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"intervention": "zero"}, "Zeroing “Spain” after block 0 "),
        ({"intervention": "noise", "seed": 3}, "Adding noise to “Spain” after block 0 "),
        ({"intervention": "collect"}, "Collecting “Spain” after block 0 leaves the prediction at"),
        (
            {"intervention": "mean", "prompts": [SOURCE, "The capital of France is"]},
            "Setting “Spain” to its mean over 2 prompts after block 0 ",
        ),
    ],
)
@pytest.mark.parametrize("source", [SOURCE, {}])
def test_slots_that_read_no_source(
    make: Make, more: dict[str, Any], message: str, source: Any
) -> None:
    explorer = make(source=source)
    sources = {"source": source} if source else {}
    experiment = {"base": BASE, "sources": sources, "slots": [slot(**more)]}
    assert ask(explorer, kind="experiment", experiment=experiment)["ok"]
    assert explorer.status["error"] is None
    (row,) = explorer.scene["slots"]
    assert (row["source"], row["source_positions"], row["base_positions"]) == (None, [], [3])
    assert explorer.answer["runs"][-1]["role"] == "intervened"
    assert explorer.result.source is None
    assert explorer.answer["sentence"].startswith(message)
    assert "neither prompt" not in explorer.answer["sentence"]
    assert not explorer.answer["receipts"][0]["idle"]
    assert torch.equal(explorer.run.logits, vw.run(explorer.model, explorer.experiment).logits)
    for kind in ("result", "difference_panel"):
        assert explorer.figure(kind) is not None


def test_a_source_that_is_not_read_stays_named(make: Make) -> None:
    explorer = make()
    assert ask(explorer, **setting(slot(intervention="zero", source="source")))["ok"]
    assert explorer.scene["slots"][0]["source"] is None
    assert explorer.scene["experiment"]["slots"][0]["source"] == "source"
    assert explorer.result.source is None


def test_an_idle_slot_is_reported(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 1), slot(0, 3), slot(0, 2, skip=True)))
    assert [r["idle"] for r in explorer.answer["receipts"]] == [True, False, False]
    assert explorer.answer["receipts"][0]["words"] == (
        "No effect: base and source are identical up to “capital”."
    )
    assert explorer.answer["sentence"].startswith("3 slots (1 skipped) ")
    assert "no effect" not in explorer.answer["sentence"]
    ask(explorer, **setting(slot(0, 3), slot(0, 2, skip=True)))
    assert re.match(r"2 slots \(1 skipped\) (turn|leave) ", explorer.answer["sentence"])
    ask(explorer, **setting(slot(0, 1), slot(1, 2)))
    best = explorer.answer["runs"][0]["top"][0]
    message = explorer.answer["sentence"]
    assert message.startswith("2 slots together have no effect: the states are already the same.")
    assert best["label"].removeprefix("␣") in message
    ask(explorer, **setting(slot(0, 1)))
    assert explorer.answer["sentence"].startswith(
        "Patching “capital” after block 0 has no effect: the state is already this one."
    )
    ask(explorer, **setting(slot(0, 1, strength=0.0)))
    assert not explorer.answer["receipts"][0]["idle"]


def test_serial_mode_says_on_whose_run_a_slot_acts(make: Make) -> None:
    explorer = make(source={"one": SOURCE, "two": "The capital of France is"})
    chain = [vw.Slot(layer=0, position=3, source="one"), vw.Slot(layer=1, position=4, source="two")]
    explorer.experiment = explorer.experiment.replace(slots=chain, mode="serial")
    assert [row["target"] for row in explorer.scene["slots"]] == ["two", None]
    assert explorer.scene["experiment"]["mode"] == "serial"
    assert torch.equal(explorer.run.logits, vw.run(explorer.model, explorer.experiment).logits)
    parallel = explorer.experiment.replace(mode="parallel")
    assert not torch.equal(explorer.run.logits, vw.run(explorer.model, parallel).logits)
    explorer.experiment = explorer.experiment.replace(slots=chain[:1])
    assert (
        explorer.wait(30)
        .answer["sentence"]
        .startswith(
            "Patching “France” with “Italy” after block 0 in the run of “two” has no effect: the "
            "forward pass does not reach this site."
        )
    )
    assert explorer.answer["receipts"][0]["idle"]


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


def test_a_late_figure_never_shows(make: Make, silent_painter: SilentPainter) -> None:
    explorer = make()
    order, done = silent_painter.orders[-1]
    assert set(order.frames) == {"token_heatmap", "difference_panel"}
    ask(explorer, **setting(slot()))
    done(Picture(b"old", 1, 1, "old"), None)
    assert explorer.picture == {}
    silent_painter.orders[-1][1](Picture(b"new", 3, 2, "the result"), None)
    assert explorer.picture["png"] == b"new" and explorer.picture["alt"] == "the result"
    assert explorer.picture["revision"] == explorer.scene["revision"]


def test_a_new_map_is_drawn_if_the_figure_is_a_map(
    make: Make, silent_painter: SilentPainter
) -> None:
    explorer = make()
    ask(explorer, kind="sweep", component="mlp_output")
    assert {order.kind for order, _ in silent_painter.orders} == {"result"}
    ask(explorer, kind="figure", figure="sweep_map")
    ask(explorer, kind="sweep", component="attention_output")
    drawn = [order for order, _ in silent_painter.orders if order.kind == "sweep_map"]
    assert [set(order.frames["sweep_map"].component) for order in drawn] == [
        {"mlp_output"},
        {"attention_output"},
    ]


def test_a_figure_that_fails_says_so(make: Make, silent_painter: SilentPainter) -> None:
    explorer = make()
    silent_painter.orders[-1][1](None, "the figure process ended")
    assert "the figure process ended" in explorer.status["error"]
    ask(explorer, **setting(slot()))
    assert explorer.status["error"] is None


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_can_be_taken(make: Make, kind: str) -> None:
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    assert type(explorer.figure(kind)).__module__.startswith("plotnine")


def test_what_is_shown_can_be_taken(make: Make) -> None:
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    assert list(explorer.runs) == ["base", "source", "intervened"]
    assert set(explorer.frame["run"]) == {"base", "source", "intervened"}
    assert len(explorer.map_frame) == 15 * 2  # the two runs' answers
    assert "<Explorer of 'tiny" in repr(explorer)


def test_viewers_without_scripts_get_a_picture_and_a_sentence(make: Make) -> None:
    explorer = make(slots=[vw.Slot(layer=0, position=3)])
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"].startswith("Patching “Spain” with “Italy” after block 0")
    assert "application/vnd.jupyter.widget-view+json" in data


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


REASONS = [
    ([slot(0, 3)], ["changed"]),
    ([slot(0, 1)], ["prefix"]),
    ([slot(0, 3, strength=0)], ["weak"]),
    ([slot(0, 3, skip=True)], ["skipped"]),
    ([slot(0, 3, intervention="collect")], ["collected"]),
    ([slot(0, 3, intervention="zero"), slot(0, 3, intervention="zero")], ["replaced", "same"]),
    ([slot(0, 3), slot(0, 3, intervention="zero")], ["replaced", "changed"]),
    ([slot(0, 3), slot(0, 3, intervention="zero", strength=0.5)], ["changed", "changed"]),
    ([slot(0, 3), slot(0, 3, intervention="zero", subspace="0:2")], ["changed", "changed"]),
    ([slot(0, [3, 4]), slot(0, 3, intervention="zero")], ["changed", "changed"]),
    ([slot(0, 3), slot(0, 3, intervention="zero", skip=True)], ["changed", "skipped"]),
    ([slot(2, 3)], ["unread"]),
    ([slot(2, 3, component="value_output")], ["changed"]),
    ([slot(2, [3, 4])], ["changed"]),
]


@pytest.mark.parametrize(("slots", "reasons"), REASONS)
def test_every_slot_has_the_reason_for_its_outcome(
    make: Make, slots: list[dict[str, Any]], reasons: list[str]
) -> None:
    explorer = make()
    assert ask(explorer, **setting(*slots))["ok"]
    receipts = explorer.answer["receipts"]
    assert [r["reason"] for r in receipts] == reasons
    assert [r["index"] for r in receipts] == list(range(len(slots)))
    # Outcomes without effect leave the result unchanged, and the others change it.
    run, *more = explorer.answer["runs"]
    same = all(r["top"] == run["top"] for r in more if r["role"] == "intervened")
    inert = {"prefix", "weak", "skipped", "collected", "unread"}
    assert same == (set(reasons) <= inert)
    assert all(r["words"].endswith(".") for r in receipts)


def test_a_replaced_slot_names_the_later_one(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 3), slot(1, 4), slot(0, 3, intervention="zero")))
    replaced = explorer.answer["receipts"][0]
    assert "but slot 2 overwrites" in replaced["words"]
    alone = ask(explorer, **setting(slot(1, 4), slot(0, 3, intervention="zero")))
    assert alone["ok"] and replaced["others_equal"] and replaced["shape"] == [1, 5, 24]


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
