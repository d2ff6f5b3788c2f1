"""Families that differ from the one that they were declared as."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from by_hand import SPAIN, check_everything, plain_logits

import vene_widgets as vw
from vene_widgets.models import wrap


def sizes(model: vw.LanguageModel) -> dict[str, Any]:
    """A small config's fields, with the vocabulary of a model's tokenizer."""
    return {
        "vocab_size": len(model.tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 32,
        "initializer_range": 0.3,
    }


def test_a_family_that_was_declared_a_llama(
    llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen 3 normalises queries and keys: one line of declaration gives right numbers, slowly."""
    import dataclasses

    from transformers import Qwen3Config, Qwen3ForCausalLM

    from vene_widgets.models.architectures import ARCHITECTURES, LLAMA

    config = Qwen3Config(**sizes(llama))
    torch.manual_seed(0)
    qwen = Qwen3ForCausalLM(config).eval()
    for name, weight in qwen.named_parameters():
        if "_norm" in name:
            weight.data.uniform_(0.3, 2)
    monkeypatch.setitem(ARCHITECTURES, "qwen3", dataclasses.replace(LLAMA, name="qwen3"))
    model = wrap(qwen, llama.tokenizer)
    assert "is not the code" in str(model.resume_blocker)
    check_everything(model)


def test_a_family_that_caps_its_logits(
    llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from transformers import Gemma2Config, Gemma2ForCausalLM

    from vene_widgets.models.architectures import ARCHITECTURES, LLAMA

    config = Gemma2Config(
        **sizes(llama),
        final_logit_softcapping=1.0,
        sliding_window=3,
    )
    torch.manual_seed(0)
    gemma = Gemma2ForCausalLM(config).eval()
    monkeypatch.setitem(ARCHITECTURES, "gemma2", dataclasses.replace(LLAMA, name="gemma2"))
    model = wrap(gemma, llama.tokenizer)
    assert model.resume_blocker is not None
    assert plain_logits(model, SPAIN).abs().max() <= 1
    check_everything(model)
