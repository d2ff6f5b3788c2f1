"""A tiny GPT-2 with a tokenizer of nine words, in a folder or in a hub's cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

WORDS = ("The", " capital", " of", " Spain", " is", " Italy", " Rome", " Madrid", "<unk>")
PROMPT = "The capital of Spain is"


def make_tokenizer() -> Any:
    """One id per word of `WORDS`; a leading space is part of the word."""
    core = Tokenizer(
        models.WordLevel({w.replace(" ", "Ġ"): i for i, w in enumerate(WORDS)}, "<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


def make_config(**changes: Any) -> GPT2Config:
    sizes = {"vocab_size": len(WORDS), "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
    return GPT2Config(**{**sizes, "bos_token_id": 8, "eos_token_id": 8, **changes})


def make_model(**changes: Any) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(make_config(**changes))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lay_cache(cache: Path, saved: Path, name: str = "lab/tiny") -> None:
    """Lay a folder down as the hub's client would after a download."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(saved, root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits
