"""Cohere's Command R7B and Command A (Cohere 2024, model card of c4ai-command-r7b-12-2024).

Command R's parallel block. Three of four layers attend through a sliding window, with rotary; the
fourth attends to everything, without any encoding of positions.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import parallel

COHERE2 = llama_like(
    "cohere2",
    "Cohere2ForCausalLM",
    parallel(
        "input_layernorm",
        queries="before rotary (in layers that have it)",
        gate="before gating",
    ),
    is_parallel=True,
)
