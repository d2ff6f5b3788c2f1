"""Mistral (Jiang et al. 2023, "Mistral 7B").

Llama's block, with attention limited to a sliding window in the first version. Query heads share
key-value heads.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

MISTRAL = llama_like(
    "mistral",
    "MistralForCausalLM",
    pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating"),
)
