"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, so a sweep's numbers are previews: `run` gives the exact answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, overload

import torch

from vene_widgets.engine.cache import ActivationCache
from vene_widgets.errors import RequestError, choose, shown, validated
from vene_widgets.experiments.fields import as_ints
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.experiments.synonyms import with_our_names
from vene_widgets.models.language_model import require_language_model
from vene_widgets.sweeps.cells import run_cells
from vene_widgets.sweeps.planning import SweepPlan, head_count, pairing_warning, plan_sweep
from vene_widgets.sweeps.preparing import PreparedSweep, SweepCell, prepare_sweeps
from vene_widgets.tables import frames
from vene_widgets.tables.statistics import (
    CellStatistics,
    cell_statistics,
    checked_distribution,
    concatenated,
    default_targets,
    log_probabilities,
    probabilities,
)

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor
    from typing_extensions import Unpack

    from vene_widgets.experiments.fields import Where
    from vene_widgets.models import LanguageModel

KEEP_BYTES = 256 * 2**20
"""Logits of a whole sweep are kept up to this size."""


class _Options(TypedDict, total=False):
    """The other arguments of `sweep`."""

    layers: Sequence[int] | int | None
    positions: Where | None
    source_positions: Where | None
    intervention: str
    prompts: Sequence[str] | str
    targets: Sequence[str | int] | str | int | None
    keep_bytes: int
    progress: Callable[[int, int], None] | None
    cancel: Event | None
    cache: ActivationCache | None


class Cancelled(RuntimeError):
    """A sweep was stopped by its `cancel` event; nothing was kept and the model is as before."""


class Event(Protocol):
    """What `cancel` needs to be, for instance a `threading.Event`."""

    def is_set(self) -> bool: ...


@dataclass(eq=False)
class _Answers:
    """What the cells of one sweep gave, as compactly as it can be kept.

    Attributes:
        index: of every cell, layer by layer, its row in the other attributes. Row 0 is the base
            run, which is the answer of every cell that cannot change anything.
        logits: `(1 + cells that ran, vocabulary)`, on the model's device until they are read; None
            if they were not kept.
        count: cells of all sweeps that ran together.
        statistics: of the same rows; None until a table is asked for.
    """

    index: tuple[int, ...]
    logits: Tensor | None
    count: int
    statistics: CellStatistics | None = None

    def __getstate__(self) -> dict[str, Any]:
        logits = None if self.logits is None else self.logits.cpu()
        return {**self.__dict__, "logits": logits}


