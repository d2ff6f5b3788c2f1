"""Maps for the screen: readings against independent formulas, idle tiles, typed tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.explorer.painter import painter as render
from vene_widgets.explorer.session import map_builder as maps
from vene_widgets.explorer.session import session as screen
from vene_widgets.sweeps.cells import Prepared, prepare, sweep_layers
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.tables.metrics import METRICS, MetricName

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


def prepared(model: vw.LanguageModel, component: str = "block_output") -> Prepared:
    return prepare(plan_sweep(model, BASE, SOURCE, component))


def filled(
    model: vw.LanguageModel, typed: dict[int, str] | None = None, component: str = "block_output"
) -> maps.Filling:
    ready = prepared(model, component)
    filling = maps.Filling(ready, "italy", 7, typed or {})
    for row in sweep_layers(ready):
        filling.add(row)
    return filling


def logits_of(model: vw.LanguageModel) -> torch.Tensor:
    """`(cells, vocabulary)`, layer by layer."""
    return torch.cat([row.logits for row in sweep_layers(prepared(model))])


# ---- readings -----------------------------------------------------------------------------------


def test_readings_are_softmax_and_place_in_the_sorted_vocabulary():
    torch.manual_seed(0)
    logits = torch.randint(-2, 3, (4, 30)).float()  # few different numbers, so almost all tie
    tokens = [0, 29, 7]
    probabilities, ranks = maps.readings(logits, tokens)
    for row, ps, places in zip(logits.tolist(), probabilities, ranks, strict=True):
        order = sorted(range(30), key=lambda i: (-row[i], i))
        assert places == [order.index(token) + 1 for token in tokens]
        total = math.fsum(map(math.exp, row))
        assert ps == pytest.approx([math.exp(row[token]) / total for token in tokens], abs=1e-12)


def test_top_ids_are_those_of_a_stable_sort():
    torch.manual_seed(1)
    logits = torch.randint(0, 4, (5, 40)).float()
    logits[4, 3] = float("nan")
    wanted = torch.sort(logits, descending=True, stable=True).indices[:, :10]
    assert maps.top_ids(logits, 10) == wanted.tolist()
    assert len(maps.top_ids(logits[:, :3], 10)[0]) == 3


# ---- what a map carries -------------------------------------------------------------------------


def test_a_map_carries_what_both_runs_and_its_cells_find_likely(tiny_gpt2: vw.LanguageModel):
    ready, shown = prepared(tiny_gpt2), filled(tiny_gpt2).map()
    ids = [target.token_id for target in shown.targets]
    assert len(ids) == len(set(ids)) <= maps.TARGETS
    for logits in (ready.base_logits, ready.source_logits):
        assert set(logits.topk(10).indices.tolist()) <= set(ids)
    assert ids[:2] == [int(ready.base_logits.argmax()), int(ready.source_logits.argmax())]
    likely = {c.token_id for cell in shown.cells for c in cell.top[: maps.CELL_TOP]}
    assert likely <= set(ids) or len(ids) == maps.TARGETS
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
    monkeypatch.setattr(maps, "HOLD_BYTES", 0)
    shown = filled(tiny_gpt2).map()
    count = len(shown.targets)
    assert 10 <= count <= 20 and shown.targets == whole.targets[:count]
    assert [c.ranks for c in shown.cells] == [c.ranks[:count] for c in whole.cells]


# ---- idle tiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "component", ["block_output", "value_output", "query_output", "block_input"]
)
def test_tiles_are_called_idle_where_the_answer_is_the_bases_and_nowhere_else(
    tiny_gpt2: vw.LanguageModel, component: str
):
    """Every cell runs in full here, so that the reason is tested, not the shortcut."""
    checked = plan_sweep(tiny_gpt2, BASE, SOURCE, component)
    last = tiny_gpt2.sites.layers - 1
    base = vw.run(tiny_gpt2, vw.Experiment(base=BASE)).logits[-1]
    for layer in checked.layers:
        for column, position in enumerate(checked.positions):
            slot = vw.Slot(layer=layer, position=position, component=component, source="s")
            experiment = vw.Experiment(base=BASE, sources={"s": SOURCE}, slots=[slot])
            changed = not torch.equal(vw.run(tiny_gpt2, experiment).logits[-1], base)
            why = maps.why_idle(checked, layer, column)
            assert changed == (why is None), (layer, position)
            # Before the first attention a state depends on its own token alone.
            own = layer == 0 and component != "block_output"
            alike = own and checked.base[position].id == checked.source[position].id
            if why is not None:
                wanted = "same" if alike or position < checked.first_difference else "causal"
                assert why == wanted and (why == "same" or layer == last)


def test_idle_tiles_say_exactly_why(tiny_gpt2: vw.LanguageModel):
    cells = {(c.layer, c.position): c for c in filled(tiny_gpt2).map().cells}
    same, causal = cells[0, 2], cells[tiny_gpt2.sites.layers - 1, 3]
    assert (same.idle, causal.idle, cells[0, 3].idle) == ("same", "causal", None)
    assert "up to and including “of”" in same.sentence and "zero" in same.sentence
    assert "“Spain”" in causal.sentence and "no later position" in causal.sentence
    early = {
        (c.layer, c.position): c for c in filled(tiny_gpt2, component="block_input").map().cells
    }
    assert early[0, 4].idle == "same" and "both have “is” here" in early[0, 4].sentence
    assert early[1, 4].idle is None


def test_a_slow_sweep_says_why(tiny_gpt2: vw.LanguageModel):
    ready = prepared(tiny_gpt2)
    assert maps.Filling(ready, "italy", 1, {}).map().slow is None
    slow = replace(ready, slow="the model carries hooks of its own")
    assert maps.Filling(slow, "italy", 1, {}).map().slow == "the model carries hooks of its own"


# ---- typed tokens -------------------------------------------------------------------------------


def absent(model: vw.LanguageModel) -> int:
    """A token that the finished map does not carry."""
    ids = {target.token_id for target in filled(model).map().targets}
    return next(i for i in range(model.sites.vocabulary) if i not in ids)


def test_a_typed_token_is_read_from_kept_logits_or_by_a_sweep_with_equal_numbers(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    token = absent(tiny_gpt2)
    kept = filled(tiny_gpt2)
    assert list(kept.follow({token: "r"})) == []
    monkeypatch.setattr(maps, "KEEP_BYTES", 0)
    again = filled(tiny_gpt2)
    parts = list(again.follow({token: "r"}))
    assert parts == sorted(parts) and parts[-1] == 1.0
    assert kept.map() == again.map()
    assert (kept.map().targets[-1].token_id, kept.map().targets[-1].request) == (token, "r")
    logits = logits_of(tiny_gpt2).double().softmax(-1)
    found = [cell.probabilities[-1] for cell in again.map().cells]
    assert found == pytest.approx(logits[:, token].tolist(), abs=1e-12)


def test_a_token_that_is_there_is_only_marked_with_its_request(tiny_gpt2: vw.LanguageModel):
    filling = filled(tiny_gpt2)
    before = filling.map()
    assert list(filling.follow({before.targets[1].token_id: "r"})) == []
    assert filling.map().cells == before.cells
    assert [t.request for t in filling.map().targets][:3] == [None, "r", None]


def test_typed_tokens_are_carried_from_the_first_layer_on(tiny_gpt2: vw.LanguageModel):
    token = absent(tiny_gpt2)
    ready = prepared(tiny_gpt2)
    filling = maps.Filling(ready, "italy", 1, {token: "r"})
    filling.add(next(sweep_layers(ready)))
    shown = filling.map()
    assert shown.done == 5 and shown.targets[-1].token_id == token
    assert all(len(cell.ranks) == len(shown.targets) for cell in shown.cells)


def test_typed_tokens_are_checked(tiny_gpt2: vw.LanguageModel):
    assert maps.token_of(tiny_gpt2, 3) == 3
    assert maps.token_of(tiny_gpt2, tiny_gpt2.token_text(40)) == 40
    with pytest.raises(RequestError, match=r"is \d+ tokens, \["):
        maps.token_of(tiny_gpt2, " Rome and Madrid")
    for outside in (-1, tiny_gpt2.sites.vocabulary):
        with pytest.raises(RequestError, match=f"{outside} is out of range: ids go from 0 to"):
            maps.token_of(tiny_gpt2, outside)


# ---- on the screen ------------------------------------------------------------------------------


@pytest.fixture
def explorer(tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[vw.Explorer]:
    class Silent:
        def draw(self, *_args: object) -> None: ...

    monkeypatch.setattr(render, "hire", lambda client: Silent())
    monkeypatch.setattr(render, "dismiss", lambda client: None)
    monkeypatch.setattr(screen, "built", lambda name: "")
    with_map = vw.explore(BASE, SOURCE, tiny_gpt2).wait(30)
    yield with_map
    with_map.close()


def ask(explorer: vw.Explorer, token: str | int, name: str = "r") -> dict[str, Any]:
    replies: list[dict[str, Any]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)
    explorer._receive(explorer, {"id": name, "kind": "follow", "token": token}, [])
    explorer._worker.wait("follow", 30)
    assert len(replies) == 1
    return replies[0]


def test_the_menu_is_the_registry(explorer: vw.Explorer):
    assert list(METRICS) == list(get_args(MetricName))
    sent = {info["name"]: info for info in explorer.scene["model"]["metrics"]}
    assert list(sent) == list(METRICS)
    for name, metric in METRICS.items():
        info = sent[name]
        assert (info["title"], info["unit"]) == (metric.title, metric.unit)
        assert (info["formula"], info["scale"]) == (metric.formula, metric.scale)
        assert (info["low"], info["high"]) == metric.range
        assert info["of_pair"] == ("u" in metric.title.replace("(u)", " u ").split())


def test_a_typed_token_comes_onto_the_map_and_stays_for_the_next_prompts(
    explorer: vw.Explorer, tiny_gpt2: vw.LanguageModel
):
    token = absent(tiny_gpt2)
    assert ask(explorer, token)["ok"]
    named = {t["request"]: t["token_id"] for t in explorer.map["targets"]}
    assert named["r"] == token
    explorer.experiment = explorer.experiment.replace(base="The capital of France is")
    explorer.wait(30)
    assert token in [t["token_id"] for t in explorer.map["targets"]]
    assert explorer.map["done"] == explorer.map["total"]


def test_what_is_no_token_is_refused_and_changes_nothing(explorer: vw.Explorer):
    before = explorer.map
    reply = ask(explorer, "Rome and Madrid")
    assert not reply["ok"] and "exactly one is needed" in reply["error"]
    assert explorer.map == before
    explorer.experiment = vw.Experiment(base=BASE)
    assert "add a source prompt" in ask(explorer.wait(30), 5)["error"]


def test_only_the_newest_typed_tokens_are_kept(explorer: vw.Explorer):
    for token in range(screen.TYPED + 3):
        assert ask(explorer, token, f"r{token}")["ok"]
    assert list(explorer._typed) == list(range(3, screen.TYPED + 3))
    assert explorer.map["targets"][-1]["label"]


def test_the_frame_and_the_still_picture_follow_the_two_answers(explorer: vw.Explorer):
    answers = {t["token_id"] for t in explorer.map["targets"][:2]}
    assert set(explorer.map_frame["target_id"]) <= answers
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["image/png"].startswith(b"\x89PNG")
