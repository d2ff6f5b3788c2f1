"""GPT-NeoX (Black et al. 2022, "GPT-NeoX-20B"), also Pythia (Biderman et al. 2023).

Attention and MLP are parallel: both read the block's input, each through a layer norm of its own.
A config may put the MLP after attention instead (`use_parallel_residual`, for instance
RedPajama-INCITE). One projection computes queries, keys and values, which alternate head by head;
rotary acts on the first part of each head only.
"""

from __future__ import annotations

from dataclasses import replace

from vene_widgets.models.architectures.architecture import Architecture, Part, Variant, Width
from vene_widgets.models.architectures.standard import (
    Fused,
    Modules,
    components,
    parallel,
    pre_norm,
)

_WIDTHS: tuple[Width, ...] = ("d_heads", "d_heads", "d_heads")
_FUSED = Fused(
    Part(0, _WIDTHS, by_head=True), Part(1, _WIDTHS, by_head=True), Part(2, _WIDTHS, by_head=True)
)
_MODULES = Modules(
    attention="attention",
    query="attention.query_key_value",
    key="attention.query_key_value",
    value="attention.query_key_value",
    project_out="attention.dense",
    attention_output="attention",
    mlp_input="mlp",
    activation="mlp.act",
    mlp_output="mlp",
)
_FIRST, _SECOND, _QUERIES = "input_layernorm", "post_attention_layernorm", "before partial rotary"

_PARALLEL = Architecture(
    name="gpt_neox",
    code="transformers.models.gpt_neox.modeling_gpt_neox",
    causal_lm="GPTNeoXForCausalLM",
    blocks="gpt_neox.layers",
    backbone="gpt_neox",
    unembedding=("lm_head", "embed_out"),
    final_norm="gpt_neox.final_layer_norm",
    attention="attention",
    attention_method="",
    mlp="mlp",
    rotary="gpt_neox.rotary_emb",
    components=components(
        _MODULES,
        parallel(_FIRST, _SECOND, queries=_QUERIES),
        fused=_FUSED,
        is_parallel=True,
        key_values="heads",
    ),
    config={
        "layers": ("num_hidden_layers",),
        "heads": ("num_attention_heads",),
        "key_value_heads": ("num_attention_heads",),
        "d_model": ("hidden_size",),
        "d_mlp": ("intermediate_size",),
        "positions": ("max_position_embeddings",),
    },
)

_SEQUENTIAL = replace(
    _PARALLEL,
    components=components(
        _MODULES,
        pre_norm(_FIRST, _SECOND, queries=_QUERIES),
        fused=_FUSED,
        key_values="heads",
    ),
)

GPT_NEOX = replace(_PARALLEL, variants=(Variant("use_parallel_residual", False, _SEQUENTIAL),))
