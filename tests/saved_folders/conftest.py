"""Saved folders: as `save` writes them, as schema 1 did, and with pyvene's names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from saved_folders_testing import WIDTH, Gain, weights_of

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.intervenable import save_load
from vene_widgets.intervenable.built_in import LIBRARY
from vene_widgets.intervenable.config import IntervenableConfig
from vene_widgets.intervenable.operators import Operator
from vene_widgets.interventions import Options
from vene_widgets.interventions.saving import save
from vene_widgets.models import saved_folder


@pytest.fixture
def experiment() -> Experiment:
    slots = [
        Slot(layer=0, position=1, intervention="low_rank_rotated_space", rank=2, link="r"),
        Slot(layer=1, position=1, intervention="low_rank_rotated_space", rank=2, link="r"),
        Slot(layer=1, position=[0, 2], subspace="0:2", partition={"a": (0, 2)}),
        Slot(layer=1, position=0, intervention="noise", scale=0.3, seed=4),
        Slot(layer=1, position=0, intervention="pca_rotated_space", rank=1),
    ]
    return Experiment(base="a b c", sources="c b a", slots=slots)


@pytest.fixture
def saved(tmp_path: Path, experiment: Experiment) -> Path:
    return save(tmp_path / "saved", experiment, weights_of(experiment))


@pytest.fixture
def old(saved: Path) -> Path:
    """The same folder as schema 1 wrote it: no manifest, and a hash of the weights alone."""
    digest = hashlib.sha256((saved / "weights.safetensors").read_bytes()).hexdigest()
    for name, more in (("experiment.json", {}), ("interventions.json", {"weights_sha256": digest})):
        value = json.loads((saved / name).read_text("utf-8"))
        (saved / name).write_text(json.dumps({**value, "schema": 1, **more}, indent=2), "utf-8")
    (saved / saved_folder.MANIFEST).unlink()
    return saved


@pytest.fixture
def intervenable(tmp_path: Path) -> Path:
    kinds = [*LIBRARY.values(), Gain]
    modules = [
        kind(embed_dim=WIDTH, low_rank_dimension=2)
        if kind is Gain
        else kind(Options(WIDTH, 2, seed=1))  # type: ignore[call-arg]
        for kind in kinds
    ]
    config = IntervenableConfig(
        [
            {"layer": 0, "low_rank_dimension": 2, "subspace_partition": [[0, 1], {1}]},
            *({"layer": 1, "low_rank_dimension": 2} for _ in modules[1:]),
            {"layer": 1, "source_representation": torch.ones(WIDTH)},
        ]
    )
    operators = [Operator(module, 2) for module in modules]
    operators.append(operators[0])
    folder = tmp_path / "intervenable"
    save_load.save(folder, config, operators, dict(enumerate(modules)))
    return folder
