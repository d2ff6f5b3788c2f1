"""Folders that earlier versions wrote still load."""

from __future__ import annotations

import json
from pathlib import Path

from saved_folders_testing import CONFIG, content, load, weights_of

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import saved_folder


def test_a_folder_of_schema_1_still_loads(old: Path, experiment: Experiment) -> None:
    read, weights = restore(old)
    assert read == experiment
    for key, module in weights_of(experiment).items():
        assert weights[key].options == module.options
        assert content(weights[key]) == content(module)
    save(old, experiment, weights, overwrite=True)
    assert (old / saved_folder.MANIFEST).is_file()
    assert restore(old)[0] == experiment


def test_an_intervenable_folder_without_hashes_still_loads(intervenable: Path) -> None:
    config, weights = load(intervenable)
    path = intervenable / CONFIG
    value = json.loads(path.read_text("utf-8"))
    del value["sha256"]
    path.write_text(json.dumps(value), "utf-8")
    again, same = load(intervenable)
    assert repr(again) == repr(config) and len(config.representations) == 13
    assert config.representations[0].subspace_partition == [[0, 1], {1}]
    assert weights.keys() == same.keys() and len(weights) > 10
