"""Stable LM (Tow et al. 2023, "StableLM 3B 4E1T"; Bellagente et al. 2024, "Stable LM 2 1.6B").

Llama's block with layer norms in place of RMS norms, and rotary on the first part of each head
only. Two switches of the config: `qk_layernorm` normalises each head's query and key;
`use_parallel_residual` (Stable LM 2 12B) lets attention and MLP both read the block's input,
through one norm.
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import Variant
from vene_widgets.models.architectures.llama_like import llama_like
from vene_widgets.models.architectures.standard import Places, parallel, pre_norm


def _with_head_norms(places: Places) -> Places:
    return places._replace(
        query="after input_layernorm, before q_layernorm (if any) and partial rotary",
        key="after input_layernorm, before k_layernorm (if any) and partial rotary",
    )


_PARALLEL = llama_like(
    "stablelm",
    "StableLmForCausalLM",
    _with_head_norms(parallel("input_layernorm", queries="", gate="before gating")),
    is_parallel=True,
)

STABLELM = llama_like(
    "stablelm",
    "StableLmForCausalLM",
    _with_head_norms(pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating")),
    variants=(Variant("use_parallel_residual", True, _PARALLEL),),
)
