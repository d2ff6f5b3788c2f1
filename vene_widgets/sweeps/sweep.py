"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, so a sweep's numbers are previews: `run` gives the exact answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, overload

import torch

from vene_widgets.engine.cache import ActivationCache
from vene_widgets.errors import RequestError, choose, shown, validated
from vene_widgets.experiments.fields import as_ints
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.slot import Slot
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.experiments.synonyms import with_our_names
from vene_widgets.models.language_model import require_language_model
from vene_widgets.sweeps.averages import MeanDistributions, with_seeds
from vene_widgets.sweeps.cells import run_cells
from vene_widgets.sweeps.following import Targets, follow
from vene_widgets.sweeps.planning import (
    SweepPlan,
    head_count,
    pairing_warning,
    plan_fixed,
    plan_sweep,
)
from vene_widgets.sweeps.preparing import PreparedSweep, SweepCell, prepare_sweeps
from vene_widgets.sweeps.results import Answers, HeadSweep, Sweep
from vene_widgets.tables import frames
from vene_widgets.tables.statistics import (
    CellStatistics,
    cell_statistics,
    checked_distribution,
    concatenated,
    log_probabilities,
)

if TYPE_CHECKING:
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
    targets: Targets
    metric: str
    fixed: Iterable[Slot] | Slot
    sources: Mapping[str, str] | None
    window: int
    seeds: Sequence[int] | int | None
    keep_bytes: int
    progress: Callable[[int, int], None] | None
    cancel: Event | None
    cache: ActivationCache | None


class Cancelled(RuntimeError):
    """A sweep was stopped by its `cancel` event; nothing was kept and the model is as before."""


class Event(Protocol):
    """What `cancel` needs to be, for instance a `threading.Event`."""

    def is_set(self) -> bool: ...


