"""OLMo 3 (Olmo Team 2025, "Olmo 3").

OLMo 2's block; three of four layers attend through a sliding window.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import post_norm

OLMO3 = llama_like(
    "olmo3",
    "Olmo3ForCausalLM",
    post_norm(
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        queries="before q_norm or k_norm, and rotary",
        gate="before gating",
    ),
    norms_after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
