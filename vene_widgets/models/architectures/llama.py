"""Llama (Touvron et al. 2023): rotary positions, gated MLP, grouped-query attention."""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import (
    BETWEEN_NORMS,
    BLOCK_INPUT,
    BLOCK_OUTPUT,
    Architecture,
    Component,
    with_heads,
)

_AFTER_FIRST = "after input_layernorm"
_AFTER_SECOND = "after post_attention_layernorm"

LLAMA = Architecture(
    name="llama",
    code="transformers.models.llama.modeling_llama",
    causal_lm="LlamaForCausalLM",
    classes=(
        "LlamaModel",
        "LlamaDecoderLayer",
        "LlamaAttention",
        "LlamaMLP",
        "LlamaRMSNorm",
        "LlamaRotaryEmbedding",
    ),
    functions=("eager_attention_forward", "apply_rotary_pos_emb", "rotate_half", "repeat_kv"),
    blocks="model.layers",
    backbone="model",
    unembedding="lm_head",
    attention_norm="input_layernorm",
    mlp_norm="post_attention_layernorm",
    final_norm="model.norm",
    attention="self_attn",
    mlp="mlp",
    mlp_modules=None,
    rotary="model.rotary_emb",
    components=with_heads(
        {
            "block_input": BLOCK_INPUT,
            "block_output": BLOCK_OUTPUT,
            "attention_input": Component(
                "self_attn",
                "input",
                norm=_AFTER_FIRST,
                before_attention=True,
                reaches_later_positions=True,
            ),
            "query_output": Component(
                "self_attn.q_proj",
                "output",
                "d_heads",
                norm=f"{_AFTER_FIRST}, before rotary",
                before_attention=True,
            ),
            "key_output": Component(
                "self_attn.k_proj",
                "output",
                "d_key_values",
                norm=f"{_AFTER_FIRST}, before rotary",
                before_attention=True,
                reaches_later_positions=True,
                needed_to_resume=True,
            ),
            "value_output": Component(
                "self_attn.v_proj",
                "output",
                "d_key_values",
                norm=_AFTER_FIRST,
                before_attention=True,
                reaches_later_positions=True,
                needed_to_resume=True,
            ),
            "attention_value_output": Component(
                "self_attn.o_proj", "input", "d_heads", norm=BETWEEN_NORMS
            ),
            "attention_output": Component(
                "self_attn",
                "output",
                norm=BETWEEN_NORMS,
                writes_residual=True,
                needed_to_resume=True,
            ),
            "mlp_input": Component("mlp", "input", norm=_AFTER_SECOND),
            "mlp_activation": Component(
                "mlp.act_fn", "output", "d_mlp", norm=f"{_AFTER_SECOND}, before gating"
            ),
            "mlp_output": Component(
                "mlp", "output", norm=_AFTER_SECOND, writes_residual=True, needed_to_resume=True
            ),
        },
        key_values="key_value_heads",
    ),
    config={
        "layers": ("num_hidden_layers",),
        "heads": ("num_attention_heads",),
        "key_value_heads": ("num_key_value_heads", "num_attention_heads"),
        "d_model": ("hidden_size",),
        "d_mlp": ("intermediate_size",),
        "positions": ("max_position_embeddings",),
    },
)
