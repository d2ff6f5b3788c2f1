"""A folder is read as it was saved, or not at all."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from saved_folders_testing import WIDTH, load, refused_quickly

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.interventions import Options, make
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import saved_folder


def test_every_changed_byte_is_noticed(saved: Path, experiment: Experiment) -> None:
    choose = random.Random(1)
    for path in sorted(saved.iterdir()):
        data = path.read_bytes()
        for _ in range(40):
            changed = bytearray(data)
            changed[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
            path.write_bytes(bytes(changed))
            refused_quickly(restore, saved, f"a byte of {path.name}")
        for other in (b"", data[:-1], data[: len(data) // 2], data + b" "):
            path.write_bytes(other)
            refused_quickly(restore, saved, f"the length of {path.name}")
        path.write_bytes(data)
    assert restore(saved)[0] == experiment


def test_every_changed_byte_of_an_intervenable_folder_is_noticed(intervenable: Path) -> None:
    choose = random.Random(2)
    for path in sorted(intervenable.iterdir()):
        data = path.read_bytes()
        for _ in range(60):
            at = choose.randrange(len(data))
            if data[at : at + 1].isspace():
                continue  # white space between JSON's values means nothing
            changed = bytearray(data)
            changed[at] ^= 1 << choose.randrange(7)
            path.write_bytes(bytes(changed))
            refused_quickly(load, intervenable, f"byte {at} of {path.name}")
        path.write_bytes(data)
    load(intervenable)


@pytest.mark.parametrize(
    "name", ["experiment.json", "interventions.json", "weights.safetensors", "manifest.json"]
)
def test_files_of_two_saves_are_not_mixed(saved: Path, tmp_path: Path, name: str) -> None:
    slot = Slot(layer=1, position=1, intervention="low_rank_rotated_space", rank=2, link="r")
    weights = {"link r": make("low_rank_rotated_space", Options(WIDTH, 2, seed=9))}
    other = save(tmp_path / "other", Experiment(base="a", sources="b", slots=[slot]), weights)
    shutil.copy(other / name, saved / name)
    with pytest.raises(RequestError, match="whole folder from one save"):
        restore(saved)


def test_a_folder_without_its_manifest_is_refused(saved: Path) -> None:
    (saved / saved_folder.MANIFEST).unlink()
    with pytest.raises(RequestError, match=r"has no manifest\.json"):
        restore(saved)


def test_a_folder_in_place_of_a_file_is_refused(saved: Path) -> None:
    (saved / "interventions.json").unlink()
    (saved / "interventions.json").mkdir()
    refused_quickly(restore, saved, "a folder")


@pytest.mark.parametrize("face", ["saved", "old", "intervenable"])
def test_a_file_of_a_terabyte_is_not_read(face: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(face)
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        os.truncate(path, 2**40)  # no blocks are written
        refused_quickly(load if face == "intervenable" else restore, folder, path.name)
        path.write_bytes(data)
