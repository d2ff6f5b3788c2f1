"""Phi-1, Phi-1.5 and Phi-2 (Gunasekar et al. 2023, "Textbooks Are All You Need").

Attention and MLP are parallel: both read the block's input through one layer norm. Rotary acts on
the first part of each head only. The MLP has no gate; every projection has a bias, the unembedding
too.
"""

from __future__ import annotations

from vene_widgets.models.architectures.llama_like import LLAMA_MODULES, llama_like
from vene_widgets.models.architectures.standard import parallel

PHI = llama_like(
    "phi",
    "PhiForCausalLM",
    parallel("input_layernorm", queries="before partial rotary")._replace(
        query="after input_layernorm, before q_layernorm (if any) and partial rotary",
        key="after input_layernorm, before k_layernorm (if any) and partial rotary",
    ),
    modules=LLAMA_MODULES._replace(project_out="self_attn.dense", activation="mlp.activation_fn"),
    is_parallel=True,
    final_norm="model.final_layernorm",
)
