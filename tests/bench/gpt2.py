"""GPT-2 small with random weights; its prompts are token ids."""

from __future__ import annotations

import copy
from typing import Any

import torch
from measuring import Work
from transformers import GPT2Config, GPT2LMHeadModel

from vene_widgets.engine.own_model import own_model
from vene_widgets.models import LanguageModel

SEED_PAIR = "464 3139 286 8602 318", "464 3139 286 8031 318"  # differ at position 3 of 5


class Ids:
    """Tokenizer for prompts of space-separated token ids."""

    def __call__(self, text: str, **_more: object) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids: list[int], **_more: object) -> str:
        return f" {ids[0]}"

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return str(token_id)


def gpt2_small() -> LanguageModel:
    torch.manual_seed(0)
    config = GPT2Config(bos_token_id=0, eos_token_id=0)
    return LanguageModel("gpt2-small-random", GPT2LMHeadModel(config).eval(), Ids())


def gpt2_xl() -> LanguageModel:
    """GPT-2 XL's shape, with random weights."""
    torch.manual_seed(0)
    config = GPT2Config(n_embd=1600, n_layer=48, n_head=25, bos_token_id=0, eos_token_id=0)
    return LanguageModel("gpt2-xl-random", GPT2LMHeadModel(config).eval(), Ids())


def on_device(
    model: LanguageModel, device: str, dtype: torch.dtype = torch.float32
) -> LanguageModel:
    """A copy of a model on another device."""
    copied: Any = copy.deepcopy(model.model)
    return LanguageModel(model.name, copied.to(device, dtype), Ids())


def apart(length: int) -> tuple[str, str]:
    """Two prompts of equal length that differ at every position."""
    base, source = range(100, 100 + length), range(1000, 1000 + length)
    return " ".join(map(str, base)), " ".join(map(str, source))


def plain_run(model: LanguageModel, prompt: str) -> Work:
    ids = torch.tensor([Ids()(prompt)["input_ids"]], device=model.device)

    def work() -> None:
        with model.lock, torch.no_grad(), own_model(model):
            model.net(input_ids=ids, use_cache=False)

    return work
