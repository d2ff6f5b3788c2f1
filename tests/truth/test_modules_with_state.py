"""Modules that write into themselves: their state stays, and every pass begins with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN, check_everything, plain_logits
from torch import Tensor, nn

import vene_widgets as vw

LONG = "The capital of Spain is Madrid. The capital of Italy is"


class Counts(nn.Module):
    """Scales by how often it was called, counted in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class Mean(nn.Module):
    """Subtracts a running mean, kept in a plain tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.to(x.device)
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean())
        return x - self.mean


class Tally:
    """How often something happened."""

    def __init__(self) -> None:
        self.calls = 0
        self.seen: list[int] = []


class CountsInAnInt(nn.Module):
    """Scales by how often it was called, counted in a number."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class CountsInAList(nn.Module):
    """Scales by how often it was called, counted in a list and in a dict of lists."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.named: dict[str, list[int]] = {"calls": []}

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(1)
        self.named["calls"].append(1)
        return x * (len(self.calls) + len(self.named["calls"])) / 2


class CountsInAnObject(nn.Module):
    """Scales by how often it was called, counted in an object."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = Tally()

    def forward(self, x: Tensor) -> Tensor:
        self.tally.calls += 1
        self.tally.seen.append(x.shape[1])
        return x * (self.tally.calls + len(self.tally.seen)) / 2


class Hooked(nn.Identity):
    """Scales by how often it was called, counted by a hook on the module."""

    def __init__(self) -> None:
        super().__init__()
        self.register_forward_hook(count_on_the_module)


def count_on_the_module(module: Any, _args: object, output: Tensor) -> Tensor:
    module.calls = getattr(module, "calls", 0) + 1
    return output * module.calls


def quantised() -> nn.Module:
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    return FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255)


def state_of(module: Any) -> dict[str, Any]:
    """What the module has written into itself."""
    own = {name: vars(module)[name] for name in ("mean", "calls", "named") if name in vars(module)}
    if "tally" in vars(module):
        own |= vars(module.tally)
    return copy.deepcopy({**module.state_dict(), **own})


def equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


COUNTERS = [Counts, CountsInAnInt, CountsInAList, CountsInAnObject, Hooked]


@pytest.mark.parametrize("make", [*COUNTERS, Mean, quantised])
def test_its_numbers_stay_and_each_pass_begins_with_them(
    llama: vw.LanguageModel, make: Callable[[], nn.Module]
) -> None:
    root: Any = llama.model
    added = make().to(llama.device)
    root.model.layers[1].mlp = nn.Sequential(root.model.layers[1].mlp, added)
    plain_logits(llama, LONG)  # a pass of the user's: an observer sees its first numbers
    before = state_of(added)
    model = vw.wrap(root, llama.tokenizer)
    first = vw.run(model, vw.Experiment(base=SPAIN)).logits
    vw.run(model, vw.Experiment(base=LONG))
    vw.sweep(model, SPAIN, ITALY)
    torch.testing.assert_close(vw.run(model, vw.Experiment(base=SPAIN)).logits, first)
    after = state_of(added)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert equal(after[name], value), name
    torch.testing.assert_close(first, plain_logits(llama, SPAIN))
    assert not all(equal(value, before[name]) for name, value in state_of(added).items())


def test_an_embedding_that_rewrites_its_weights_is_refused(llama: vw.LanguageModel) -> None:
    table: Any = llama.model.get_submodule("model.embed_tokens")
    table.max_norm = 1.0
    weights = table.weight.detach().clone()
    with pytest.raises(vw.RequestError, match=r"max_norm set in 'model\.embed_tokens'"):
        vw.wrap(llama.model, llama.tokenizer)
    with pytest.raises(vw.RequestError, match="max_norm"):
        vw.run(llama, vw.Experiment(base=SPAIN))
    assert torch.equal(table.weight, weights)
    table.max_norm = None
    check_everything(llama)
