"""Every kind of request on another device than the CPU gives the CPU's numbers.

Run on the CPU, this file runs itself again on the simulated device and on every accelerator that
is there (`--device`).
"""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import second_device
import torch
from by_hand import FAMILIES, ITALY, PAIRS, SPAIN, distance, own_copy, plain_logits
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets import intervenable
from vene_widgets.experiments.operators import BUILT_IN
from vene_widgets.intervenable import IntervenableModel
from vene_widgets.interventions.saving import restore, save
from vene_widgets.models import placement, wrap
from vene_widgets.sweeps import cells

if TYPE_CHECKING:
    from explorer_testing import SilentPainter

FRANCE = "The capital of France is"
CLOSE = 1e-4
"""Largest difference between two devices, as a fraction of the logits' range."""
RANKED = ("low_rank_rotated_space", "pca_rotated_space")


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


@pytest.fixture
def twin(model: vw.LanguageModel) -> vw.LanguageModel:
    """The same model on the CPU."""
    return wrap(copy.deepcopy(model.model).to("cpu"), model.tokenizer, model.name)


@pytest.fixture
def elsewhere(device: torch.device) -> torch.device:
    """The device, if it is not the CPU."""
    if device.type == "cpu":
        pytest.skip("needs a second device: this file runs itself again on each")
    return device


def of_operator(name: str, **more: Any) -> vw.Experiment:
    """One operator at several positions of two layers."""
    if name in RANKED:
        more["rank"] = 4
    if name == "mean":
        more["prompts"] = [ITALY, FRANCE]
    slots = [
        vw.Slot(layer=layer, position=[3, 4], component=component, intervention=name, **more)
        for layer, component in ((0, "mlp_output"), (1, "block_output"))
    ]
    return vw.Experiment(base=SPAIN, sources=ITALY, slots=slots)


def numbers_in(value: Any) -> list[float]:
    """Every number of a nested value in order, but for times."""
    if isinstance(value, dict):
        timeless = {k: v for k, v in value.items() if k not in ("milliseconds", "revision")}
        return [number for item in timeless.values() for number in numbers_in(item)]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers_in(item)]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return [float(value)] if is_number else []


# ---- this file on every device -------------------------------------------------------------------


