"""GPT-Neo (Black et al. 2021, "GPT-Neo: Large Scale Autoregressive Language Modeling").

GPT-2's block with separate projections and without scaling of the attention scores. Every second
layer attends through a window. The attention module holds another one, which computes attention in
its method `_attn`, in float32.
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import Architecture
from vene_widgets.models.architectures.standard import Modules, components, pre_norm

GPT_NEO = Architecture(
    name="gpt_neo",
    code="transformers.models.gpt_neo.modeling_gpt_neo",
    causal_lm="GPTNeoForCausalLM",
    blocks="transformer.h",
    backbone="transformer",
    unembedding=("lm_head",),
    final_norm="transformer.ln_f",
    attention="attn.attention",
    attention_method="_attn",
    mlp="mlp",
    rotary="",
    components=components(
        Modules(
            attention="attn",
            query="attn.attention.q_proj",
            key="attn.attention.k_proj",
            value="attn.attention.v_proj",
            project_out="attn.attention.out_proj",
            attention_output="attn",
            mlp_input="mlp",
            activation="mlp.act",
            mlp_output="mlp",
        ),
        pre_norm("ln_1", "ln_2", queries=""),
        key_values="heads",
    ),
    config={
        "layers": ("num_layers",),
        "heads": ("num_heads",),
        "key_value_heads": ("num_heads",),
        "d_model": ("hidden_size",),
        "d_mlp": ("intermediate_size",),
        "positions": ("max_position_embeddings",),
    },
)
