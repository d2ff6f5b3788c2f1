"""Tensors as lists of Python numbers, with types: torch does not annotate what `tolist` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor


def floats(values: Tensor) -> list[float]:
    """A vector of floats as a list."""
    return cast("Any", values).tolist()


def float_rows(values: Tensor) -> list[list[float]]:
    """A matrix of floats as one list per row."""
    return cast("Any", values).tolist()


def int_rows(values: Tensor) -> list[list[int]]:
    """A matrix of integers as one list per row."""
    return cast("Any", values).tolist()
