"""HeldNorm: a layer norm or RMS norm whose scale is held at what it is for some vectors.

A norm divides by a number that depends on its whole input. Where that number is held, the norm is
linear, so that the parts of its input have parts of its output (direct logit attribution, Elhage et
al. 2021; nostalgebraist 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.forward import apply_rows
from vene_widgets.errors import RequestError
from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel

_EPSILONS = ("eps", "variance_epsilon", "epsilon")
"""Names under which a norm keeps the number that it adds to the variance."""

_SMALL = 1e-5
"""Variance of the vector by which that number is measured where no attribute has it."""

LINEAR = 2e-3
"""How far a held norm may be from a linear map, as a fraction of its largest number, in float32."""


class HeldNorm:
    """A norm of `LanguageModel.net` as a linear map. Use it inside `own_model`.

    No weight is read: the module itself is called, and its output rescaled.

    Args:
        model: the model.
        path: of the norm.
        at: the vectors whose scales are held, `(..., d_model)`, one scale each.

    Attributes:
        output: the norm of `at`, `(..., d_model)`, float32.
        offset: the norm of zero: its bias, float32, as `output`.

    Raises:
        RequestError: there is no such module, or it is no norm of a kind that is known.
    """

    def __init__(self, model: LanguageModel, path: str, at: Tensor) -> None:
        self._dtype = model.dtype
        try:
            self._norm = module_at(model.net, path)
        except AttributeError:
            raise RequestError(f"{model.name} has no norm {path!r}") from None
        at = at.float()
        self._size = at.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)
        self.offset = self._call(torch.zeros_like(at))
        self.output = self._call(at)
        # A layer norm takes the mean away, so that a constant added to all numbers is not seen.
        shifted = self._call(at + self._size)
        change = (shifted - self.output).square().sum()
        self._is_centred = bool(change < 0.01 * (self.output - self.offset).square().sum())
        epsilons: tuple[Any, ...] = tuple(getattr(self._norm, name, None) for name in _EPSILONS)
        given = next((value for value in epsilons if isinstance(value, float)), None)
        first = at.reshape(-1, at.shape[-1])[0]
        self._epsilon = self._measured_epsilon(first) if given is None else given
        self._held = self._scale(at)
        other = at.roll(1, -1) + 0.5 * at.flip(-1)
        left = self(at + other)
        right = self(at) + self(other)
        limit = max(LINEAR, 8 * torch.finfo(model.dtype).eps) * right.abs().amax(-1)
        if not bool(((left - right).abs().amax(-1) <= limit).all()):
            raise RequestError(f"{path!r} of {model.name} is no layer norm or RMS norm")

    def __call__(self, parts: Tensor) -> Tensor:
        """Parts of the norm's input `(..., d_model)` -> the parts of its output, float32.

        Of several vectors, the last dimensions are those of `at`.
        """
        parts = parts.float()
        # Brought to the size of the whole: a norm rounds best what it was trained on.
        factor = parts.square().mean(-1, keepdim=True).sqrt() / self._size
        sized = torch.where(factor > 0, parts / factor.clamp_min(1e-30), parts)
        normed = self._call(sized) - self.offset
        return normed * (self._scale(sized.to(self._dtype)) / self._held) * factor

    def _measured_epsilon(self, at: Tensor) -> float:
        """What the norm adds to the variance, from its output for a small vector."""
        self._epsilon = 0.0
        variance = float(self._scale(at).square())
        small = _SMALL / max(variance, _SMALL)
        one, other, none = map(self._call, (at, small**0.5 * at, 0 * at))
        one, other = one - none, other - none
        ratio = float(other.square().sum() / one.square().sum().clamp_min(1e-30))
        return max(0.0, small * variance * (1 - ratio) / max(ratio - small, 1e-12))

    def _call(self, vectors: Tensor) -> Tensor:
        return apply_rows(self._norm, vectors, self._dtype)

    def _scale(self, vectors: Tensor) -> Tensor:
        """What the norm divides by, `(..., 1)`."""
        vectors = vectors.float()
        if self._is_centred:
            vectors = vectors - vectors.mean(-1, keepdim=True)
        return (vectors.square().mean(-1, keepdim=True) + self._epsilon).sqrt()
