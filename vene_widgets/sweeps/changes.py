"""What a cell of a sweep writes in its place: the new vectors at its site."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from vene_widgets.engine.resume import LaterChange
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
                change=partial(_change_rows, changed, _source_at(site, changed)),
            )
        )
    return found


def _source_at(site: Site, cells: Sequence[SweepCell]) -> Tensor:
    """What cells read at a site, `(cells, width)`; of a head, its part."""
    runs = cells[0].sweep.runs
    index = flat_index(
        runs.source_states,
        [runs.rows[site.layer]] * len(cells),
        [cell.sweep.pair for cell in cells],
        [cell.source_position for cell in cells],
    )
    vectors = vectors_at(runs.source_states, index)
    if site.head is None:
        return vectors
    return vectors.view(len(cells), -1, site.width)[:, site.head]


def _change_rows(
    cells: Sequence[SweepCell], source: Tensor, vectors: Tensor, which: Tensor
) -> Tensor:
    """The operator on the vectors of some of the cells."""
    plan = cells[0].sweep.plan
    module = make(plan.intervention, Options(vectors.shape[-1])).to(plan.model.device)
    return module(vectors[:, None], source.index_select(0, which)[:, None])[:, 0]


def _operate(cells: Sequence[SweepCell], base: Tensor, source: Tensor) -> Tensor:
    """The operator on each cell's vectors, `(cells, width)`."""
    plan = cells[0].sweep.plan
    new = new_vectors(plan, base, source)
    return new if plan.noise_seed is None else base + _noise_like(new - base, cells)


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


def _noise_like(changes: Tensor, cells: Sequence[SweepCell]) -> Tensor:
    """Vectors of the norms of some changes, `(cells, width)`, in random directions.

    Directions are drawn per cell, so that they do not depend on which cells run together.
    """
    directions = torch.stack(
        [
            torch.randn(
                changes.shape[-1],
                generator=torch.Generator("cpu").manual_seed(_seed_of(cell)),
                **ON_CPU,
            )
            for cell in cells
        ]
    ).to(changes.device)
    sizes = changes.float().square().sum(-1, keepdim=True).sqrt()
    directions /= directions.square().sum(-1, keepdim=True).sqrt()
    return (directions * sizes).to(changes.dtype)


def _seed_of(cell: SweepCell) -> int:
    """A seed of a cell's own, from its plan's."""
    plan = cell.sweep.plan
    assert plan.noise_seed is not None  # noqa: S101  # only such plans draw
    place = (plan.noise_seed, 0 if plan.head is None else plan.head + 1, cell.layer, cell.position)
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1)
