"""Component tables from module paths and norm positions: what most families share.

A family file names its modules (`Modules`) and says where its norms are (`Places`, or one of the
four arrangements below); `components` makes the table. A family that differs more writes its table
out, as `gpt2.py` does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vene_widgets.models.architectures.architecture import (
    AFTER_BOTH_NORMS,
    BETWEEN_NORMS,
    BLOCK_INPUT,
    BLOCK_OUTPUT,
    Component,
    HeadCount,
    Part,
    Width,
    with_heads,
)


class Modules(NamedTuple):
    """Paths below a block of the modules whose inputs or outputs are components.

    Attributes:
        attention: reads `attention_input`.
        query, key, value: write queries, keys and values; one path if the projection is fused.
        project_out: reads `attention_value_output`, what was attended, all heads side by side.
        attention_output: writes `attention_output`.
        mlp_input: reads `mlp_input`.
        activation: writes `mlp_activation`.
        mlp_output: writes `mlp_output`.
    """

    attention: str
    query: str
    key: str
    value: str
    project_out: str
    attention_output: str
    mlp_input: str
    activation: str
    mlp_output: str


class Places(NamedTuple):
    """Where each tensor is relative to the block's norms, as text."""

    block_input: str
    attention_input: str
    query: str
    key: str
    value: str
    attended: str
    attention_output: str
    mlp_input: str
    mlp_activation: str
    mlp_output: str
    block_output: str


class Fused(NamedTuple):
    """The parts of a tensor that one projection computes for queries, keys and values."""

    query: Part
    key: Part
    value: Part


def pre_norm(first: str, second: str, *, queries: str = "before rotary", gate: str = "") -> Places:
    """Places in a block whose sublayers each read the residual stream through a norm.

    Args:
        first: name of the norm before attention.
        second: name of the norm before the MLP.
        queries: what queries and keys go through after their projections; may be empty.
        gate: what the activation precedes, for instance `"before gating"`.
    """
    return Places(
        block_input=BLOCK_INPUT.norm,
        attention_input=f"after {first}",
        query=_joined(f"after {first}", queries),
        key=_joined(f"after {first}", queries),
        value=f"after {first}",
        attended=BETWEEN_NORMS,
        attention_output=BETWEEN_NORMS,
        mlp_input=f"after {second}",
        mlp_activation=_joined(f"after {second}", gate),
        mlp_output=f"after {second}",
        block_output=AFTER_BOTH_NORMS,
    )


def post_norm(first: str, second: str, *, queries: str, gate: str = "") -> Places:
    """Places in a block whose sublayers read the residual stream itself.

    A norm follows each sublayer, before its output is added to the residual stream.

    Args:
        first: name of the norm after attention.
        second: name of the norm after the MLP.
        queries, gate: as in `pre_norm`.
    """
    bare = "no norm before it"
    return Places(
        block_input=BLOCK_INPUT.norm,
        attention_input=bare,
        query=_joined(bare, queries),
        key=_joined(bare, queries),
        value=bare,
        attended=f"before {first}",
        attention_output=f"before {first}",
        mlp_input=f"{bare}; {first} is in attention's branch",
        mlp_activation=_joined(bare, gate),
        mlp_output=f"before {second}",
        block_output=AFTER_BOTH_NORMS,
    )


def sandwich_norm(
    first: str, second: str, third: str, fourth: str, *, queries: str, gate: str
) -> Places:
    """Places in a block with a norm before and a norm after each sublayer.

    Args:
        first, second: names of the norms around attention.
        third, fourth: names of the norms around the MLP.
        queries, gate: as in `pre_norm`.
    """
    return pre_norm(first, third, queries=queries, gate=gate)._replace(
        attended=f"before {second}",
        attention_output=f"before {second}",
        mlp_output=f"before {fourth}",
        block_output="after all four",
    )


def parallel(first: str, second: str = "", *, queries: str, gate: str = "") -> Places:
    """Places in a block whose attention and MLP both read the block's input.

    Args:
        first: name of the norm before attention.
        second: name of the norm before the MLP; empty if both sublayers share `first`.
        queries, gate: as in `pre_norm`.
    """
    places = pre_norm(first, second or first, queries=queries, gate=gate)
    return places._replace(
        block_input=BLOCK_INPUT.norm if second else "before the norm",
        attended=f"after {first}",
        attention_output=f"after {first}",
        block_output=AFTER_BOTH_NORMS if second else "after the norm",
    )


def components(
    modules: Modules,
    places: Places,
    *,
    fused: Fused | None = None,
    is_parallel: bool = False,
    key_values: HeadCount = "key_value_heads",
) -> dict[str, Component]:
    """The table of a family, in the order in which its block computes the tensors.

    Args:
        modules: where the tensors are.
        places: where they are relative to the norms.
        fused: where queries, keys and values are in the output of one projection.
        is_parallel: whether the MLP reads the block's input, as attention does, so that nothing in
            it depends on attention.
        key_values: which count splits keys and values.
    """
    width: Width = "d_heads" if key_values == "heads" else "d_key_values"
    parts = fused or (None, None, None)
    mlp = Component("", "input", before_attention=is_parallel)
    to_values = Component("", "output", width, before_attention=True, reaches_later_positions=True)
    return with_heads(
        {
            "block_input": replace(BLOCK_INPUT, norm=places.block_input),
            "block_output": replace(BLOCK_OUTPUT, norm=places.block_output),
            "attention_input": Component(
                modules.attention,
                "input",
                norm=places.attention_input,
                before_attention=True,
                reaches_later_positions=True,
            ),
            "query_output": Component(
                modules.query,
                "output",
                "d_heads",
                part=parts[0],
                norm=places.query,
                before_attention=True,
            ),
            "key_output": replace(to_values, module=modules.key, part=parts[1], norm=places.key),
            "value_output": replace(
                to_values, module=modules.value, part=parts[2], norm=places.value
            ),
            "attention_value_output": Component(
                modules.project_out, "input", "d_heads", norm=places.attended
            ),
            "attention_output": Component(
                modules.attention_output, "output", norm=places.attention_output
            ),
            "mlp_input": replace(mlp, module=modules.mlp_input, norm=places.mlp_input),
            "mlp_activation": replace(
                mlp,
                module=modules.activation,
                side="output",
                width="d_mlp",
                norm=places.mlp_activation,
            ),
            "mlp_output": replace(
                mlp, module=modules.mlp_output, side="output", norm=places.mlp_output
            ),
        },
        key_values,
    )


def _joined(*texts: str) -> str:
    """Texts that are not empty, with commas between."""
    return ", ".join(filter(None, texts))
