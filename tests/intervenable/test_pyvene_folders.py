"""Folders that pyvene wrote are read here, and folders for pyvene are read there."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from intervenable_testing import TOLERANCE, VECTOR, ids, on
from torch import Tensor, nn

from vene_widgets import intervenable as face

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyvene"),
    pytest.mark.filterwarnings("ignore::UserWarning:pyvene"),
]

OURS: Any = face
HEAD = {"component": "head_value_output", "unit": "h.pos"}
ROTATION = "RotatedSpaceIntervention"
FORMS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "interchange": ("VanillaIntervention", [{}, {"layer": 2, "component": "mlp_output"}]),
    "a vector of its own": ("VanillaIntervention", [{"source_representation": VECTOR}]),
    "an added vector": ("AdditionIntervention", [{"source_representation": VECTOR}]),
    "a subtracted vector": ("SubtractionIntervention", [{"source_representation": VECTOR}]),
    "zero": ("ZeroIntervention", [{}]),
    "rotation": (ROTATION, [{}]),
    "rotation of a head": (ROTATION, [HEAD]),
    "a partition": (ROTATION, [{"subspace_partition": [[0, 2], [2, 24]]}]),
    "low rank": ("LowRankRotatedSpaceIntervention", [{"low_rank_dimension": 3}]),
    "boundless": ("BoundlessRotatedSpaceIntervention", [{}]),
    "mask": ("SigmoidMaskIntervention", [{}]),
    "a path": ("AdditionIntervention", [{"component": "transformer.h[1].mlp.output"}]),
    "my own class": ("Mine", [{}]),
}


@functools.cache
def library(name: str) -> Any:
    return importlib.import_module(name)


def pyvene() -> Any:
    return library("pyvene")


@functools.cache
def mine(pv: Any) -> type:
    class Mine(pv.TrainableIntervention, pv.DistributedRepresentationIntervention):
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            self.share = nn.Parameter(torch.tensor(0.25))

        def forward(self, base: Tensor, source: Tensor, subspaces: Any = None, **_: Any) -> Tensor:
            return base + self.share * (source - base)

    return Mine


def built(pv: Any, model: Any, form: str) -> Any:
    """Either library's model, its weights moved from where they start."""
    name, slots = FORMS[form]
    kind = mine(pv) if name == "Mine" else getattr(pv, name)
    config = pv.IntervenableConfig([pv.RepresentationConfig(**one) for one in slots], kind)
    made = pv.IntervenableModel(config, model)
    with torch.no_grad():
        for parameter in filter(Tensor.is_floating_point, made.get_trainable_parameters()):
            moved = torch.linspace(-0.3, 0.3, parameter.numel()).reshape(parameter.shape)
            parameter.add_(moved.to(parameter.device))
    return made


def logits(made: Any, lm: Any, form: str) -> Tensor:
    """The logits of one call, the same for all."""
    _, slots = FORMS[form]
    places: Any = [[[[2], [2]], [[4], [4]]] if one is HEAD else [[4], [4]] for one in slots]
    subspaces = [[[0], [0]]] if "subspace_partition" in slots[0] else None
    named = {"sources->base": (places, places)}
    has_source = "source_representation" not in slots[0]
    made.set_device(str(lm.device))
    sources = [on(lm, ids(2, seed=1)) if has_source else None] * len(slots)
    with torch.no_grad():
        return made(on(lm, ids(2)), sources, named, subspaces=subspaces)[1].logits


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_of_pyvenes_is_read_here(form: str, tmp_path: Path, lm: Any) -> None:
    theirs = built(pyvene(), copy.deepcopy(lm), form)
    theirs.save(str(tmp_path))
    ours = face.IntervenableModel.load(tmp_path, lm, types={"Mine": mine(OURS)})
    expected = logits(theirs, lm, form)
    assert (logits(ours, lm, form) - expected).abs().max() <= TOLERANCE
    assert not torch.equal(expected, lm(**on(lm, ids(2))).logits)
    assert ours.sorted_keys == tuple(theirs.sorted_keys)
    ours.save(tmp_path / "ours")
    again = face.IntervenableModel.load(tmp_path / "ours", lm, types={"Mine": mine(OURS)})
    assert torch.equal(logits(again, lm, form), logits(ours, lm, form))


