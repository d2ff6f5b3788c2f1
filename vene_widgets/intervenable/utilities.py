"""Small helpers that code written for pyvene imports from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

lsm = nn.LogSoftmax(dim=2)
"""Log-probabilities of logits `(batch, tokens, vocabulary)`."""

sm = nn.Softmax(dim=2)
"""Probabilities of logits `(batch, tokens, vocabulary)`."""


def set_seed(seed: int) -> None:
    """Seed the random streams of Python, numpy and torch, on every device: transformers' own."""
    import transformers

    own: Any = transformers.set_seed
    own(seed)


def count_parameters(model: nn.Module) -> int:
    """How many numbers of a module require gradients."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def random_permutation_matrix(n: int) -> Tensor:
    """The identity `(n, n)` with its rows in a random order, from torch's random stream."""
    return torch.eye(n)[torch.randperm(n)]


def closeness_to_permutation_loss(rotation: Tensor) -> Tensor:
    """How far a matrix `(n, n)` is from a permutation: 0 for one.

    Half the mean distance of row and column sums from 1, and the mean of x · (1 − x).
    """
    rows, columns = ((rotation.sum(dim=dim) - 1.0).abs().mean() for dim in (1, 0))
    return 0.5 * (rows + columns) + (rotation * (1 - rotation)).mean()


def harmonic_sigmoid_boundary(
    _input: Tensor, boundary_x: Any, boundary_y: Any, temperature: Any
) -> Tensor:
    """A soft mask between two boundaries; inside, by the harmonic mean of the distances to both."""
    below = torch.sigmoid((_input - boundary_x) / temperature)
    above = torch.sigmoid((boundary_y - _input) / temperature)
    distances = (_input - boundary_x).abs() ** -1 + (_input - boundary_y).abs() ** -1
    inside = torch.sigmoid((0.5 * distances) ** -1 / temperature)
    is_inside = (_input > boundary_x) & (_input < boundary_y)
    outside = (_input <= boundary_x) * below + (_input >= boundary_y) * above
    return outside + is_inside * inside


def get_batch_size(model_input: Tensor | Mapping[str, Tensor]) -> int:
    """How many examples a tensor, or a tokenizer's encoding, has."""
    if isinstance(model_input, Tensor):
        return model_input.shape[0]
    return next(iter(model_input.values())).shape[0]


def get_list_depth(lst: object) -> int:
    """How deep lists are nested: 0 for anything else, 1 for a flat list."""
    if not isinstance(lst, list):
        return 0
    return 1 + max((get_list_depth(item) for item in cast("list[object]", lst)), default=0)


def create_directory(path: str | os.PathLike[str]) -> None:
    """Create a folder, with those above it, if it does not exist."""
    Path(path).mkdir(parents=True, exist_ok=True)
