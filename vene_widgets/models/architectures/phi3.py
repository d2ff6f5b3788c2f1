"""Phi-3 (Abdin et al. 2024, "Phi-3 Technical Report"), also Phi-3.5 mini and Phi-4.

Llama's block with fused projections: one for queries, keys and values, side by side, and one for
both halves of the gated MLP. Some models attend through a sliding window; long-context ones rescale
their rotary frequencies by the prompt's length.
"""

from __future__ import annotations

from vene_widgets.models.architectures.architecture import Part, Width
from vene_widgets.models.architectures.llama_like import LLAMA_MODULES, llama_like
from vene_widgets.models.architectures.standard import Fused, components, pre_norm

_WIDTHS: tuple[Width, ...] = ("d_heads", "d_key_values", "d_key_values")
_PLACES = pre_norm("input_layernorm", "post_attention_layernorm", gate="before gating")

PHI3 = llama_like(
    "phi3",
    "Phi3ForCausalLM",
    _PLACES,
    table=components(
        LLAMA_MODULES._replace(
            query="self_attn.qkv_proj",
            key="self_attn.qkv_proj",
            value="self_attn.qkv_proj",
            activation="mlp.activation_fn",
        ),
        _PLACES,
        fused=Fused(Part(0, _WIDTHS), Part(1, _WIDTHS), Part(2, _WIDTHS)),
    ),
    fused_gate=True,
)