@dataclass(frozen=True, eq=False)
class Sweep:
    """One single-slot answer per layer and position.

    `.frame` and `.logits` are made when they are first read.

    Attributes:
        plan: what was run: layers, positions, tokens.
        base_logits, source_logits: `(vocabulary,)` at the last position of the plain runs.
        targets: ids of the tokens that `.frame` and `.plot()` follow.
        keep_bytes: up to which size `.logits` were kept, in bytes.
    """

    plan: SweepPlan
    base_logits: Tensor
    source_logits: Tensor
    targets: tuple[int, ...]
    keep_bytes: int
    _answers: _Answers = field(repr=False)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per cell and target (`tables.frames.sweep_frame`)."""
        log_base = log_probabilities(self.base_logits)
        answers = self._answers
        if answers.statistics is None:
            assert answers.logits is not None  # noqa: S101  # one of the two is kept
            answers.statistics = cell_statistics(answers.logits, log_base, self.targets)
        cells = answers.statistics.take(answers.index)
        may = [row > 0 for row in answers.index]
        return plan_frame(self.plan, cells, log_base, self.targets, may)

    @cached_property
    def logits(self) -> Tensor:
        """`(layers, positions, vocabulary)` at the last position, on the CPU.

        Raises:
            RequestError: the sweep was larger than `keep_bytes`; the message says how to ask.
        """
        if self._answers.logits is None:
            base = self.base_logits
            need = self._answers.count * base.numel() * base.element_size()
            raise RequestError(
                f"logits of this sweep take {need / 2**20:.3g} MB and were not kept (limit "
                f"{self.keep_bytes / 2**20:.3g} MB). Ask with sweep(..., keep_bytes={need}), or "
                "use .frame, which follows the targets."
            )
        rows = self._answers.logits.cpu()[list(self._answers.index)]
        return rows.view(len(self.plan.layers), len(self.plan.positions), -1)

    def plot(
        self, metric: str = "probability", title: str | None = None, *, style: str = "light"
    ) -> ggplot:
        """The layer × token map of every target, drawn by plotnine (`figures.sweep_map`)."""
        from vene_widgets import figures

        setup = figures.sweep_setup(self.plan)
        return figures.sweep_map(self.frame, metric=metric, title=title, setup=setup, style=style)

    def __repr__(self) -> str:
        p = self.plan
        return (
            f"<Sweep of {p.component}: {len(p.layers)} layers x {len(p.positions)} positions, "
            f"{p.base_prompt!r} <- {p.source_prompt!r}>"
        )


@dataclass(frozen=True, eq=False)
class HeadSweep:
    """The sweeps of several heads, each over layers and positions.

    Attributes:
        sweeps: one per head.
    """

    sweeps: tuple[Sweep, ...]

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads, in the order of `sweeps`."""
        return tuple(-1 if s.plan.head is None else s.plan.head for s in self.sweeps)

    @property
    def targets(self) -> tuple[int, ...]:
        """Ids of the tokens that `.frame` and `.plot()` follow."""
        return self.sweeps[0].targets

    @cached_property
    def frame(self) -> pd.DataFrame:
        """`frames.sweep_frame` of every head, one below the other, `head` filled."""
        import pandas as pd

        return pd.concat([sweep.frame for sweep in self.sweeps], ignore_index=True)

    @property
    def logits(self) -> Tensor:
        """`(layers, heads, positions, vocabulary)` at the last position, on the CPU.

        Raises:
            RequestError: they were larger than `keep_bytes`.
        """
        return torch.stack([sweep.logits for sweep in self.sweeps], dim=1)

    def plot(
        self, metric: str = "delta", title: str | None = None, *, style: str = "light"
    ) -> ggplot:
        """A layer × head map per position, of the first target (`figures.head_map`)."""
        from vene_widgets import figures

        setup = figures.sweep_setup(self.sweeps[0].plan, "all")
        return figures.head_map(self.frame, metric=metric, title=title, setup=setup, style=style)

    def __repr__(self) -> str:
        p = self.sweeps[0].plan
        return (
            f"<HeadSweep of {p.component}: {len(self.sweeps)} heads x {len(p.layers)} layers x "
            f"{len(p.positions)} positions, {p.base_prompt!r} <- {p.source_prompt!r}>"
        )


