"""Qwen 2 (Yang et al. 2024, "Qwen2 Technical Report"), also Qwen 1.5 and Qwen 2.5.

Llama's block with biases on the projections of queries, keys and values. Query heads share
key-value heads. A config may give its later layers a sliding window.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

QWEN2 = llama_like(
    "qwen2",
    "Qwen2ForCausalLM",
    pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating"),
)
