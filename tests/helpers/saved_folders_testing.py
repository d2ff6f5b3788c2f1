"""A user-defined class, weights, readers, and the two ways in which a folder may be read."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.intervenable import save_load
from vene_widgets.intervenable.bases import Intervention as PyveneIntervention
from vene_widgets.interventions import INTERVENTIONS, Intervention, Options, make

WIDTH = 8
CONFIG, WEIGHTS = "intervenable.json", "interventions.safetensors"


def weights_of(experiment: Experiment) -> dict[str, Intervention]:
    pca = INTERVENTIONS["pca_rotated_space"](Options(WIDTH, 1))
    generator = torch.Generator().manual_seed(0)
    getattr(pca, "fit")(torch.randn(20, WIDTH, generator=generator))  # noqa: B009
    return {
        "link r": make("low_rank_rotated_space", Options(WIDTH, 2, seed=3)),
        "slot 2": make("vanilla", Options(WIDTH)),
        "slot 3": make("noise", Options(WIDTH, scale=0.3, seed=4)),
        "slot 4": pca,
    }


class Gain(PyveneIntervention):
    """A user-defined class in pyvene's form."""

    def __init__(self, embed_dim: int, low_rank_dimension: int | None = None, **_: Any) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(low_rank_dimension or 1))

    def forward(self, base: Tensor, source: Tensor, subspaces: Any = None) -> Tensor:
        return source * self.gain[0]


def load(folder: Path) -> Any:
    return save_load.load(folder, {"Gain": Gain})


def content(module: nn.Module) -> list[Any]:
    return [(name, tensor.tolist()) for name, tensor in module.state_dict().items()]


def change_entry(folder: Path, key: str, **values: Any) -> None:
    """Change the entry of one intervention in a folder of schema 1."""
    path = folder / "interventions.json"
    value = json.loads(path.read_text("utf-8"))
    value["interventions"][key] |= values
    path.write_text(json.dumps(value), "utf-8")


def refused_quickly(read: Callable[[Path], Any], folder: Path, what: str) -> None:
    """Assert that reading a folder raises one short sentence within a second."""
    start = time.process_time()
    try:
        read(folder)
    except RequestError as error:
        text = str(error)
        assert len(text) < 1500 and "Traceback" not in text, what
    else:
        pytest.fail(f"read without a word: {what}")
    assert time.process_time() - start < 1, what


def read_or_refused(read: Callable[[Path], Any], folder: Path, what: str) -> bool:
    """Assert that a folder is read or refused, quickly and in little memory; return which."""
    start = time.process_time()
    tracemalloc.start()
    refused = None
    try:
        read(folder)
    except RequestError as error:
        refused = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - start < 1, what
    assert peak < 50e6, what
    assert len(refused or "") < 1500, what
    return refused is None
