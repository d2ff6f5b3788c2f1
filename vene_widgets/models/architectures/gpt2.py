"""GPT-2 (Radford et al. 2019): learned positions, one fused projection for q, k and v."""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import (
    BETWEEN_NORMS,
    BLOCK_INPUT,
    BLOCK_OUTPUT,
    Architecture,
    Component,
    Part,
    Width,
    with_heads,
)

_FUSED: tuple[Width, ...] = ("d_heads", "d_heads", "d_heads")

GPT2 = Architecture(
    name="gpt2",
    code="transformers.models.gpt2.modeling_gpt2",
    causal_lm="GPT2LMHeadModel",
    blocks="transformer.h",
    backbone="transformer",
    unembedding=("lm_head",),
    final_norm="transformer.ln_f",
    attention="attn",
    attention_method="",
    mlp="mlp",
    rotary="",
    components=with_heads(
        {
            "block_input": BLOCK_INPUT,
            "block_output": BLOCK_OUTPUT,
            "attention_input": Component(
                "attn",
                "input",
                norm="after ln_1",
                before_attention=True,
                reaches_later_positions=True,
            ),
            "query_output": Component(
                "attn.c_attn",
                "output",
                "d_heads",
                part=Part(0, _FUSED),
                norm="after ln_1",
                before_attention=True,
            ),
            "key_output": Component(
                "attn.c_attn",
                "output",
                "d_heads",
                part=Part(1, _FUSED),
                norm="after ln_1",
                before_attention=True,
                reaches_later_positions=True,
            ),
            "value_output": Component(
                "attn.c_attn",
                "output",
                "d_heads",
                part=Part(2, _FUSED),
                norm="after ln_1",
                before_attention=True,
                reaches_later_positions=True,
            ),
            "attention_value_output": Component(
                "attn.c_proj", "input", "d_heads", norm=BETWEEN_NORMS
            ),
            "attention_output": Component("attn", "output", norm=BETWEEN_NORMS),
            "mlp_input": Component("mlp", "input", norm="after ln_2"),
            "mlp_activation": Component("mlp.act", "output", "d_mlp", norm="after ln_2"),
            "mlp_output": Component("mlp", "output", norm="after ln_2"),
        },
        key_values="heads",
    ),
    config={
        "layers": ("n_layer",),
        "heads": ("n_head",),
        "key_value_heads": ("n_head",),
        "d_model": ("n_embd",),
        "d_mlp": ("n_inner",),
        "positions": ("n_positions",),
    },
)
