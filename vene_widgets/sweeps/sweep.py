"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, so a sweep's numbers are previews: `run` gives the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

import torch

from vene_widgets.errors import RequestError
from vene_widgets.sweeps.cells import LayerOfCells, prepare, sweep_layers
from vene_widgets.sweeps.planning import SweepPlan, plan_sweep
from vene_widgets.tables import frames

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.engine.cache import Memory
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
            need = (
                len(self.plan.layers)
                * len(self.plan.positions)
                * self.base_logits.numel()
                * self.base_logits.element_size()
            )
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
    memory: Memory | None = None,
) -> Sweep:
    """Move one slot over every layer and position, and keep each cell's next-token distribution.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts. With unequal lengths, positions are paired by `experiment.align`
            unless `source_positions` says otherwise.
        component, head: the tensor that is swapped, as in `Slot`.
        layers, positions: which cells, written as in `Slot`; None for all.
        source_positions: one per position.
        targets: tokens to follow in the frame, by text or id, one or several; None for the most
            likely next token of the base and of the source.
        keep_bytes: logits of all cells are kept up to this size.
        progress: called with `(cells done, cells in all)` after every layer.
        cancel: when set, the sweep stops before its next layer and raises `Cancelled`.
        memory: where plain runs are kept, as in `run`: the two prompts do not run again for the
            next component, or for `run(..., logits_to_keep=1)`.

    Raises:
        RequestError: a value that does not fit the model.
        Cancelled: see `cancel`.
    """
    checked = plan_sweep(
        model,
        base,
        source,
        component,
        head=head,
        layers=layers,
        positions=positions,
        source_positions=source_positions,
        intervention=intervention,
    )
    prepared = prepare(checked, memory)
    base_logits, source_logits = prepared.base_logits, prepared.source_logits
    if targets is None:
        followed = tuple(dict.fromkeys(int(x.argmax()) for x in (base_logits, source_logits)))
    else:
        # A lone text is one token, not the letters that it can be iterated into.
        several = (targets,) if isinstance(targets, (str, int)) else targets
        followed = tuple(_target(model, target) for target in several)
    size = base_logits.numel() * base_logits.element_size()
    keep = size * len(checked.layers) * len(checked.positions) <= keep_bytes
    kept, parts = [], []
    rows = sweep_layers(prepared)
    for layer in checked.layers:
        if cancel and cancel.is_set():
            raise Cancelled(f"sweep stopped before layer {layer}")
        row = next(rows)
        parts.append(row_frame(checked, row, base_logits, followed))
        if keep:
            kept.append(row.logits.cpu())
        if progress:
            progress(len(parts) * len(checked.positions), _count(checked))
    import pandas as pd

    return Sweep(
        plan=checked,
        base_logits=base_logits.cpu(),
        source_logits=source_logits.cpu(),
        targets=followed,
        frame=pd.concat(parts, ignore_index=True),
        kept=torch.stack(kept) if keep else None,
        keep_bytes=keep_bytes,
    )


def row_frame(
    checked: SweepPlan, row: LayerOfCells, base_logits: Tensor, targets: Sequence[int]
) -> pd.DataFrame:
    """The tidy frame of one finished layer (`frames.sweep_frame`)."""
    return frames.sweep_frame(
        row.logits[None],
        base_logits,
        [row.layer],
        [checked.base[position] for position in checked.positions],
        checked.source_positions,
        targets,
        checked.model.token_text,
        component=checked.component,
        head=checked.head,
    )


def _target(model: LanguageModel, target: str | int) -> int:
    """A target token's id, checked."""
    if isinstance(target, str):
        return model.token_id(target)
    if isinstance(target, bool) or not isinstance(target, Integral):
        raise RequestError(f"target {target!r} is neither a token's text nor its id.")
    if not 0 <= target < model.sites.vocabulary:
        raise RequestError(
            f"target {target} is out of range: token ids go from 0 to {model.sites.vocabulary - 1}."
        )
    return int(target)


def _count(checked: SweepPlan) -> int:
    return len(checked.layers) * len(checked.positions)
