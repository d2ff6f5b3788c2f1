"""Is it real?: the finding on the screen under every choice, run beside the clicks."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, Make, ask, setting, slot

import vene_widgets as vw
from vene_widgets.explorer.session import specification
from vene_widgets.explorer.session.specification import OLD, finding_of


def ran(explorer: vw.Explorer) -> dict[str, Any]:
    """The curve, once it is there."""
    assert explorer.worker.wait("specification", 60)
    return explorer.specification


def test_the_first_live_slot_is_run_under_every_choice(
    make: Make, tiny_gpt2: vw.LanguageModel
) -> None:
    explorer = make()
    ask(explorer, **setting(slot(0, 4, skip=True), slot(1, 3)))
    reply = ask(explorer, kind="specification")
    assert reply["ok"]
    found = ran(explorer)
    curve = vw.specification_curve(tiny_gpt2, (BASE, SOURCE), 1, 3)
    assert found["site"] == curve.site == "␣Spain after block 1"
    assert (found["agreed"], found["count"]) == curve.agreement
    assert [row["effect"] for row in found["rows"]] == pytest.approx(
        curve.frame["effect"].tolist(), rel=1e-3, abs=1e-9
    )
    assert found["rows"][0]["choices"] == [
        str(curve.frame[name][0]) for name in ("direction", "wrong", "window", "metric")
    ]
    assert (found["base"], found["source"]) == (BASE, SOURCE)
    assert found["findings"] == [
        {
            "base": BASE,
            "source": SOURCE,
            "component": "block_output",
            "head": None,
            "layer": 1,
            "position": 3,
            "agreed": curve.agreement[0],
            "count": 48,
        }
    ]
    assert found["share"] is None and found["note"] is None


@pytest.mark.parametrize(
    ("slots", "words"),
    [
        ([], "patch a tile first"),
        ([slot(1, [3, 4])], "slot 0 must be at one position"),
    ],
)
def test_what_is_no_finding_is_refused_and_the_last_curve_stays(
    make: Make, slots: list[dict[str, Any]], words: str
) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="specification")
    before = ran(explorer)
    ask(explorer, **setting(*slots))
    reply = ask(explorer, kind="specification")
    assert not reply["ok"] and words in reply["error"]
    assert explorer.specification == before


def test_an_ablation_is_a_finding_about_the_first_source(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3, intervention="zero")))
    assert finding_of(explorer.plan)["pairs"][0] == {
        "base": BASE, "source": SOURCE, "site": 3, "source_site": 3,
    }  # fmt: skip


def test_a_curve_of_before_the_model_changed_says_so(make: Make, own: vw.LanguageModel) -> None:
    explorer = make(model=own)
    ask(explorer, **setting(slot(1, 3)))
    ask(explorer, kind="specification")
    rows = ran(explorer)["rows"]
    with torch.no_grad():
        own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1.0
    ask(explorer, **setting(slot(2, 3)))
    explorer.wait()
    assert explorer.specification["note"] == OLD
    assert explorer.specification["rows"] == rows
    assert explorer.specification["findings"] == []


def test_each_tile_keeps_its_newest_result(make: Make) -> None:
    explorer = make()
    for layer, more in ((1, {}), (0, {}), (1, {"templates": ["In {} is"]})):
        ask(explorer, **setting(slot(layer, 3)))
        assert ask(explorer, kind="specification", **more)["ok"]
        found = ran(explorer)
    assert [(one["layer"], one["count"]) for one in found["findings"]] == [(0, 48), (1, 96)]
    assert {row["choices"][4] for row in found["rows"]} == {"In {} is", "The capital of {} is"}
    assert found["templates"] == ["In {} is"]


def test_a_bad_template_is_refused_at_once(make: Make) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))
    reply = ask(explorer, kind="specification", templates=["no blank"])
    assert not reply["ok"] and "must have {} once" in reply["error"]


def test_it_can_be_cancelled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))
    explorer.wait()
    ended: list[bool] = []

    def endless(*_: object, **__: object) -> Iterator[tuple[int, int]]:
        try:
            while True:
                time.sleep(0.01)
                yield 1, 2
        finally:
            ended.append(True)

    monkeypatch.setattr(specification, "specification_steps", endless)
    ask(explorer, kind="specification")
    while not explorer.specification:
        time.sleep(0.01)
    assert explorer.specification["share"] == 0.5
    ask(explorer, kind="cancel")
    assert explorer.worker.wait("specification", 60)
    assert explorer.specification["note"] == specification.STOPPED
    assert explorer.specification["share"] is None
    gc.collect()
    assert ended == [True]


def test_an_error_of_a_run_is_said_in_the_panel(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = make()
    ask(explorer, **setting(slot(1, 3)))

    def failing(*_: object, **__: object) -> Iterator[tuple[int, int]]:
        yield 0, 1
        raise vw.RequestError("no specification could be run: they do not differ.")

    monkeypatch.setattr(specification, "specification_steps", failing)
    ask(explorer, kind="specification")
    assert "no specification could be run" in ran(explorer)["note"]
