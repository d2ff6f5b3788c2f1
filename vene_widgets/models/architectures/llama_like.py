"""llama_like(): a family whose modules have Llama's names.

Only names, not computations: runs call the family's own modules, so norms, scales, caps and windows
are whatever its code in transformers does.
"""

from __future__ import annotations

from collections.abc import Mapping

from vene_widgets.models.architectures.architecture import Architecture, Component, Variant
from vene_widgets.models.architectures.standard import Modules, Places, components

LLAMA_MODULES = Modules(
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    project_out="self_attn.o_proj",
    attention_output="self_attn",
    mlp_input="mlp",
    activation="mlp.act_fn",
    mlp_output="mlp",
)
"""Separate projections for queries, keys and values; a gated MLP."""

LLAMA_CONFIG: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers",),
    "heads": ("num_attention_heads",),
    "key_value_heads": ("num_key_value_heads", "num_attention_heads"),
    "d_model": ("hidden_size",),
    "d_mlp": ("intermediate_size",),
    "positions": ("max_position_embeddings",),
}
"""Our size names -> attribute names in the config."""


def llama_like(
    name: str,
    causal_lm: str,
    places: Places,
    *,
    code: str = "",
    modules: Modules = LLAMA_MODULES,
    is_parallel: bool = False,
    table: Mapping[str, Component] | None = None,
    final_norm: str = "model.norm",
    fused_gate: bool = False,
    variants: tuple[Variant, ...] = (),
    overwritten: tuple[str, ...] = (),
    norms_after: tuple[str, str] | None = None,
    residual_factor: str = "",
) -> Architecture:
    """The table of a family that has `model.layers`, `self_attn`, `mlp`, `model.rotary_emb`.

    Args:
        name: the `model_type` of the Hugging Face config.
        causal_lm: class of its causal language model.
        places: where its tensors are relative to its norms.
        code: the module of transformers that defines it; by default the one named after it.
        modules: paths below the block, where they differ from Llama's.
        is_parallel: whether the MLP reads the block's input, as attention does.
        table: its components, where `modules` and `places` do not say all.
        final_norm: path from the model to the norm before the unembedding.
        fused_gate: whether one projection computes both halves of a gated MLP.
        variants: tables for other settings of its config.
        overwritten: modules below the block whose output the block changes in place.
        norms_after, residual_factor: as in `Architecture`.
    """
    return Architecture(
        name=name,
        code=code or f"transformers.models.{name}.modeling_{name}",
        causal_lm=causal_lm,
        blocks="model.layers",
        backbone="model",
        unembedding=("lm_head",),
        final_norm=final_norm,
        attention=modules.attention,
        attention_method="",
        mlp="mlp",
        rotary="model.rotary_emb",
        components=table or components(modules, places, is_parallel=is_parallel),
        config=LLAMA_CONFIG,
        fused_gate=fused_gate,
        variants=variants,
        overwritten=overwritten,
        norms_after=norms_after,
        residual_factor=residual_factor,
    )
