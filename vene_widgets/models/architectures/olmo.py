"""OLMo (Groeneveld et al. 2024, "OLMo: Accelerating the Science of Language Models").

Llama's block with layer norms that have no weights. A config may clip queries, keys and values to a
range (`clip_qkv`); transformers clips them in place, in the projections' own outputs.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

_PLACES = pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating")

OLMO = llama_like(
    "olmo",
    "OlmoForCausalLM",
    _PLACES._replace(
        query="after input_layernorm, before clipping and rotary",
        key="after input_layernorm, before clipping and rotary",
        value="after input_layernorm, before clipping",
    ),
    overwritten=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
)
