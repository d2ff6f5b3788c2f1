"""A saved folder comes back as it was saved, or one short sentence says why not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import Slot
from vene_widgets.intervenable import save_load
from vene_widgets.intervenable.config import IntervenableConfig
from vene_widgets.intervenable.operators import LIBRARY, Operator
from vene_widgets.intervenable.operators import Intervention as PyveneIntervention
from vene_widgets.interventions import (
    INTERVENTIONS,
    Intervention,
    Options,
    make,
    register,
    saved_module,
)
from vene_widgets.interventions import rotated as rotated_module
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import saved_folder

WIDTH = 8
CONFIG, WEIGHTS = "intervenable.json", "interventions.safetensors"
HUGE = 10**300


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


class Gain(PyveneIntervention):
    """A user-defined class in pyvene's form."""

    def __init__(self, embed_dim: int, low_rank_dimension: int | None = None, **_: Any) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(low_rank_dimension or 1))

    def forward(self, base: Tensor, source: Tensor, subspaces: Any = None) -> Tensor:
        return source * self.gain[0]


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


def load(folder: Path) -> Any:
    return save_load.load(folder, {"Gain": Gain})


def content(module: nn.Module) -> list[Any]:
    return [(name, tensor.tolist()) for name, tensor in module.state_dict().items()]


# ---- what is right ------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_class_knows_its_tensors_before_it_is_built(name: str) -> None:
    for rank in (1, 3):
        options = Options(WIDTH, rank)
        state = make(name, options).state_dict()
        assert INTERVENTIONS[name].state_shapes(options) == {
            part: tuple(tensor.shape) for part, tensor in state.items()
        }


# ---- every changed byte is noticed --------------------------------------------------------------


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


# ---- damage that carries the right hashes -------------------------------------------------------

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
def test_changed_json_is_read_or_refused(old: Path, name: str) -> None:
    """Of schema 1, where no hash stands in the way."""
    path, choose = old / name, random.Random(name)
    value = json.loads(path.read_text("utf-8"))
    read = 0
    for what, mutant in mutants(value, choose, 300):
        path.write_text(json.dumps(mutant), "utf-8")
        read += read_or_refused(restore, old, what)
    assert read < 150, "most changes must be refused"


@pytest.mark.usefixtures("small_only")
def test_changed_intervenable_json_is_read_or_refused(intervenable: Path) -> None:
    path, choose = intervenable / CONFIG, random.Random(3)
    value = json.loads(path.read_text("utf-8"))
    del value["sha256"]
    read = 0
    for what, mutant in mutants(value, choose, 300):
        path.write_text(json.dumps(mutant), "utf-8")
        read += read_or_refused(load, intervenable, what)
    assert read < 200, "most changes must be refused"


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


TEXTS = {
    "ten megabytes": b'{"schema": 1, "a": "' + b"x" * 10_000_000 + b'"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "NaN": b'{"schema": NaN}',
    "infinity": b'{"schema": 1e999}',
    "a huge int": b'{"schema": ' + b"1" * 100_000 + b"}",
    "a key twice": b'{"schema": 1, "schema": 1}',
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "UTF-16": '{"schema": 1}'.encode("utf-16"),
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_saved_json_is_refused(text: str, saved: Path, intervenable: Path) -> None:
    for folder, read in ((saved, restore), (intervenable, load)):
        for path in sorted(folder.glob("*.json")):
            data = path.read_bytes()
            path.write_bytes(TEXTS[text])
            refused_quickly(read, folder, path.name)
            path.write_bytes(data)
        read(folder)


def test_a_folder_in_place_of_a_file_is_refused(saved: Path) -> None:
    (saved / "interventions.json").unlink()
    (saved / "interventions.json").mkdir()
    refused_quickly(restore, saved, "a folder")


def change_entry(folder: Path, key: str, **values: Any) -> None:
    """Change the entry of one intervention in a folder of schema 1."""
    path = folder / "interventions.json"
    value = json.loads(path.read_text("utf-8"))
    value["interventions"][key] |= values
    path.write_text(json.dumps(value), "utf-8")


def test_sizes_are_compared_with_the_tensors_before_anything_is_built(old: Path) -> None:
    """A rotation of this width takes a minute and a gigabyte."""
    change_entry(old, "link r", options={"width": 16_000, "rank": 12_000})
    start = time.process_time()
    with pytest.raises(RequestError, match=r"\(16000, 12000\).*, got .*\(8, 2\)"):
        restore(old)
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


@pytest.mark.parametrize("face", ["saved", "old", "intervenable"])
def test_a_file_of_a_terabyte_is_not_read(face: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(face)
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        os.truncate(path, 2**40)  # no blocks are written
        refused_quickly(load if face == "intervenable" else restore, folder, path.name)
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "key 'c' occurs twice"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "number '1e999' is out of range"),
        ('{"a": ' + "1" * 50 + "}", "an integer of 50 digits"),
        ("[" * 5000, "not JSON|nested too deeply"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_json_is_strict(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        saved_folder.parse_json(text.encode(), Path("x.json"))
    assert saved_folder.parse_json(b'{"a": [1, -2.5e3, "\xc3\xbc"]}', Path("x.json")) == {
        "a": [1, -2500.0, "ü"]
    }


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


def test_a_tensor_that_no_entry_lists_is_noticed(old: Path) -> None:
    path = old / "interventions.json"
    value = json.loads(path.read_text("utf-8"))
    del value["interventions"]["slot 4"]
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(RequestError, match="lists no tensor 'slot 4/"):
        restore(old)


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
