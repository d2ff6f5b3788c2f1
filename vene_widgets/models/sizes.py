"""Sizes of a model's modules, and whether its config says the same.

Heads that were pruned and layers that were resized by hand leave the config behind. Components
would then be cut in the wrong places, so such a model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from torch import nn

    from vene_widgets.models.architectures import Architecture, Width


class Sizes(Protocol):
    """The sizes that a config says: `models.sites.Sites`."""

    architecture: Architecture
    layers: int
    heads: int
    d_model: int
    d_mlp: int
    d_head: int

    def width(self, component: str) -> int:
        """Length of a component's whole vector at one position."""
        ...

    def size(self, width: Width) -> int:
        """Length of one of the named dimensions."""
        ...


def feature_sizes(module: nn.Module) -> tuple[int, int] | None:
    """Numbers that a linear module reads and writes at each position; None for other modules."""
    found: list[int] = []
    # `nn.Linear`, its quantised and adapted kinds; transformers' Conv1D.
    for names in (("in_features", "nx"), ("out_features", "nf")):
        sizes = (getattr(module, name, None) for name in names)
        size = next((size for size in sizes if isinstance(size, int)), None)
        if size is None:
            return None
        found.append(size)
    return found[0], found[1]


def position_limit(config: Any, architecture: Architecture, trained: int) -> int | None:
    """Tokens that a prompt may have at most; None for any number.

    Learned positions end where their table ends. Rotary ones (Su et al. 2021) have no end, but
    beyond the length of training a model's answers mean little: they end there too, unless the
    config scales them for longer prompts (linear, dynamic, YaRN and the like).

    Args:
        config: the model's.
        architecture: its family.
        trained: the length of training.
    """
    if not architecture.rotary:
        return trained
    return None if any(kind != "default" for kind in _rope_types(_rope(config))) else trained


def rotary_depends_on_length(config: Any) -> bool:
    """Whether rotary frequencies follow the prompt's length (dynamic NTK scaling, LongRoPE)."""
    return any(kind in ("dynamic", "longrope") for kind in _rope_types(_rope(config)))


def _rope(config: Any) -> object:
    """The part of a config that describes the rotary embedding, under either of its names."""
    return getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)


def _rope_types(rope: object) -> Iterator[str]:
    """Kinds of rotary scaling in a config: one, or one per kind of layer."""
    if not isinstance(rope, dict):
        return
    entries = cast("dict[str, Any]", rope)
    kind = entries.get("rope_type", entries.get("type"))
    if isinstance(kind, str):
        yield kind
    for entry in entries.values():
        yield from _rope_types(entry)


def size_conflict(blocks: Sequence[nn.Module], sizes: Sizes, layers: int) -> str | None:
    """The first size in which blocks differ from the config, in words; None if none does.

    Args:
        blocks: the model's blocks.
        sizes: what the config says.
        layers: how many blocks the config says. Fewer are no conflict: cut-off blocks are not run.
    """
    if not blocks:
        return f"it has no blocks in {sizes.architecture.blocks!r}"
    if len(blocks) > layers:
        return f"it has {len(blocks)} blocks in {sizes.architecture.blocks!r}, expected {layers}"
    for layer, block in enumerate(blocks):
        for path, found, expected in _block_sizes(block, sizes):
            if found not in expected:
                return f"{path} of block {layer} has {found}, expected {expected[0]}"
    return None


def _block_sizes(block: nn.Module, sizes: Sizes) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Path, size and allowed sizes, in words, of each part of a block that has one."""
    architecture = sizes.architecture
    for name, component in architecture.components.items():
        features = _features_at(block, component.module)
        if features is None or component.heads is not None:
            continue
        part = component.part
        width = sizes.width(name) if part is None else sum(map(sizes.size, part.of))
        # A projection has the residual stream at its other end, or the MLP, if it is part of one.
        others = (sizes.d_model, sizes.d_mlp)
        expected = [(width, n) if component.side == "input" else (n, width) for n in others]
        yield component.module, _words(features), tuple(map(_words, expected))
    attention = _at(block, architecture.attention)
    for name, expected in (("num_heads", sizes.heads), ("head_dim", sizes.d_head)):
        found = getattr(attention, name, None)
        if isinstance(found, int):
            yield f"{architecture.attention}.{name}", str(found), (str(expected),)
    mlp = _at(block, architecture.mlp) if architecture.mlp else None
    for name, module in () if mlp is None else mlp.named_children():
        features = feature_sizes(module)
        if features is not None:
            wide = 2 * sizes.d_mlp if architecture.fused_gate else sizes.d_mlp
            up, down = (sizes.d_model, wide), (sizes.d_mlp, sizes.d_model)
            expected = (down, up) if features[1] == sizes.d_model else (up, down)
            yield f"{architecture.mlp}.{name}", _words(features), tuple(map(_words, expected))


def _words(features: tuple[int, int]) -> str:
    """What a linear module reads and writes: `24 inputs and 72 outputs`."""
    return f"{features[0]} inputs and {features[1]} outputs"


def _features_at(block: nn.Module, path: str) -> tuple[int, int] | None:
    """`feature_sizes` of the module at a path; None without one."""
    module = _at(block, path) if path else None
    return None if module is None else feature_sizes(module)


def _at(block: nn.Module, path: str) -> nn.Module | None:
    """The module at a path below a block; None if there is none."""
    try:
        return block.get_submodule(path)
    except AttributeError:
        return None
