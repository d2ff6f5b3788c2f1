"""Gemma 3 (Gemma Team 2025, "Gemma 3 Technical Report"), language models without the vision tower.

Gemma 2's block, with norms on each head's query and key in place of the cap on attention scores.
Five of six layers attend through a sliding window, with a rotary embedding of another base.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import sandwich_norm

_PLACES = sandwich_norm(
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
    queries="before rotary",
    gate="before gating",
)

GEMMA3_TEXT = llama_like(
    "gemma3_text",
    "Gemma3ForCausalLM",
    _PLACES._replace(
        query="after input_layernorm, before q_norm and rotary",
        key="after input_layernorm, before k_norm and rotary",
    ),
    code="transformers.models.gemma3.modeling_gemma3",
    norms_after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