@pytest.mark.parametrize("form", [form for form in FORMS if form != "my own class"])
def test_a_folder_for_pyvene_is_read_there(form: str, tmp_path: Path, lm: Any) -> None:
    ours = built(face, lm, form)
    ours.save(tmp_path, for_pyvene=True)
    theirs = pyvene().IntervenableModel.load(str(tmp_path), copy.deepcopy(lm))
    expected = logits(ours, lm, form)
    assert (logits(theirs, lm, form) - expected).abs().max() <= TOLERANCE
    again = face.IntervenableModel.load(tmp_path, lm)
    assert torch.equal(logits(again, lm, form), expected)


def test_linked_slots_share_their_weights(tmp_path: Path, lm: Any) -> None:
    """Not compared by logits: pyvene lets the second read what the first one wrote."""
    fields = {"low_rank_dimension": 2, "intervention_link_key": 0, "group_key": 0}
    slots = [{"layer": layer, **fields} for layer in (0, 2)]

    def made(pv: Any, model: Any) -> Any:
        config = pv.IntervenableConfig(
            [pv.RepresentationConfig(**one) for one in slots], pv.LowRankRotatedSpaceIntervention
        )
        return pv.IntervenableModel(config, model)

    def weights(one: Any) -> list[Tensor]:
        first, second = one.interventions.values()
        assert first is second
        return [value for name, value in first.state_dict().items() if "rotate" in name]

    theirs, ours = made(pyvene(), copy.deepcopy(lm)), made(face, lm)
    theirs.save(str(tmp_path / "theirs"))
    ours.save(tmp_path / "ours", for_pyvene=True)
    read_here = face.IntervenableModel.load(tmp_path / "theirs", lm)
    read_there = pyvene().IntervenableModel.load(str(tmp_path / "ours"), copy.deepcopy(lm))
    for read, written in ((read_here, theirs), (read_there, ours)):
        for found, expected in zip(weights(read), weights(written), strict=True):
            assert torch.equal(found.cpu(), expected.cpu())
    assert read_here.groups == ((0, 1),)


