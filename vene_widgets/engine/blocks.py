"""The parts of a transformer block, applied to rows of many cells at once.

Rows are `(rows, d_model)` vectors of any cells and positions, side by side. Every product is
computed by the model's own module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from vene_widgets.engine.forward import apply
from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel

Rotation = tuple["Tensor", "Tensor"]
"""Cosines and sines of the rotary embedding, `(positions, d_head)` each."""


def mlp(model: LanguageModel, layer: int, normed: Tensor) -> Tensor:
    """The block's MLP on rows `(rows, d_model)`.

    GPT-2's GELU in its tanh form (Hendrycks and Gimpel 2016) takes eight passes over the block's
    widest tensor in transformers' own module; torch's fused one takes a single pass.
    """
    module = module_at(model.block(layer), model.sites.architecture.mlp)
    if names := model.sites.architecture.mlp_modules:
        up, activation, down = (module_at(module, path) for path in names)
        # Resumed runs are only made of code that was read, so the name says what it computes.
        if type(activation).__name__ == "NewGELUActivation":
            return apply(down, functional.gelu(apply(up, normed), approximate="tanh"))
    output: Tensor = apply(module, normed)
    return output


def project(model: LanguageModel, layer: int, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, `(rows, width)` each, of rows after the attention norm.

    A module that computes several of them is called once.
    """
    outputs: dict[str, Tensor] = {}
    found: list[Tensor] = []
    for name in ("query_output", "key_output", "value_output"):
        site = model.sites.site(layer, name)
        if site.path not in outputs:
            outputs[site.path] = apply(module_at(model.net, site.path), normed)
        found.append(outputs[site.path][:, site.start : site.stop])
    return found[0], found[1], found[2]


def project_out(model: LanguageModel, layer: int, attended: Tensor) -> Tensor:
    """Attention's output projection of rows `(rows, heads * d_head)`."""
    path = model.sites.site(layer, "attention_value_output").path
    return apply(module_at(model.net, path), attended)


def split_heads(model: LanguageModel, vectors: Tensor) -> Tensor:
    """`(..., width)` -> `(..., heads, d_head)`."""
    return vectors.reshape(*vectors.shape[:-1], -1, model.sites.d_head)


def split_cells(model: LanguageModel, vectors: Tensor, cells: int) -> Tensor:
    """`(cells * rows, width)` -> `(cells, rows, heads, d_head)`."""
    return vectors.reshape(cells, len(vectors) // cells, -1, model.sites.d_head)


def rotation(model: LanguageModel, like: Tensor, positions: Tensor) -> Rotation | None:
    """The rotary embedding's cosines and sines; None for a family without one.

    Args:
        model: the model.
        like: any tensor of the run's device and dtype.
        positions: `(positions,)`.
    """
    path = model.sites.architecture.rotary
    if not path:
        return None
    cos, sin = apply(module_at(model.net, path), like[None], positions[None])
    return cos[0], sin[0]


def rotate(vectors: Tensor, by: Rotation | None) -> Tensor:
    """Rotary position embedding (Su et al. 2021) of `(..., rows, heads, d_head)`, halves paired."""
    if by is None:
        return vectors
    cos, sin = (t[:, None, :] for t in by)
    first, second = vectors.chunk(2, dim=-1)
    return vectors * cos + torch.cat([-second, first], dim=-1) * sin


def attention_scale(model: LanguageModel, layer: int) -> float:
    """Factor of the attention scores: the module's own `scaling`, else d_head ** -0.5."""
    attention = module_at(model.block(layer), model.sites.architecture.attention)
    scaling = getattr(attention, "scaling", None)
    return float(scaling) if scaling is not None else model.sites.d_head**-0.5
