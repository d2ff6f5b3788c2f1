"""Architecture and Component: the tables that describe a model family."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Side = Literal["input", "output", "weights"]
"""Of a module: its input, its output, or the attention weights that it computes."""

Width = Literal["d_model", "d_mlp", "d_heads", "d_key_values"]
HeadCount = Literal["heads", "key_value_heads"]

BEFORE_BOTH_NORMS = "before the first norm"
BETWEEN_NORMS = "between the norms"
AFTER_BOTH_NORMS = "after both"


@dataclass(frozen=True)
class Part:
    """Where a component is in a tensor that a fused projection computes.

    Attributes:
        index: which of the parts it is.
        of: the parts' widths, in their order.
        by_head: whether the parts alternate head by head, instead of standing side by side.
    """

    index: int
    of: tuple[Width, ...]
    by_head: bool = False


@dataclass(frozen=True)
class Component:
    """Which tensor of a block a component is, and what a change of it can affect.

    Attributes:
        module: path below the block (`""` is the block itself).
        side: whether the tensor is the module's input or its output.
        width: name of the tensor's last dimension.
        part: the piece of the last dimension that it is; None for all of it.
        heads: which head count splits the last dimension; None for one vector per position.
        norm: position relative to the block's layer norms, as text.
        before_attention: whether it depends only on the residual stream at its own position.
        reaches_later_positions: whether a change at one position can affect later positions
            within the same block, by way of keys or values.
    """

    module: str
    side: Side
    width: Width = "d_model"
    part: Part | None = None
    heads: HeadCount | None = None
    norm: str = ""
    before_attention: bool = False
    reaches_later_positions: bool = False

    @property
    def norm_before(self) -> str:
        """Path below the block of the norm through which it is read; empty if there is none."""
        found = re.match(r"after (\w+)", self.norm)
        return found[1] if found else ""


BLOCK_INPUT = Component(
    "", "input", norm=BEFORE_BOTH_NORMS, before_attention=True, reaches_later_positions=True
)
BLOCK_OUTPUT = Component("", "output", norm=AFTER_BOTH_NORMS)
"""The residual stream before and after a block that normalises what each sublayer reads."""


class Variant(NamedTuple):
    """The table of a family's models whose config has another setting, and another block.

    Attributes:
        setting: attribute of the config.
        value: what it is in these models.
        architecture: their table.
    """

    setting: str
    value: object
    architecture: Architecture


@dataclass(frozen=True)
class Architecture:
    """One model family: its module names and its sizes.

    What a block computes is not written down: runs, resumed ones included, call the block itself
    (`engine/resume.py`). A resumed pass stands in for attention alone, so it has to reach the
    function that computes it.

    Attributes:
        name: the `model_type` of the Hugging Face config.
        code: the module of transformers that defines the family. Only its classes are resumed.
        causal_lm: its causal language model.
        blocks: path from the model to its list of blocks.
        backbone: path to the model without its unembedding.
        unembedding: paths to the output head, whose input is the last hidden state; the first that
            exists. Versions of transformers differ.
        final_norm: path from the model to the norm before the unembedding.
        attention: path below the block to the module that computes attention.
        attention_method: name of its method that maps queries, keys, values and a mask to what was
            attended; empty if it calls transformers' `AttentionInterface`; None if it computes
            attention inside its `forward`, so that passes cannot be resumed.
        mlp: path below the block; empty if the MLP's modules are the block's own.
        fused_gate: whether one projection computes both halves of a gated MLP.
        rotary: path to the rotary embedding; empty if positions are encoded otherwise.
        components: component name -> where it is, in the order in which a block computes them.
        absent: component name -> why the family has no such tensor, for the error message.
        config: our size names -> attribute names in the config, first present wins.
        variants: tables for other settings of the config.
        flat: paths below the block of modules that get the positions of all prompts as the rows of
            one matrix.
        overwritten: paths below the block of modules whose output the block changes in place.
        norms_after: paths below the block of the norms through which the outputs of attention and
            of the MLP go before they are added to the residual stream; None if there are none.
        residual_factor: attribute of the config by which both are multiplied before that; empty if
            there is none.
    """

    name: str
    code: str
    causal_lm: str
    blocks: str
    backbone: str
    unembedding: tuple[str, ...]
    final_norm: str
    attention: str
    attention_method: str | None
    mlp: str
    rotary: str
    components: Mapping[str, Component]
    config: Mapping[str, tuple[str, ...]]
    fused_gate: bool = False
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    variants: tuple[Variant, ...] = ()
    flat: tuple[str, ...] = ()
    overwritten: tuple[str, ...] = ()
    norms_after: tuple[str, str] | None = None
    residual_factor: str = ""

    def for_config(self, config: Any) -> Architecture:
        """The table of a model with this config: the first variant that it matches, or this one."""
        for variant in self.variants:
            if getattr(config, variant.setting, None) == variant.value:
                return variant.architecture
        return self


def with_heads(components: Mapping[str, Component], key_values: HeadCount) -> dict[str, Component]:
    """Add the per-head components: the same tensors, one head at a time.

    Args:
        components: the family's whole-vector components.
        key_values: which count splits keys and values; `key_value_heads` if query heads share
            them (grouped-query attention, Ainslie et al. 2023).
    """
    split: dict[str, HeadCount] = {
        "attention_value_output": "heads",
        "query_output": "heads",
        "key_output": key_values,
        "value_output": key_values,
    }
    per_head = {
        f"head_{name}": replace(components[name], heads=count)
        for name, count in split.items()
        if name in components
    }
    return {**components, **per_head}
