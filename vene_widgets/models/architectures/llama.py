"""Llama (Touvron et al. 2023): rotary positions, gated MLP, grouped-query attention."""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

LLAMA = llama_like(
    "llama",
    "LlamaForCausalLM",
    pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating"),
)
