"""The user's own objects: left as they were, or refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_testing import PROMPT, make_config, make_model, make_tokenizer
from torch import nn
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel, GPT2Model

import vene_widgets as vw


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a user could see changed in a model."""
    hooks = [name for name in vars(model) if name.endswith("_hooks")]
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "gradients": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad": {name: p.grad for name, p in model.named_parameters()},
        "hooks": {
            (name, kind): dict(getattr(module, kind))
            for name, module in model.named_modules()
            for kind in hooks
        },
        "config": copy.deepcopy(model.config.to_dict()),  # type: ignore[union-attr]
        "identity": {name: id(p) for name, p in model.named_parameters()},
        "place": {name: (p.device, p.dtype) for name, p in model.named_parameters()},
    }


def test_wrap_leaves_the_model_exactly_as_it_was() -> None:
    model, tokenizer = make_model().double(), make_tokenizer()
    model.train()
    model.transformer.h[1].eval()
    model.transformer.wpe.weight.requires_grad_(False)
    model.transformer.h[0].register_forward_hook(lambda *_: None)
    before, vocabulary = snapshot(model), tokenizer.get_vocab()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = vw.wrap(model, tokenizer, name="mine")
    wrapped.tokens(PROMPT)
    repr(wrapped)
    assert wrapped.model is model and wrapped.tokenizer is tokenizer and wrapped.name == "mine"
    assert snapshot(model) == before and tokenizer.get_vocab() == vocabulary
    after = model.state_dict()
    assert weights.keys() == after.keys()
    assert all(torch.equal(weights[name], after[name]) for name in weights)


def test_wrap_names_a_model_after_its_config_or_class(saved: Path) -> None:
    assert vw.wrap(make_model(), make_tokenizer()).name == "GPT2LMHeadModel"
    loaded = GPT2LMHeadModel.from_pretrained(saved)
    assert vw.wrap(loaded, make_tokenizer()).name == saved.name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "gpt2", "must be a torch module.* got a str.*load"),
        (lambda: nn.Linear(2, 2), "architecture 'Linear' is not known"),
        (lambda: GPT2Model(make_config()), "expected a model with a language-model head"),
        (
            lambda: GPT2ForSequenceClassification(make_config()),
            "expected a model with a language-model head",
        ),
        (lambda: vw.wrap(make_model(), make_tokenizer()), "LanguageModel already"),
        (lambda: nn.Module.to(make_model(), "meta"), "meta device"),
    ],
)
def test_wrap_refuses_what_is_no_causal_language_model(make: Any, message: str) -> None:
    with pytest.raises(vw.RequestError, match=message):
        vw.wrap(make(), make_tokenizer())


@pytest.mark.parametrize("tokenizer", [None, "gpt2", str.split, nn.Linear(2, 2)])
def test_wrap_refuses_what_is_no_tokenizer(tokenizer: Any) -> None:
    with pytest.raises(vw.RequestError, match="must be a Hugging Face tokenizer"):
        vw.wrap(make_model(), tokenizer)


def test_wrap_refuses_ids_that_the_model_does_not_embed() -> None:
    tokenizer = make_tokenizer()
    with pytest.raises(vw.RequestError, match=r"1 ids beyond.*from 8.*0 to 7"):
        vw.wrap(make_model(vocab_size=8), tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    model = make_model()
    with pytest.raises(vw.RequestError, match=r"from 9.*resize_token_embeddings"):
        vw.wrap(model, tokenizer)
    assert vw.wrap(make_model(vocab_size=64), tokenizer).sites.vocabulary == 64  # padded: fine
