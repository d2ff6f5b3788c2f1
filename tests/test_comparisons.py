"""Comparisons of any two sides; the history: entries, names, which are dropped first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from explorer_testing import SilentPainter, ask

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.explorer.session import compare, history_records
from vene_widgets.explorer.session.history import HistoryFeature
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


@pytest.fixture
def explorer(tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[vw.Explorer]:
    made = vw.explore(BASE, {"italy": SOURCE}, tiny_gpt2)
    yield made.wait(30)
    made.close()


def grouped() -> vw.Experiment:
    return vw.Experiment(
        base=BASE,
        sources={"italy": SOURCE},
        slots=[
            vw.Slot(layer=0, position=3, source="italy", group="A"),
            vw.Slot(layer=1, position=4, source="italy", group="A"),
        ],
    )


def single(layer: int) -> vw.Experiment:
    slot = vw.Slot(layer=layer, position=" Spain", source="italy")
    return vw.Experiment(base=BASE, sources={"italy": SOURCE}, slots=[slot])


def show(explorer: vw.Explorer, experiment: vw.Experiment) -> None:
    explorer.experiment = experiment
    explorer.wait(30)


def on_wire(title: str, experiment: vw.Experiment, share: bool = True) -> dict[str, Any]:
    return {"title": title, "experiment": experiment.model_dump(), "share_sources": share}


# sides -------------------------------------------------------------------------------------------


def test_each_side_is_the_run_of_its_column(explorer: vw.Explorer) -> None:
    show(explorer, grouped())
    for name, run in explorer.runs.items():
        assert explorer.compare(name, name).verdict == "bit-equal"
        assert torch.equal(explorer.compare(name).left.logits, run.logits)
    alone = vw.run(explorer.model, grouped().replace(slots=grouped().slots[1:]))
    assert torch.equal(explorer.compare("slot 1").left.logits, alone.logits)
    assert explorer.compare("ungrouped").left.source_runs == 2
    assert explorer.compare("grouped").left.source_runs == 1


def test_a_comparison_is_vw_compare_of_the_two_runs(explorer: vw.Explorer) -> None:
    show(explorer, grouped())
    got = explorer.compare("base", "slot 0", tolerance=0.5)
    expected = vw.compare(
        vw.run(explorer.model, vw.Experiment(base=BASE)),
        vw.run(explorer.model, grouped().replace(slots=grouped().slots[:1])),
        tolerance=0.5,
    )
    assert got.verdict != "bit-equal" and got.first_divergence == 0
    assert (got.verdict, got.max_abs, got.words) == (
        expected.verdict,
        expected.max_abs,
        expected.words,
    )
    assert explorer.compare(single(1), "base").left.experiment == single(1)


def test_an_unknown_side_is_refused_with_the_valid_ones(explorer: vw.Explorer) -> None:
    with pytest.raises(vw.RequestError) as raised:
        explorer.compare("slot 0")
    for valid in ("'base'", "'italy'", "'#0'"):
        assert valid in str(raised.value)


# on the wire -------------------------------------------------------------------------------------


def test_the_answer_on_the_wire_is_the_comparison(explorer: vw.Explorer) -> None:
    show(explorer, grouped())
    left, right = on_wire("base", vw.Experiment(base=BASE)), on_wire("grouped", grouped(), False)
    assert ask(explorer, kind="compare", left=left, right=right)["ok"]
    got, expected = explorer.contrast, explorer.compare("base", "grouped")
    assert got["request"] == "r1" and got["error"] is None
    assert got["verdict"] == {
        "left": "base",
        "right": "grouped",
        "verdict": expected.verdict,
        "max_abs": expected.max_abs,
        "tolerance": expected.tolerance,
        "first_divergence": expected.first_divergence,
        "scope": "all positions",
        "words": expected.words,
    }
    assert got["kl"] == expected.kl > 0
    sides = expected.left, expected.right
    p = torch.stack([r.logits[-1].double().log_softmax(-1).exp() for r in sides])
    assert len(got["tokens"]) >= 10
    for row in got["tokens"]:
        wanted = p[:, row["token_id"]].tolist()
        assert row["probabilities"] == pytest.approx(wanted, rel=1e-12, abs=0)
    whole = expected.frame.set_index("token_id")
    changes = [abs(row["after"] - row["before"]) for row in got["differences"]]
    assert changes == sorted(changes, reverse=True)
    for row in got["differences"]:
        for name in ("before", "after", "kl", "rank_before", "rank_after"):
            assert row[name] == whole.loc[row["token_id"], name]


def test_prompts_of_unequal_length_are_compared_at_the_last_position(
    explorer: vw.Explorer,
) -> None:
    sides = [on_wire(t, vw.Experiment(base=t)) for t in (BASE, "The capital of")]
    ask(explorer, kind="compare", left=sides[0], right=sides[1])
    assert explorer.contrast["verdict"]["scope"] == "last position"


def test_an_invalid_side_is_refused_and_the_last_answer_stays(
    explorer: vw.Explorer,
) -> None:
    base = on_wire("base", vw.Experiment(base=BASE))
    ask(explorer, kind="compare", left=base, right=base)
    before = explorer.contrast
    assert before["verdict"]["verdict"] == "bit-equal"
    wrong = ask(explorer, kind="compare", left=base, right=on_wire("x", single(9)))
    assert not wrong["ok"] and "layer 9 is out of range" in wrong["error"]
    assert not ask(explorer, kind="compare", left=base)["ok"]
    assert explorer.contrast == before


def test_a_late_comparison_never_overwrites_a_newer_one(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is past its last step, about to be written, when the second is requested."""
    gate, reached = threading.Event(), threading.Event()
    real, seen = views.contrast, []

    def slow(request: wire.Compare, comparison: vw.Comparison) -> wire.Contrast:
        if request.id == "first":
            reached.set()
            assert gate.wait(10)
        return real(request, comparison)

    monkeypatch.setattr(views, "contrast", slow)
    explorer.observe(lambda change: seen.append(change["new"]["request"]), "contrast")
    base = on_wire("base", vw.Experiment(base=BASE))
    explorer.send = lambda content, buffers=None: None
    explorer.receive({"id": "first", "kind": "compare", "left": base, "right": base})
    assert reached.wait(10)
    explorer.receive({"id": "second", "kind": "compare", "left": base, "right": base})
    gate.set()
    explorer.wait(30)
    assert seen == ["second"]


