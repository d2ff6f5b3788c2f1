"""What a cell of a sweep writes in its place: the new vectors at its site."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from vene_widgets.engine.resume import LaterChange
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.interventions import Options, make
from vene_widgets.interventions.base import ON_CPU
from vene_widgets.models.sites import Site
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.preparing import SweepCell, flat_index, vectors_at

if TYPE_CHECKING:
    from torch import Tensor


def whole_site(cell: SweepCell) -> Site:
    """The cell's site; of a per-head component, the tensor of all heads."""
    plan = cell.sweep.plan
    return plan.model.sites.site(cell.layer, plan.component.removeprefix("head_"))


def changed_states(cells: Sequence[SweepCell]) -> Tensor:
    """The new vectors at the cells' `whole_site`, `(cells, width)`."""
    plan, runs = cells[0].sweep.plan, cells[0].sweep.runs
    rows = [runs.rows[cell.layer] for cell in cells]
    pairs = [cell.sweep.pair for cell in cells]
    here, there = [cell.position for cell in cells], [cell.source_position for cell in cells]
    base = vectors_at(runs.base_states, flat_index(runs.base_states, rows, pairs, here))
    source = vectors_at(runs.source_states, flat_index(runs.source_states, rows, pairs, there))
    if plan.head is None:
        return _operate(cells, base, source)
    heads = torch.tensor([cell.sweep.plan.head for cell in cells], device=base.device)
    count = plan.model.sites.head_count(plan.component)
    assert count is not None  # noqa: S101  # it has a head
    by_head = base.reshape(len(base), count, -1).clone()
    each = torch.arange(len(cells), device=base.device)
    others = source.reshape(len(source), count, -1)[each, heads]
    by_head[each, heads] = _operate(cells, by_head[each, heads], others)
    return by_head.flatten(1)


def window_changes(cells: Sequence[SweepCell]) -> list[LaterChange]:
    """The changes of cells in the layers of their windows after the first."""
    found: list[LaterChange] = []
    by_site: dict[Site, list[int]] = {}
    for number, cell in enumerate(cells):
        for layer in cell.window[1:]:
            by_site.setdefault(cell.sweep.plan.site(layer), []).append(number)
    for site, numbers in sorted(by_site.items(), key=lambda item: item[0].layer):
        changed = [cells[number] for number in numbers]
        found.append(
            LaterChange(
                site=site,
                cells=numbers,
                positions=[cell.position for cell in changed],
                change=partial(
                    _change_rows, changed, site, _plain_states(site, changed, of_source=True)
                ),
            )
        )
    return found


def _plain_states(site: Site, cells: Sequence[SweepCell], *, of_source: bool) -> Tensor:
    """The states of plain runs at the cells' positions of a site, `(cells, width)`."""
    runs = cells[0].sweep.runs
    states = runs.source_states if of_source else runs.base_states
    index = flat_index(
        states,
        [runs.rows[site.layer]] * len(cells),
        [cell.sweep.pair for cell in cells],
        [cell.source_position if of_source else cell.position for cell in cells],
    )
    vectors = vectors_at(states, index)
    if site.head is None:
        return vectors
    return vectors.view(len(cells), -1, site.width)[:, site.head]


def _change_rows(
    cells: Sequence[SweepCell], site: Site, source: Tensor, vectors: Tensor, which: Tensor
) -> Tensor:
    """The operator on the vectors of some of the cells, in a layer after their first."""
    plan = cells[0].sweep.plan
    new = new_vectors(plan, vectors, source.index_select(0, which))
    if plan.noise_seed is None:
        return new
    changed = [cells[int(number)] for number in which.cpu()]
    # An operator that overwrites undoes the noise of earlier layers, so its change is the base's:
    # else noise of several layers would add up to more than what it stands for.
    overwrites = OPERATORS[plan.intervention].overwrites
    start = _plain_states(site, changed, of_source=False) if overwrites else vectors
    return start + _noise_like(new - start, changed, [site.layer] * len(changed))


def _operate(cells: Sequence[SweepCell], base: Tensor, source: Tensor) -> Tensor:
    """The operator on each cell's vectors, `(cells, width)`."""
    plan = cells[0].sweep.plan
    new = new_vectors(plan, base, source)
    if plan.noise_seed is None:
        return new
    return base + _noise_like(new - base, cells, [cell.layer for cell in cells])


def new_vectors(plan: SweepPlan, base: Tensor, source: Tensor) -> Tensor:
    """What a sweep's operator makes of some cells' vectors.

    Args:
        plan: the sweep.
        base, source: of each cell, `(cells, width)`; of a `mean`, `source` is the mean.

    Returns:
        `(cells, width)`.
    """
    module = make(plan.intervention, Options(base.shape[-1])).to(plan.model.device)
    with torch.no_grad():
        # Each cell is a batch example with one position, so noise is that of a run of its own.
        return module(base[:, None], source[:, None])[:, 0]


def _noise_like(changes: Tensor, cells: Sequence[SweepCell], layers: Sequence[int]) -> Tensor:
    """Vectors of the norms of some changes, `(cells, width)`, in random directions.

    Directions are drawn per cell, so that they do not depend on which cells run together.

    Args:
        changes: one per cell.
        cells: whose.
        layers: which of its layers each cell's change is in.
    """
    directions = torch.stack(
        [
            torch.randn(
                changes.shape[-1],
                generator=torch.Generator("cpu").manual_seed(_seed_of(cell, layer)),
                **ON_CPU,
            )
            for cell, layer in zip(cells, layers, strict=True)
        ]
    ).to(changes.device)
    sizes = changes.float().square().sum(-1, keepdim=True).sqrt()
    directions /= directions.square().sum(-1, keepdim=True).sqrt()
    return (directions * sizes).to(changes.dtype)


def _seed_of(cell: SweepCell, layer: int) -> int:
    """A seed of a cell's own in one of its layers, from its plan's."""
    plan = cell.sweep.plan
    assert plan.noise_seed is not None  # noqa: S101  # only such plans draw
    place = (plan.noise_seed, 0 if plan.head is None else plan.head + 1, layer, cell.position)
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)
