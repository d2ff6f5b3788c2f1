"""An experiment, its logits by hand, what the screen shows of it, and a change of the weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from explorer_testing import BASE, SOURCE
from torch import nn

import vene_widgets as vw
from vene_widgets.explorer import Explorer

EXPERIMENT = vw.Experiment(base=BASE, sources=SOURCE, slots=[vw.Slot(layer=0, position=3)])


def logits(model: vw.LanguageModel, experiment: vw.Experiment) -> torch.Tensor:
    """By hooks of our own on the user's model, eval mode, last position."""
    net: Any = copy.deepcopy(model.model).eval()
    ids = [
        torch.tensor([[t.id for t in model.tokens(p)]], device=model.device) for p in (BASE, SOURCE)
    ]
    blocks: Any = net.get_submodule("transformer.h")
    states: list[torch.Tensor] = []
    slot = experiment.slots[0]
    place: Any = slot.position
    with torch.no_grad():
        handle = blocks[slot.layer].register_forward_hook(lambda _m, _a, out: states.append(out))
        net(ids[1])
        handle.remove()

        def put(_m: nn.Module, _a: Any, out: torch.Tensor) -> torch.Tensor:
            new = out.clone()
            new[:, place] = states[0][:, place]
            return new

        blocks[slot.layer].register_forward_hook(put)
        return net(ids[0]).logits[0, -1]


def shown(explorer: Explorer) -> dict[int, float]:
    """Probabilities of the result on the screen, by token."""
    return {row["token_id"]: row["probabilities"][-1] for row in explorer.answer["tokens"]}


def is_of(explorer: Explorer, wanted: torch.Tensor) -> bool:
    p = wanted.softmax(-1)
    return all(abs(value - float(p[token])) < 1e-5 for token, value in shown(explorer).items())


def block(model: vw.LanguageModel, layer: int) -> Any:
    return model.model.get_submodule(f"transformer.h.{layer}")


def write_data(model: vw.LanguageModel) -> None:
    block(model, 1).mlp.c_fc.weight.data.mul_(1.5)
