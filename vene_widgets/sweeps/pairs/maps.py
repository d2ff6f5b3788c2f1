"""pair_maps(): the maps of many pairs of prompts, as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.errors import RequestError
from vene_widgets.sweeps.cells import run_cells
from vene_widgets.sweeps.pairs.pair_targets import TargetIds, pair_targets
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.preparing import PlainPairs, prepare_sweeps
from vene_widgets.tables.statistics import (
    checked_distribution,
    default_targets,
    probabilities,
)

if TYPE_CHECKING:
    from torch import Tensor


CPU_BYTES = 2**26
"""Memory that the cells of one batch may take on a CPU, which gains nothing from larger batches:
with 2**31, 2000 pairs of the built-in model took 1.15 times as long, and 24 of GPT-2 small as
long."""


@dataclass(frozen=True, eq=False)
class PairMaps:
    """The maps of some pairs of prompts, of a few tokens each; ln P in float64, on the CPU.

    Attributes:
        plans: what was run, one per pair.
        targets: ids of the tokens that are followed, of sets -1, -2, …, `(pairs, tokens)`.
        base_log_p, source_log_p: ln P of them in the plain runs, `(pairs, tokens)`.
        log_p: ln P of them in every cell, `(pairs, layers, positions, tokens)`.
        base_best, source_best: ids of the likeliest tokens of the plain runs, `(pairs,)`.
        effect_possible: whether a cell can change anything, `(pairs, layers, positions)`; the
            others have their base's numbers.
        logits: `(pairs, layers, positions, vocabulary)`, of the model's dtype; None if not kept.
    """

    plans: tuple[SweepPlan, ...]
    targets: Tensor
    base_log_p: Tensor
    source_log_p: Tensor
    log_p: Tensor
    base_best: Tensor
    source_best: Tensor
    effect_possible: Tensor
    logits: Tensor | None


def pair_maps(
    plans: Sequence[SweepPlan],
    targets: Sequence[Sequence[TargetIds]] | None = None,
    *,
    keep_logits: bool = False,
    names: Sequence[str] | None = None,
) -> PairMaps:
    """Run the sweeps of many pairs as one batch, and follow a few tokens of each.

    Probabilities are taken on the model's device, chunk by chunk, so memory does not grow with the
    vocabulary times the number of pairs.

    Args:
        plans: one per pair: one model, component and operator, equally many tokens of the base,
            layers and positions.
        targets: ids of the tokens to follow, equally many per pair, with a tuple of ids for a set;
            None for two each, as in `tables.statistics.default_targets`.
        keep_logits: whether to keep every cell's logits.
        names: of the plans' pairs, for messages; None for their numbers.

    Raises:
        RequestError: plans that do not belong together, other than one list of targets each, or a
            plain run without a distribution.
    """
    plans = tuple(plans)
    if not plans:
        raise RequestError("plans must hold at least one sweep, got none.")
    shapes = {(len(plan.layers), len(plan.positions)) for plan in plans}
    given: Sequence[Sequence[TargetIds]] = [[0]] * len(plans) if targets is None else targets
    counts = {len(ids) for ids in given}
    if len(shapes) > 1 or len(given) != len(plans) or len(counts) > 1 or 0 in counts:
        raise RequestError(
            f"{len(plans)} sweeps need as many layers and positions each, and one list of targets "
            f"each with as many tokens; got {len(given)} lists of {sorted(counts)} tokens, "
            f"and {sorted(shapes)} layers and positions."
        )
    prepared = prepare_sweeps(plans)
    runs, (layers, positions) = prepared[0].runs, shapes.pop()
    _require_distributions(runs, names or [f"number {n} of them" for n in range(len(plans))])
    if targets is None:
        given = _default_targets(runs)
    wanted = pair_targets(given, runs.base_logits.device)
    base, source = (wanted.log_p(logits) for logits in (runs.base_logits, runs.source_logits))
    cells = [cell for one in prepared for cell in one.live_cells()]
    found, kept = [base], [runs.base_logits]
    for chunk, logits in run_cells(cells, at_once=True, cpu_bytes=CPU_BYTES):
        pairs = torch.tensor([cell.sweep.pair for cell in chunk], device=logits.device)
        found.append(wanted.log_p(logits, pairs))
        if keep_logits:
            kept.append(logits)
    # A cell that cannot change anything has its base's answer.
    index = [[pair] * (layers * positions) for pair in range(len(plans))]
    for place, cell in enumerate(cells, len(plans)):
        index[cell.sweep.pair][cell.row * positions + cell.column] = place
    rows = torch.tensor(index, device="cpu")
    best = torch.stack([runs.base_logits.argmax(-1), runs.source_logits.argmax(-1)]).cpu()
    shape = (len(plans), layers, positions, -1)
    return PairMaps(
        plans=plans,
        targets=wanted.keys,
        base_log_p=base.cpu(),
        source_log_p=source.cpu(),
        log_p=torch.cat(found).cpu()[rows].view(shape),
        base_best=best[0],
        source_best=best[1],
        effect_possible=(rows >= len(plans)).view(shape[:-1]),
        logits=torch.cat(kept).cpu()[rows].view(shape) if keep_logits else None,
    )


def _require_distributions(runs: PlainPairs, names: Sequence[str]) -> None:
    """Check the plain runs' logits in one read; `names` are of the pairs.

    Raises:
        RequestError: NaN or infinite ones; the message names the first pair and its run.
    """
    for name, logits in (("base", runs.base_logits), ("source", runs.source_logits)):
        # A NaN makes the largest value NaN, so only +inf, NaN or nothing but -inf fail.
        bad = ~logits.amax(-1).isfinite()
        if bool(bad.any()):
            first = int(bad.int().argmax())
            which = f" of {names[first]}" if len({*names}) > 1 else ""
            checked_distribution(logits[first], f"{name} logits{which}")


def _default_targets(runs: PlainPairs) -> list[tuple[int, int]]:
    """Two targets for each pair: the token that the source raises, and the base's answer."""
    return [
        default_targets(probabilities(base), probabilities(source))
        for base, source in zip(runs.base_logits, runs.source_logits, strict=True)
    ]
