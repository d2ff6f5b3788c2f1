"""Intervention: the base class of all operators, and helpers that they share.

An operator takes the base's vectors `(..., width)`, the source's vectors of the same shape if it
reads a source, and a mask of the coordinates that it may change. It returns new vectors of the same
shape and does not modify its arguments. It is independent of models, layers and positions. Names
are pyvene's (Wu et al. 2024, "pyvene: A Library for Understanding and Improving PyTorch Models via
Interventions").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError

ON_CPU: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
"""Arguments of all tensors that we create: independent of the user's default dtype and device."""


@dataclass(frozen=True)
class Options:
    """Options that an operator is constructed with.

    Attributes:
        width: length of the site's vectors.
        rank: columns of a low-rank rotation, or principal components.
        scale: standard deviation of noise, in the site's own units.
        seed: of noise and of initial weights.
    """

    width: int
    rank: int | None = None
    scale: float = 1.0
    seed: int = 0


class Intervention(nn.Module):
    """An operator at a site.

    A user-defined class gets copies of its arguments, and its result is checked: operations in
    place change neither the run nor the record of it.

    Class attributes:
        name: its name in a slot.
        needs_source: whether it reads a source run.
        formula: in words and symbols, for menus and captions; b is the base, s the source.
        about: its purpose in one sentence, with the paper that it comes from.
        rotated: whether its mask selects coordinates of its own basis rather than of the site.
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
        """How many coordinates the mask has."""
        return options.width

    @classmethod
    def state_shapes(cls, options: Options) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of its state; only the package's own classes know them."""
        return {}

    @property
    def trainable(self) -> bool:
        """Whether it has weights that can be trained."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """The new vectors.

        Args:
            base: `(..., width)`.
            source: `(..., width)`; None if the operator reads no source.
            mask: bool, broadcastable to `(..., size)`: which coordinates may change; None for all.

        Returns:
            `(..., width)`, in the base's dtype.
        """
        raise NotImplementedError

    def __call__(
        self, base: Tensor, source: Tensor | None = None, *more: Any, **named: Any
    ) -> Tensor:
        """`forward`, on copies of the arguments if the class is not one of the package's own.

        Raises:
            RequestError: a user-defined class returned no tensor of real numbers in the base's
                shape.
        """
        if type(self).__module__.partition(".")[0] == __name__.partition(".")[0]:
            return super().__call__(base, source, *more, **named)
        own = [x.clone() if isinstance(x, Tensor) else x for x in (base, source, *more)]
        own_named = {k: x.clone() if isinstance(x, Tensor) else x for k, x in named.items()}
        return conform(super().__call__(*own, **own_named), base, self.name or type(self).__name__)

    def extra_repr(self) -> str:
        return self.formula


def blend(base: Tensor, new: Tensor, strength: float) -> Tensor:
    """Base + strength · (new − base): 0 gives the base, 1 the new vectors, 2 twice the change."""
    # At strength 1 the formula would round; the new vectors must come back bit for bit.
    return new if strength == 1 else base + strength * (new - base)


def only_masked(mask: Tensor | None, old: Tensor, new: Tensor) -> Tensor:
    """Coordinates of `new` where the mask is true, of `old` elsewhere, bit for bit."""
    return new if mask is None else torch.where(mask.to(old.device), new, old)


def require_rank(name: str, rank: int | None, width: int) -> int:
    """Return the rank if it is valid for the intervention `name` at a site of some width.

    Raises:
        RequestError: no rank, or not from 1 to the site's width.
    """
    if not rank or not 1 <= rank <= width:
        raise RequestError(
            f"rank {rank!r} is invalid for {name}: expected 1 to {width}, the width of the site."
        )
    return rank


def cast_like(tensor: Tensor, other: Tensor) -> Tensor:
    """The tensor on the device and in the dtype of another one."""
    return tensor.to(device=other.device, dtype=other.dtype)


def require_source(source: Tensor | None) -> Tensor:
    """Return the source of an operator that reads one; planning guarantees that it is there."""
    if source is None:
        raise AssertionError("an intervention that reads a source was planned without one")
    return source


def conform(new: object, base: Tensor, name: str) -> Tensor:
    """Convert what a user-defined operator returned to a copy on the base's device, in its dtype.

    Integers and bools become the base's kind of number. Gradients are kept where they are recorded.

    Args:
        new: what it returned for `base`.
        base: `(..., width)`.
        name: the operator, for messages.

    Raises:
        RequestError: no tensor, one of another shape, of complex numbers, or without values.
    """
    expected = f"expected a tensor of the base's shape {tuple(base.shape)}"
    if not isinstance(new, Tensor):
        raise RequestError(f"intervention {name!r} returned a {type(new).__name__}; {expected}.")
    if new.shape != base.shape:
        raise RequestError(
            f"intervention {name!r} returned a tensor of shape {tuple(new.shape)}; {expected}."
        )
    if new.is_complex():
        raise RequestError(
            f"intervention {name!r} returned complex numbers ({new.dtype}); {expected}, of real "
            "numbers: take .real or .abs() of it."
        )
    if new.layout is not torch.strided or new.is_quantized or new.device.type == "meta":
        raise RequestError(
            f"intervention {name!r} returned a tensor of layout {new.layout} and dtype "
            f"{new.dtype} on {new.device}; {expected}, dense and with values."
        )
    return new.to(device=base.device, dtype=base.dtype, copy=True)
