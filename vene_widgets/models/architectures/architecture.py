"""Architecture and Component: the tables that describe a model family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

Side = Literal["input", "output"]
Width = Literal["d_model", "d_mlp", "d_heads", "d_key_values"]
HeadCount = Literal["heads", "key_value_heads"]

BEFORE_BOTH_NORMS = "before the first norm"
BETWEEN_NORMS = "between the norms"
AFTER_BOTH_NORMS = "after both"


@dataclass(frozen=True)
class Component:
    """Which tensor of a block a component is, and what a change of it can affect.

    Attributes:
        module: path below the block (`""` is the block itself).
        side: whether the tensor is the module's input or its output.
        width: name of the tensor's last dimension.
        part: `(index, count)` if the tensor is one of `count` equal parts of the last dimension.
        heads: which head count splits the last dimension; None for one vector per position.
        norm: position relative to the block's layer norms, as text.
        before_attention: whether it depends only on the residual stream at its own position.
        reaches_later_positions: whether a change at one position can affect later positions
            within the same block, by way of keys or values.
        writes_residual: whether it is the residual stream, or is added to it unchanged.
        needed_to_resume: whether resumed runs read the base run's values.
    """

    module: str
    side: Side
    width: Width = "d_model"
    part: tuple[int, int] | None = None
    heads: HeadCount | None = None
    norm: str = ""
    before_attention: bool = False
    reaches_later_positions: bool = False
    writes_residual: bool = False
    needed_to_resume: bool = False


BLOCK_INPUT = Component(
    "",
    "input",
    norm=BEFORE_BOTH_NORMS,
    before_attention=True,
    reaches_later_positions=True,
    writes_residual=True,
    needed_to_resume=True,
)
BLOCK_OUTPUT = Component("", "output", norm=AFTER_BOTH_NORMS, writes_residual=True)
"""The residual stream before and after a block that normalises what each sublayer reads."""


class MLPModules(NamedTuple):
    """Paths below an MLP that computes `down(activation(up(x)))` and nothing else."""

    up: str
    activation: str
    down: str


@dataclass(frozen=True)
class Architecture:
    """One model family: its module names and its sizes.

    Resumed sweeps take every block for sequential and pre-norm (attention, then the MLP, each
    behind its own norm). They are allowed only for models that consist of `classes`, and after a
    measurement; without `classes` the family always takes full passes.

    Attributes:
        name: the `model_type` of the Hugging Face config.
        code: the module of transformers that this family's file was written for.
        causal_lm: its causal language model.
        classes: its other module classes whose `forward` was read.
        functions: its functions that those call.
        blocks: path from the model to its list of blocks.
        backbone: path to the model without its unembedding.
        unembedding: path to the output head, whose input is the last hidden state.
        attention_norm, mlp_norm: paths below the block.
        final_norm: path from the model to the norm before the unembedding.
        attention, mlp: paths below the block.
        mlp_modules: the MLP's own modules; None for an MLP of another form, for instance a gated
            one.
        rotary: path to the rotary embedding; empty if position embeddings are added to the tokens.
        components: component name -> where it is, in the order in which a block computes them.
        config: our size names -> attribute names in the config, first present wins.
    """

    name: str
    code: str
    causal_lm: str
    classes: tuple[str, ...]
    functions: tuple[str, ...]
    blocks: str
    backbone: str
    unembedding: str
    attention_norm: str
    mlp_norm: str
    final_norm: str
    attention: str
    mlp: str
    mlp_modules: MLPModules | None
    rotary: str
    components: Mapping[str, Component]
    config: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


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
        # Resumed runs read the whole component, of which a head is a slice.
        f"head_{name}": replace(components[name], heads=count, needed_to_resume=False)
        for name, count in split.items()
    }
    return {**components, **per_head}
