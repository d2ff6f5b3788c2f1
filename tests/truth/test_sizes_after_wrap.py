"""A model of other sizes than when it was wrapped is refused; wrapped again, it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN, check_everything, plain_logits
from torch import nn

import vene_widgets as vw

Change = Callable[[Any], object]


def another(root: Any, **changes: Any) -> Any:
    """A Llama like this one but for some fields of its config."""
    config = copy.deepcopy(root.config)
    for name, value in changes.items():
        setattr(config, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return type(root)(config).to(root.device).eval()


def fewer_heads(root: Any) -> None:
    other = another(root, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    root.model, root.config = other.model, other.config


def narrower_mlp(root: Any) -> None:
    other = another(root, intermediate_size=root.config.intermediate_size - 4)
    root.model, root.config = other.model, other.config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (fewer_heads, "2 heads now and had 4"),
        (narrower_mlp, "dimensions in the MLP now and had"),
        (lambda root: root.resize_token_embeddings(root.config.vocab_size + 8), "ids in the voc"),
        (lambda root: root.resize_token_embeddings(50), "50 ids in the vocabulary now and had"),
        (
            lambda root: setattr(root.config, "max_position_embeddings", 16),
            "16 positions now and had",
        ),
    ],
    ids=["heads", "MLP", "more tokens", "fewer tokens", "positions"],
)
def test_other_sizes_are_named(llama: vw.LanguageModel, change: Change, words: str) -> None:
    vw.sweep(llama, SPAIN, ITALY)
    change(llama.model)
    for call in (
        lambda: vw.run(llama, vw.Experiment(base=SPAIN)),
        lambda: vw.sweep(llama, SPAIN, ITALY),
        lambda: vw.sweep(llama, SPAIN, ITALY, "head_attention_value_output", head=1),
    ):
        with pytest.raises(vw.RequestError, match=words):
            call()


@pytest.mark.parametrize("change", [fewer_heads, narrower_mlp])
def test_wrapped_again_it_runs(llama: vw.LanguageModel, change: Change) -> None:
    change(llama.model)
    check_everything(vw.wrap(llama.model, llama.tokenizer))


def test_one_layer_of_another_size(llama: vw.LanguageModel) -> None:
    root: Any = llama.model
    narrow = another(root, intermediate_size=root.config.intermediate_size - 4)
    root.model.layers[1].mlp = narrow.model.layers[1].mlp
    with pytest.raises(vw.RequestError, match=r"not what its config says: .* of block 1"):
        vw.sweep(llama, SPAIN, ITALY, "mlp_activation")


@pytest.mark.parametrize("path", ["", "model.layers.1", "model.rotary_emb"])
def test_tensors_that_have_lost_their_values(llama: vw.LanguageModel, path: str) -> None:
    vw.sweep(llama, SPAIN, ITALY)
    nn.Module.to(llama.model.get_submodule(path), "meta")
    for call in (
        lambda: vw.run(llama, vw.Experiment(base=SPAIN)),
        lambda: vw.sweep(llama, SPAIN, ITALY),
        lambda: vw.wrap(llama.model, llama.tokenizer),
    ):
        with pytest.raises(vw.RequestError, match="on the meta device, which have no values"):
            call()


def test_one_block_as_every_layer_counts_as_all_of_them(llama: vw.LanguageModel) -> None:
    layers: Any = llama.model.get_submodule("model.layers")
    for index in range(len(layers)):
        layers[index] = layers[0]
    root: Any = llama.model
    root.config.use_cache = False  # all of them would write into one layer's cache
    again = vw.wrap(llama.model, llama.tokenizer)
    assert again.sites.layers == len(layers) == 3
    run = vw.run(again, vw.Experiment(base=SPAIN))
    torch.testing.assert_close(run.logits, plain_logits(llama, SPAIN))