def test_first_coordinates_come_along(tmp_path: Path, lm: Any) -> None:
    theirs = built(pyvene(), copy.deepcopy(lm), "rotation")
    next(iter(theirs.interventions.values())).set_interchange_dim(5)
    theirs.save(str(tmp_path))
    ours = face.IntervenableModel.load(tmp_path, lm)
    expected = logits(theirs, lm, "rotation")
    assert (logits(ours, lm, "rotation") - expected).abs().max() <= TOLERANCE
    ours.save(tmp_path / "back", for_pyvene=True)
    back = pyvene().IntervenableModel.load(str(tmp_path / "back"), copy.deepcopy(lm))
    assert (logits(back, lm, "rotation") - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("form", ["rotation", "boundless", "mask", "my own class"])
def test_weights_alone(form: str, tmp_path: Path, lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`save_intervention` and `load_intervention`, from each to the other."""
    load = torch.load
    monkeypatch.setattr(  # pyvene wants a card to load to
        torch, "load", lambda file, **named: load(file, **{**named, "map_location": "cpu"})
    )
    one, other = built(pyvene(), copy.deepcopy(lm), form), built(face, lm, form)
    with torch.no_grad():
        for parameter in filter(Tensor.is_floating_point, one.get_trainable_parameters()):
            parameter.mul_(0.9)
    expected = logits(one, lm, form)
    one.save_intervention(str(tmp_path / "theirs"))
    other.load_intervention(tmp_path / "theirs")
    assert (logits(other, lm, form) - expected).abs().max() <= TOLERANCE
    with torch.no_grad():
        for parameter in other.get_trainable_parameters():
            parameter.mul_(1.2)
    expected = logits(other, lm, form)
    other.save_intervention(tmp_path / "ours", include_model=False)
    one.load_intervention(str(tmp_path / "ours"), include_model=False)
    assert (logits(one, lm, form) - expected).abs().max() <= TOLERANCE


def refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert str(error.value).count("\n") == 0


class Code:
    """What runs code if a file is read as a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_damaged_folders_are_one_sentence(tmp_path: Path, lm: Any) -> None:
    built(pyvene(), copy.deepcopy(lm), "rotation").save(str(tmp_path))
    (state,) = tmp_path.glob("*.bin")
    whole, config = state.read_bytes(), json.loads((tmp_path / "config.json").read_text())

    def load() -> Any:
        return face.IntervenableModel.load(tmp_path, lm)

    ran = tmp_path / "ran"
    for content, words in (
        (whole[:-40], "cannot be read"),
        (pickle.dumps(Code(ran)), "cannot be read"),
        (b"", "cannot be read"),
    ):
        state.write_bytes(content)
        refused(load, words)
    torch.save({"share": Code(ran)}, state)
    refused(load, "cannot be read")
    torch.save([VECTOR], state)
    refused(load, "has no tensors by name")
    torch.save({"share": VECTOR}, state)
    refused(load, "rotate_layer")
    with zipfile.ZipFile(state, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"0" * 1000)
    refused(load, "is compressed")
    state.unlink()
    refused(load, r"has no intkey_layer_0_comp_block_output_unit_pos_nunit_1#0\.bin")
    assert not ran.exists()
    for name, value, words in (
        ("intervention_types", ["<class 'pyvene.models.interventions.Mine'>"], "'Mine' .*types="),
        ("intervention_types", ["<class 'os.SkipIntervention'>"], "SkipIntervention of pyvene"),
        ("intervention_types", ["<class 'x.NoiseIntervention'>"], "without what it needs"),
        ("intervention_types", [], "not as many types"),
        ("intervention_types", [3], "is no config of pyvene's"),
        ("representations", [["x"]], r"slot 0: layer must be an int, got 'x'"),
        ("representations", [[0, "../../x"]], "component '../../x'"),
        ("mode", "x", "mode 'x'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, name: value}))
        refused(load, words)


def test_what_no_folder_can_keep_is_one_sentence(
    tmp_path: Path, lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(kind: Any, **fields: Any) -> Any:
        return face.IntervenableModel([{"intervention_type": kind, **fields}], lm)

    pairs = one(face.VanillaIntervention, subspace_partition=[{0, 5}, {1, 2, 9}])
    refused(lambda: pairs.save(tmp_path, for_pyvene=True), r"takes the subspace \[0, 5\] for a")
    collects = one(face.CollectIntervention)
    refused(lambda: collects.save(tmp_path, for_pyvene=True), "which pyvene cannot read back")
    refused(lambda: collects.save(tmp_path, save_to_hf_hub=True), "upload_folder")
    refused(lambda: collects.save(tmp_path, include_model=True), "save_pretrained")
    refused(
        lambda: face.IntervenableModel.load("a/b", lm, from_huggingface_hub=True),
        "snapshot_download",
    )
    linear = face.IntervenableModel([{"intervention": nn.Bilinear(24, 24, 24)}], lm)
    refused(lambda: linear.save(tmp_path, for_pyvene=True), "derive it from TrainableIntervention")
    assert not list(tmp_path.iterdir())
    torch.save({"wte": VECTOR}, tmp_path / "pytorch_model.bin")
    rotation = one(face.RotatedSpaceIntervention)
    refused(lambda: rotation.load_intervention(tmp_path), "include_model=False")
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    rotation.save(tmp_path, for_pyvene=True)
    refused(lambda: face.IntervenableModel.load(tmp_path, lm), "cannot be read safely by torch")
