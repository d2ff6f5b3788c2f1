"""Maps for the screen: readings against independent formulas, idle tiles, typed tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from engine_testing import check_same_frame
from explorer_testing import SilentPainter, ask, count_calls

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.explorer.session import map_builder
from vene_widgets.explorer.session.map import MAX_TYPED_TOKENS, MapFeature
from vene_widgets.sweeps.cells import sweep_rows
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.sweeps.preparing import PreparedSweep, prepare_sweep
from vene_widgets.tables.metrics import METRICS, MetricName
from vene_widgets.tables.statistics import default_targets

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


def prepared(model: vw.LanguageModel, component: str = "block_output") -> PreparedSweep:
    return prepare_sweep(plan_sweep(model, BASE, SOURCE, SweepRequest(component=component)))


def filled(
    model: vw.LanguageModel, typed: dict[int, str] | None = None, component: str = "block_output"
) -> map_builder.MapBuilder:
    ready = prepared(model, component)
    filling = map_builder.MapBuilder([ready], 7, typed or {})
    for row in sweep_rows(ready):
        filling.add_row(row)
    return filling


def logits_of(model: vw.LanguageModel) -> torch.Tensor:
    """`(cells, vocabulary)`, layer by layer."""
    return torch.cat([row.logits for row in sweep_rows(prepared(model))])


# ---- what a map carries -------------------------------------------------------------------------


def test_a_map_carries_what_both_runs_and_its_cells_find_likely(tiny_gpt2: vw.LanguageModel):
    ready, shown = prepared(tiny_gpt2), filled(tiny_gpt2).map()
    ids = [target.token_id for target in shown.targets]
    assert len(ids) == len(set(ids)) <= map_builder.TARGETS
    for logits in (ready.base_logits, ready.source_logits):
        assert set(logits.topk(10).indices.tolist()) <= set(ids)
    p_base, p_source = ready.base_logits.softmax(-1), ready.source_logits.softmax(-1)
    target, other = default_targets(p_base, p_source)
    assert (ids[:2], shown.target) == ([other, target], target)
    likely = {c.token_id for cell in shown.cells for c in cell.top[: map_builder.CELL_TOP]}
    assert likely <= set(ids) or len(ids) == map_builder.TARGETS
    assert (shown.done, shown.total, shown.revision) == (len(shown.cells), 15, 7)


def test_every_number_is_that_of_the_cells_own_distribution(tiny_gpt2: vw.LanguageModel):
    shown, logits = filled(tiny_gpt2).map(), logits_of(tiny_gpt2)
    base = prepared(tiny_gpt2).base_logits.double().log_softmax(-1)
    for cell, row in zip(shown.cells, logits.double(), strict=True):
        log_p = row.log_softmax(-1)
        order = torch.sort(row, descending=True, stable=True).indices.tolist()
        assert len(cell.probabilities) == len(cell.ranks) == len(shown.targets)
        for target, p, rank in zip(shown.targets, cell.probabilities, cell.ranks, strict=True):
            assert p == pytest.approx(log_p[target.token_id].exp().item(), abs=1e-12)
            assert order[rank - 1] == target.token_id
        assert cell.kl == pytest.approx((log_p.exp() * (log_p - base)).sum().item(), abs=1e-9)
        assert [c.token_id for c in cell.top] == order[:10]


def test_a_map_too_large_to_hold_carries_the_plain_runs_tokens(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    whole = filled(tiny_gpt2).map()
    monkeypatch.setattr(map_builder, "HOLD_BYTES", 0)
    shown = filled(tiny_gpt2).map()
    count = len(shown.targets)
    assert 10 <= count <= 20 and shown.targets == whole.targets[:count]
    assert [c.ranks for c in shown.cells] == [c.ranks[:count] for c in whole.cells]


# ---- idle tiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "component", ["block_output", "value_output", "query_output", "block_input"]
)
def test_tiles_are_idle_exactly_where_the_answer_is_the_bases(
    tiny_gpt2: vw.LanguageModel, component: str
):
    """Every cell runs in full here, so that the reason is tested, not the shortcut."""
    plan = plan_sweep(tiny_gpt2, BASE, SOURCE, SweepRequest(component=component))
    ready = prepare_sweep(plan)
    last = tiny_gpt2.sites.layers - 1
    base = vw.run(tiny_gpt2, vw.Experiment(base=BASE)).logits[-1]
    for layer in plan.layers:
        for column, position in enumerate(plan.positions):
            slot = vw.Slot(layer=layer, position=position, component=component, source="s")
            experiment = vw.Experiment(base=BASE, sources={"s": SOURCE}, slots=[slot])
            changed = not torch.equal(vw.run(tiny_gpt2, experiment).logits[-1], base)
            why = map_builder.idle_reason(ready, layer, column)
            assert changed == (why is None), (layer, position)
            # Before the first attention a state depends on its own token alone.
            own = layer == 0 and component != "block_output"
            alike = own and plan.base[position].id == plan.source[position].id
            if why is not None:
                wanted = "same" if alike or position < plan.first_difference else "causal"
                assert why == wanted and (why == "same" or layer == last)


def test_idle_tiles_say_exactly_why(tiny_gpt2: vw.LanguageModel):
    cells = {(c.layer, c.position): c for c in filled(tiny_gpt2).map().cells}
    same, causal = cells[0, 2], cells[tiny_gpt2.sites.layers - 1, 3]
    assert (same.idle, causal.idle, cells[0, 3].idle) == ("same", "causal", None)
    assert same.sentence.startswith("Base and source are identical up to “of”")
    assert causal.sentence.startswith(f"Nothing after block {causal.layer} reads this position")
    assert cells[0, 3].sentence.startswith("Patching “Spain” with “Italy” after block 0 ")
    assert cells[0, 4].sentence.startswith("Patching the last token (“is”) after block 0 ")
    early = {
        (c.layer, c.position): c for c in filled(tiny_gpt2, component="block_input").map().cells
    }
    assert early[0, 4].idle == "same" and "both have “is” here" in early[0, 4].sentence
    assert early[1, 4].idle is None


def test_a_slow_sweep_says_why(tiny_gpt2: vw.LanguageModel):
    ready = prepared(tiny_gpt2)
    assert map_builder.MapBuilder([ready], 1, {}).map().slow is None
    behaviour = replace(ready.behaviour, resume_blocker="the model carries hooks of its own")
    slow = replace(ready, runs=replace(ready.runs, behaviour=behaviour))
    assert map_builder.MapBuilder([slow], 1, {}).map().slow == "the model carries hooks of its own"


# ---- operators and heads ------------------------------------------------------------------------

MAPS = [
    {"component": "block_output", "intervention": "zero"},
    {"component": "mlp_output", "intervention": "noise"},
    {"component": "block_output", "intervention": "mean"},
    {"component": "head_value_output", "head": "all", "layer": 1},
    {"component": "head_value_output", "head": "all", "layer": 2, "intervention": "mean"},
]


def slot_of(cell: dict[str, Any], shown: dict[str, Any]) -> vw.Slot:
    """The slot that a click on a tile makes."""
    name = shown["intervention"]
    places = {"vanilla": {"source": shown["source"]}, "mean": {"prompts": shown["prompts"]}}
    if name in places:
        places[name]["source_position"] = cell["source_position"]
    return vw.Slot(
        layer=cell["layer"],
        position=cell["position"],
        component=shown["component"],
        head=cell["head"],
        intervention=name,
        **places.get(name, {}),
    )


@pytest.mark.parametrize("asked", MAPS, ids=str)
@pytest.mark.parametrize("source", [SOURCE, "The big capital of Italy is"])
def test_every_tile_is_the_single_run_of_its_slot(
    tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter, asked: dict[str, Any], source: str
):
    with_map = vw.explore(BASE, source, tiny_gpt2).wait(30)
    try:
        assert ask(with_map, kind="sweep", **asked)["ok"]
        shown, experiment = with_map.map, with_map.experiment
    finally:
        with_map.close()
    assert shown["done"] == shown["total"] == len(shown["cells"])
    by_head = asked.get("head") == "all"
    assert (shown["head"], shown["layer"]) == (asked.get("head"), asked.get("layer"))
    rows = [(cell["layer"], cell["head"]) for cell in shown["cells"][:: len(shown["positions"])]]
    heads = tiny_gpt2.sites.heads
    assert (
        rows == [(asked["layer"], h) for h in range(heads)]
        if by_head
        else [(layer, None) for layer in range(3)]
    )
    base = vw.run(tiny_gpt2, vw.Experiment(base=BASE)).logits[-1]
    ids = [target["token_id"] for target in shown["targets"]]
    for cell in shown["cells"]:
        run = vw.run(tiny_gpt2, experiment.replace(slots=(slot_of(cell, shown),)))
        wanted = run.logits[-1].double().softmax(-1)[ids].tolist()
        assert cell["probabilities"] == pytest.approx(wanted, abs=1e-6)
        if cell["idle"] is not None:
            assert torch.equal(run.logits[-1], base)


@pytest.mark.parametrize("name", ["zero", "noise", "mean"])
def test_other_operators_are_idle_only_where_no_path_leads_on(
    explorer: vw.Explorer, tiny_gpt2: vw.LanguageModel, name: str
):
    assert ask(explorer, kind="sweep", component="block_output", intervention=name)["ok"]
    last = tiny_gpt2.sites.layers - 1
    for cell in explorer.map["cells"]:
        is_idle = cell["layer"] == last and cell["position"] < 4
        assert cell["idle"] == ("causal" if is_idle else None)
    assert explorer.map["operator"] == ("mean over 2 prompts" if name == "mean" else name)
    # What is removed shows in the base's own answer.
    assert (
        explorer.map["target"] == max(explorer.map["targets"], key=lambda t: t["base"])["token_id"]
    )
    begins = {"zero": "Zeroing ", "noise": "Adding noise to ", "mean": "Setting "}
    sentence = explorer.map["cells"][3]["sentence"]
    assert sentence.startswith(begins[name] + "“Spain”")
    assert ("to its mean over 2 prompts after block 0" in sentence) == (name == "mean")


def test_a_mean_over_prompts_of_other_lengths_names_the_tokens(capitals: vw.LanguageModel):
    base, source = "The capital of Spain is", "The capital of New Zealand is"
    explorer = vw.explore(base, source, capitals)
    explorer.wait()
    explorer.send = lambda *_args, **_named: None
    sweep = {"kind": "sweep", "component": "mlp_output", "intervention": "mean"}
    explorer.receive({"id": "r", **sweep})
    explorer.wait()
    sentence = explorer.map["cells"][3]["sentence"]
    # Position 3 of the source is the first piece of its two words.
    assert "Setting “Spain” to its mean over 2 prompts (“Spain” and “N”) at the MLP" in sentence
    slots = [vw.Slot(layer=0, position=3, intervention="mean", prompts=[base, source])]
    explorer.experiment = explorer.experiment.replace(slots=slots)
    explorer.wait()
    assert "to its mean over 2 prompts (“Spain” and “N”) after" in explorer.answer["sentence"]
    explorer.close()


def test_a_mean_is_over_every_prompt_of_the_experiment(explorer: vw.Explorer):
    third = "The capital of France is"
    assert ask(explorer, kind="sweep", component="block_output", intervention="mean")["ok"]
    assert explorer.map["prompts"] == [BASE, SOURCE]
    sources = {**explorer.experiment.sources, "france": third}
    explorer.experiment = explorer.experiment.replace(sources=sources)
    explorer.wait(30)
    assert explorer.map["prompts"] == [BASE, SOURCE, third]
    # One prompt is its own mean: nothing to see, so the map zeroes.
    explorer.experiment = vw.Experiment(base=BASE)
    explorer.wait(30)
    assert (explorer.map["intervention"], explorer.map["prompts"]) == ("zero", [])


def test_a_map_of_heads_is_refused_where_there_are_none(explorer: vw.Explorer):
    before = explorer.map
    reply = ask(explorer, kind="sweep", component="block_output", head="all", layer=1)
    assert "head 'all' is invalid for component 'block_output'" in reply["error"]
    assert explorer.map == before


# ---- typed tokens -------------------------------------------------------------------------------


def absent(model: vw.LanguageModel) -> int:
    """A token that the finished map does not carry."""
    ids = {target.token_id for target in filled(model).map().targets}
    return next(i for i in range(model.sites.vocabulary) if i not in ids)


def test_a_typed_token_is_read_from_kept_logits_or_by_a_sweep_with_equal_numbers(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    token = absent(tiny_gpt2)
    held = filled(tiny_gpt2)
    assert list(held.track_tokens({token: "r"})) == []
    monkeypatch.setattr(map_builder, "KEEP_BYTES", 0)
    again = filled(tiny_gpt2)
    parts = list(again.track_tokens({token: "r"}))
    assert parts == sorted(parts) and parts[-1] == 1.0
    assert held.map() == again.map()
    assert (held.map().targets[-1].token_id, held.map().targets[-1].request) == (token, "r")
    logits = logits_of(tiny_gpt2).double().softmax(-1)
    found = [cell.probabilities[-1] for cell in again.map().cells]
    assert found == pytest.approx(logits[:, token].tolist(), abs=1e-12)


def test_a_token_that_is_there_is_only_marked_with_its_request(tiny_gpt2: vw.LanguageModel):
    filling = filled(tiny_gpt2)
    before = filling.map()
    assert list(filling.track_tokens({before.targets[1].token_id: "r"})) == []
    assert filling.map().cells == before.cells
    assert [t.request for t in filling.map().targets][:3] == [None, "r", None]


def test_typed_tokens_are_carried_from_the_first_layer_on(tiny_gpt2: vw.LanguageModel):
    token = absent(tiny_gpt2)
    ready = prepared(tiny_gpt2)
    filling = map_builder.MapBuilder([ready], 1, {token: "r"})
    filling.add_row(next(sweep_rows(ready)))
    shown = filling.map()
    assert shown.done == 5 and shown.targets[-1].token_id == token
    assert all(len(cell.ranks) == len(shown.targets) for cell in shown.cells)


def test_typed_tokens_are_checked(tiny_gpt2: vw.LanguageModel):
    assert tiny_gpt2.resolve_token(3) == 3
    assert tiny_gpt2.resolve_token(tiny_gpt2.token_text(40)) == 40
    with pytest.raises(RequestError, match=r"is \d+ tokens, \["):
        tiny_gpt2.resolve_token(" Rome and Madrid")
    for outside in (-1, tiny_gpt2.sites.vocabulary):
        with pytest.raises(RequestError, match=f"{outside} is out of range: ids go from 0 to"):
            tiny_gpt2.resolve_token(outside)


# ---- on the screen ------------------------------------------------------------------------------


@pytest.fixture
def explorer(tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[vw.Explorer]:
    with_map = vw.explore(BASE, SOURCE, tiny_gpt2).wait(30)
    yield with_map
    with_map.close()


def follow(explorer: vw.Explorer, token: str | int, name: str = "r") -> dict[str, Any]:
    return ask(explorer, id=name, kind="follow", token=token)


def test_the_menu_is_the_registry(explorer: vw.Explorer):
    assert list(METRICS) == list(get_args(MetricName))
    sent = {info["name"]: info for info in explorer.scene["model"]["metrics"]}
    assert list(sent) == list(METRICS)
    for name, metric in METRICS.items():
        info = sent[name]
        assert (info["title"], info["unit"]) == (metric.title, metric.unit)
        assert info["label"] == metric.label
        assert (info["formula"], info["scale"]) == (metric.formula, metric.scale)
        assert (info["low"], info["high"]) == metric.range
        assert info["of_pair"] == ("u" in metric.title.replace("(u)", " u ").split())


def test_a_typed_token_comes_onto_the_map_and_stays_for_the_next_prompts(
    explorer: vw.Explorer, tiny_gpt2: vw.LanguageModel
):
    token = absent(tiny_gpt2)
    assert follow(explorer, token)["ok"]
    named = {t["request"]: t["token_id"] for t in explorer.map["targets"]}
    assert named["r"] == token
    explorer.experiment = explorer.experiment.replace(base="The capital of France is")
    explorer.wait(30)
    assert token in [t["token_id"] for t in explorer.map["targets"]]
    assert explorer.map["done"] == explorer.map["total"]


def test_what_is_no_token_is_refused_and_changes_nothing(explorer: vw.Explorer):
    before = explorer.map
    reply = follow(explorer, "Rome and Madrid")
    assert not reply["ok"] and "expected exactly one" in reply["error"]
    assert explorer.map == before


def test_only_the_newest_typed_tokens_are_kept(explorer: vw.Explorer):
    for token in range(MAX_TYPED_TOKENS + 3):
        assert follow(explorer, token, f"r{token}")["ok"]
    assert list(explorer.feature(MapFeature).typed) == list(range(3, MAX_TYPED_TOKENS + 3))
    assert explorer.map["targets"][-1]["label"]


def test_statistics_are_computed_once_per_layer_for_map_and_frame(
    explorer: vw.Explorer, tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    calls, modules = count_calls(monkeypatch, "cell_statistics")
    assert modules >= {"tables.statistics", "tables.frames", "explorer.session.map_builder"}
    assert ask(explorer, kind="sweep", component="mlp_output")["ok"]
    frame = explorer.map_frame
    assert explorer.map["component"] == "mlp_output" and len(explorer.map["cells"]) == 15
    vocabulary = tiny_gpt2.sites.vocabulary
    assert [tuple(logits.shape) for logits, *_ in calls] == 3 * [(5, vocabulary)]
    swept = vw.sweep(tiny_gpt2, BASE, SOURCE, "mlp_output", cache=vw.ActivationCache())
    check_same_frame(frame, swept.frame, tiny_gpt2.device)
    assert len(calls) > 3  # the sweep's own were counted too


def test_the_frame_follows_the_tokens_that_the_map_shows_first(explorer: vw.Explorer):
    first = [t["token_id"] for t in explorer.map["targets"][:2]]
    assert list(explorer.map_frame["target_id"].unique()) == first
    assert explorer.map["target"] == first[1]
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["image/png"].startswith(b"\x89PNG")
