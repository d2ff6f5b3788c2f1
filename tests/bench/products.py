"""The matrix products that a sweep cannot do without: its lower bound."""

from __future__ import annotations

import torch
from measuring import Work

from vene_widgets.sweeps.planning import SweepPlan, can_matter

Product = tuple[int, int, int]
"""Rows, width in, width out."""


def necessary(checked: SweepPlan) -> list[Product]:
    """Products of the rows that a swapped block output can change, block by block, then the head.

    A cell's later positions change in every block after its own; in the last block only the last
    position matters once keys and values are made.
    """
    s, length = checked.model.sites, len(checked.base)
    d = s.d_model
    matter = [
        (layer, position)
        for layer in checked.layers
        for column, position in enumerate(checked.positions)
        if can_matter(checked, layer, column)
    ]
    found: list[Product] = []
    for layer in range(s.layers):
        inside = [position for entered, position in matter if entered < layer]
        rows = sum(length - position for position in inside)
        after = len(inside) if layer == s.layers - 1 else rows
        found += [(rows, d, 3 * d), (after, d, d), (after, d, s.d_mlp), (after, s.d_mlp, d)]
    return [product for product in (*found, (len(matter), d, s.vocabulary)) if product[0]]


def token_layers(checked: SweepPlan) -> float:
    """How much `necessary` is, counted in passes of one token through one block's products."""
    s = checked.model.sites
    block = 4 * s.d_model**2 + 2 * s.d_model * s.d_mlp
    return sum(rows * wide * out for rows, wide, out in necessary(checked)) / block


def bare_products(checked: SweepPlan) -> Work:
    """The necessary products alone, on matrices of the same shapes."""
    # Each block has weights of its own, as the model has: a shared one would stay in the cache.
    copies = [(torch.randn(n, i), torch.randn(i, o)) for n, i, o in necessary(checked)]

    def work() -> None:
        for rows, weight in copies:
            torch.matmul(rows, weight)

    return work
