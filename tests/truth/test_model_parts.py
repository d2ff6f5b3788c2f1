"""Models with another head, attention, depth, rotary embedding or kind of linear."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from by_hand import ITALY, SPAIN, check_everything, distance, plain_logits
from torch import nn

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_heads(model: vw.LanguageModel, tied: bool) -> None:
    root: Any = model.model
    table, head = root.get_input_embeddings(), root.get_output_embeddings()
    head.weight = table.weight if tied else nn.Parameter(table.weight.detach().clone().flip(0))
    check_everything(model)
    assert (root.get_output_embeddings().weight is table.weight) == tied


def test_eager_attention(model: vw.LanguageModel) -> None:
    root: Any = model.model
    before = vw.sweep(model, SPAIN, ITALY).logits
    root.set_attn_implementation("eager")
    check_everything(model)
    assert distance(vw.sweep(model, SPAIN, ITALY).logits, before) <= 1e-5


def test_blocks_cut_off(model: vw.LanguageModel) -> None:
    """The config still says three; the layers that are there can be used."""
    names = model.sites.architecture
    parent, _, name = names.blocks.rpartition(".")
    owner: Any = model.model.get_submodule(parent)
    setattr(owner, name, getattr(owner, name)[:2])
    again = wrap(model.model, model.tokenizer)
    assert again.sites.layers == 2
    check_everything(again)
    slot = vw.Slot(layer=2, position=0, intervention="zero")
    with pytest.raises(vw.RequestError, match="2 layers"):
        vw.run(again, vw.Experiment(base=SPAIN, slots=[slot]))


def test_blocks_cut_off_after_wrapping(model: vw.LanguageModel) -> None:
    names = model.sites.architecture
    parent, _, name = names.blocks.rpartition(".")
    vw.sweep(model, SPAIN, ITALY)
    owner: Any = model.model.get_submodule(parent)
    setattr(owner, name, getattr(owner, name)[:2])
    experiment = vw.Experiment(base=SPAIN)
    for call in (
        lambda: vw.run(model, experiment),
        lambda: vw.sweep(model, SPAIN, ITALY),
        lambda: model.resume_blocker,
    ):
        with pytest.raises(vw.RequestError, match="2 layers now and had 3 when it was wrapped"):
            call()


@pytest.mark.parametrize("kind", ["dynamic", "linear", "yarn", "longrope"])
def test_other_rotary_embeddings(
    llama: vw.LanguageModel, kind: str, request: pytest.FixtureRequest
) -> None:
    from transformers import LlamaForCausalLM

    config: Any = copy.deepcopy(llama.model.config)
    rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 10000.0}
    if kind == "yarn":
        rope["original_max_position_embeddings"] = 4
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
        config.original_max_position_embeddings = 4
        rope["original_max_position_embeddings"] = 4
    config.rope_parameters = rope
    config.max_position_embeddings = 7
    other = LlamaForCausalLM(config).eval()
    other.load_state_dict(llama.model.state_dict())
    model = wrap(other, llama.tokenizer)
    assert distance(plain_logits(model, SPAIN), plain_logits(llama, SPAIN)) > 1e-3 or kind in (
        "dynamic",
    )
    check_everything(model)


def test_dynamic_rotary_embeddings_depend_on_the_calls_before(llama: vw.LanguageModel) -> None:
    """transformers keeps frequencies of the longest prompt so far: no pass may leave a trace."""
    from transformers import LlamaForCausalLM

    config: Any = copy.deepcopy(llama.model.config)
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    config.max_position_embeddings = 4
    other = LlamaForCausalLM(config).eval()
    other.load_state_dict(llama.model.state_dict())
    model = wrap(other, llama.tokenizer)
    short, long = " Madrid of", "The capital of Spain is Rome of"
    fresh = {p: plain_logits(wrap(copy.deepcopy(other), llama.tokenizer), p) for p in (short, long)}
    before = {name: buffer.clone() for name, buffer in other.named_buffers()}
    middle = "The capital of Spain is Rome"
    fresh[middle] = plain_logits(wrap(copy.deepcopy(other), llama.tokenizer), middle)
    for prompt in (short, long, middle, short, middle):
        found = vw.run(model, vw.Experiment(base=prompt)).logits
        assert distance(found, fresh[prompt]) <= 1e-5, prompt
    # A longer source in the same run leaves no trace either: with strength 0 nothing else does.
    slot = vw.Slot(layer=1, position=0, strength=0)
    found = vw.run(model, vw.Experiment(base=middle, sources=long, slots=[slot])).logits
    assert distance(found, fresh[middle]) <= 1e-5
    assert all(torch.equal(before[name], buffer) for name, buffer in other.named_buffers())


def test_quantised_linears(llama: vw.LanguageModel) -> None:
    import warnings

    if llama.device.type != "cpu":
        pytest.skip("torch quantises linears on the CPU only")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(llama.model), {nn.Linear}, dtype=torch.qint8
        )
        model = wrap(quantised, llama.tokenizer)
        assert distance(plain_logits(model, SPAIN), plain_logits(llama, SPAIN)) > 1e-4
        # Each batch has one scale for its activations, so rows are not independent.
        check_everything(model, 1e-5)
        assert model.resume_blocker is not None
