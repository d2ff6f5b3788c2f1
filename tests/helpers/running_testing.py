"""Prompts, slots and experiments that several tests of running share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vene_widgets.engine.running import Run, run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel

SPAIN, ITALY, FRANCE = (f"The capital of {c} is" for c in ("Spain", "Italy", "France"))
MODELS = ["tiny_gpt2", "tiny_llama", "capitals"]
EVERYWHERE = (0, 1, 2, 3, 4)


def swap(layer: int, position: Any, component: str = "block_output", **more: Any) -> Slot:
    return Slot(layer=layer, position=position, component=component, **more)


def swapped(*slots: Slot, base: str = SPAIN, **sources: str) -> Experiment:
    """An experiment on `base`, with Italy as its source unless others are named."""
    return Experiment(base=base, sources=sources or {"italy": ITALY}, slots=slots)


def everywhere(model: LanguageModel, layer: int) -> list[Slot]:
    """A slot at every component, every head, every position of one layer."""
    slots = []
    for component in model.sites.components:
        count = model.sites.head_count(component)
        heads = [None] if count is None else range(count)
        slots += [swap(layer, EVERYWHERE, component, head=head) for head in heads]
    return slots


def ids_of(model: LanguageModel, prompt: str) -> Tensor:
    return torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)


def plain(model: LanguageModel, prompt: str) -> Tensor:
    """The model as Hugging Face runs it, nothing of ours involved: logits `(positions, vocab)`."""
    with torch.no_grad():
        return model.model(input_ids=ids_of(model, prompt)).logits[0]


def differ(one: Run, other: Run) -> bool:
    return not torch.equal(one.logits, other.logits)


def act(intervention: str, layer: int = 1, position: Any = 3, **more: Any) -> Slot:
    return Slot(layer=layer, position=position, intervention=intervention, **more)


HALVES = {"zero": (0, 1), "one": (1, 2)}


def low_rank(subspace: str | None = None, layer: int = 0, **more: Any) -> Slot:
    fields = {"rank": 2, "partition": HALVES, "subspace": subspace, "link": "shared", **more}
    return act("low_rank_rotated_space", layer, 4, **fields)


def last(model: LanguageModel, *slots: Slot) -> Tensor:
    return run(model, swapped(*slots)).last_hidden_state


CHAIN = {"italy": ITALY, "france": FRANCE}


def chain(*slots: Slot, mode: Any = "serial") -> Experiment:
    return Experiment(base=SPAIN, sources=CHAIN, slots=slots, mode=mode)
