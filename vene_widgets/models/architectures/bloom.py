"""BLOOM (Le Scao et al. 2022, "BLOOM: A 176B-Parameter Open-Access Multilingual Language Model").

GPT-2's order of norms and sublayers. One projection computes queries, keys and values, which
alternate head by head. Positions enter as a bias of the attention scores (ALiBi, Press et al.
2022). The attention and MLP modules add the residual stream themselves, so `attention_output` and
`mlp_output` are the outputs of their last projections. Attention is computed inside `forward`, so
every pass is a full one.
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import Architecture, Part, Width
from vene_widgets.models.architectures.standard import Fused, Modules, components, pre_norm

_WIDTHS: tuple[Width, ...] = ("d_heads", "d_heads", "d_heads")

BLOOM = Architecture(
    name="bloom",
    code="transformers.models.bloom.modeling_bloom",
    causal_lm="BloomForCausalLM",
    blocks="transformer.h",
    backbone="transformer",
    unembedding=("lm_head",),
    final_norm="transformer.ln_f",
    attention="self_attention",
    attention_method=None,
    mlp="mlp",
    rotary="",
    components=components(
        Modules(
            attention="self_attention",
            query="self_attention.query_key_value",
            key="self_attention.query_key_value",
            value="self_attention.query_key_value",
            project_out="self_attention.dense",
            attention_output="self_attention.dense",
            mlp_input="mlp",
            activation="mlp.gelu_impl",
            mlp_output="mlp.dense_4h_to_h",
        ),
        pre_norm("input_layernorm", "post_attention_layernorm", queries=""),
        fused=Fused(
            Part(0, _WIDTHS, by_head=True),
            Part(1, _WIDTHS, by_head=True),
            Part(2, _WIDTHS, by_head=True),
        ),
        key_values="heads",
    ),
    config={
        "layers": ("n_layer",),
        "heads": ("n_head",),
        "key_value_heads": ("n_head",),
        "d_model": ("hidden_size",),
        "d_mlp": (),  # four times d_model
        "positions": ("seq_length",),  # in the configs of some checkpoints
    },
)
