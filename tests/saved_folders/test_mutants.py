"""Damage that no hash shows: changed values in JSON and in the tensors' header."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as to_bytes
from saved_folders_testing import CONFIG, WEIGHTS, WIDTH, load, read_or_refused, refused_quickly
from torch import nn

from vene_widgets.errors import RequestError
from vene_widgets.interventions import rotated as rotated_module
from vene_widgets.interventions import saved_module
from vene_widgets.interventions.saving import restore

HUGE = 10**300
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**30, 0.5, -1e308, "", "x", "0:50000000"),
    *([], {}, [[]], [None], [10**18], {"width": 10**9}, [[0, 10**12]], {"dims": [10**12]}, [1, 2]),
    *("ü" * 100_000, "\ud800", list(range(1000)), HUGE),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutants(value: Any, choose: random.Random, count: int) -> Iterator[tuple[str, Any]]:
    """Copies of a JSON value with one value replaced, removed, or added."""
    every = list(places(value))
    for _ in range(count):
        copy, path = json.loads(json.dumps(value)), choose.choice(every)
        parent = copy
        for key in path[:-1]:
            parent = parent[key]
        new = choose.choice(VALUES)
        kind = choose.choice(["replaced", "replaced", "replaced", "removed", "added"])
        if kind == "removed":
            del parent[path[-1]]
        elif kind == "added" and isinstance(parent, dict):
            parent[f"{path[-1]} more"] = new
        elif kind == "added":
            parent.append(new)
        else:
            parent[path[-1]] = new
        yield f"{kind} {path}: {str(new)[:60]}", copy


COUNTS = pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.torture)])


@pytest.fixture
def small_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no rotation be built that is much larger than the saved ones: that is what took 12 GB."""
    build = rotated_module.make_rotation

    def checked(width: int, rank: int, seed: int) -> nn.Module:
        assert width * rank <= WIDTH * WIDTH, "a rotation larger than the tensors of the file"
        return build(width, rank, seed)

    monkeypatch.setattr(rotated_module, "make_rotation", checked)


@pytest.mark.usefixtures("small_only")
@pytest.mark.parametrize("name", ["experiment.json", "interventions.json"])
@COUNTS
def test_changed_json_is_read_or_refused(old: Path, name: str, count: int) -> None:
    """Of schema 1, where no hash stands in the way."""
    path, choose = old / name, random.Random(name)
    value = json.loads(path.read_text("utf-8"))
    read = 0
    for what, mutant in mutants(value, choose, count):
        path.write_text(json.dumps(mutant), "utf-8")
        read += read_or_refused(restore, old, what)
    print(f"{name}: {count} mutants, {read} read, the others refused")
    assert read < count / 2, "most changes must be refused"


@pytest.mark.usefixtures("small_only")
@COUNTS
def test_changed_intervenable_json_is_read_or_refused(intervenable: Path, count: int) -> None:
    path, choose = intervenable / CONFIG, random.Random(3)
    value = json.loads(path.read_text("utf-8"))
    del value["sha256"]
    read = 0
    for what, mutant in mutants(value, choose, count):
        path.write_text(json.dumps(mutant), "utf-8")
        read += read_or_refused(load, intervenable, what)
    print(f"{CONFIG}: {count} mutants, {read} read, the others refused")
    assert read < count * 2 / 3, "most changes must be refused"


@pytest.mark.parametrize("face", ["saved", "intervenable"])
def test_a_changed_header_of_the_tensors_is_refused(
    face: str, request: pytest.FixtureRequest
) -> None:
    """With the right hash of the changed file, as if it had been saved like that."""
    folder: Path = request.getfixturevalue("old" if face == "saved" else face)
    read = restore if face == "saved" else load
    path = folder / ("weights.safetensors" if face == "saved" else WEIGHTS)
    data, choose = path.read_bytes(), random.Random(4)
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    for what, mutant in mutants(header, choose, 150):
        text = json.dumps(mutant).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + body)
        rehash(folder, path)
        # Safetensors ignores fields that it does not know.
        assert not read_or_refused(read, folder, what) or what.startswith("added"), what
    texts = [b"", b"{}", b"[" * 100_000, b"{" * 10, b'{"a":1}', b"\xff" * 20, b"x" * 10_000_000]
    lengths = [len(text) for text in texts] + [0, 1, 2**40, 2**64 - 1]
    for text, size in zip([*texts, b"{}", b"{}", b"{}", b"{}"], lengths, strict=True):
        path.write_bytes(size.to_bytes(8, "little") + text + body)
        rehash(folder, path)
        refused_quickly(read, folder, f"header {text[:200]!r}")
    for name, shape in list(header.items())[:6]:
        del header[name]
        path.write_bytes(
            to_bytes({other: torch.zeros(2) for other in header} | {"x": torch.ones(1)})
        )
        rehash(folder, path)
        refused_quickly(read, folder, f"without {name} {shape}")


def rehash(folder: Path, path: Path) -> None:
    """Write the hash of a changed file of tensors where its reader looks for it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = "interventions.json" if path.name == "weights.safetensors" else CONFIG
    value = json.loads((folder / name).read_text("utf-8"))
    if name == CONFIG:
        value["sha256"]["weights"] = digest
    else:
        value["weights_sha256"] = digest
    (folder / name).write_text(json.dumps(value), "utf-8")


@pytest.mark.parametrize("stride", [2**63, 10**30])
def test_a_stride_that_no_tensor_has_is_refused(stride: int) -> None:
    """Of a dimension of size 1, whose stride spans no memory."""
    tensor = torch.ones(3, 1)
    assert torch.equal(saved_module._with_strides(tensor, (1, 3)), tensor)
    with pytest.raises(RequestError, match=r"strides .* are invalid"):
        saved_module._with_strides(tensor, (1, stride))
