"""StarCoder 2 (Lozhkov et al. 2024, "StarCoder 2 and The Stack v2").

Llama's attention, with biases, layer norms and a sliding window; GPT-2's MLP, without a gate.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import LLAMA_MODULES, llama_like
from vene_widgets.models.architectures.standard import pre_norm

STARCODER2 = llama_like(
    "starcoder2",
    "Starcoder2ForCausalLM",
    pre_norm("input_layernorm", "post_attention_layernorm"),
    modules=LLAMA_MODULES._replace(activation="mlp.act"),
)
