"""restore() gives back what save() wrote, bit for bit, or an error that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vene_widgets.engine.running import run
from vene_widgets.engine.weights import make_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.experiments.slot import Slot
from vene_widgets.interventions import (
    INTERVENTIONS,
    Intervention,
    Options,
    PCARotatedSpace,
    register,
    saving,
    unregister,
)
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import LanguageModel, saved_folder

SPAIN, ITALY, FRANCE = (f"The capital of {c} is" for c in ("Spain", "Italy", "France"))
FILES = {"experiment.json", "interventions.json", "weights.safetensors", "manifest.json"}
ROTATION = "rotate_layer.parametrizations.weight.original"
NEEDS_RANK = ("low_rank_rotated_space", "pca_rotated_space")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "saved"


def experiment_of(name: str, **more: Any) -> Experiment:
    if name in NEEDS_RANK:
        more["rank"] = 5
    if name == "mean":
        more["prompts"] = (ITALY, FRANCE)
    slot = Slot(layer=1, position=3, intervention=name, seed=7, **more)
    return Experiment(base=SPAIN, sources={"italy": ITALY}, slots=[slot])


def used(module: Intervention) -> Intervention:
    """The module as it is after training: every tensor of its state away from where it began."""
    generator = torch.Generator().manual_seed(1)
    if isinstance(module, PCARotatedSpace):
        module.fit(torch.randn(40, module.options.width, generator=generator))
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter += 0.1 * drawn.to(parameter.device)
        for name, buffer in module.named_buffers():
            if name == "temperature":
                buffer.fill_(3.25)
    return module


def restored(folder: Path, model: LanguageModel) -> tuple[Experiment, dict[str, Intervention]]:
    """What a folder holds, its weights on the model's device."""
    experiment, weights = restore(folder)
    assert all(t.device.type == "cpu" for m in weights.values() for t in m.state_dict().values())
    return experiment, {key: module.to(model.device) for key, module in weights.items()}


def bits(module: nn.Module) -> dict[str, Tensor]:
    """Its state as it is now, memory layout included."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(tensor, other[name]), name
        assert tensor.stride() == other[name].stride(), name


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_intervention_comes_back_bit_equal(
    name: str, folder: Path, tiny_gpt2: LanguageModel
) -> None:
    experiment = experiment_of(name)
    weights = make_weights(tiny_gpt2, experiment)
    fresh = bits(weights["slot 0"])
    module = used(weights["slot 0"])
    for part, tensor in bits(module).items():
        if not part.endswith("0.base"):  # the rotation's origin stays while it trains
            assert not torch.equal(tensor, fresh[part]), "a state that never moved proves nothing"
    save(folder, experiment, weights)
    read, again = restored(folder, tiny_gpt2)
    assert read == experiment
    assert again.keys() == weights.keys()
    back = again["slot 0"]
    assert type(back) is type(module) and back.options == module.options
    assert_equal(bits(back), bits(module))
    assert back.trainable == module.trainable
    one = run(tiny_gpt2, experiment, weights=weights)
    other = run(tiny_gpt2, read, weights=again)
    assert torch.equal(one.logits, other.logits)
    if fresh:
        assert not torch.equal(one.logits, run(tiny_gpt2, experiment).logits)


def test_a_rotation_trains_on_as_if_it_had_never_been_away(
    folder: Path, tiny_gpt2: LanguageModel
) -> None:
    """The parametrization's own state is all there: the next step gives the same weights."""
    experiment = experiment_of("low_rank_rotated_space")
    weights = make_weights(tiny_gpt2, experiment)
    used(weights["slot 0"])
    save(folder, experiment, weights)
    states = []
    for some in (weights, restored(folder, tiny_gpt2)[1]):
        module = some["slot 0"]
        optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
        before = bits(module)
        logits = run(tiny_gpt2, experiment, weights=some, gradients=True).logits
        logits[-1].log_softmax(-1)[3].neg().backward()
        optimiser.step()
        assert any(not torch.equal(before[name], value) for name, value in bits(module).items())
        states.append(bits(module))
    assert_equal(*states)