def test_a_comparison_that_fails_or_is_cancelled_says_so(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> wire.Contrast:
        raise RuntimeError("out of memory")

    base = on_wire("base", vw.Experiment(base=BASE))
    with monkeypatch.context() as patch:
        patch.setattr(views, "contrast", broken)
        assert ask(explorer, kind="compare", left=base, right=base)["ok"]
    assert "out of memory" in explorer.contrast["error"]
    assert explorer.contrast["verdict"] is None
    assert explorer.status["error"] is None  # the answer on the screen is still valid

    gate = threading.Event()
    real = compare.run_side

    def slow(*arguments: Any) -> vw.Run:
        assert gate.wait(10)
        return real(*arguments)

    monkeypatch.setattr(compare, "run_side", slow)
    explorer.send = lambda content, buffers=None: None
    explorer.receive({"id": "c", "kind": "compare", "left": base, "right": base})
    explorer.receive({"id": "x", "kind": "cancel"})
    gate.set()
    explorer.wait(30)
    assert (explorer.contrast["request"], explorer.contrast["verdict"]) == ("c", None)
    assert "cancelled" in explorer.contrast["error"]


# history -----------------------------------------------------------------------------------------


def test_every_answered_experiment_is_kept_once(explorer: vw.Explorer) -> None:
    first = explorer.experiment
    for experiment in (single(0), grouped(), single(0), first):
        show(explorer, experiment)
    assert [entry.experiment for entry in explorer.history] == [first, single(0), grouped()]
    assert explorer.past["current"] == 0
    name, experiment, sentence = explorer.history[-1]
    assert (name, experiment) == (None, grouped())
    show(explorer, grouped())
    assert sentence == explorer.answer["sentence"]
    entry = explorer.past["entries"][-1]
    top = explorer.answer["runs"][-1]["top"][0]
    assert (entry["token_id"], entry["probability"]) == (top["token_id"], top["probability"])
    assert (entry["tokens"], entry["revision"]) == (5, explorer.answer["revision"])


def test_an_experiment_written_another_way_is_the_same_entry(explorer: vw.Explorer) -> None:
    show(explorer, single(1))  # by the token's text
    written = vw.Slot(layer=-2, position=[-2], source_position=[3])
    show(explorer, single(1).replace(slots=[written]))
    assert len(explorer.history) == 2
    settled = history_records.normal_form(plan_experiment(explorer.model, single(1)))
    assert settled.slots[0] == vw.Slot(layer=1, position=3, source="italy", source_position=3)
    assert history_records.normal_form(plan_experiment(explorer.model, settled)) == settled
    sent = explorer.past["entries"][1]["experiment"]
    assert vw.Experiment.model_validate({**sent, "sources": dict(sent["sources"])}) == settled
    assert "intervention" not in sent["slots"][0]  # defaults are not sent


def test_restore_by_name_title_and_place(explorer: vw.Explorer) -> None:
    first = explorer.experiment
    show(explorer, single(0))
    explorer.checkpoint("one swap")
    show(explorer, grouped())
    for key, expected in [
        ("one swap", single(0)),
        ("#0", first),
        (-1, grouped()),
        ("#1", single(0)),
    ]:
        explorer.restore(key)
        assert explorer.experiment == expected
    assert [entry.name for entry in explorer.history] == [None, "one swap", None]
    assert explorer.compare("one swap", single(0)).verdict == "bit-equal"
    with pytest.raises(vw.RequestError, match="Did you mean 'one swap'"):
        explorer.restore("one swop")
    with pytest.raises(
        vw.RequestError, match=r"3 is out of range: there are 3 entries\. Valid: 0 to 2"
    ):
        explorer.restore(3)


@pytest.mark.parametrize(
    ("number", "name", "message"),
    [
        (9, "x", "#9 does not exist. Valid: #0, #1."),
        (1, "base", "reserved for the sides of a comparison"),
        (1, "slot 3", "sides of a comparison"),
        (1, "#7", "sides of a comparison"),
        (1, "mine", "is taken by entry #0"),
        (1, "x" * 81, "80"),
    ],
)
def test_names_that_cannot_be(explorer: vw.Explorer, number: int, name: str, message: str) -> None:
    show(explorer, single(0))
    assert ask(explorer, kind="name", number=0, name=" mine ")["ok"]
    before = explorer.past
    assert [entry["name"] for entry in before["entries"]] == ["mine", None]
    reply = ask(explorer, kind="name", number=number, name=name)
    assert not reply["ok"] and message in reply["error"]
    assert explorer.past == before
    assert ask(explorer, kind="name", number=0, name=None)["ok"]
    assert explorer.history[0].name is None


def test_the_oldest_goes_first_and_what_has_a_name_stays(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_records, "MAX_UNNAMED", 1)
    monkeypatch.setattr(history_records, "MAX_NAMED", 1)
    explorer.checkpoint("start")
    for layer in (0, 1, 2):
        show(explorer, single(layer))
    assert [entry["number"] for entry in explorer.past["entries"]] == [0, 2, 3]
    assert [entry.name for entry in explorer.history] == ["start", None, None]
    with pytest.raises(vw.RequestError, match="exceeds the limit of 1 named entries"):
        explorer.checkpoint("another")
    explorer.restore(1)
    explorer.wait(30)
    show(explorer, grouped())
    assert [entry["number"] for entry in explorer.past["entries"]] == [0, 3, 4]


def test_long_prompts_are_kept_less_often(
    explorer: vw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for layer in (0, 1, 2):
        show(explorer, single(layer))
    monkeypatch.setattr(
        history_records,
        "MAX_UNNAMED_CHARACTERS",
        2 * explorer.feature(HistoryFeature).history.records[-1].size + 100,
    )
    show(explorer, grouped())
    assert [entry["number"] for entry in explorer.past["entries"]] == [2, 3, 4]
    assert (
        len(json.dumps(explorer.past["entries"][0]))
        == explorer.feature(HistoryFeature).history.records[0].size
    )
