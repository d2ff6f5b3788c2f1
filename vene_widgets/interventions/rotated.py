"""Operators with weights: interchange in a rotated basis, along principal components, by a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from vene_widgets.errors import RequestError
from vene_widgets.interventions.base import (
    Intervention,
    Options,
    cast_like,
    checked_rank,
    only_masked,
    require_source,
)


class _Turn(nn.Module):
    """A matrix `(width, rank)`, kept with orthonormal columns by its parametrization."""

    def __init__(self, width: int, rank: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.linalg.qr(torch.randn(width, rank, generator=generator)).Q
        self.weight = nn.Parameter(weight.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype) @ self.weight


def _orthogonal(width: int, rank: int, seed: int) -> nn.Module:
    """A `_Turn` that stays orthogonal as it trains.

    The parametrization completes the columns to a basis from torch's global random numbers: seeded
    here, so that equal options train equally too, and put back, since they are the user's.
    """
    turn = _Turn(width, rank, seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return parametrizations.orthogonal(turn, use_trivialization=True)


def _columns(turn: nn.Module) -> Tensor:
    """The matrix `(width, rank)` of a `_Turn`."""
    weight = turn.weight
    if not isinstance(weight, Tensor):
        raise AssertionError("a rotation without a weight")
    return weight


class RotatedSpace(Intervention):
    """Interchange in a rotated basis: new = (b R, with the chosen coordinates of s R) Rᵀ.

    R is orthogonal, `(width, width)`. Geiger et al. 2023, "Finding Alignments Between
    Interpretable Causal Variables and Distributed Neural Representations".
    """

    name = "rotated_space"
    formula = "new = [b R | s R] Rᵀ"
    about = "Interchange in a learned orthogonal basis (Geiger et al. 2023)."
    rotated = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.rotate_layer = _orthogonal(options.width, options.width, options.seed)

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        turned = only_masked(
            mask, self.rotate_layer(base), self.rotate_layer(require_source(source))
        )
        return (turned @ _columns(self.rotate_layer).T).to(base.dtype)


class LowRankRotatedSpace(Intervention):
    """Interchange in a low-rank subspace: new = b + (s R − b R, chosen coordinates) Rᵀ.

    R has orthonormal columns, `(width, rank)`; what is orthogonal to them stays the base's. Wu et
    al. 2023, "Interpretability at Scale", and pyvene's class of the same name.
    """

    name = "low_rank_rotated_space"
    formula = "new = b + (s R − b R) Rᵀ"
    about = "Interchange in a learned low-rank subspace (Geiger et al. 2023, Wu et al. 2023)."
    rotated = True

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.rotate_layer = _orthogonal(options.width, self.size(options), options.seed)

    @classmethod
    def size(cls, options: Options) -> int:
        return checked_rank(cls.name, options.rank, options.width)

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        change = self.rotate_layer(require_source(source)) - self.rotate_layer(base)
        change = only_masked(mask, torch.zeros_like(change), change)
        return (base + change @ _columns(self.rotate_layer).T).to(base.dtype)


class SigmoidMask(Intervention):
    """A soft choice of coordinates: new = (1 − σ(m / T)) b + σ(m / T) s.

    The mask m `(width,)` trains, the temperature T is set as training goes on. De Cao et al. 2020,
    "How do Decisions Emerge across Layers in Neural Models?"; pyvene's class of the same name.
    """

    name = "sigmoid_mask"
    formula = "new = (1 − σ(m/T)) b + σ(m/T) s"
    about = "Interchange of softly chosen coordinates (De Cao et al. 2020)."

    temperature: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.mask = nn.Parameter(torch.zeros(options.width))
        self.register_buffer("temperature", torch.tensor(0.01))

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        share = torch.sigmoid(self.mask / self.temperature)
        new = (1 - share) * base + share * cast_like(require_source(source), base)
        return only_masked(mask, base, new.to(base.dtype))


class BoundlessRotatedSpace(Intervention):
    """A rotated basis whose first coordinates are exchanged, up to a learned boundary.

    new = ((1 − w) b R + w s R) Rᵀ with w_i = σ(i / T) · σ((boundary · width − i) / T). Wu et al.
    2023, "Interpretability at Scale: Identifying Causal Mechanisms in Alpaca".
    """

    name = "boundless_rotated_space"
    formula = "new = ((1 − w) b R + w s R) Rᵀ, w soft up to a learned boundary"
    about = "Rotated interchange with a learned number of coordinates (Wu et al. 2023)."
    rotated = True

    temperature: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.rotate_layer = _orthogonal(options.width, options.width, options.seed)
        self.boundary = nn.Parameter(torch.tensor([0.5]))
        self.register_buffer("temperature", torch.tensor(50.0))

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        place = torch.arange(self.options.width, device=base.device)
        end = self.boundary.clamp(1e-3, 1) * self.options.width
        share = torch.sigmoid(place / self.temperature) * torch.sigmoid(
            (end - place) / self.temperature
        )
        one, other = self.rotate_layer(base), self.rotate_layer(require_source(source))
        turned = only_masked(mask, one, (1 - share) * one + share * other)
        return (turned @ _columns(self.rotate_layer).T).to(base.dtype)


class PCARotatedSpace(Intervention):
    """Interchange of principal components: the basis comes from data and does not train.

    With z(x) = (x − mean) / std · Cᵀ: new = [z(b) | z(s)] C · std + mean. What the kept components
    do not span is lost, as in pyvene's class of the same name; with all of them nothing is.
    """

    name = "pca_rotated_space"
    formula = "new = [z(b) | z(s)] C · std + mean"
    about = "Interchange of principal components of given states."
    rotated = True

    components: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        rank = self.size(options)
        self.register_buffer("components", torch.eye(options.width)[:rank].clone())
        self.register_buffer("mean", torch.zeros(options.width))
        self.register_buffer("std", torch.ones(options.width))

    @classmethod
    def size(cls, options: Options) -> int:
        rank = options.width if options.rank is None else options.rank
        return checked_rank(cls.name, rank, options.width)

    def fit(self, states: Tensor) -> PCARotatedSpace:
        """Take the principal components of states `(n, width)`, each coordinate standardised.

        Raises:
            RequestError: fewer states than components, or just one.
        """
        rank, width = self.components.shape
        if states.ndim != 2 or states.shape[0] < max(rank, 2) or states.shape[1] != width:
            raise RequestError(
                f"states of shape {tuple(states.shape)} do not fit: (n, {width}) "
                f"with n of at least {max(rank, 2)} is needed."
            )
        x = states.detach().float().to(self.mean.device)
        self.mean, self.std = x.mean(0), x.std(0).clamp_min(1e-8)
        self.components = torch.linalg.svd((x - self.mean) / self.std, full_matrices=False).Vh[
            :rank
        ]
        return self

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        one, other = (
            ((x.to(self.mean.dtype) - self.mean) / self.std) @ self.components.T
            for x in (base, require_source(source))
        )
        turned = only_masked(mask, one, other)
        return (turned @ self.components * self.std + self.mean).to(base.dtype)
