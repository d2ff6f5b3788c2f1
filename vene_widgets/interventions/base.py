"""Intervention: the base class of every operator, and what the operators share.

Each takes the base's vectors `(..., width)`, where it needs them the source's, of the same shape,
and a mask of the coordinates that it may change, and returns new vectors of the same shape. They
know nothing of models, layers or positions, and change none of their arguments. Names are pyvene's
(Wu et al. 2024, "pyvene: A Library for Understanding and Improving PyTorch Models via
Interventions").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError


@dataclass(frozen=True)
class Options:
    """What makes one operator from its class.

    Attributes:
        width: length of the site's vectors.
        rank: columns of a low-rank rotation.
        scale: standard deviation of noise, in the site's own units.
        seed: of the noise and of first weights.
    """

    width: int
    rank: int | None = None
    scale: float = 1.0
    seed: int = 0


class Intervention(nn.Module):
    """An operator at a site.

    Class attributes:
        name: what a slot calls it.
        needs_source: whether it reads a source run.
        formula: in words and symbols, for menus and captions; b is the base, s the source.
        about: what it is for, with its source.
        rotated: whether its mask picks coordinates of its own basis rather than of the site.
    """

    name: ClassVar[str] = ""
    needs_source: ClassVar[bool] = True
    formula: ClassVar[str] = ""
    about: ClassVar[str] = ""
    rotated: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options

    @classmethod
    def size(cls, options: Options) -> int:
        """How many coordinates a mask has."""
        return options.width

    @property
    def trainable(self) -> bool:
        """Whether it has weights that can be trained."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """The new vectors.

        Args:
            base: `(..., width)`.
            source: `(..., width)`, None where none is needed.
            mask: bool, broadcastable to `(..., size)`: which coordinates may change; None for all.

        Returns:
            `(..., width)`, in the base's number type.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        return self.formula


def blend(base: Tensor, new: Tensor, strength: float) -> Tensor:
    """Base + strength · (new − base): 0 is the base, 1 the intervened vectors, 2 twice the way."""
    return new if strength == 1 else base + strength * (new - base)


def only_masked(mask: Tensor | None, old: Tensor, new: Tensor) -> Tensor:
    """The new coordinates where the mask says so, the old ones elsewhere, bit for bit."""
    return new if mask is None else torch.where(mask.to(old.device), new, old)


def checked_rank(name: str, rank: int | None, width: int) -> int:
    if not rank or not 1 <= rank <= width:
        raise RequestError(
            f"rank {rank!r} does not fit {name}: 1 to {width} is needed (the width of the site)."
        )
    return rank


def cast_like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(device=other.device, dtype=other.dtype)


def require_source(source: Tensor | None) -> Tensor:
    if source is None:
        raise AssertionError("an intervention that reads a source was planned without one")
    return source
