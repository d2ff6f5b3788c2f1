"""OLMo 2 (OLMo Team 2024, "2 OLMo 2 Furious").

Sublayers read the residual stream itself: there is no norm before them, and one after each, before
its output is added. An RMS norm over all heads together follows the projections of queries and of
keys, before rotary.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import Places, post_norm

OLMO2_PLACES: Places = post_norm(
    "post_attention_layernorm",
    "post_feedforward_layernorm",
    queries="before rotary",
    gate="before gating",
)._replace(
    query="no norm before it, before q_norm and rotary",
    key="no norm before it, before k_norm and rotary",
)

OLMO2 = llama_like("olmo2", "Olmo2ForCausalLM", OLMO2_PLACES)
