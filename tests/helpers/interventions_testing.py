"""Options, random vectors, rotations and masks for tests of the operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vene_widgets.interventions import Intervention, Options

WIDTH, RANK = 12, 3
SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def options(**more: Any) -> Options:
    return Options(WIDTH, **{"rank": RANK, "scale": 0.7, "seed": 5, **more})


def vectors(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


def matrix(module: Intervention) -> Tensor:
    """R of a rotated operator, `(width, columns)`, in float64."""
    layer = getattr(module, "rotate_layer")  # noqa: B009
    return layer.weight.detach().double()


def mask_of(module: Intervention, chosen: list[int]) -> Tensor:
    mask = torch.zeros(module.size(module.options), dtype=torch.bool)
    mask[chosen] = True
    return mask
