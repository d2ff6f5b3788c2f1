"""What could not be restored is not saved, and a save that fails leaves the old folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from saved_folders_testing import WIDTH

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.intervenable import save_load
from vene_widgets.intervenable.config import IntervenableConfig
from vene_widgets.intervenable.operators import Operator
from vene_widgets.interventions import Options, make
from vene_widgets.interventions.saving import save


def test_what_is_saved_can_be_restored(tmp_path: Path) -> None:
    experiment = Experiment(base="a", sources="b", slots=[Slot(layer=0, position=0)])
    module = make("vanilla", Options(0))
    with pytest.raises(RequestError, match=r"'vanilla' cannot be saved: options\.width"):
        save(tmp_path / "saved", experiment, {"slot 0": module})
    huge = Experiment(
        base="x" * 900_000,
        sources={f"s{i}": "y" * 900_000 for i in range(9)},
        slots=[Slot(layer=0, position=0, source="s0")],
    )
    with pytest.raises(RequestError, match="the JSON to save has"):
        save(tmp_path / "saved", huge)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_intervenable_save_leaves_the_old_folder(
    intervenable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in intervenable.iterdir()}
    (intervenable / "notes.txt").write_text("mine")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    module = make("vanilla", Options(WIDTH))
    with pytest.raises(OSError, match="disk full"):
        save_load.save(
            intervenable, IntervenableConfig({"layer": 0}), [Operator(module, 2)], {0: module}
        )
    assert (intervenable / "notes.txt").read_text() == "mine"
    assert before | {"notes.txt": b"mine"} == {
        p.name: p.read_bytes() for p in intervenable.iterdir()
    }
