"""Cohere's Command R (Cohere 2024, model card of c4ai-command-r-v01).

Attention and MLP are parallel: both read the block's input through one layer norm, and both are
added to it. Rotary pairs neighbouring numbers instead of halves. Logits are multiplied by
`logit_scale`. Command R+ also normalises each head's query and key (`use_qk_norm`).
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import parallel

COHERE = llama_like(
    "cohere",
    "CohereForCausalLM",
    parallel("input_layernorm", queries="before rotary", gate="before gating")._replace(
        query="after input_layernorm, before q_norm (if any) and rotary",
        key="after input_layernorm, before k_norm (if any) and rotary",
    ),
    is_parallel=True,
)
