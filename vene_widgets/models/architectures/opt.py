"""OPT (Zhang et al. 2022, "OPT: Open Pre-trained Transformer Language Models"), also Galactica.

GPT-2's block with separate projections; learned positions. The MLP is not a module of its own: its
layers `fc1`, `activation_fn` and `fc2` are the block's, and get the positions of all prompts as the
rows of one matrix. OPT-350m has its norms after each sublayer, on the residual stream itself
(`do_layer_norm_before`), and projections around all blocks in place of a final norm.
"""

from __future__ import annotations

from dataclasses import replace

from vene_widgets.models.architectures.architecture import Architecture, Variant
from vene_widgets.models.architectures.standard import Modules, Places, components, pre_norm

_MODULES = Modules(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    project_out="self_attn.out_proj",
    attention_output="self_attn",
    mlp_input="fc1",
    activation="activation_fn",
    mlp_output="fc2",
)
_BEFORE_FIRST, _BETWEEN = "before self_attn_layer_norm", "after self_attn_layer_norm"
_BRANCH = f"{_BEFORE_FIRST} of the sum"
_AFTER_SUBLAYERS = Places(
    block_input=_BEFORE_FIRST,
    attention_input=_BEFORE_FIRST,
    query=_BEFORE_FIRST,
    key=_BEFORE_FIRST,
    value=_BEFORE_FIRST,
    attended=_BRANCH,
    attention_output=_BRANCH,
    mlp_input=_BETWEEN,
    mlp_activation=_BETWEEN,
    mlp_output="before final_layer_norm of the sum",
    block_output="after both",
)

_NORMS_BEFORE = Architecture(
    name="opt",
    code="transformers.models.opt.modeling_opt",
    causal_lm="OPTForCausalLM",
    blocks="model.decoder.layers",
    backbone="model",
    unembedding=("lm_head",),
    final_norm="model.decoder.final_layer_norm",
    attention="self_attn",
    attention_method="",
    mlp="",
    rotary="",
    components=components(
        _MODULES,
        pre_norm("self_attn_layer_norm", "final_layer_norm", queries=""),
        key_values="heads",
    ),
    flat=("fc1", "activation_fn", "fc2"),
    config={
        "layers": ("num_hidden_layers",),
        "heads": ("num_attention_heads",),
        "key_value_heads": ("num_attention_heads",),
        "d_model": ("hidden_size",),
        "d_mlp": ("ffn_dim",),
        "positions": ("max_position_embeddings",),
    },
)

_NORMS_AFTER = replace(
    _NORMS_BEFORE,
    final_norm="model.decoder.project_out",
    components=components(_MODULES, _AFTER_SUBLAYERS, key_values="heads"),
)

OPT = replace(_NORMS_BEFORE, variants=(Variant("do_layer_norm_before", False, _NORMS_AFTER),))
