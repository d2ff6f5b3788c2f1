"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, so a sweep's numbers are previews: `run` gives the exact answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, overload

import torch

from vene_widgets.engine.cache import ActivationCache
from vene_widgets.errors import RequestError, choose, shown, validated
from vene_widgets.experiments.fields import as_ints
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.experiments.synonyms import with_our_names
from vene_widgets.models.language_model import require_language_model
from vene_widgets.sweeps.cells import run_cells
from vene_widgets.sweeps.planning import SweepPlan, head_count, pairing_warning, plan_sweep
from vene_widgets.sweeps.preparing import PreparedSweep, SweepCell, prepare_sweeps
from vene_widgets.sweeps.results import Answers, HeadSweep, Sweep
from vene_widgets.tables.statistics import (
    cell_statistics,
    checked_distribution,
    concatenated,
    default_targets,
    probabilities,
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
        targets: tokens to follow in the frame, by text or id, one or several. None for two: the
            base's answer, and the token that the source raises most (its answer, in most pairs); if
            both runs have the same answer, the token whose probability differs most.
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
    plans = plan_heads(model, base, source, head, fields)
    if warning := pairing_warning(plans[0]):
        warnings.warn(warning, stacklevel=2)
    model.accept_hooks()
    sweeps = _run(plans, targets, keep_bytes, progress, cancel, cache)
    is_one = head is None or isinstance(head, Integral)
    return sweeps[0] if is_one else HeadSweep(sweeps)


def plan_heads(
    model: LanguageModel,
    base: str,
    source: str | None,
    head: int | Sequence[int] | str | None,
    fields: Mapping[str, Any],
) -> list[SweepPlan]:
    """Plan the sweeps that `sweep` was asked for, one per head.

    Args:
        model, base, source, head: as in `sweep`.
        fields: the others of `SweepRequest`.

    Raises:
        RequestError: a value that the model or the prompts do not have, or no source.
    """
    require_language_model(model)
    intervention = fields["intervention"]
    source = base if source is None and not reads_source(intervention) else source
    if source is None:
        raise RequestError(
            f"source is missing: intervention {intervention!r} reads the run of a source prompt. "
            "Those that read none: 'zero', 'mean', 'noise'."
        )
    return [
        plan_sweep(model, base, source, validated(SweepRequest, **fields, head=one))
        for one in heads_of(model, fields["component"], head)
    ]


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
    followed, target = followed_tokens(plans[0], targets, base_logits, source_logits)
    total = sum(plan.cell_count for plan in plans)
    keep = base_logits.numel() * base_logits.element_size() * total <= keep_bytes
    cells = [cell for one in prepared for cell in one.live_cells()]
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
            target=target,
            keep_bytes=keep_bytes,
            _answers=Answers(
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


def followed_tokens(
    plan: SweepPlan,
    targets: Sequence[str | int] | str | int | None,
    base_logits: Tensor,
    source_logits: Tensor,
) -> tuple[tuple[int, ...], int]:
    """Ids of the tokens to follow, and which of them is `Sweep.target`.

    Args:
        plan: the sweep.
        targets: as in `sweep`.
        base_logits, source_logits: `(vocabulary,)` of the plain runs.

    Raises:
        RequestError: no target, or one that is no token.
    """
    if targets is None:
        target, other = default_targets(probabilities(base_logits), probabilities(source_logits))
        copies = OPERATORS[plan.intervention].needs_source
        return (other, target), target if copies else int(base_logits.argmax())
    followed = plan.model.resolve_tokens(targets, "target")
    if not followed:
        raise RequestError("targets must name at least one token, got none.")
    return followed, followed[0]
