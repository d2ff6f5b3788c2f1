"""Sweeps over several seeds of noise: the mean distribution of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.planning import plan_experiment
from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments import limits
from vene_widgets.experiments.fields import as_ints
from vene_widgets.sweeps.preparing import PreparedSweep, SweepCell

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.sweeps.planning import SweepPlan


def with_seeds(plans: Sequence[SweepPlan], seeds: object) -> list[list[SweepPlan]]:
    """Each plan with every seed of its fixed noise; as it is if there are no seeds.

    Args:
        plans: of several heads; they share their fixed slots.
        seeds: one or several, or None.

    Raises:
        RequestError: no seed, one that is invalid or given twice, or no noise that has one.
    """
    if seeds is None:
        return [[plan] for plan in plans]
    found = as_ints(seeds)
    several = (found,) if isinstance(found, int) else found
    if not isinstance(several, tuple) or not several or len(set(several)) < len(several):
        raise RequestError(
            f"seeds must be one or more distinct whole numbers, got {shown(seeds)}: for instance "
            "seeds=range(10)."
        )
    limits.check_size(several, limits.SEEDS, "seeds")
    fixed = plans[0].fixed
    noisy = fixed is not None and any(slot.slot.intervention == "noise" for slot in fixed.live)
    if fixed is None or not noisy:
        raise RequestError(
            "seeds are those of fixed noise, and no fixed slot has any: "
            "fixed=[vw.Slot(intervention='noise', ...)]."
        )
    of_seed = [
        plan_experiment(
            plans[0].model,
            fixed.experiment.replace(
                slots=[
                    slot.replace(seed=seed) if slot.intervention == "noise" else slot
                    for slot in fixed.experiment.slots
                ]
            ),
        )
        for seed in several
    ]
    return [[replace(plan, fixed=one, seeds=several) for one in of_seed] for plan in plans]


class MeanDistributions:
    """The mean over seeds of every cell's distribution, and of the base's.

    Args:
        prepared: per head the same sweep with every seed.
        keep_bytes: the size that they may take.

    Attributes:
        cells: the cells to run, of every head and seed.
        rows: head, row and column of a cell -> its row in `logits`; 0 is the base.

    Raises:
        RequestError: they take more.
    """

    def __init__(self, prepared: Sequence[Sequence[PreparedSweep]], keep_bytes: int) -> None:
        self._prepared, first = prepared, prepared[0][0]
        self._heads = {id(one): n for n, seeds in enumerate(prepared) for one in seeds}
        live = {
            (n, cell.row, cell.column): None
            for n, seeds in enumerate(prepared)
            for one in seeds
            for cell in one.live_cells()
        }
        self.rows = {place: row for row, place in enumerate(sorted(live), 1)}
        base = first.base_logits
        need = 8 * (1 + len(live)) * len(base)
        if need > max(keep_bytes, 8 * len(base)):
            raise RequestError(
                f"seeds average whole distributions, which take {need / 2**20:.3g} MB for this "
                f"sweep (limit {keep_bytes / 2**20:.3g} MB): name fewer layers or positions, or "
                f"ask with sweep(..., keep_bytes={need})."
            )
        dtype = torch.float32 if base.device.type == "mps" else torch.float64
        self._sum = base.new_zeros(1 + len(live), len(base), dtype=dtype)
        self._sum[0] = torch.stack(
            [one.base_logits.to(dtype).softmax(-1) for one in prepared[0]]
        ).sum(0)
        self.cells = [
            SweepCell(one, row, column)
            for n, seeds in enumerate(prepared)
            for one in seeds
            for head, row, column in self.rows
            if head == n
        ]

    def add(self, cells: Sequence[SweepCell], logits: Tensor) -> None:
        """Add the answers of some cells, `(cells, vocabulary)`."""
        rows = [self.rows[self._heads[id(c.sweep)], c.row, c.column] for c in cells]
        index = torch.tensor(rows, device=logits.device)
        self._sum.index_add_(0, index, logits.to(self._sum.dtype).softmax(-1))

    def logits(self) -> Tensor:
        """Ln of the mean probabilities, `(1 + cells, vocabulary)`, the base's first.

        In float64 if the model is, else in float32.
        """
        own = self._prepared[0][0].base_logits.dtype
        dtype = torch.promote_types(own, torch.float32)
        return (self._sum / len(self._prepared[0])).log().to(dtype)
