"""SmolLM 3 (Bakouch et al. 2025, "SmolLM3: smol, multilingual, long-context reasoner").

Llama's block; every fourth layer has no rotary embedding.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

SMOLLM3 = llama_like(
    "smollm3",
    "SmolLM3ForCausalLM",
    pre_norm(
        "input_layernorm",
        "post_attention_layernorm",
        queries="before rotary (in layers that have it)",
        gate="before gating",
    ),
)
