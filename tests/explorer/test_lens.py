"""The logit lens on the screen: what `vw.lens` reads, asked for when it is shown."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from explorer_testing import Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.session import lens as lens_feature
from vene_widgets.explorer.session.lens import MOST_TARGETS
from vene_widgets.explorer.session.reading import STOPPED


def read(explorer: vw.Explorer, *targets: int) -> dict[str, Any]:
    """The grid, once it has been asked for and read."""
    reply = ask(explorer, kind="lens", targets=list(targets))
    assert reply["ok"], reply
    assert explorer.worker.wait("lens", 60)
    return explorer.lens


def bests(grid: dict[str, Any], run: dict[str, Any]) -> list[int]:
    return [grid["tokens"][index]["token_id"] for index in run["best"]]


def test_it_shows_what_python_reads(make: Make, tiny_gpt2: vw.LanguageModel) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))
    grid = read(explorer, 5, 9)
    frame = vw.lens(tiny_gpt2, explorer.experiment, targets=[5, 9]).frame
    assert [run["name"] for run in grid["runs"]] == ["base", "source", "patched"]
    assert grid["revision"] == explorer.revision and grid["note"] is None
    assert [one["token_id"] for one in grid["targets"]] == [5, 9]
    for run in grid["runs"]:
        rows = frame[(frame["run"] == run["name"])]
        first = rows[rows["target_id"] == 5]
        assert bests(grid, run) == first["best_id"].tolist()
        assert run["probabilities"] == first["probability"].tolist()
        for n, target in enumerate([5, 9]):
            its = rows[rows["target_id"] == target]
            assert run["ranks"][n] == its["target_rank"].tolist()
            assert run["shares"][n] == its["target_probability"].tolist()
        assert len(run["best"]) == len(grid["layers"]) * run["length"]
    labels = {one["token_id"]: one["label"] for one in grid["tokens"]}
    assert labels == dict(zip(frame["best_id"], frame["best_label"], strict=True))


def test_the_last_row_is_the_answer(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))
    grid = read(explorer)
    answers = {run["name"]: run["top"][0] for run in explorer.answer["runs"]}
    for run, name in zip(grid["runs"], ("base", "source", "intervened"), strict=True):
        assert bests(grid, run)[-1] == answers[name]["token_id"]
        assert run["probabilities"][-1] == pytest.approx(answers[name]["probability"], rel=1e-4)


def test_targets_of_several_views_are_kept(make: Make) -> None:
    explorer = make()
    read(explorer, 1, 2)
    found = [one["token_id"] for one in read(explorer, 2, 3)["targets"]]
    assert found == [2, 3, 1]
    assert len(read(explorer, *range(10, 18))["targets"]) == MOST_TARGETS


@pytest.mark.parametrize("targets", [[10**9], list(range(9))])
def test_a_bad_target_is_refused_and_the_grid_stays(make: Make, targets: list[int]) -> None:
    explorer = make()
    before = read(explorer)
    reply = ask(explorer, kind="lens", targets=targets)
    assert not reply["ok"] and ("out of range" in reply["error"] or "targets" in reply["error"])
    assert explorer.lens == before


def endless(ended: list[bool], began: threading.Event) -> Any:
    def steps(*_: object, **__: object) -> Iterator[float]:
        try:
            while True:
                began.set()
                time.sleep(0.01)
                yield 0.5
        finally:
            ended.append(True)

    return steps


def test_a_click_overtakes_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    before, ended, began = read(explorer), list[bool](), threading.Event()
    monkeypatch.setattr(lens_feature, "lens_steps", endless(ended, began))
    ask(explorer, kind="lens")
    assert began.wait(60)
    assert explorer.worker.is_busy("lens")
    ask(explorer, **setting(slot(0, 3)))  # it is answered, although the reading never ends
    assert explorer.answer["revision"] == explorer.revision
    assert explorer.worker.wait("lens", 60)
    gc.collect()
    assert ended == [True]
    assert explorer.lens == before


def test_it_can_be_cancelled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    before, ended, began = read(explorer), list[bool](), threading.Event()
    monkeypatch.setattr(lens_feature, "lens_steps", endless(ended, began))
    ask(explorer, kind="lens")
    assert began.wait(60)
    ask(explorer, kind="cancel")
    assert explorer.worker.wait("lens", 60)
    gc.collect()
    assert ended == [True]
    assert explorer.lens == {**before, "note": STOPPED}
    monkeypatch.undo()
    assert read(explorer)["note"] is None


def test_of_a_changed_model_it_is_old(make: Make, own: vw.LanguageModel) -> None:
    explorer = make(model=own)
    before = read(explorer)
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    ask(explorer, **setting(slot(2, 3)))
    assert explorer.lens == before
    assert before["revision"] < explorer.scene["model_since"]
    again = read(explorer)
    assert again["revision"] >= explorer.scene["model_since"] and again["note"] is None


def test_a_model_that_changes_between_two_steps_is_not_read(
    make: Make, own: vw.LanguageModel
) -> None:
    """Neither half of the grid would be of the model that the other is of."""
    steps = lens_feature.lens_steps(own, "The capital of Spain is")
    next(steps)
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    with pytest.raises(vw.RequestError, match="changed while it ran"):
        list(steps)


def test_a_model_without_a_lens_says_why(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    shown = explorer.map

    def refused(*_: object, **__: object) -> Iterator[float]:
        yield 0.0
        raise vw.RequestError("the lens cannot read it: its head reads more.")

    monkeypatch.setattr(lens_feature, "lens_steps", refused)
    grid = read(explorer)
    assert grid["note"] == "the lens cannot read it: its head reads more." and not grid["runs"]
    monkeypatch.undo()
    before = read(explorer)
    monkeypatch.setattr(lens_feature, "lens_steps", refused)
    assert read(explorer) == {**before, "note": grid["note"]}
    assert explorer.map == shown and explorer.status["error"] is None


def test_a_source_that_is_named_like_a_run_is_said(make: Make) -> None:
    explorer = make(source={"patched": "The capital of Italy is"})
    assert "Give the source another name" in read(explorer)["note"]
