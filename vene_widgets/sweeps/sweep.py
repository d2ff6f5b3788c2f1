"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, so a sweep's numbers are previews: `run` gives the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from vene_widgets.errors import RequestError, validated
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.sweeps.cells import prepare_sweep, sweep_rows
from vene_widgets.sweeps.planning import SweepPlan, plan_sweep
from vene_widgets.tables import frames
from vene_widgets.tables.statistics import (
    CellStatistics,
    cell_statistics,
    checked_distribution,
    concatenated,
)

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.engine.cache import ActivationCache
    from vene_widgets.models import LanguageModel

KEEP_BYTES = 256 * 2**20
"""Logits of a whole sweep are kept up to this size."""


class Cancelled(RuntimeError):
    """A sweep was stopped by its `cancel` event; nothing was kept and the model is as before."""


class Event(Protocol):
    """What `cancel` needs to be, for instance a `threading.Event`."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class Sweep:
    """One single-slot answer per layer and position.

    Attributes:
        plan: what was run: layers, positions, tokens.
        base_logits, source_logits: `(vocabulary,)` at the last position of the plain runs.
        targets: ids of the tokens that `.frame` and `.plot()` follow.
        keep_bytes: up to which size `.logits` were kept.
    """

    plan: SweepPlan
    base_logits: Tensor
    source_logits: Tensor
    targets: tuple[int, ...]
    frame: pd.DataFrame = field(repr=False)
    kept: Tensor | None = field(repr=False)
    keep_bytes: int = KEEP_BYTES

    @property
    def logits(self) -> Tensor:
        """`(layers, positions, vocabulary)` at the last position, on the CPU.

        Raises:
            RequestError: the sweep was larger than `keep_bytes`; the message says how to ask.
        """
        if self.kept is None:
            base = self.base_logits
            need = self.plan.cell_count * base.numel() * base.element_size()
            raise RequestError(
                f"logits of this sweep take {need / 2**20:.3g} MB and were not kept (limit "
                f"{self.keep_bytes / 2**20:.3g} MB). Ask with sweep(..., keep_bytes={need}), or "
                "use .frame, which follows the targets."
            )
        return self.kept

    def plot(self, metric: str = "probability", title: str | None = None) -> ggplot:
        """The layer × token map of every target, drawn by plotnine (`figures.sweep_map`)."""
        from vene_widgets import figures

        return figures.sweep_map(self.frame, metric=metric, title=title)

    def __repr__(self) -> str:
        p = self.plan
        return (
            f"<Sweep of {p.component}: {len(p.layers)} layers x {len(p.positions)} positions, "
            f"{p.base_prompt!r} <- {p.source_prompt!r}>"
        )


def sweep(
    model: LanguageModel,
    base: str,
    source: str,
    component: str = "block_output",
    *,
    head: int | None = None,
    layers: Sequence[int] | int | None = None,
    positions: Sequence[int] | int | str | None = None,
    source_positions: Sequence[int] | int | str | None = None,
    intervention: str = "vanilla",
    targets: Sequence[str | int] | str | int | None = None,
    keep_bytes: int = KEEP_BYTES,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
    cache: ActivationCache | None = None,
) -> Sweep:
    """Move one slot over every layer and position, and keep each cell's next-token distribution.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts. If their lengths differ, positions are paired by
            `engine.positions.align` unless `source_positions` is given.
        component, head: the tensor that is swapped, as in `Slot`.
        layers, positions: which cells, written as in `Slot`; None for all.
        source_positions: one per position.
        targets: tokens to follow in the frame, by text or id, one or several; None for the most
            likely next token of the base and of the source.
        keep_bytes: logits of all cells are kept up to this size.
        progress: called with `(cells done, cells in all)` after every layer.
        cancel: when set, the sweep stops before its next layer and raises `Cancelled`.
        cache: plain runs by prompt, as in `run`: the two prompts do not run again for the next
            component, or for `run(..., logits_to_keep=1)`.

    Raises:
        RequestError: a value that does not fit the model.
        Cancelled: see `cancel`.
    """
    request = validated(
        SweepRequest,
        component=component,
        head=head,
        layers=layers,
        positions=positions,
        source_positions=source_positions,
        intervention=intervention,
    )
    plan = plan_sweep(model, base, source, request)
    model.accept_hooks()
    prepared = prepare_sweep(plan, cache)
    base_logits, source_logits = prepared.base_logits, prepared.source_logits
    if targets is None:
        followed = tuple(dict.fromkeys(int(x.argmax()) for x in (base_logits, source_logits)))
    else:
        # A lone text is one token, not the letters that it can be iterated into.
        several = (targets,) if isinstance(targets, (str, int)) else targets
        followed = tuple(model.resolve_token(target, "target") for target in several)
    if not followed:
        raise RequestError("targets must name at least one token, got none.")
    log_base = checked_distribution(base_logits, "base logits").log_softmax(-1)
    keep = base_logits.numel() * base_logits.element_size() * plan.cell_count <= keep_bytes
    kept: list[Tensor] = []
    statistics: list[CellStatistics] = []
    rows = sweep_rows(prepared)
    for layer in plan.layers:
        if cancel and cancel.is_set():
            raise Cancelled(f"sweep stopped before layer {layer}")
        row = next(rows)
        statistics.append(cell_statistics(row.logits, log_base, followed))
        if keep:
            kept.append(row.logits.cpu())
        if progress:
            progress(len(statistics) * len(plan.positions), plan.cell_count)
    return Sweep(
        plan=plan,
        base_logits=base_logits.cpu(),
        source_logits=source_logits.cpu(),
        targets=followed,
        frame=plan_frame(plan, concatenated(statistics), log_base, followed),
        kept=torch.stack(kept) if keep else None,
        keep_bytes=keep_bytes,
    )


def plan_frame(
    plan: SweepPlan, cells: CellStatistics, log_base: Tensor, targets: Sequence[int]
) -> pd.DataFrame:
    """The tidy frame of a sweep's cells (`frames.sweep_frame`).

    Args:
        plan: the sweep.
        cells: of every cell, layer by layer, followed at `targets`.
        log_base: ln P in the base run, `(vocabulary,)`, float64.
        targets: ids of the tokens to follow.
    """
    return frames.cells_frame(
        cells,
        log_base,
        plan.layers,
        [plan.base[position] for position in plan.positions],
        plan.source_positions,
        targets,
        plan.model.token_text,
        component=plan.component,
        head=plan.head,
    )