@pytest.mark.parametrize("name", [second_device.NAME, "cuda", "mps"])
def test_this_file_passes_on_another_device(name: str, device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("started from the run on the CPU")
    if name == second_device.NAME:
        if second_device.compiler() is None:
            pytest.skip("no C++ compiler to build the simulated device with")
    elif name not in placement.devices():
        pytest.skip(f"no {name} device on this machine")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--device", name]
    done = subprocess.run([*command, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_the_models_are_on_the_device(
    capitals: vw.LanguageModel, model: vw.LanguageModel, device: torch.device
) -> None:
    for one in (capitals, model):
        tensors = [*one.model.parameters(), *one.model.buffers()]
        assert {tensor.device.type for tensor in tensors} == {device.type}
        assert one.device.type == device.type


def mixtures(there: Tensor, here: Tensor) -> dict[str, Callable[[], Any]]:
    """What CUDA refuses: tensors of one device beside those of another."""
    at = there.device
    return {
        "add": lambda: there + here,
        "add in place": lambda: there.add_(here),
        "add to the CPU": lambda: here.add_(there),
        "product": lambda: there @ here.T,
        "concatenation": lambda: torch.cat([there, here]),
        "stack": lambda: torch.stack([here, there]),
        "where": lambda: torch.where(there > 0, there, here),
        "mask": lambda: there.masked_fill(here > 0, 0.0),
        "put": lambda: there.__setitem__((torch.tensor([0, 1]).to(at), 0), here[:2, 0]),
        "indices of the device": lambda: here[torch.tensor([0]).to(at)],
        "embedding": lambda: nn.functional.embedding(torch.tensor([0]), there),
        "gather": lambda: there.gather(1, torch.tensor([[0]])),
        "equal": lambda: torch.equal(there, here),
        "allclose": lambda: torch.allclose(there, here),
        "norm": lambda: nn.functional.layer_norm(there, (3,), here[0]),
        "loss": lambda: nn.functional.cross_entropy(there, torch.tensor([0, 1])),
        "numpy": lambda: there.numpy(),
        "generator": lambda: torch.randn(3, device=at, generator=torch.Generator("cpu")),
    }


@pytest.mark.parametrize("name", mixtures(torch.ones(1), torch.ones(1)))
def test_a_tensor_of_the_cpu_is_refused(name: str, elsewhere: torch.device) -> None:
    """Otherwise the other tests here would prove nothing; on CUDA, that the simulation is right."""
    there, here = torch.ones(2, 3).to(elsewhere), torch.ones(2, 3)
    with pytest.raises((RuntimeError, TypeError)):
        mixtures(there, here)[name]()


def test_what_may_come_from_the_cpu(elsewhere: torch.device) -> None:
    there = torch.arange(6.0).view(2, 3).to(elsewhere)
    assert (there + torch.tensor(1.0)).device.type == elsewhere.type
    assert there[torch.tensor([1])].tolist() == [[3, 4, 5]]
    there[0, torch.tensor([1])] = 9
    there[1] = torch.zeros(3)
    assert there.tolist() == [[0, 9, 2], [0, 0, 0]]
    assert torch.zeros(2, 3).copy_(there).tolist() == there.tolist()


# ---- runs and sweeps -----------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["all", "subspace", "strength"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_operator(
    model: vw.LanguageModel, twin: vw.LanguageModel, name: str, part: str
) -> None:
    more: dict[str, Any] = {"subspace": {"subspace": [0, 2]}, "strength": {"strength": 0.5}}
    if name == "collect" and part != "all":
        pytest.skip("collect takes no options")
    experiment = of_operator(name, **more.get(part, {}))
    found, expected = vw.run(model, experiment), vw.run(twin, experiment)
    for tensor in (found.logits, found.states, found.last_hidden_state):
        assert tensor.device == model.device
    assert distance(found.logits, expected.logits) <= CLOSE
    changes = found.receipts, expected.receipts
    assert changes[0].fired.all() and changes[0].others_equal.all()
    assert changes[0]["size"].tolist() == pytest.approx(changes[1]["size"].tolist(), rel=1e-3)
    moved = distance(found.logits, vw.run(model, vw.Experiment(base=SPAIN)).logits)
    assert (moved > CLOSE) == (name != "collect")
    assert vw.compare(found, expected).verdict in ("bit-equal", "allclose")
    assert found.top(3).token.tolist() == expected.top(3).token.tolist()


def test_runs_of_every_kind(model: vw.LanguageModel, twin: vw.LanguageModel) -> None:
    sources = {"a": ITALY, "b": FRANCE}
    slots = [
        vw.Slot(layer=0, position=3, source="a", group="g"),
        vw.Slot(layer=1, position=4, source="b", component="head_value_output", head=1),
        vw.Slot(layer=2, position=" is", source="a", component="mlp_activation", group="g"),
    ]
    experiment = vw.Experiment(base=SPAIN, sources=sources, slots=slots)
    expected = vw.run(twin, experiment).logits
    cache = vw.ActivationCache()
    options: tuple[dict[str, Any], ...] = (
        {},
        {"share_sources": False},
        {"cache": cache},
        {"cache": cache},
    )
    for more in options:
        found = vw.run(model, experiment, **more)
        assert distance(found.logits, expected) <= CLOSE
        assert torch.equal(found.logits, vw.run(model, experiment).logits)
    last = vw.run(model, experiment, logits_to_keep=1).logits
    assert distance(last[0], expected[-1], expected) <= CLOSE
    serial = vw.Experiment(
        base=SPAIN,
        sources=sources,
        slots=[vw.Slot(layer=n, position=3, source=name) for n, name in enumerate("ab")],
        mode="serial",
    )
    assert distance(vw.run(model, serial).logits, vw.run(twin, serial).logits) <= CLOSE
    assert vw.commute(model, experiment, 0, 2).verdict in ("bit-equal", "allclose", "different")


def test_a_run_is_the_users_own_call(model: vw.LanguageModel) -> None:
    found = vw.run(model, vw.Experiment(base=SPAIN)).logits
    assert torch.equal(found, plain_logits(model, SPAIN))


@pytest.mark.parametrize("way", ["resumed", "as the device does", "batched"])
def test_sweeps_of_every_component(
    model: vw.LanguageModel, twin: vw.LanguageModel, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.resume_blocker is None
    if way == "resumed":  # an accelerator takes full passes for as few cells as here
        monkeypatch.setattr(cells, "FULL_ROWS", 0)
    if way == "batched":
        model.model.register_forward_hook(lambda *_: None)
        model.accept_hooks()
    assert (model.resume_blocker is None) == (way != "batched")
    for component in model.sites.components:
        heads: Any = None if model.sites.head_count(component) is None else "all"
        found, expected = (
            vw.sweep(one, SPAIN, ITALY, component, head=heads) for one in (model, twin)
        )
        assert distance(found.logits, expected.logits) <= CLOSE, component
        for name in found.frame.select_dtypes("float").columns:
            numbers = [one.frame[name].astype("float64").tolist() for one in (found, expected)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-3, nan_ok=True), (component, name)


@pytest.mark.parametrize("name", ["addition", "zero", "noise", "sigmoid_mask"])
def test_sweeps_of_other_operators(
    model: vw.LanguageModel, twin: vw.LanguageModel, name: str
) -> None:
    cache = vw.ActivationCache()
    expected = vw.sweep(twin, *PAIRS[1], intervention=name).logits
    options: tuple[dict[str, Any], ...] = ({}, {"cache": cache}, {"cache": cache})
    for more in options:
        found = vw.sweep(model, *PAIRS[1], intervention=name, targets=[" Rome"], **more)
        assert distance(found.logits, expected) <= CLOSE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(model: vw.LanguageModel, dtype: torch.dtype, device: torch.device) -> None:
    if dtype not in (getattr(torch, name) for name in placement.DTYPES) or (
        device.type == "mps" and dtype == torch.float64
    ):
        pytest.skip(f"no {dtype} on {device}")
    model.model.to(dtype=dtype)
    experiment = of_operator("vanilla")
    run = vw.run(model, experiment)
    assert run.logits.dtype == dtype
    assert torch.equal(run.logits, vw.run(model, experiment).logits)
    assert torch.equal(vw.run(model, vw.Experiment(base=SPAIN)).logits, plain_logits(model, SPAIN))
    cell = vw.sweep(model, SPAIN, ITALY, "mlp_output").logits[1, 3]
    slot = vw.Slot(layer=1, position=3, component="mlp_output")
    alone = vw.run(model, vw.Experiment(base=SPAIN, sources=ITALY, slots=[slot])).logits
    limit = 0.05 if dtype.itemsize == 2 else CLOSE
    assert distance(cell, alone[-1], alone) <= limit


# ---- weights -------------------------------------------------------------------------------------


def test_gradients_and_an_optimiser(model: vw.LanguageModel) -> None:
    experiment = of_operator("low_rank_rotated_space")
    weights = vw.make_weights(model, experiment)
    parameters = [p for module in weights.values() for p in module.parameters()]
    assert {p.device for p in parameters} == {model.device}
    optimiser = torch.optim.Adam(parameters, lr=0.1)
    before = vw.run(model, experiment, weights=weights, gradients=True).logits
    before[-1].log_softmax(-1)[3].neg().backward()
    optimiser.step()
    after = vw.run(model, experiment, weights=weights).logits
    assert after[-1].log_softmax(-1)[3] > before[-1].log_softmax(-1)[3]


def test_a_fit(model: vw.LanguageModel, twin: vw.LanguageModel) -> None:
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (FRANCE, ITALY), (SPAIN, FRANCE)]
    found, expected = (
        vw.fit_subspace(
            one, pairs, layer=1, position=3, rank=2, steps=12, held_out=0.5, progress=False
        )
        for one in (model, twin)
    )
    assert {p.device for p in found.intervention.parameters()} == {model.device}
    losses = [fit.history["held_out_loss"].tolist() for fit in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert found.frame["accuracy"].tolist() == expected.frame["accuracy"].tolist()


@pytest.mark.parametrize("name", [n for n in BUILT_IN if n not in ("mean", "collect")])
def test_saved_on_one_device_restored_on_another(
    model: vw.LanguageModel, twin: vw.LanguageModel, name: str, tmp_path: Path
) -> None:
    experiment = of_operator(name)
    for folder, one, other in ((tmp_path / "a", model, twin), (tmp_path / "b", twin, model)):
        weights = vw.make_weights(one, experiment)
        with torch.no_grad():
            for module in weights.values():
                for parameter in module.parameters():
                    parameter += (
                        torch.linspace(0, 0.1, parameter.numel())
                        .view_as(parameter)
                        .to(parameter.device)
                    )
        save(folder, experiment, weights)
        read, again = restore(folder)
        again = {key: module.to(other.device) for key, module in again.items()}
        expected = vw.run(one, experiment, weights=weights).logits
        assert distance(vw.run(other, read, weights=again).logits, expected) <= CLOSE


# ---- pyvene's names ------------------------------------------------------------------------------


def test_the_second_face_takes_encodings_from_the_cpu(
    model: vw.LanguageModel, twin: vw.LanguageModel, tmp_path: Path
) -> None:
    base, source = (
        model.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        for prompt in (SPAIN, ITALY)
    )
    mean = torch.linspace(-1, 1, model.sites.d_model)
    for name, more in (
        ("VanillaIntervention", {}),
        ("RotatedSpaceIntervention", {}),
        ("LowRankRotatedSpaceIntervention", {"low_rank_dimension": 2}),
        ("SigmoidMaskIntervention", {}),
        ("NoiseIntervention", {}),
        ("AdditionIntervention", {"source_representation": mean}),
        ("CollectIntervention", {}),
    ):
        kind = getattr(intervenable, name)
        config = {"layer": 1, "component": "block_output", "intervention_type": kind, **more}
        has_source = kind.needs_source and "source_representation" not in more
        call = ([source] if has_source else None, {"sources->base" if has_source else "base": 3})
        with torch.no_grad():
            found, expected = (
                IntervenableModel(config, one.model)(base, *call)[1].logits for one in (model, twin)
            )
            assert found.device == model.device
            assert distance(found, expected) <= CLOSE, name
            there = IntervenableModel(config, model.model)
            there.save(tmp_path / name)
            again = IntervenableModel.load(tmp_path / name, twin.model)(base, *call)[1].logits
            assert distance(again, there(base, *call)[1].logits) <= CLOSE, name


# ---- the explorer, code and figures --------------------------------------------------------------


def test_the_explorer_shows_the_same(
    model: vw.LanguageModel, twin: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    def shown(one: vw.LanguageModel) -> dict[str, Any]:
        slots = [vw.Slot(layer=0, position=3), vw.Slot(layer=2, position=4, intervention="noise")]
        explorer = vw.explore(SPAIN, ITALY, one, slots=slots)
        try:
            explorer.wait(60)
            assert explorer.scene["model"]["device"] == str(one.device)
            return copy.deepcopy({"answer": explorer.answer, "map": explorer.map})
        finally:
            explorer.close()

    found, expected = numbers_in(shown(model)), numbers_in(shown(twin))
    assert len(found) > 100
    assert found == pytest.approx(expected, abs=1e-2, rel=1e-3)


def test_figures_and_tables(model: vw.LanguageModel, twin: vw.LanguageModel) -> None:
    experiment = of_operator("vanilla")
    runs = [vw.run(one, experiment) for one in (model, twin)]
    plain = vw.run(model, vw.Experiment(base=SPAIN))
    assert len(vw.compare(plain, runs[0]).frame) == model.sites.vocabulary
    frames = [run.frame.set_index("token_id").sort_index() for run in runs]
    wanted = pytest.approx(frames[1]["probability"].tolist(), abs=1e-4)
    assert frames[0]["probability"].tolist() == wanted
    drawn: Any = vw.sweep(model, SPAIN, ITALY).plot().data
    assert len(drawn) > 0


def test_code_names_the_device(capitals: vw.LanguageModel, device: torch.device) -> None:
    from vene_widgets.codegen.script import FACES, script

    slots = [vw.Slot(layer=0, position=3)]
    for face in FACES:
        text = script(capitals, vw.Experiment(base=SPAIN, sources=ITALY, slots=slots), face)
        assert f'device="{device}"' in text


# ---- torch's default device, and several models on one device ------------------------------------


def test_the_device_as_torchs_default(model: vw.LanguageModel, tmp_path: Path) -> None:
    """Also of a model on the CPU while another device is the default."""

    def everything(one: vw.LanguageModel) -> list[Tensor]:
        pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (FRANCE, ITALY)]
        fit = vw.fit_subspace(one, pairs, layer=1, position=3, rank=1, steps=2, progress=False)
        found = [vw.run(one, of_operator(name)).logits for name in BUILT_IN]
        found += [vw.sweep(one, SPAIN, ITALY, intervention=n).logits for n in ("vanilla", "noise")]
        weights = vw.make_weights(one, of_operator("rotated_space"))
        save(tmp_path / "saved", of_operator("rotated_space"), weights, overwrite=True)
        read, weights = restore(tmp_path / "saved")
        weights = {key: module.to(one.device) for key, module in weights.items()}
        found.append(vw.run(one, read, weights=weights).logits)
        return [*found, torch.tensor(fit.history["held_out_loss"].tolist(), device="cpu")]

    for one in (model, wrap(copy.deepcopy(model.model).to("cpu"), model.tokenizer)):
        expected = everything(one)
        torch.set_default_device(model.device)
        try:
            found = everything(wrap(one.model, one.tokenizer))
        finally:
            torch.set_default_device(None)
        for a, b in zip(found, expected, strict=True):
            assert a.device == b.device and torch.equal(a, b)


def test_two_models_in_two_threads(
    tiny_gpt2: vw.LanguageModel, tiny_llama: vw.LanguageModel
) -> None:
    """Both threads use both models in turn, and get what one alone gets."""

    def round_(models: tuple[vw.LanguageModel, ...]) -> list[Tensor]:
        found: list[Tensor] = []
        for one in models:
            found.append(vw.run(one, of_operator("vanilla")).logits)
            found.append(vw.sweep(one, SPAIN, ITALY).logits)
        return found

    orders = (tiny_gpt2, tiny_llama), (tiny_llama, tiny_gpt2)
    expected = [round_(order) for order in orders]
    found: dict[int, list[list[Tensor]]] = {0: [], 1: []}
    errors: list[BaseException] = []
    start = threading.Barrier(2)

    def work(index: int) -> None:
        try:
            start.wait(30)
            for _ in range(6):
                found[index].append(round_(orders[index]))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    for index, rounds in found.items():
        assert len(rounds) == 6
        for one in rounds:
            assert all(torch.equal(a, b) for a, b in zip(one, expected[index], strict=True))


def test_two_explorers_of_two_models(
    tiny_gpt2: vw.LanguageModel, tiny_llama: vw.LanguageModel, silent_painter: SilentPainter
) -> None:
    slots = [vw.Slot(layer=1, position=3)]
    models = tiny_gpt2, tiny_llama
    opened = [vw.explore(SPAIN, ITALY, one, slots=slots) for one in (*models, *models)]
    try:
        for explorer, one in zip(opened, (*models, *models), strict=True):
            explorer.wait(60)
            alone = vw.run(one, vw.Experiment(base=SPAIN, sources=ITALY, slots=slots))
            assert torch.equal(explorer.run.logits, alone.logits)
    finally:
        for explorer in opened:
            explorer.close()


# ---- layers on several devices -------------------------------------------------------------------


def moved_by_hooks(net: nn.Module, blocks: list[nn.Module], there: torch.device) -> nn.Module:
    """Some blocks on another device; each part moves its inputs to its own."""
    head: list[Any] = [net.get_submodule(name) for name in ("transformer.ln_f", "lm_head")]
    for n, part in enumerate([*blocks, *head]):
        own = there if n == 1 else torch.device("cpu")
        part.to(own)

        def move(
            _module: nn.Module, args: Any, named: Any, own: torch.device = own
        ) -> tuple[Any, Any]:
            def to_own(value: Any) -> Any:
                return value.to(own) if isinstance(value, Tensor) else value

            return tuple(map(to_own, args)), {k: to_own(v) for k, v in named.items()}

        part.register_forward_pre_hook(move, with_kwargs=True)
    return net


def moved_by_accelerate(net: nn.Module, blocks: list[nn.Module], there: torch.device) -> nn.Module:
    accelerate = pytest.importorskip("accelerate")
    names = ("transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head")
    places: dict[str, Any] = dict.fromkeys(names, "cpu")
    places |= {f"transformer.h.{n}": str(there) if n == 1 else "cpu" for n, _ in enumerate(blocks)}
    return accelerate.dispatch_model(net, places, main_device="cpu", force_hooks=True)


@pytest.mark.parametrize("how", [moved_by_hooks, moved_by_accelerate])
def test_layers_on_two_devices(
    tiny_gpt2: vw.LanguageModel, elsewhere: torch.device, how: Any
) -> None:
    """What `device_map` of transformers gives."""
    whole = wrap(copy.deepcopy(tiny_gpt2.model).to("cpu"), tiny_gpt2.tokenizer)
    net: Any = copy.deepcopy(whole.model)
    model = wrap(how(net, list(net.transformer.h), tiny_gpt2.device), tiny_gpt2.tokenizer)
    places = {p.device.type for p in model.model.parameters()}
    assert places == {"cpu", elsewhere.type} and model.resume_blocker is not None
    for name in BUILT_IN:
        found, expected = (vw.run(one, of_operator(name)).logits for one in (model, whole))
        assert distance(found, expected) <= CLOSE, name
    heads = vw.Experiment(
        base=SPAIN,
        sources=ITALY,
        slots=[
            vw.Slot(layer=layer, position=3, component="head_value_output", head=1, subspace=[0])
            for layer in (0, 1)
        ],
    )
    assert distance(vw.run(model, heads).logits, vw.run(whole, heads).logits) <= CLOSE
    for component in ("block_output", "mlp_output", "block_input"):
        found, expected = (vw.sweep(one, SPAIN, ITALY, component).logits for one in (model, whole))
        assert distance(found, expected) <= CLOSE, component
    pairs = [(SPAIN, ITALY), (ITALY, SPAIN), (FRANCE, ITALY)]
    fits = [
        vw.fit_subspace(one, pairs, layer=1, position=3, rank=1, steps=3, progress=False)
        for one in (model, whole)
    ]
    losses = [fit.history["held_out_loss"].tolist() for fit in fits]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
