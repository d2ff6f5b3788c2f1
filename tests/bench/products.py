"""Lower bound of a sweep: the matrix products of the rows that a swap can change."""

from __future__ import annotations

import torch
from measuring import Work

from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.reach import can_affect_output

Product = tuple[int, int, int]
"""Number of rows, input width, output width."""


def necessary(plan: SweepPlan) -> list[Product]:
    """Products of the rows that a swapped block output can change, block by block, then the head.

    A change at one position also changes the later ones, in every block after the cell's own. In
    the last block only the last position matters once keys and values are computed.
    """
    s, length = plan.model.sites, len(plan.base)
    d = s.d_model
    cells = [
        (layer, position)
        for layer in plan.layers
        for column, position in enumerate(plan.positions)
        if can_affect_output(plan, plan.model.behaviour, layer, column)
    ]
    products: list[Product] = []
    for layer in range(s.layers):
        inside = [position for entered, position in cells if entered < layer]
        rows = sum(length - position for position in inside)
        after = len(inside) if layer == s.layers - 1 else rows
        # q, k and v; attention output; MLP up; MLP down.
        products += [(rows, d, 3 * d), (after, d, d), (after, d, s.d_mlp), (after, s.d_mlp, d)]
    return [product for product in (*products, (len(cells), d, s.vocabulary)) if product[0]]


def necessary_heads(plan: SweepPlan, heads: int) -> list[Product]:
    """The same of the value outputs of some heads, at every layer and position of a plan.

    A change runs the rest of its own block at its own position: attention output and MLP.
    """
    s, length = plan.model.sites, len(plan.base)
    d = s.d_model
    products: list[Product] = []
    for layer in range(s.layers):
        last = layer == s.layers - 1
        own = [p for p in plan.positions if not last or p == length - 1] * heads
        inside = [p for at in plan.layers if at < layer for p in plan.positions] * heads
        rows = sum(length - position for position in inside)
        after = (len(inside) if last else rows) + len(own)
        products += [(rows, d, 3 * d), (after, d, d), (after, d, s.d_mlp), (after, s.d_mlp, d)]
    cells = len(plan.layers) * len(plan.positions) * heads
    return [product for product in (*products, (cells, d, s.vocabulary)) if product[0]]


def token_layers(plan: SweepPlan) -> float:
    """Cost of `necessary`, in passes of one token through the products of one block."""
    s = plan.model.sites
    block = 4 * s.d_model**2 + 2 * s.d_model * s.d_mlp
    return sum(rows * wide * out for rows, wide, out in necessary(plan)) / block


def bare_products(plan: SweepPlan, device: str = "cpu", heads: int | None = None) -> Work:
    """The necessary products alone, on random matrices of the same shapes."""
    needed = necessary(plan) if heads is None else necessary_heads(plan, heads)
    # One weight matrix per block, as in the model: a shared one would stay in the CPU cache.
    copies = [
        (torch.randn(n, i, device=device), torch.randn(i, o, device=device)) for n, i, o in needed
    ]

    def work() -> None:
        for rows, weight in copies:
            torch.matmul(rows, weight)

    return work