def test_slots_with_every_field_come_back(folder: Path) -> None:
    experiment = Experiment(
        base=SPAIN,
        sources={"one": ITALY, "zwei – 2": FRANCE},
        mode="serial",
        slots=[
            Slot(
                layer=-1,
                position=[1, -1],
                component="head_value_output",
                head=2,
                source="zwei – 2",
                source_position=(0, 3),
                strength=0.1 + 0.2,
                subspace=[4, 1],
                partition={"left": (0, 1), "right": (1, 3)},
                group="g",
                skip=True,
                hold=True,
            ),
            Slot(layer=0, position=" Spain", source="one", source_position=3, subspace="0:2"),
            Slot(layer=0, position=1, intervention="noise", scale=0.3, seed=9, link="x"),
            Slot(layer=0, position=1, intervention="mean", prompts=[ITALY, "“ ” \n\u2028"]),
            Slot(layer=3, position=1, source="one", source_layer=1),
            Slot(layer=2, position=1, intervention="addition", vector=[0.1 + 0.2] * 64),
            Slot(layer=1, position=1, intervention="addition", prompts=[ITALY], minus=[FRANCE]),
        ],
    )
    save(folder, experiment)
    read, weights = restore(folder)
    assert read == experiment and weights == {}
    assert {path.name for path in folder.iterdir()} == FILES
    given = {name for slot in experiment.slots for name in slot.model_fields_set}
    assert given | {"rank"} == set(Slot.model_fields), "a field that this test leaves out"


