"""Settings of a config that make another block, rotary embedding or last norm."""

from __future__ import annotations

from typing import Any

import families
import pytest
import torch
from by_hand import distance, plain_logits
from families import CONFIGS, PartByHand, blocker_of
from families_testing import BASE, LONGER, Build, check_map_is_runs, last_head

import vene_widgets as vw
from vene_widgets.models import wrap

TWELVE = LONGER + " The capital of Spain is of"

_ROPE: dict[str, dict[str, Any]] = {
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 4},
    "dynamic": {"factor": 4.0},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": 6},
}


@pytest.mark.parametrize("kind", _ROPE)
@pytest.mark.parametrize("name", ["llama", "mistral-window", "gpt_neox"])
def test_scaled_rotary_beyond_the_length_of_training(kind: str, name: str, build: Build) -> None:
    """Prompts of 5 and 12 tokens: frequencies may depend on which of the two is run."""
    rope = {"rope_type": kind, "rope_theta": 50.0, **_ROPE[kind]}
    parts = 5  # pairs of numbers that are rotated
    if name == "gpt_neox":
        rope["partial_rotary_factor"], parts = 0.5, 2
    if kind == "longrope":
        rope["short_factor"] = [1.0] * parts
        rope["long_factor"] = [2.0 + n for n in range(parts)]
    model = build(name, rope_parameters=rope, max_position_embeddings=6)
    assert model.resume_blocker is None
    for base, source in ((BASE, TWELVE), (TWELVE, BASE)):
        own = plain_logits(model, base)
        assert distance(vw.run(model, vw.Experiment(base=base)).logits, own) <= 1e-5
        check_map_is_runs(model, base, source, "key_output")


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", {"num_key_value_heads": 1}),
    ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
    ("qwen2", {**CONFIGS["qwen2-window"][1], "layer_types": ["full_attention"] * 3}),
    ("gpt_neox", {"attention_bias": False}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}),
    ("opt", {"enable_bias": False, "layer_norm_elementwise_affine": False}),
    ("opt", {"word_embed_proj_dim": 16}),
    ("bloom", {"apply_residual_connection_post_layernorm": True}),
    ("stablelm", {"num_key_value_heads": 6, "qk_layernorm": True, "use_qkv_bias": False}),
    ("phi", {"qk_layernorm": False}),
    ("starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    ("gptj", {"rotary_dim": 8}),
    ("mistral", {"sliding_window": 3, "head_dim": 6}),
    ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    ("gemma3_text", {"use_bidirectional_attention": True}),
    ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": 2}),
]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=range(len(SETTINGS)))
def test_settings_that_make_another_block(
    name: str, options: dict[str, Any], attention: str, build: Build
) -> None:
    if attention == "sdpa" and (name in ("bloom", "gemma2") or blocker_of(name)):
        pytest.skip("transformers has no such attention for it")
    model = build(name, attention, **options)
    own = plain_logits(model, BASE)
    assert distance(vw.run(model, vw.Experiment(base=BASE)).logits, own) <= 1e-5
    check_map_is_runs(model, component="mlp_output")
    for component in ("head_query_output", "head_key_output", "mlp_activation"):
        head = last_head(model, component)
        hand = PartByHand(model, BASE, LONGER, component, head)
        slot = vw.Slot(layer=1, component=component, head=head, position=3)
        run = vw.run(model, vw.Experiment(base=BASE, sources=LONGER, slots=[slot]))
        assert distance(run.logits, hand.logits(1, 3, 3)) <= 1e-5, component


@pytest.mark.parametrize(
    "options",
    [{"_remove_final_layer_norm": True}, {"do_layer_norm_before": False}],
    ids=lambda options: next(iter(options)),
)
def test_a_model_without_a_final_norm(tiny_tokenizer: Any, options: dict[str, Any]) -> None:
    """The last block's output is then the last hidden state."""
    hf: Any = families.build("opt", len(tiny_tokenizer), **options)
    model = wrap(hf, tiny_tokenizer, "opt")
    run = vw.run(model, vw.Experiment(base=BASE))
    ids = torch.tensor([[token.id for token in model.tokens(BASE)]])
    with torch.no_grad():
        own = hf(input_ids=ids, output_hidden_states=True)
    assert torch.allclose(run.logits, own.logits[0], atol=1e-5)
    assert torch.allclose(run.last_hidden_state, own.hidden_states[-1][0], atol=1e-5)
