"""The explorer, tables, figures and code show the CPU's numbers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from by_hand import ITALY, SPAIN
from devices_testing import of_operator

import vene_widgets as vw

if TYPE_CHECKING:
    from explorer_testing import SilentPainter


def numbers_in(value: Any) -> list[float]:
    """Every number of a nested value in order, but for times."""
    if isinstance(value, dict):
        timeless = {k: v for k, v in value.items() if k not in ("milliseconds", "revision")}
        return [number for item in timeless.values() for number in numbers_in(item)]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers_in(item)]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return [float(value)] if is_number else []


def test_the_explorer_shows_the_same(
    model: vw.LanguageModel, twin: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    def shown(one: vw.LanguageModel) -> dict[str, Any]:
        slots = [vw.Slot(layer=0, position=3), vw.Slot(layer=2, position=4, intervention="noise")]
        explorer = vw.explore(SPAIN, ITALY, one, slots=slots)
        try:
            explorer.wait(60)
            assert explorer.scene["model"]["device"] == str(one.device)
            return copy.deepcopy({"answer": explorer.answer, "map": explorer.map})
        finally:
            explorer.close()

    found, expected = numbers_in(shown(model)), numbers_in(shown(twin))
    assert len(found) > 100
    assert found == pytest.approx(expected, abs=1e-2, rel=1e-3)


def test_figures_and_tables(model: vw.LanguageModel, twin: vw.LanguageModel) -> None:
    experiment = of_operator("vanilla")
    runs = [vw.run(one, experiment) for one in (model, twin)]
    plain = vw.run(model, vw.Experiment(base=SPAIN))
    assert len(vw.compare(plain, runs[0]).frame) == model.sites.vocabulary
    frames = [run.frame.set_index("token_id").sort_index() for run in runs]
    wanted = pytest.approx(frames[1]["probability"].tolist(), abs=1e-4)
    assert frames[0]["probability"].tolist() == wanted
    drawn: Any = vw.sweep(model, SPAIN, ITALY).plot().data
    assert len(drawn) > 0


def test_code_names_the_device(capitals: vw.LanguageModel, device: torch.device) -> None:
    from vene_widgets.codegen.script import FACES, script

    slots = [vw.Slot(layer=0, position=3)]
    for face in FACES:
        text = script(capitals, vw.Experiment(base=SPAIN, sources=ITALY, slots=slots), face)
        assert f'device="{device}"' in text
