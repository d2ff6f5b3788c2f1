"""Gemma (Gemma Team 2024, "Gemma: Open Models Based on Gemini Research and Technology").

Llama's block with a GELU gate, norms that scale by `1 + weight`, and heads of a width of their own.
Embeddings are multiplied by the square root of d_model before the first block.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

GEMMA = llama_like(
    "gemma",
    "GemmaForCausalLM",
    pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating"),
)