@overload
def sweep(
    model: LanguageModel,
    base: str,
    source: str | None = ...,
    component: str = ...,
    *,
    head: int | None = ...,
    **options: Unpack[_Options],
) -> Sweep: ...
@overload
def sweep(
    model: LanguageModel,
    base: str,
    source: str | None = ...,
    component: str = ...,
    *,
    head: Sequence[int] | Literal["all"],
    **options: Unpack[_Options],
) -> HeadSweep: ...
def sweep(
    model: LanguageModel,
    base: str,
    source: str | None = None,
    component: str = "block_output",
    *,
    head: int | Sequence[int] | Literal["all"] | None = None,
    layers: Sequence[int] | int | None = None,
    positions: Where | None = None,
    source_positions: Where | None = None,
    intervention: str = "vanilla",
    prompts: Sequence[str] | str = (),
    targets: Targets = None,
    metric: str = "logit_difference",
    fixed: Iterable[Slot] | Slot = (),
    sources: Mapping[str, str] | None = None,
    window: int = 1,
    seeds: Sequence[int] | int | None = None,
    keep_bytes: int = KEEP_BYTES,
    progress: Callable[[int, int], None] | None = None,
    cancel: Event | None = None,
    cache: ActivationCache | None = None,
) -> Sweep | HeadSweep:
    """Move one slot over every layer and position, and keep each cell's next-token distribution.

    All cells, of all heads, run as one batch if the model and the memory allow it.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts. If their lengths differ, tokens are paired from both ends as far as
            they are equal, and the rest in order, of which a warning tells; `source_positions`
            pairs them otherwise.
        component: the tensor that is swapped, as in `Slot`.
        head: of a per-head component: one, several, or `"all"`. Several give a `HeadSweep`.
        layers, positions: which cells, written as in `Slot`; None for all.
        source_positions: one per position.
        intervention: the operator at every cell. One that reads no source (`zero`, `noise`, `mean`)
            uses a source only for the targets, and needs none.
        prompts: for `mean`, the prompts that the mean is over. They are read at `source_positions`,
            which hold for all of them as in a slot; None pairs them as far as one int, from the
            beginning or the end, can name a token in each.
        targets: tokens to follow in the frame, by text or id, one or several; or sets of tokens by
            name, `{"right": [" Rome"], "wrong": [" Madrid", " Paris"]}`, whose probabilities are
            added. None for two: the base's answer, and the token that the source raises most (its
            answer, in most pairs); if both runs have the same answer, the token whose probability
            differs most.
        metric: what the column `recovery` is of, one of `frames.RECOVERED`: 0 is the base, 1 the
            source.
        fixed: slots that every cell has as well, before its own at the same site: noise at the
            subject, which cells restore (causal tracing, Meng et al. 2022), or a head that is
            knocked out. They act on the base, and the base of all metrics is the run with them
            alone. With them, a missing `source` is the base as it is without them.
        sources: prompts that fixed slots copy from, by name. The sweep's own is `"source"`.
        window: how many layers a cell changes, itself in the middle.
        seeds: of noise in `fixed`: every cell's distribution is the mean over them, and all numbers
            are those of the mean.
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
        "fixed": fixed,
        "window": window,
        "component": component,
        "layers": layers,
        "positions": positions,
        "source_positions": source_positions,
        "intervention": intervention,
        "prompts": prompts,
    }
    plans = plan_heads(model, base, source, head, fields, sources)
    groups = with_seeds(plans, seeds)
    if warning := pairing_warning(plans[0]):
        warnings.warn(warning, stacklevel=2)
    model.accept_hooks()
    recovery = choose(metric, frames.RECOVERED, "metric")
    sweeps = run_plans(groups, targets, recovery, keep_bytes, progress, cancel, cache)
    is_one = head is None or isinstance(head, Integral)
    return sweeps[0] if is_one else HeadSweep(sweeps)


def plan_heads(
    model: LanguageModel,
    base: str,
    source: str | None,
    head: int | Sequence[int] | str | None,
    fields: Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
) -> list[SweepPlan]:
    """Plan the sweeps that `sweep` was asked for, one per head.

    Args:
        model, base, source, head, sources: as in `sweep`.
        fields: the others of `SweepRequest`.

    Raises:
        RequestError: a value that the model or the prompts do not have, or no source.
    """
    require_language_model(model)
    intervention = fields["intervention"]
    if source is None and (fields.get("fixed") or not reads_source(intervention)):
        source = base
    if source is None:
        raise RequestError(
            f"source is missing: intervention {intervention!r} reads the run of a source prompt. "
            "Those that read none: 'zero', 'mean', 'noise'."
        )
    heads = heads_of(model, fields["component"], head)
    requests = [validated(SweepRequest, **fields, head=one) for one in heads]
    if not isinstance(sources, (Mapping, NoneType)):  # pyright: ignore[reportUnnecessaryIsInstance]  # user input
        raise RequestError(
            f"sources must be a dict of names and prompts, got {shown(sources)}: for instance "
            'sources={"other": "The capital of France is"}.'
        )
    named = dict(sources or {})
    fixed = plan_fixed(model, base, source, requests[0].fixed, named)
    return [plan_sweep(model, base, source, one, named, fixed=fixed) for one in requests]


def reads_source(intervention: object) -> bool:
    """Whether an intervention, by any of its names, is known and reads a source."""
    name = with_our_names({"intervention": intervention})["intervention"]
    return isinstance(name, str) and name in OPERATORS and OPERATORS[name].needs_source


def heads_of(
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


def run_plans(
    groups: Sequence[Sequence[SweepPlan]],
    targets: Targets,
    recovery: str,
    keep_bytes: int,
    progress: Callable[[int, int], None] | None,
    cancel: Event | None,
    cache: ActivationCache | None,
    control_of: Sweep | None = None,
) -> tuple[Sweep, ...]:
    """Run planned sweeps of one pair of prompts, all cells of all of them as one batch.

    If someone watches or may stop it, cells run in smaller steps.

    Args:
        groups: per head, the same sweep with every seed.
        targets, keep_bytes, progress, cancel, cache: as in `sweep`.
        recovery: what `recovery` is of.
        control_of: the sweep that these are a control of: its targets are followed instead, and its
            source run stays what cells are compared with.

    Raises:
        Cancelled: see `sweep`.
    """
    flat = prepare_sweeps([plan for plans in groups for plan in plans], cache)
    size = len(groups[0])
    prepared = [flat[n * size : (n + 1) * size] for n in range(len(groups))]
    first = flat[0]
    means = MeanDistributions(prepared, keep_bytes) if size > 1 else None
    cells = means.cells if means else [cell for one in flat for cell in one.live_cells()]
    total = sum(one.plan.cell_count for one in flat)
    plain = torch.stack([means.logits()[0] if means else first.base_logits, first.source_logits])
    base_logits, source_logits = plain = plain.cpu()
    # The largest is NaN if one is: in one read, only NaN, +inf or nothing but -inf fail.
    if not plain.amax(-1).isfinite().all():
        for name, logits in (("base", base_logits), ("source", source_logits)):
            checked_distribution(logits, f"{name} logits")
    if control_of is not None:
        source_logits = control_of.source_logits
        followed, target = control_of.followed, control_of.target
    else:
        followed, target = follow(first.plan, targets, base_logits, source_logits)
    log_base, log_source = log_probabilities(base_logits), log_probabilities(source_logits)

    def measured(logits: Tensor) -> CellStatistics:
        return cell_statistics(logits, log_base, followed.ids, log_source=log_source)

    keep = base_logits.numel() * base_logits.element_size() * total <= keep_bytes
    steps = _Steps([(one, row) for one in flat for row in range(len(one.plan.layers))], total)
    found = [first.base_logits[None]]
    statistics = [] if keep or means else [measured(found[0])]
    steps.begin(cancel)
    for chunk, logits in run_cells(cells, at_once=not (progress or cancel)):
        if means:
            means.add(chunk, logits)
        elif keep:
            found.append(logits)
        else:
            statistics.append(measured(logits))
        steps.finish_before(chunk[-1], progress)
        steps.begin(cancel)
    steps.finish_before(None, progress)
    kept = None
    if means:
        kept = means.logits()
    elif keep:
        kept = torch.cat(found)
    joined = concatenated(statistics) if kept is None else None
    if means:
        places = means.rows
    else:
        head_of = {id(one): n for n, (one,) in enumerate(prepared)}
        places = {(head_of[id(c.sweep)], c.row, c.column): n for n, c in enumerate(cells, 1)}
    return tuple(
        Sweep(
            plan=one.plan,
            base_logits=base_logits,
            source_logits=source_logits,
            followed=followed,
            target=target,
            keep_bytes=keep_bytes,
            recovery=recovery,
            _answers=Answers(
                tuple(
                    places.get((head, row, column), 0)
                    for row in range(len(one.plan.layers))
                    for column in range(len(one.plan.positions))
                ),
                kept,
                total,
                joined,
            ),
        )
        for head, (one, *_) in enumerate(prepared)
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
