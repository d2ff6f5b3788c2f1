"""Qwen 3 (Yang et al. 2025, "Qwen3 Technical Report"), the dense models.

Llama's block with an RMS norm on each head's query and key, before rotary. The heads' width is a
setting of its own, so that all heads together may be wider than the residual stream.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

_PLACES = pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating")

QWEN3 = llama_like(
    "qwen3",
    "Qwen3ForCausalLM",
    _PLACES._replace(
        query="after input_layernorm, before q_norm and rotary",
        key="after input_layernorm, before k_norm and rotary",
    ),
)