@overload
def sweep(
    model: LanguageModel,
    base: str,
    source: str,
    component: str = ...,
    *,
    head: int | None = ...,
    **options: Unpack[_Options],
) -> Sweep: ...
@overload
def sweep(
    model: LanguageModel,
    base: str,
    source: str,
    component: str = ...,
    *,
    head: Sequence[int] | Literal["all"],
    **options: Unpack[_Options],
) -> HeadSweep: ...
def sweep(
    model: LanguageModel,
    base: str,
    source: str,
    component: str = "block_output",
    *,
    head: int | Sequence[int] | Literal["all"] | None = None,
    layers: Sequence[int] | int | None = None,
    positions: Where | None = None,
    source_positions: Where | None = None,
    intervention: str = "vanilla",
    prompts: Sequence[str] | str = (),
    targets: Sequence[str | int] | str | int | None = None,
    keep_bytes: int = KEEP_BYTES,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
    cache: ActivationCache | None = None,
) -> Sweep | HeadSweep:
    """Move one slot over every layer and position, and keep each cell's next-token distribution.

    All cells, of all heads, run as one batch if the model and the memory allow it.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts. If their lengths differ, positions are paired by
            `engine.positions.align` unless `source_positions` is given; a warning names a pair
            that rests on the tokens' order alone.
        component: the tensor that is swapped, as in `Slot`.
        head: of a per-head component: one, several, or `"all"`. Several give a `HeadSweep`.
        layers, positions: which cells, written as in `Slot`; None for all.
        source_positions: one per position.
        intervention: the operator at every cell. One that reads no source (`zero`, `noise`, `mean`)
            uses the source only for the targets.
        prompts: for `mean`, the prompts that the mean is over. They are read at `source_positions`,
            which hold for all of them as in a slot; None pairs them by `engine.positions.align` as
            far as one int, from the beginning or the end, can name a token in each.
        targets: tokens to follow in the frame, by text or id, one or several; None for the two that
            tell base and source apart (`tables.statistics.default_targets`).
        keep_bytes: logits of all cells, of all heads together, are kept up to this size in bytes,
            on the model's device until they are read. Of a larger sweep, only the numbers of
            `.frame` are kept.
        progress: called with `(cells done, cells in all)`, once per layer. The sweep then runs in
            smaller steps.
        cancel: when set, the sweep stops before its next step and raises `Cancelled`. Steps are as
            small as with `progress`.
        cache: plain runs by prompt, as in `run`: the two prompts do not run again for the next
            component, or for `run(..., logits_to_keep=1)`.

    Raises:
        RequestError: a value that does not fit the model.
        Cancelled: see `cancel`.
    """
    fields: dict[str, Any] = {
        "component": component,
        "layers": layers,
        "positions": positions,
        "source_positions": source_positions,
        "intervention": intervention,
        "prompts": prompts,
    }
    require_language_model(model)
    heads = _heads(model, component, head)
    plans = [
        plan_sweep(model, base, source, validated(SweepRequest, **fields, head=one))
        for one in heads
    ]
    if warning := pairing_warning(plans[0]):
        warnings.warn(warning, stacklevel=2)
    model.accept_hooks()
    sweeps = _run(plans, targets, keep_bytes, progress, cancel, cache)
    is_one = head is None or isinstance(head, Integral)
    return sweeps[0] if is_one else HeadSweep(sweeps)


def _heads(
    model: LanguageModel, component: str, head: int | Sequence[int] | str | None
) -> list[int | None]:
    """The heads to sweep, one after the other.

    Raises:
        RequestError: no head, a head twice, or a component without heads.
    """
    if head is None or isinstance(head, Integral):
        return [head]  # pyright: ignore[reportReturnType]  # `SweepRequest` checks it
    name = with_our_names({"component": component, "head": 0})["component"]
    count = head_count(model, name, head)
    if isinstance(head, str):
        choose(head, ("all",), "head")
        return list(range(count))
    given = as_ints(head)
    found = given if isinstance(given, tuple) else ()
    valid = [one % count for one in found if -count <= one < count]
    if not valid or len(set(valid)) != len(found):
        raise RequestError(
            f"head {shown(head)} must be one or more distinct heads from 0 to {count - 1}, or "
            "'all'."
        )
    return list(valid)


