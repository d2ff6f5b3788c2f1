"""GPT-J (Wang and Komatsuzaki 2021, "GPT-J-6B").

Attention and MLP are parallel: both read the block's input through one layer norm. Rotary acts on
the first part of each head only, and pairs neighbouring numbers.
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import Architecture
from vene_widgets.models.architectures.standard import Modules, components, parallel

GPTJ = Architecture(
    name="gptj",
    code="transformers.models.gptj.modeling_gptj",
    causal_lm="GPTJForCausalLM",
    blocks="transformer.h",
    backbone="transformer",
    unembedding=("lm_head",),
    final_norm="transformer.ln_f",
    attention="attn",
    attention_method="",
    mlp="mlp",
    rotary="transformer.rotary_emb",
    components=components(
        Modules(
            attention="attn",
            query="attn.q_proj",
            key="attn.k_proj",
            value="attn.v_proj",
            project_out="attn.out_proj",
            attention_output="attn",
            mlp_input="mlp",
            activation="mlp.act",
            mlp_output="mlp",
        ),
        parallel("ln_1", queries="before partial rotary"),
        is_parallel=True,
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
