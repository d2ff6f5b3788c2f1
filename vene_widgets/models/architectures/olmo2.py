"""OLMo 2 (OLMo Team 2024, "2 OLMo 2 Furious").

Sublayers read the residual stream itself: there is no norm before them, and one after each, before
its output is added. An RMS norm over all heads together follows the projections of queries and of
keys, before rotary.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import post_norm

OLMO2 = llama_like(
    "olmo2",
    "Olmo2ForCausalLM",
    post_norm(
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        queries="before q_norm or k_norm, and rotary",
        gate="before gating",
    ),
    norms_after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