def _run(
    plans: Sequence[SweepPlan],
    targets: Sequence[str | int] | str | int | None,
    keep_bytes: int,
    progress: Callable[[int, int], None] | None,
    cancel: Event | None,
    cache: ActivationCache | None,
) -> tuple[Sweep, ...]:
    """Run planned sweeps of one pair of prompts, all cells of all of them as one batch.

    If someone watches or may stop it, cells run in smaller steps.

    Raises:
        Cancelled: see `sweep`.
    """
    prepared = prepare_sweeps(plans, cache)
    plain = torch.stack([prepared[0].base_logits, prepared[0].source_logits])
    base_logits, source_logits = plain.cpu()
    log_base = checked_distribution(base_logits, "base logits").log_softmax(-1)
    followed = _followed(plans[0].model, targets, base_logits, source_logits)
    total = sum(plan.cell_count for plan in plans)
    keep = base_logits.numel() * base_logits.element_size() * total <= keep_bytes
    cells = [cell for one in prepared for cell in one.live_cells]
    steps = _Steps([(one, row) for one in prepared for row in range(len(one.plan.layers))], total)
    found = [prepared[0].base_logits[None]]
    statistics = [] if keep else [cell_statistics(found[0], log_base, followed)]
    steps.begin(cancel)
    for chunk, logits in run_cells(cells, at_once=not (progress or cancel)):
        if keep:
            found.append(logits)
        else:
            statistics.append(cell_statistics(logits, log_base, followed))
        steps.finish_before(chunk[-1], progress)
        steps.begin(cancel)
    steps.finish_before(None, progress)
    places = {(id(c.sweep), c.row, c.column): n for n, c in enumerate(cells, 1)}
    logits, joined = (torch.cat(found), None) if keep else (None, concatenated(statistics))
    return tuple(
        Sweep(
            plan=one.plan,
            base_logits=base_logits,
            source_logits=source_logits,
            targets=followed,
            keep_bytes=keep_bytes,
            _answers=_Answers(
                tuple(
                    places.get((id(one), row, column), 0)
                    for row in range(len(one.plan.layers))
                    for column in range(len(one.plan.positions))
                ),
                logits,
                total,
                joined,
            ),
        )
        for one in prepared
    )


class _Steps:
    """Counts the layers of sweeps that are done.

    Args:
        layers: sweep and row of each, in their order.
        total: cells of all sweeps.
    """

    def __init__(self, layers: Sequence[tuple[PreparedSweep, int]], total: int) -> None:
        self._left = list(layers)
        self._total = total
        self._done = 0

    def begin(self, cancel: Event | None) -> None:
        """Stop before the next layer if that was asked for.

        Raises:
            Cancelled: it was.
        """
        if self._left and cancel and cancel.is_set():
            sweep, row = self._left[0]
            raise Cancelled(f"sweep stopped before layer {sweep.plan.layers[row]}")

    def finish_before(
        self, cell: SweepCell | None, progress: Callable[[int, int], None] | None
    ) -> None:
        """Report every layer before that of a cell; every layer if it is None."""
        while self._left:
            sweep, row = self._left[0]
            if cell is not None and sweep is cell.sweep and row == cell.row:
                return
            del self._left[0]
            self._done += len(sweep.plan.positions)
            if progress:
                progress(self._done, self._total)


def _followed(
    model: LanguageModel,
    targets: Sequence[str | int] | str | int | None,
    base_logits: Tensor,
    source_logits: Tensor,
) -> tuple[int, ...]:
    """Ids of the tokens to follow.

    Raises:
        RequestError: no target, or one that is no token.
    """
    if targets is None:
        target, other = default_targets(probabilities(base_logits), probabilities(source_logits))
        return other, target
    followed = model.resolve_tokens(targets, "target")
    if not followed:
        raise RequestError("targets must name at least one token, got none.")
    return followed


def plan_frame(
    plan: SweepPlan,
    cells: CellStatistics,
    log_base: Tensor,
    targets: Sequence[int],
    effect_possible: Sequence[bool],
) -> pd.DataFrame:
    """The tidy frame of a sweep's cells (`frames.sweep_frame`).

    Args:
        plan: the sweep.
        cells: of every cell, layer by layer, followed at `targets`.
        log_base: ln P in the base run, `(vocabulary,)`, float64.
        targets: ids of the tokens to follow.
        effect_possible: of every cell; the others have the base run's numbers.
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
        effect_possible=effect_possible,
    )
