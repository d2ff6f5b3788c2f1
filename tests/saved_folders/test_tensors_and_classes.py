"""Sizes are compared with the tensors before a class is built from them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from saved_folders_testing import CONFIG, WIDTH, change_entry, load
from torch import nn

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import Slot
from vene_widgets.interventions import (
    INTERVENTIONS,
    Intervention,
    Options,
    make,
    register,
    saved_module,
)
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import saved_folder


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_class_knows_its_tensors_before_it_is_built(name: str) -> None:
    for rank in (1, 3):
        options = Options(WIDTH, rank)
        state = make(name, options).state_dict()
        assert INTERVENTIONS[name].state_shapes(options) == {
            part: tuple(tensor.shape) for part, tensor in state.items()
        }


def test_sizes_are_compared_with_the_tensors_before_anything_is_built(old: Path) -> None:
    """A rotation of this width takes a minute and a gigabyte."""
    change_entry(old, "link r", options={"width": 16_000, "rank": 12_000})
    start = time.process_time()
    with pytest.raises(RequestError, match=r"\(16000, 12000\).*, got .*\(8, 2\)"):
        restore(old)
    assert time.process_time() - start < 1


def test_intervenable_sizes_are_compared_before_anything_is_built(intervenable: Path) -> None:
    path = intervenable / CONFIG
    value = json.loads(path.read_text("utf-8"))
    del value["sha256"]
    for slot in value["slots"]:
        if slot["intervention"] == "RotatedSpaceIntervention":
            slot["options"]["width"] = 16_000
    path.write_text(json.dumps(value), "utf-8")
    start = time.process_time()
    with pytest.raises(RequestError, match=r"\(16000, 16000\).*, got .*\(8, 8\)"):
        load(intervenable)
    assert time.process_time() - start < 1


@pytest.mark.usefixtures("restored_registry")
@pytest.mark.parametrize("width", [20_000, 131_072])
def test_a_registered_class_is_not_built_larger_than_its_tensors(
    tmp_path: Path, width: int
) -> None:
    built: list[Any] = []

    class Square(Intervention):
        name = "square"

        def __init__(self, options: Options) -> None:
            super().__init__(options)
            self.weight = nn.Parameter(torch.linalg.qr(torch.randn(options.width, options.width)).Q)
            built.append(self.weight.device.type)

        def forward(self, base: Any, source: Any, mask: Any = None) -> Any:
            return base @ self.weight

    register("square", Square)
    experiment = Experiment(
        base="a", sources="b", slots=[Slot(layer=0, position=0, intervention="square")]
    )
    folder = save(tmp_path / "saved", experiment, {"slot 0": make("square", Options(WIDTH))})
    path = folder / "interventions.json"
    value = json.loads(path.read_text("utf-8"))
    value["interventions"]["slot 0"]["options"]["width"] = width
    path.write_text(json.dumps(value), "utf-8")
    saved_folder.write_manifest(folder)
    built.clear()
    start = time.process_time()
    with pytest.raises(RequestError, match=r"'slot 0' cannot be loaded into the Square"):
        restore(folder)
    assert time.process_time() - start < 10  # torch's first use of `meta` takes seconds
    assert set(built) <= {"meta"}


@pytest.mark.usefixtures("restored_registry")
def test_a_constructor_that_raises_is_one_sentence(tmp_path: Path) -> None:
    fails: list[bool] = []

    class Picky(Intervention):
        name = "picky"

        def __init__(self, options: Options) -> None:
            super().__init__(options)
            if fails:
                raise MemoryError("no\nmore")

    register("picky", Picky)
    experiment = Experiment(
        base="a", sources="b", slots=[Slot(layer=0, position=0, intervention="picky")]
    )
    folder = save(tmp_path / "saved", experiment, {"slot 0": make("picky", Options(WIDTH))})
    fails.append(True)
    with pytest.raises(RequestError, match="constructor of 'picky' raised MemoryError: no more"):
        restore(folder)


@pytest.mark.parametrize(
    ("strides", "valid"),
    [([1, WIDTH], True), ([1, 900], True), ([WIDTH, 1], True), ([1, 2_000], False)],
)
def test_strides_take_no_more_memory_than_tensors_like_them(
    old: Path, strides: list[int], valid: bool
) -> None:
    change_entry(old, "slot 4", strides={"components": strides})
    if valid:
        restore(old)
    else:
        with pytest.raises(RequestError, match="are invalid for a tensor of shape"):
            restore(old)


def test_strides_of_larger_tensors_leave_less_room() -> None:
    """A thousand times 64 kB is no harm, a thousand times 160 kB is 160 MB."""
    assert saved_module._strides_are_valid((1, 16_000), [1, 1000])
    assert not saved_module._strides_are_valid((1, 40_000), [1, 1000])
    assert saved_module._strides_are_valid((5000, 5000), [1, 5000])


def test_a_tensor_that_no_entry_lists_is_noticed(old: Path) -> None:
    path = old / "interventions.json"
    value = json.loads(path.read_text("utf-8"))
    del value["interventions"]["slot 4"]
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(RequestError, match="lists no tensor 'slot 4/"):
        restore(old)
