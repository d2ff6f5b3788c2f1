"""How long prompts may be, and models whose sizes contradict their config."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from request_testing import ITALY, SPAIN, refusal, slot

import vene_widgets as vw
from vene_widgets.experiments import Experiment
from vene_widgets.models import LanguageModel
from vene_widgets.models.sites import Sites

# ---- lengths of prompts --------------------------------------------------------------------------


def with_rope(tokenizer: Any, **rope: Any) -> LanguageModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=8,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_parameters={"rope_theta": 10000.0, **rope},
        )
        return vw.wrap(LlamaForCausalLM(config).eval(), tokenizer, "rope")


@pytest.mark.parametrize("kind", ["dynamic", "linear", "yarn"])
def test_scaled_rotary_positions_have_no_end(tiny_tokenizer: Any, kind: str) -> None:
    model = with_rope(tiny_tokenizer, rope_type=kind, factor=2.0)
    base, source = ("The capital of Spain is" * 4 + end for end in (" Rome", " Madrid"))
    assert model.sites.positions is None and len(model.tokens(base)) > 8
    swept = vw.sweep(model, base, source, layers=[0], positions=[3, -1])
    ids = torch.tensor([[token.id for token in model.tokens(base)]], device=model.device)
    with torch.no_grad():
        own: Any = model.model(ids)
    assert torch.allclose(swept.base_logits, own.logits[0, -1], atol=1e-5)
    for column, position in enumerate((3, -1)):
        experiment = Experiment(base=base, sources=source, slots=slot(position))
        run = vw.run(model, experiment)
        assert torch.allclose(swept.logits[0, column], run.logits[-1], atol=1e-4)


def test_plain_rotary_and_learned_positions_end(
    tiny_tokenizer: Any, tiny_gpt2: LanguageModel
) -> None:
    model = with_rope(tiny_tokenizer, rope_type="default")
    assert model.sites.positions == 8
    assert "9 tokens; rope takes at most 8" in refusal(lambda: model.tokens("The" + " is" * 8))
    assert "33 tokens; tiny-gpt2 takes at most 32" in refusal(
        lambda: tiny_gpt2.tokens("The" + " is" * 32)
    )


# ---- models that are not what their config says --------------------------------------------------


def built(family: str) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if family == "gpt2":
        config = GPT2Config(vocab_size=300, n_positions=32, n_embd=24, n_layer=3, n_head=3)
        return GPT2LMHeadModel(config).eval()
    config = LlamaConfig(
        vocab_size=300,
        max_position_embeddings=32,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_cut_off_blocks_are_not_counted(family: str, tiny_tokenizer: Any) -> None:
    hf = built(family)
    inner: Any = hf.transformer if family == "gpt2" else hf.model
    name = "h" if family == "gpt2" else "layers"
    setattr(inner, name, getattr(inner, name)[:2])
    model = vw.wrap(hf, tiny_tokenizer, "cut")
    assert model.sites.layers == 2
    swept = vw.sweep(model, SPAIN, ITALY)
    run = vw.run(model, Experiment(base=SPAIN, sources=ITALY, slots=slot(-1, layer=-1)))
    assert torch.allclose(swept.logits[1, 4], run.logits[-1], atol=1e-4)
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot(layer=2))
    assert "the model has 2 layers" in refusal(lambda: vw.run(model, experiment))


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        (
            "gpt2",
            lambda m: m.transformer.h.append(copy.deepcopy(m.transformer.h[0])),
            "it has 4 blocks in 'transformer.h', expected 3",
        ),
        ("gpt2", lambda m: setattr(m.transformer, "h", torch.nn.ModuleList()), "it has no blocks"),
        (
            "gpt2",
            lambda m: setattr(m.transformer.h[1].attn, "c_attn", torch.nn.Linear(24, 48)),
            "attn.c_attn of block 1 has 24 inputs and 48 outputs, expected 24 inputs and 72 outp",
        ),
        (
            "gpt2",
            lambda m: setattr(m.transformer.h[2].mlp, "c_fc", torch.nn.Linear(24, 50)),
            "mlp.c_fc of block 2 has 24 inputs and 50 outputs, expected 24 inputs and 96 outputs",
        ),
        (
            "gpt2",
            lambda m: setattr(m.transformer.h[0].attn, "num_heads", 4),
            "attn.num_heads of block 0 has 4, expected 3",
        ),
        (
            "llama",
            lambda m: setattr(m.model.layers[1].self_attn, "q_proj", torch.nn.Linear(24, 16)),
            "self_attn.q_proj of block 1 has 24 inputs and 16 outputs",
        ),
        (
            "llama",
            lambda m: setattr(m.model.layers[1].mlp, "down_proj", torch.nn.Linear(30, 24)),
            "mlp.down_proj of block 1 has 30 inputs and 24 outputs, expected 32 inputs and 24",
        ),
        ("llama", lambda m: setattr(m.config, "num_attention_heads", 6), "of block 0 has "),
    ],
)
def test_sizes_that_contradict_the_config_are_refused(
    family: str, change: Callable[[Any], None], words: str
) -> None:
    model = built(family)
    Sites(model)
    change(model)
    text = refusal(lambda: Sites(model))
    assert "is not what its config says" in text and words in text


def test_a_block_without_a_module_lacks_only_its_components(tiny_tokenizer: Any) -> None:
    hf = built("gpt2")
    hf.transformer.h[1].mlp = torch.nn.Identity()
    model = vw.wrap(hf, tiny_tokenizer, "no mlp")
    assert model.sites.site(0, "mlp_activation").width == 96
    assert model.sites.site(1, "mlp_output").width == 24
    assert "its block has no module 'mlp.act'" in refusal(
        lambda: model.sites.site(1, "mlp_activation")
    )
    assert "layer: expected an int, got 1.5" in refusal(
        lambda: model.sites.site(1.5, "block_output")  # type: ignore[arg-type]
    )
