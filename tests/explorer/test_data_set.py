"""A data set in the explorer: what is sent, how it fills, cancelling, a model that changes."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explorer_testing import SilentPainter, ask
from model_changes_testing import write_data
from pairs_testing import capital_pairs, unequal_pairs, word_pairs

import vene_widgets as vw
from vene_widgets.explorer.session.data_set import OLD, DataSetFeature
from vene_widgets.explorer.wire import data_set_views as views
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.sweeps.pairs import model_source

Open = Callable[..., vw.Explorer]


@pytest.fixture
def opened(silent_painter: SilentPainter) -> Iterator[Callable[[vw.Explorer], vw.Explorer]]:
    made: list[vw.Explorer] = []

    def keep(explorer: vw.Explorer) -> vw.Explorer:
        made.append(explorer)
        return explorer

    yield keep
    for explorer in made:
        explorer.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Each release lets one chunk run; at the end all may."""
    semaphore, run_noted = threading.Semaphore(0), model_source.run_noted

    def waits(*args: Any) -> Any:
        assert semaphore.acquire(timeout=30)
        return run_noted(*args)

    monkeypatch.setattr("vene_widgets.sweeps.pairs.running.run_noted", waits)
    yield semaphore
    semaphore.release(10_000)


def write_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the map be written after every chunk."""
    for name in ("FIRST_WRITE", "REST"):
        monkeypatch.setattr(f"vene_widgets.explorer.session.data_set.{name}", 0.0)


def eventually(condition: Callable[[], bool]) -> bool:
    pause = threading.Event()
    return any(condition() or pause.wait(0.02) for _ in range(1500))


def tile_of(explorer: vw.Explorer, layer: int, place: int) -> dict[str, Any]:
    return next(t for t in explorer.data_set["tiles"] if (t["layer"], t["place"]) == (layer, place))


def test_tiles_are_the_rows_of_the_summary(tiny_gpt2: vw.LanguageModel, opened: Open) -> None:
    sweep = vw.sweep_pairs(tiny_gpt2, word_pairs())
    explorer = opened(sweep.explore())
    sent = wire.DataSet.model_validate(explorer.data_set)
    summary = sweep.summary[sweep.summary["role"] == "target"].reset_index(drop=True)
    assert len(sent.tiles) == len(summary) == len(sent.layers) * len(sent.places)
    for tile, (_, row) in zip(sent.tiles, summary.iterrows(), strict=True):
        assert (tile.layer, sent.places[tile.place]) == (row["layer"], row["label"])
        assert tile.possible == row["effect_possible"] and tile.n == row["n"] == 30
        assert tile.mean == pytest.approx(row["mean"], rel=1e-5)
        if not tile.possible:
            assert (tile.values, tile.q, tile.explained) == ([], None, False)
            continue
        assert [tile.low, tile.high, tile.p, tile.q, tile.control_mean] == pytest.approx(
            row[["low", "high", "p", "q", "control_mean"]].tolist(), rel=1e-5
        )
        assert tile.explained == row["explained"] and tile.control == "the source of another pair"
        values = sweep.values(tile.layer, sweep.plan.places[tile.place])
        wanted = [values[pair.number] for pair in sent.shown]
        assert tile.values == pytest.approx(wanted, rel=1e-3)
    assert any(tile.possible for tile in sent.tiles)
    assert (sent.spread, sent.ends, sent.note, sent.is_old) == (30, 0, None, False)
    assert explorer.pair_sweep is sweep


def test_facts_and_tiles_say_how_many_and_against_what(
    tiny_gpt2: vw.LanguageModel, opened: Open
) -> None:
    explorer = opened(vw.sweep_pairs(tiny_gpt2, word_pairs()).explore())
    assert explorer.data_set["facts"] == (
        "30 pairs (6 bases), none left out, 95\xa0% bootstrap interval, Benjamini-Hochberg, "
        "control: the source of another pair"
    )
    assert explorer.data_set["facts"] in repr(explorer)
    for tile in explorer.data_set["tiles"]:
        if not tile["possible"]:
            assert tile["words"] == "No effect possible in any pair."
        else:  # no q without n and control
            assert "30 pairs, q" in tile["words"] and "Control, the source of" in tile["words"]
    alone = opened(vw.sweep_pairs(tiny_gpt2, word_pairs(), controls=(), cluster=None).explore())
    assert alone.data_set["facts"].startswith("30 pairs, none left out, 95")
    assert alone.data_set["facts"].endswith("control: none")
    assert not any(tile["explained"] for tile in alone.data_set["tiles"])
    assert any(tile["words"].endswith("; no control.") for tile in alone.data_set["tiles"])


def test_pairs_that_do_not_count_are_left_out_and_said(
    tiny_gpt2: vw.LanguageModel, opened: Open
) -> None:
    sweep = vw.sweep_pairs(tiny_gpt2, word_pairs()).counting("preferred")
    assert 0 < sweep.left_out < 30
    explorer = opened(sweep.explore())
    sent = explorer.data_set
    assert (sent["pairs"], sent["counted"]) == (30, 30 - sweep.left_out)
    assert f"{sweep.left_out} left out" in sent["facts"]
    numbers = [pair["number"] for pair in sent["shown"]]
    assert numbers == sweep.answers.pairs.tolist()
    assert explorer.experiment.base == sweep.plan.pairs[numbers[0]].base
    pairs = [{**pair, "targets": (" Rome", " Paris")} for pair in word_pairs()[:2]]
    none = vw.sweep_pairs(tiny_gpt2, pairs, keep="top", controls=())
    with pytest.raises(vw.RequestError, match="no pair is left"):
        none.explore()


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("probability", "%"),
        ("delta", "points"),
        ("logit_difference", "logits"),
        ("log_ratio", "nats"),
    ],
)
def test_other_metrics_have_their_units(
    tiny_gpt2: vw.LanguageModel, opened: Open, metric: str, shown: str
) -> None:
    sweep = vw.sweep_pairs(tiny_gpt2, word_pairs(), metric=metric, controls="matched_noise")
    explorer = opened(sweep.explore())
    tile = next(tile for tile in explorer.data_set["tiles"] if tile["possible"])
    assert shown in tile["words"] and "Control, a random change of the same norm" in tile["words"]
    assert not np.isnan([value for value in tile["values"] if value is not None]).any()
    scale = "amount" if metric == "probability" else "difference"
    assert explorer.data_set["metric"]["scale"] == scale


def test_bases_of_unequal_length_and_heads(tiny_gpt2: vw.LanguageModel, opened: Open) -> None:
    sweep = vw.sweep_pairs(
        tiny_gpt2, unequal_pairs(), "head_attention_value_output", head="all", controls=()
    )
    explorer = opened(sweep.explore())
    sent = explorer.data_set
    assert sent["places"] == ["changed", "last"] and sent["heads"] == list(sweep.plan.heads)
    assert {tile["head"] for tile in sent["tiles"]} == set(sweep.plan.heads)
    reply = ask(explorer, kind="pair", number=1, layer=1, place=1, head=2)
    assert reply["ok"]
    assert explorer.experiment == sweep.pair(1, 1, "last", 2)
    assert explorer.map["component"] == "head_attention_value_output"


def test_a_pair_opens_as_an_experiment_with_the_tiles_slot(
    tiny_gpt2: vw.LanguageModel, opened: Open
) -> None:
    sweep = vw.sweep_pairs(tiny_gpt2, capital_pairs(), positions=["subject", "last"], controls=())
    explorer = opened(sweep.explore())
    assert ask(explorer, kind="pair", number=3, layer=1, place=0)["ok"]
    assert explorer.experiment == sweep.pair(3, 1, "subject")
    assert explorer.scene["request"] == "r1" and explorer.answer["sentence"]
    assert len(explorer.history) == 2
    for wrong, why in (
        ({"number": 6, "layer": 1, "place": 0}, "pair 6 is out of range"),
        ({"number": -1, "layer": 1, "place": 0}, "pair -1 is out of range"),
        ({"number": 0, "layer": 99, "place": 0}, "layer 99 was not swept"),
        ({"number": 0, "layer": 0, "place": 2}, "place 2 is out of range"),
        ({"number": 0, "layer": 0, "place": 0, "head": 1}, "head 1 was not swept"),
    ):
        reply = ask(explorer, kind="pair", **wrong)
        assert not reply["ok"] and why in reply["error"]
    assert explorer.experiment == sweep.pair(3, 1, "subject")


def test_an_explorer_of_one_experiment_has_no_data_set(
    tiny_gpt2: vw.LanguageModel, opened: Open
) -> None:
    explorer = opened(vw.explore("A b", "A c", tiny_gpt2))
    assert explorer.data_set == {} == explorer.data_progress
    reply = ask(explorer, kind="pair", number=0, layer=0, place=0)
    assert not reply["ok"] and "no data set" in reply["error"]
    with pytest.raises(vw.RequestError, match="no complete data set"):
        _ = explorer.pair_sweep


# which pairs are sent ----------------------------------------------------------------------------


def test_both_ends_of_every_tile_are_sent_and_an_even_spread() -> None:
    values = np.random.default_rng(0).normal(size=(10_000, 40))
    values[5, 3] = np.nan
    shown, spread, ends = views.drawn_pairs(values)
    assert (spread, ends) == (180, 10) and len(set(shown)) == len(shown) <= views.MAX_PAIRS
    assert shown[:3] == [0, 56, 112] and shown[179] == 9999
    for column in range(40):
        known = np.flatnonzero(np.isfinite(values[:, column]))
        order = known[np.argsort(values[known, column])]
        assert set(order[:10]) | set(order[-10:]) <= set(shown), column


def test_few_pairs_are_all_sent_and_wide_maps_send_fewer_ends() -> None:
    assert views.drawn_pairs(np.zeros((200, 3))) == (list(range(200)), 200, 0)
    values = np.random.default_rng(0).normal(size=(10_000, 400))
    shown, spread, ends = views.drawn_pairs(values)
    assert spread == 180 and ends < 10 and len(shown) * 400 <= views.MAX_VALUES


def test_ten_thousand_pairs_fit_into_a_message(tiny_gpt2: vw.LanguageModel) -> None:
    """The largest message there is: 60 tiles, each with ends of its own."""
    sweep = vw.sweep_pairs(tiny_gpt2, word_pairs(), controls=())
    few = views.data_set(sweep)
    shown, _, _ = views.drawn_pairs(np.random.default_rng(0).normal(size=(10_000, 60)))
    tile = next(tile for tile in few.tiles if tile.possible)
    tile = tile.model_copy(update={"values": [0.1234] * len(shown)})
    pairs = [few.shown[n % 30].model_copy(update={"number": n}) for n in shown]
    full = few.model_copy(update={"tiles": [tile] * 60, "shown": pairs})
    assert len(json.dumps(full.model_dump())) < 1_000_000


@pytest.mark.parametrize(
    ("base", "source", "words"),
    [
        (
            "The capital of Spain is",
            "The capital of Italy is",
            [["The capital of"], ["Spain", "Italy"], ["is"]],
        ),
        ("A b", "A b", [["A b"]]),
        ("", "x", [["", "x"]]),
        ("A b c", "A c", [["A"], ["b", ""], ["c"]]),
        ("John saw Mary", "Tom saw Ann", [["John", "Tom"], ["saw"], ["Mary", "Ann"]]),
    ],
)
def test_prompts_in_short(base: str, source: str, words: list[list[str]]) -> None:
    assert views.prompt_words(base, source) == words


def test_long_prompts_are_shortened_away_from_what_differs() -> None:
    text = "one two three four five six seven eight nine ten "
    [before, differing, after] = views.prompt_words(f"{text}Rome {text}", f"{text}Oslo {text}")
    assert differing == ["Rome", "Oslo"]
    assert before[0].startswith("…") and before[0].endswith("nine ten")
    assert after[0].startswith("one two") and after[0].endswith("…")


# filling -----------------------------------------------------------------------------------------


def test_a_data_set_fills_while_the_model_answers_clicks(
    tiny_gpt2: vw.LanguageModel, opened: Open, gate: threading.Semaphore
) -> None:
    explorer = opened(vw.explore_pairs(tiny_gpt2, word_pairs(), pairs_per_chunk=10, seed=3))
    assert eventually(lambda: explorer.data_progress.get("words") == "0 of 30 pairs")
    sent = wire.DataSet.model_validate(explorer.data_set)
    assert (sent.tiles, sent.counted, sent.pairs) == ([], 0, 30)
    assert "0 of 30 pairs" in sent.facts and sent.metric.name == "recovery"
    feature = explorer.feature(DataSetFeature)
    gate.release()
    assert eventually(lambda: explorer.data_progress["words"] == "10 of 30 pairs")
    assert explorer.status["busy"] == "pairs" and 0 < explorer.status["progress"] < 1
    assert explorer.worker.is_busy("pairs") and not feature.is_complete
    gate.release(3)
    assert eventually(lambda: explorer.data_progress["words"].startswith("control, the source"))
    gate.release(100)
    explorer.worker.wait("pairs", 60)
    whole = vw.sweep_pairs(tiny_gpt2, word_pairs(), seed=3)
    assert explorer.data_progress == {} and explorer.status["busy"] is None
    assert explorer.data_set["facts"] == views.data_set(whole).facts
    for ours, theirs in zip(explorer.data_set["tiles"], views.data_set(whole).tiles, strict=True):
        assert ours["mean"] == pytest.approx(theirs.mean, rel=1e-3, abs=1e-6)
    assert np.allclose(explorer.pair_sweep.answers.log_p, whole.answers.log_p, atol=1e-5)


def test_a_part_has_means_and_intervals_but_no_q_and_its_pairs_open(
    tiny_gpt2: vw.LanguageModel,
    opened: Open,
    gate: threading.Semaphore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_at_once(monkeypatch)
    explorer = opened(vw.explore_pairs(tiny_gpt2, word_pairs(), pairs_per_chunk=10))
    assert not ask_now(explorer, kind="pair", number=4, layer=1, place=3)["ok"]
    gate.release()
    assert eventually(lambda: explorer.data_set["counted"] == 10)
    gate.release()  # a chunk that waits would keep the model
    assert eventually(lambda: explorer.data_set["counted"] == 20)
    tile = tile_of(explorer, 1, 3)
    assert tile["n"] == 20 and tile["low"] < tile["mean"] < tile["high"]
    assert (tile["p"], tile["q"], tile["explained"]) == (None, None, False)
    assert "q" not in tile["words"].split("interval")[1].split("Control")[0]
    assert ask_now(explorer, kind="pair", number=4, layer=1, place=3)["ok"]
    gate.release(100)
    explorer.wait(60)
    assert explorer.experiment == explorer.pair_sweep.pair(4, 1, 3)
    assert explorer.answer["revision"] == explorer.revision


def ask_now(explorer: vw.Explorer, **request: Any) -> dict[str, Any]:
    """Send a request and return the reply, which comes at once."""
    replies: list[dict[str, Any]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)
    explorer.receive({"id": "r", **request})
    return replies[0]


def test_cancel_stops_it_and_keeps_what_has_run(
    tiny_gpt2: vw.LanguageModel,
    opened: Open,
    gate: threading.Semaphore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_at_once(monkeypatch)
    explorer = opened(vw.explore_pairs(tiny_gpt2, word_pairs(), pairs_per_chunk=10))
    gate.release()
    assert eventually(lambda: explorer.data_set["counted"] == 10)
    assert ask_now(explorer, kind="cancel")["ok"]
    gate.release(1)  # the chunk that is running
    explorer.worker.wait("pairs", 30)
    sent = explorer.data_set
    assert sent["note"].startswith("Stopped after 10 of 30 pairs")
    assert explorer.data_progress == {} and explorer.status["busy"] is None
    assert len(sent["tiles"]) == 15 and sent["tiles"][8]["q"] is None
    with pytest.raises(vw.RequestError, match="no complete data set"):
        _ = explorer.pair_sweep
    assert ask(explorer, kind="pair", number=2, layer=1, place=3)["ok"]


def test_a_model_that_changes_meanwhile_makes_it_old(
    own: vw.LanguageModel, opened: Open, gate: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_at_once(monkeypatch)
    explorer = opened(vw.explore_pairs(own, word_pairs(), pairs_per_chunk=10))
    gate.release()
    assert eventually(lambda: explorer.data_set["counted"] == 10)
    write_data(own)
    gate.release(100)
    explorer.worker.wait("pairs", 30)
    sent = explorer.data_set
    assert (sent["is_old"], sent["note"], sent["counted"]) == (True, OLD, 10)
    assert explorer.data_progress == {} and explorer.status["error"] is None
    explorer.wait(30)


def test_a_finished_data_set_is_old_after_a_change(own: vw.LanguageModel, opened: Open) -> None:
    sweep = vw.sweep_pairs(own, word_pairs(), controls=())
    explorer = opened(sweep.explore())
    explorer.wait(30)
    write_data(own)
    explorer.notice_changes()
    assert explorer.data_set["is_old"] and explorer.data_set["note"] == OLD
    assert explorer.pair_sweep is sweep  # it is what it was
    explorer.wait(30)


def test_a_model_that_changed_before_it_was_opened_makes_it_old(
    own: vw.LanguageModel, opened: Open
) -> None:
    sweep = vw.sweep_pairs(own, word_pairs(), controls=())
    assert not opened(sweep.explore()).data_set["is_old"]
    write_data(own)
    explorer = opened(sweep.explore())
    assert explorer.data_set["is_old"] and explorer.data_set["note"] == OLD
    assert pickle.loads(pickle.dumps(sweep)).state is None  # noqa: S301  # our own
    explorer.wait(30)


def test_an_error_is_shown_and_raised(
    tiny_gpt2: vw.LanguageModel, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise vw.RequestError("pairs 0 to 9: base logits hold NaN")

    monkeypatch.setattr("vene_widgets.sweeps.pairs.running.run_noted", fails)
    explorer = opened(vw.explore_pairs(tiny_gpt2, word_pairs(), pairs_per_chunk=10))
    explorer.worker.wait("pairs", 30)
    error = explorer.status["error"]
    assert error == "The pairs could not be run: pairs 0 to 9: base logits hold NaN"
    assert explorer.data_set["note"] == "It stopped at an error." and explorer.data_progress == {}
    with pytest.raises(vw.RequestError, match="hold NaN"):
        _ = explorer.pair_sweep


def test_what_does_not_fit_is_refused_before_anything_opens(tiny_gpt2: vw.LanguageModel) -> None:
    with pytest.raises(vw.RequestError, match="control 'shuffled' is not known"):
        vw.explore_pairs(tiny_gpt2, word_pairs(), controls="shuffled")
    with pytest.raises(vw.RequestError, match="row 0"):
        vw.explore_pairs(tiny_gpt2, [{"base": "A b", "source": 3}])
    with pytest.raises(TypeError, match="progress"):
        vw.explore_pairs(tiny_gpt2, word_pairs(), progress=print)


def test_a_folder_that_holds_the_results_is_only_read(
    tiny_gpt2: vw.LanguageModel, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    pairs = pd.DataFrame(word_pairs())
    done = vw.sweep_pairs(tiny_gpt2, pairs, folder=tmp_path, pairs_per_chunk=10)
    monkeypatch.delattr("vene_widgets.sweeps.pairs.running.run_noted")
    explorer = opened(vw.explore_pairs(tiny_gpt2, pairs, folder=tmp_path))
    found = explorer.pair_sweep
    assert np.array_equal(found.answers.log_p, done.answers.log_p)
    assert explorer.data_set["counted"] == 30