def test_linked_slots_share_their_weights_again(folder: Path, tiny_gpt2: LanguageModel) -> None:
    slot = Slot(layer=0, position=3, intervention="low_rank_rotated_space", rank=2, link="r")
    experiment = Experiment(
        base=SPAIN, sources=ITALY, slots=[slot, slot.model_copy(update={"layer": 2})]
    )
    weights = make_weights(tiny_gpt2, experiment)
    used(weights["link r"])
    save(folder, experiment, weights)
    read, again = restored(folder, tiny_gpt2)
    assert list(again) == ["link r"]
    assert torch.equal(
        run(tiny_gpt2, experiment, weights=weights).logits,
        run(tiny_gpt2, read, weights=again).logits,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_number_types_and_frozen_weights_are_kept(folder: Path, dtype: torch.dtype) -> None:
    module = used(INTERVENTIONS["sigmoid_mask"](Options(8))).to(dtype)
    module.requires_grad_(False)
    save(folder, experiment_of("sigmoid_mask"), {"slot 0": module})
    back = restore(folder)[1]["slot 0"]
    assert_equal(bits(back), bits(module))
    assert not back.trainable


@pytest.mark.usefixtures("restored_registry")
def test_a_custom_intervention_asks_to_be_registered(
    folder: Path, tiny_gpt2: LanguageModel
) -> None:
    class Scaled(Intervention):
        name = "scaled"

        def __init__(self, options: Options) -> None:
            super().__init__(options)
            self.by = nn.Parameter(torch.randn(options.width))  # from torch's global state

        def forward(self, base: Any, source: Any, mask: Any = None) -> Any:
            return base * self.by

    register("scaled", Scaled)
    experiment = experiment_of("scaled")
    weights = make_weights(tiny_gpt2, experiment)
    used(weights["slot 0"])
    save(folder, experiment, weights)
    before = torch.get_rng_state()
    read, again = restored(folder, tiny_gpt2)
    assert torch.equal(torch.get_rng_state(), before)
    expected = run(tiny_gpt2, experiment, weights=weights).logits
    assert torch.equal(expected, run(tiny_gpt2, read, weights=again).logits)
    unregister("scaled")
    with pytest.raises(RequestError, match=r"'scaled', which is not registered.*vw\.register"):
        restore(folder)
    register("scaled", lambda base, source: base)
    with pytest.raises(RequestError, match="cannot be loaded into the scaled of this process"):
        restore(folder)


@pytest.mark.usefixtures("restored_registry")
def test_a_function_comes_back_by_its_name(folder: Path, tiny_gpt2: LanguageModel) -> None:
    register("halfway", lambda base, source: (base + source) / 2)
    experiment = experiment_of("halfway")
    save(folder, experiment, make_weights(tiny_gpt2, experiment))
    read, weights = restore(folder)
    assert read == experiment and type(weights["slot 0"]) is INTERVENTIONS["halfway"]


# ---- what is refused --------------------------------------------------------------------------


@pytest.fixture
def saved(folder: Path, tiny_gpt2: LanguageModel) -> Path:
    experiment = experiment_of("low_rank_rotated_space")
    return save(folder, experiment, make_weights(tiny_gpt2, experiment))


def change(path: Path, **values: Any) -> None:
    """Change a JSON file of a folder and its manifest, as if it had been saved like that."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")
    saved_folder.write_manifest(path.parent)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(RequestError, match=f"has no {name}"):
        restore(saved)


@pytest.mark.parametrize("name", ["experiment.json", "interventions.json"])
@pytest.mark.parametrize("schema", [0, 3, "1", 1.0, True, None])
def test_an_unknown_schema_is_refused(saved: Path, name: str, schema: Any) -> None:
    change(saved / name, schema=schema)
    with pytest.raises(RequestError, match=r"has schema .* reads schemas 1 and 2"):
        restore(saved)


@pytest.mark.parametrize("name", ["experiment.json", "interventions.json"])
@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", '{"schema": 1}', '{"schema": 1, "vene_widgets": "0"}', "\xff"]
)
def test_foreign_json_is_refused(saved: Path, name: str, text: str) -> None:
    (saved / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(RequestError, match=name):
        restore(saved)


def test_an_invalid_experiment_is_refused(saved: Path) -> None:
    change(saved / "experiment.json", experiment={"base": "", "nonsense": 1})
    with pytest.raises(RequestError, match="no valid experiment"):
        restore(saved)


def test_other_weights_are_refused(saved: Path) -> None:
    path = saved / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RequestError, match="not the file that was saved"):
        restore(saved)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class", "Vanilla", "is a 'Vanilla'"),
        ("intervention", "vanilla", "intervention of 'slot 0' 'vanilla'"),
        ("options", {"width": 24, "rank": 0}, "options.rank: expected .* 1, got 0"),
        ("options", {"width": 24, "rank": 25}, "rank 25 is invalid for"),
        ("options", {"width": 24, "rank": 4}, "cannot be loaded into the LowRankRotatedSpace"),
        ("options", {"breadth": 1}, "options.width is missing"),
        ("tensors", ["nothing"], "tensor 'slot 0/nothing' is not known"),
        ("tensors", [], "cannot be loaded .* got none"),
        ("strides", {ROTATION: [1]}, "are invalid for a tensor of shape"),
        ("strides", {ROTATION: [1, 1]}, "are invalid for a tensor of shape"),
        ("strides", {ROTATION: [1, 10**12]}, "are invalid for a tensor of shape"),
    ],
)
def test_a_changed_entry_is_refused(saved: Path, field: str, value: Any, message: str) -> None:
    path = saved / "interventions.json"
    modules = json.loads(path.read_text("utf-8"))["interventions"]
    modules["slot 0"][field] = value
    change(path, interventions=modules)
    with pytest.raises(RequestError, match=message):
        restore(saved)


def test_a_key_without_a_slot_is_refused(saved: Path, folder: Path) -> None:
    path = saved / "interventions.json"
    modules = json.loads(path.read_text("utf-8"))["interventions"]
    change(path, interventions={"link x": modules["slot 0"]})
    with pytest.raises(RequestError, match="key of weights 'link x' is not known"):
        restore(saved)


def test_weights_that_no_slot_has_are_not_saved(folder: Path) -> None:
    experiment = experiment_of("low_rank_rotated_space")
    module = INTERVENTIONS["vanilla"](Options(24))
    with pytest.raises(RequestError, match="key of weights 'slot 1' is not known"):
        save(folder, experiment, {"slot 1": module})
    with pytest.raises(RequestError, match="are a Vanilla, but its slot names"):
        save(folder, experiment, {"slot 0": module})
    assert list(folder.parent.iterdir()) == []


# ---- whole or not at all ----------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["to_json", "rename"])
def test_a_failure_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(saving if broken == "to_json" else Path, broken, fail)
    with pytest.raises(OSError, match="disk full"):
        save(folder, experiment_of("vanilla"))
    assert list(folder.parent.iterdir()) == []


def test_a_failed_overwrite_leaves_the_old_folder(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        save(saved, experiment_of("vanilla"), overwrite=True)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_is_replaced_only_when_asked(saved: Path) -> None:
    other = experiment_of("vanilla")
    with pytest.raises(RequestError, match="already exists"):
        save(saved, other)
    assert restore(saved)[0] == experiment_of("low_rank_rotated_space")
    save(saved, other, overwrite=True)
    assert restore(saved) == (other, {})
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_of_something_else_is_never_replaced(saved: Path) -> None:
    (saved / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"not a folder that vw\.save wrote"):
        save(saved, experiment_of("vanilla"), overwrite=True)
    assert (saved / "thesis.txt").read_text() == "mine"


def test_a_link_to_a_folder_is_never_replaced(saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(saved, target_is_directory=True)
    with pytest.raises(RequestError, match=r"not a folder that vw\.save wrote"):
        save(link, experiment_of("vanilla"), overwrite=True)
    assert link.is_symlink() and restore(link)[0] == experiment_of("low_rank_rotated_space")


def test_a_folder_needs_a_folder_above_it(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="create it first"):
        save(tmp_path / "nowhere" / "saved", experiment_of("vanilla"))


def test_nothing_is_pickled(saved: Path) -> None:
    import pickle

    for path in saved.iterdir():
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(path.read_bytes())  # noqa: S301
