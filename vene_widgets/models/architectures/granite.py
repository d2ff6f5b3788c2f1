"""Granite 3 (Granite Team, IBM 2024, "Granite 3.0 Language Models").

Llama's block with four constants: embeddings, attention scores, what each sublayer adds to the
residual stream, and logits are multiplied or divided by one each. `attention_output` and
`mlp_output` are the sublayers' outputs before that factor.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import pre_norm

_PLACES = pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating")

GRANITE = llama_like(
    "granite",
    "GraniteForCausalLM",
    _PLACES._replace(
        attention_output="between the norms, before residual_multiplier",
        mlp_output="after post_attention_layernorm, before residual_multiplier",
    ),
    residual_factor="residual_multiplier",
)
