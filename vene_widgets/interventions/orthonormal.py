"""Matrices with orthonormal columns that stay orthonormal in training."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vene_widgets.interventions.base import ON_CPU

# torch has no type hints for its matrix decompositions.
linalg = cast("Any", torch.linalg)


class _OrthonormalColumns(nn.Module):
    """A matrix `(width, rank)` with orthonormal columns; the module multiplies by it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype) @ self.weight

    def __reduce__(self) -> tuple[Any, ...]:
        # torch refuses to pickle a parametrized module, whose class is made at run time.
        parameters = dict(self.named_parameters())
        frozen = [name for name, weight in parameters.items() if not weight.requires_grad]
        shape = cast("Tensor", self.weight).shape
        return _rebuild_rotation, (*shape, self.state_dict(), frozen, self.training)


class _OrthonormalMap(nn.Module):
    """Parametrization of a matrix with orthonormal columns, `(width, rank)`, by any matrix like it.

    The weight is base · Q(X): Q(X) is the exponential of a skew-symmetric matrix if X is square,
    else a product of Householder reflections. Values and gradients are those of
    `torch.nn.utils.parametrizations.orthogonal`, bit for bit, but for two things: `base` is
    completed from a seed, not from the global random stream; and the signs of the columns are
    constants. torch reads them from the integer part of X's diagonal, so that one step of an
    optimiser with weight decay would turn every column into zeros.
    """

    base: Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] == x.shape[1]:
            lower = x.tril()
            return self.base @ linalg.matrix_exp(lower - lower.mT)
        lower = x.tril(-1)
        tau = 2 / (1 + (lower * lower).sum(-2))
        return self.base @ -linalg.householder_product(lower, tau)

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> Tensor:
        """Start from a weight: complete it to the basis `base`; returns X of the identity."""
        width, rank = weight.shape
        generator = torch.Generator("cpu").manual_seed(self._seed)
        more = torch.randn(
            width, width - rank, generator=generator, dtype=weight.dtype, device="cpu"
        )
        self.base = _orthonormalize(torch.cat([weight, more.to(weight.device)], -1))
        x = torch.zeros_like(weight)
        x.diagonal().fill_(-1)
        return x


def _orthonormalize(matrix: Tensor) -> Tensor:
    """Q of a QR decomposition, R with a positive diagonal; an orthogonal matrix stays as it is."""
    size = matrix.shape[-1]
    identity = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    tolerance = 10 * size * torch.finfo(matrix.dtype).eps
    if torch.allclose(matrix.mT @ matrix, identity, atol=tolerance):
        return matrix.clone()
    factors, tau = torch.geqrf(matrix)
    return linalg.householder_product(factors, tau) * factors.diagonal().sgn()


def make_rotation(width: int, rank: int, seed: int) -> nn.Module:
    """An `_OrthonormalColumns` of random numbers, whose columns stay orthonormal in training."""
    generator = torch.Generator("cpu").manual_seed(seed)
    start = torch.randn(width, rank, generator=generator, **ON_CPU)
    return keep_orthonormal(linalg.qr(start).Q.contiguous(), seed)


def keep_orthonormal(weight: Tensor, seed: int) -> nn.Module:
    """Parametrize a matrix with orthonormal columns so that they stay orthonormal in training."""
    columns = _OrthonormalColumns(weight)
    parametrize.register_parametrization(columns, "weight", _OrthonormalMap(seed))
    return columns


def _rebuild_rotation(
    width: int, rank: int, state: dict[str, Tensor], frozen: list[str], training: bool
) -> nn.Module:
    """A rotation from its pickled state."""
    rotation = keep_orthonormal(torch.eye(width, rank, **ON_CPU), 0)
    rotation.load_state_dict(state, assign=True)
    for name, weight in rotation.named_parameters():
        weight.requires_grad = name not in frozen
    return rotation.train(training)


def rotation_shapes(width: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a rotation, under its name in an intervention."""
    start = "rotate_layer.parametrizations.weight"
    return {f"{start}.original": (width, rank), f"{start}.0.base": (width, width)}


def rotation_matrix(rotation: nn.Module) -> Tensor:
    """The matrix `(width, rank)` of a rotation."""
    weight = rotation.weight
    if not isinstance(weight, Tensor):
        raise AssertionError("a rotation without a weight")
    return weight
