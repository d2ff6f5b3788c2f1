"""pair_maps(): the maps of many pairs of prompts, as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.errors import RequestError
from vene_widgets.sweeps.cells import run_cells
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.preparing import prepare_sweeps
from vene_widgets.tables.statistics import log_p_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PairMaps:
    """The maps of some pairs of prompts, of a few tokens each; ln P in float64, on the CPU.

    Attributes:
        plans: what was run, one per pair.
        targets: ids of the tokens that are followed, `(pairs, tokens)`.
        base_log_p, source_log_p: ln P of them in the plain runs, `(pairs, tokens)`.
        log_p: ln P of them in every cell, `(pairs, layers, positions, tokens)`.
        logits: `(pairs, layers, positions, vocabulary)`, of the model's dtype; None if not kept.
    """

    plans: tuple[SweepPlan, ...]
    targets: Tensor
    base_log_p: Tensor
    source_log_p: Tensor
    log_p: Tensor
    logits: Tensor | None


def pair_maps(
    plans: Sequence[SweepPlan], targets: Sequence[Sequence[int]], *, keep_logits: bool = False
) -> PairMaps:
    """Run the sweeps of many pairs as one batch, and follow a few tokens of each.

    Probabilities are taken on the model's device, chunk by chunk, so memory does not grow with the
    vocabulary times the number of pairs.

    Args:
        plans: one per pair: one model, component and operator, equally many tokens of the base,
            layers and positions.
        targets: ids of the tokens to follow, equally many per pair.
        keep_logits: whether to keep every cell's logits.

    Raises:
        RequestError: plans that do not belong together, or other than one list of targets each.
    """
    plans = tuple(plans)
    if not plans:
        raise RequestError("plans must hold at least one sweep, got none.")
    shapes = {(len(plan.layers), len(plan.positions)) for plan in plans}
    counts = {len(ids) for ids in targets}
    if len(shapes) > 1 or len(targets) != len(plans) or len(counts) > 1 or 0 in counts:
        raise RequestError(
            f"{len(plans)} sweeps need as many layers and positions each, and one list of targets "
            f"each with as many tokens; got {len(targets)} lists of {sorted(counts)} tokens, "
            f"and {sorted(shapes)} layers and positions."
        )
    prepared = prepare_sweeps(plans)
    runs, (layers, positions) = prepared[0].runs, shapes.pop()
    ids = torch.tensor([list(own) for own in targets], dtype=torch.long, device="cpu")
    wanted = ids.to(runs.base_logits.device)
    base, source = (log_p_of(logits, wanted) for logits in (runs.base_logits, runs.source_logits))
    cells = [cell for one in prepared for cell in one.live_cells()]
    found, kept = [base], [runs.base_logits]
    for chunk, logits in run_cells(cells, at_once=True):
        pairs = torch.tensor([cell.sweep.pair for cell in chunk], device=logits.device)
        found.append(log_p_of(logits, wanted.index_select(0, pairs)))
        if keep_logits:
            kept.append(logits)
    # A cell that cannot change anything has its base's answer.
    index = [[pair] * (layers * positions) for pair in range(len(plans))]
    for place, cell in enumerate(cells, len(plans)):
        index[cell.sweep.pair][cell.row * positions + cell.column] = place
    rows = torch.tensor(index, device="cpu")
    shape = (len(plans), layers, positions, -1)
    return PairMaps(
        plans=plans,
        targets=ids,
        base_log_p=base.cpu(),
        source_log_p=source.cpu(),
        log_p=torch.cat(found).cpu()[rows].view(shape),
        logits=torch.cat(kept).cpu()[rows].view(shape) if keep_logits else None,
    )
