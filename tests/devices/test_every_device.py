"""Every kind of request on another device than the CPU gives the CPU's numbers.

Run on the CPU, `test_this_folder_passes_on_another_device` runs all of `tests/devices` again on the
simulated device and on every accelerator that is there (`--device`). The other tests of this file:
models are on the device, and it refuses what CUDA refuses.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import second_device
import torch
from torch import Tensor, nn

import vene_widgets as vw
from vene_widgets.models import placement


@pytest.mark.parametrize("name", [second_device.NAME, "cuda", "mps"])
def test_this_folder_passes_on_another_device(name: str, device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("started from the run on the CPU")
    if name == second_device.NAME:
        if second_device.compiler() is None:
            pytest.skip("no C++ compiler to build the simulated device with")
    elif name not in placement.devices():
        pytest.skip(f"no {name} device on this machine")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--device", name]
    folder = str(Path(__file__).parent)
    done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
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
    """Without this, the folder would prove nothing; on CUDA, the simulation is checked by it."""
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
