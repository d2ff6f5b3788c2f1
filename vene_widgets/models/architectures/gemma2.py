"""Gemma 2 (Gemma Team 2024, "Gemma 2: Improving Open Language Models at a Practical Size").

Each sublayer has a norm before it and a norm after it, so `attention_output` and `mlp_output` are
normalised before they are added to the residual stream. Every second layer attends through a
sliding window. Embeddings are scaled as in Gemma. Attention scores and logits are capped by a tanh,
which transformers' SDPA attention cannot do, so attention is eager.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import sandwich_norm

GEMMA2 = llama_like(
    "gemma2",
    "Gemma2ForCausalLM",
    sandwich_norm(
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
        queries="before rotary",
        gate="before gating",
    ),
    norms_after=("post_attention_layernorm", "post_feedforward_layernorm"),
)
