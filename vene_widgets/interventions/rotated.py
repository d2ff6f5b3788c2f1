"""Operators with weights: interchange in a rotated basis, of principal components, by a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vene_widgets.errors import RequestError
from vene_widgets.interventions.base import (
    ON_CPU,
    Intervention,
    Options,
    cast_like,
    only_masked,
    require_rank,
    require_source,
)
from vene_widgets.interventions.orthonormal import (
    linalg,
    make_rotation,
    rotation_matrix,
    rotation_shapes,
)


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
        self.rotate_layer = make_rotation(options.width, options.width, options.seed)

    @classmethod
    def state_shapes(cls, options: Options) -> dict[str, tuple[int, ...]]:
        return rotation_shapes(options.width, options.width)

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        coordinates = only_masked(
            mask, self.rotate_layer(base), self.rotate_layer(require_source(source))
        )
        return (coordinates @ rotation_matrix(self.rotate_layer).T).to(base.dtype)


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
        self.rotate_layer = make_rotation(options.width, self.size(options), options.seed)

    @classmethod
    def size(cls, options: Options) -> int:
        return require_rank(cls.name, options.rank, options.width)

    @classmethod
    def state_shapes(cls, options: Options) -> dict[str, tuple[int, ...]]:
        return rotation_shapes(options.width, cls.size(options))

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        change = self.rotate_layer(require_source(source)) - self.rotate_layer(base)
        change = only_masked(mask, torch.zeros_like(change), change)
        return (base + change @ rotation_matrix(self.rotate_layer).T).to(base.dtype)


class SigmoidMask(Intervention):
    """A soft selection of coordinates: new = (1 − σ(m / T)) b + σ(m / T) s.

    The mask m `(width,)` is trained; the training loop sets the temperature T. De Cao et al. 2020,
    "How do Decisions Emerge across Layers in Neural Models?"; pyvene's class of the same name.
    """

    name = "sigmoid_mask"
    formula = "new = (1 − σ(m/T)) b + σ(m/T) s"
    about = "Interchange of softly chosen coordinates (De Cao et al. 2020)."

    temperature: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.mask = nn.Parameter(torch.zeros(options.width, **ON_CPU))
        self.register_buffer("temperature", torch.tensor(0.01, **ON_CPU))

    @classmethod
    def state_shapes(cls, options: Options) -> dict[str, tuple[int, ...]]:
        return {"mask": (options.width,), "temperature": ()}

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        weight = torch.sigmoid(self.mask / self.temperature)
        new = (1 - weight) * base + weight * cast_like(require_source(source), base)
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
        self.rotate_layer = make_rotation(options.width, options.width, options.seed)
        self.boundary = nn.Parameter(torch.tensor([0.5], **ON_CPU))
        self.register_buffer("temperature", torch.tensor(50.0, **ON_CPU))

    @classmethod
    def state_shapes(cls, options: Options) -> dict[str, tuple[int, ...]]:
        return {
            **rotation_shapes(options.width, options.width),
            "boundary": (1,),
            "temperature": (),
        }

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        index = torch.arange(self.options.width, device=base.device)
        # `boundary` is a fraction of the width.
        end = self.boundary.clamp(1e-3, 1) * self.options.width
        weight = torch.sigmoid(index / self.temperature) * torch.sigmoid(
            (end - index) / self.temperature
        )
        old, new = self.rotate_layer(base), self.rotate_layer(require_source(source))
        coordinates = only_masked(mask, old, (1 - weight) * old + weight * new)
        return (coordinates @ rotation_matrix(self.rotate_layer).T).to(base.dtype)


class PCARotatedSpace(Intervention):
    """Interchange of principal components: `fit` takes the basis from data; it is not trained.

    With z(x) = (x − mean) / std · Cᵀ: new = [z(b) | z(s)] C · std + mean. Of the base, only its
    projection onto the components is retained, as in pyvene's class of the same name; nothing is
    lost if there are `width` components.
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
        self.register_buffer("components", torch.eye(rank, options.width, **ON_CPU))
        self.register_buffer("mean", torch.zeros(options.width, **ON_CPU))
        self.register_buffer("std", torch.ones(options.width, **ON_CPU))

    @classmethod
    def size(cls, options: Options) -> int:
        rank = options.width if options.rank is None else options.rank
        return require_rank(cls.name, rank, options.width)

    @classmethod
    def state_shapes(cls, options: Options) -> dict[str, tuple[int, ...]]:
        width = options.width
        return {"components": (cls.size(options), width), "mean": (width,), "std": (width,)}

    def fit(self, states: Tensor) -> PCARotatedSpace:
        """Set the basis to the principal components of standardised states.

        Args:
            states: `(n, width)`, n at least the number of components and at least 2.

        Returns:
            The module itself.

        Raises:
            RequestError: fewer states than components, just one state, or another width.
        """
        rank, width = self.components.shape
        if states.ndim != 2 or states.shape[0] < max(rank, 2) or states.shape[1] != width:
            raise RequestError(
                f"states must have shape (n, {width}) with n of at least {max(rank, 2)}, "
                f"got {tuple(states.shape)}."
            )
        x = states.detach().float().to(self.mean.device)
        self.mean, self.std = x.mean(0), x.std(0).clamp_min(1e-8)
        # The right singular vectors of standardised data are the eigenvectors of its correlation
        # matrix, largest eigenvalue first.
        right: Tensor = linalg.svd((x - self.mean) / self.std, full_matrices=False).Vh
        self.components = right[:rank]
        return self

    def forward(self, base: Tensor, source: Tensor | None, mask: Tensor | None = None) -> Tensor:
        old, new = (
            ((x.to(self.mean.dtype) - self.mean) / self.std) @ self.components.T
            for x in (base, require_source(source))
        )
        coordinates = only_masked(mask, old, new)
        return (coordinates @ self.components * self.std + self.mean).to(base.dtype)
