"""The cells of sweeps, run many at a time.

Each cell is one row of a batch, so its numbers differ from a single run's by float rounding (about
4e-6 in a logit of GPT-2 small). Several sweeps whose bases have one length run as one: a batch
takes cells of any of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vene_widgets.engine.behaviour import behaviour, tolerance
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.forward import KeysAndValues, forward_prompts, last_position_logits
from vene_widgets.engine.hooks import Edit, intervene
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.engine.resume import (
    BaseTrace,
    Cells,
    ResumedBatch,
    sites_to_resume,
)
from vene_widgets.errors import RequestError
from vene_widgets.interventions import Options, make
from vene_widgets.models.sites import Site
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.reach import can_affect_output, states_are_equal

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.behaviour import Behaviour
    from vene_widgets.models.fingerprint import Fingerprint

CPU_ROWS, GPU_ROWS = 1024, 8192
"""Token rows of one chunk of a map that fills while someone looks."""

CPU_BYTES, GPU_BYTES = 2**31, 2**33
"""Memory that one chunk may take if nobody looks: a chunk has few operators however large it is."""

FULL_ROWS = 1024
"""Token rows up to which an accelerator runs full passes, one batch row per cell. So few rows cost
launches only, and a full pass has fewer. Measured with GPT-2 small on an H100: cells × tokens of
120 took 11 ms with a hook per block and 19 ms resumed, 3072 took 25 ms and 24 ms."""


@dataclass(frozen=True, eq=False)
class SweepRow:
    """One finished layer of a sweep: `logits` is `(positions, vocabulary)`, last position's."""

    layer: int
    logits: Tensor


@dataclass(frozen=True, eq=False)
class PlainPairs:
    """The plain runs of some pairs of prompts; the bases have one length.

    Attributes:
        base_logits, source_logits: `(pairs, vocabulary)` at each prompt's last position.
        base_states, source_states: swept layers' states `(layers, pairs, positions, width)`; of a
            per-head component, all heads.
        rows: swept layer -> index into the states.
        base_ids: `(pairs, positions)`.
        trace: what resumed runs need of the bases; None if this model cannot resume.
        behaviour: what was measured of the model.
        state: the state of the model that the runs are of; the cells must be of the same.
    """

    base_logits: Tensor
    source_logits: Tensor
    base_states: Tensor
    source_states: Tensor
    rows: Mapping[int, int]
    base_ids: Tensor
    trace: BaseTrace | None
    behaviour: Behaviour
    state: Fingerprint


@dataclass(frozen=True, eq=False)
class PreparedSweep:
    """A planned sweep with the plain runs that its cells need.

    Attributes:
        plan: what to run.
        runs: the plain runs; sweeps that were prepared together share them.
        pair: which of their pairs is this sweep's.
        unequal: cells (layer, column) whose states differ in the plain runs though they should not
            by what was measured; they run.
    """

    plan: SweepPlan
    runs: PlainPairs
    pair: int = 0
    unequal: frozenset[tuple[int, int]] = frozenset()

    @property
    def base_logits(self) -> Tensor:
        """`(vocabulary,)` of the base run: the answer of every cell that cannot change anything."""
        return self.runs.base_logits[self.pair]

    @property
    def source_logits(self) -> Tensor:
        """`(vocabulary,)` of the source run."""
        return self.runs.source_logits[self.pair]

    @property
    def behaviour(self) -> Behaviour:
        """What was measured of the model."""
        return self.runs.behaviour

    @property
    def state(self) -> Fingerprint:
        """The state of the model that the plain runs are of."""
        return self.runs.state

    @property
    def resume_blocker(self) -> str | None:
        """Why cells take full forward passes; None if they are resumed."""
        return self.behaviour.resume_blocker

    def can_affect_output(self, layer: int, column: int) -> bool:
        """Whether a cell has to run (`sweeps.reach`)."""
        may = can_affect_output(self.plan, self.behaviour, layer, column)
        return may or (layer, column) in self.unequal

    @cached_property
    def live_cells(self) -> tuple[SweepCell, ...]:
        """The cells that have to run, layer by layer in the plan's order."""
        plan = self.plan
        return tuple(
            SweepCell(self, row, column)
            for row, layer in enumerate(plan.layers)
            for column in range(len(plan.positions))
            if self.can_affect_output(layer, column)
        )


@dataclass(frozen=True, eq=False)
class SweepCell:
    """One tile of one sweep.

    Attributes:
        sweep: whose.
        row, column: index into `SweepPlan.layers` and into `SweepPlan.positions`.
    """

    sweep: PreparedSweep = field(repr=False)
    row: int
    column: int

    @property
    def layer(self) -> int:
        """The layer that it changes."""
        return self.sweep.plan.layers[self.row]

    @property
    def position(self) -> int:
        """The position that it changes."""
        return self.sweep.plan.positions[self.column]

    @property
    def source_position(self) -> int:
        """The position that it copies from."""
        return self.sweep.plan.source_positions[self.column]


def prepare_sweep(plan: SweepPlan, cache: ActivationCache | None = None) -> PreparedSweep:
    """Run base and source once each, and keep what the cells need of them.

    Args:
        plan: the sweep.
        cache: plain runs by prompt; cached prompts do not run again.
    """
    return prepare_sweeps([plan], cache)[0]


def prepare_sweeps(
    plans: Sequence[SweepPlan], cache: ActivationCache | None = None
) -> tuple[PreparedSweep, ...]:
    """Run the prompts of some sweeps once each, in one batch, so that their cells run as one.

    Args:
        plans: sweeps of one model and one component (heads may differ), with equally long bases.
        cache: plain runs by prompt; cached prompts do not run again.

    Raises:
        RequestError: plans that do not belong together.
    """
    _require_one_kind(plans)
    plan = plans[0]
    model = plan.model
    layers = list(dict.fromkeys(layer for one in plans for layer in one.layers))
    # A head is a part of the whole component, and a cell puts the whole back.
    swept = [model.sites.site(layer, plan.component.removeprefix("head_")) for layer in layers]
    base_ids = [[token.id for token in one.base] for one in plans]
    source_ids = [[token.id for token in one.source] for one in plans]
    with model.lock, torch.no_grad(), own_model(model):
        state, measured = model.tree.state, behaviour(model)
        can_resume = measured.resume_blocker is None
        prompts = list(dict.fromkeys(tuple(ids) for ids in (*base_ids, *source_ids)))
        place = {ids: n for n, ids in enumerate(prompts)}
        bases, sources = (
            [place[tuple(ids)] for ids in several] for several in (base_ids, source_ids)
        )
        runs = _Prompts(model, prompts, swept, measured, cache)
        length = len(base_ids[0])
        longest = max(len(ids) for ids in source_ids)
        pairs = PlainPairs(
            # Copies: a user may write into them, and the originals may be cached.
            base_logits=runs.logits(bases),
            source_logits=runs.logits(sources),
            base_states=runs.states(swept, bases, length),
            source_states=runs.states(swept, sources, longest),
            rows={layer: row for row, layer in enumerate(layers)},
            base_ids=torch.tensor(base_ids, dtype=torch.long, device=model.device),
            trace=runs.trace(bases, length) if can_resume else None,
            behaviour=measured,
            state=state,
        )
        unequal = _unequal(plans, pairs)
    return tuple(
        PreparedSweep(one, pairs, pair, unequal.get(pair, frozenset()))
        for pair, one in enumerate(plans)
    )


def _require_one_kind(plans: Sequence[SweepPlan]) -> None:
    """Check that sweeps can run as one.

    Raises:
        RequestError: another model, component, operator or length of base.
    """
    first = plans[0]
    for plan in plans[1:]:
        if (plan.model, plan.component, plan.intervention) != (
            first.model,
            first.component,
            first.intervention,
        ):
            raise RequestError("sweeps that run as one must share model, component and operator.")
        if len(plan.base) != len(first.base):
            raise RequestError(
                f"sweeps that run as one must have equally long bases, got {len(first.base)} and "
                f"{len(plan.base)} tokens."
            )


class _Prompts:
    """Plain runs of distinct prompts, cached or made now, as tensors over all of them.

    Args:
        model: the model in use.
        prompts: token ids.
        swept: sites whose states are wanted.
        measured: what is known of the model.
        cache: plain runs by prompt.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        swept: Sequence[Site],
        measured: Behaviour,
        cache: ActivationCache | None,
    ) -> None:
        self._model = model
        self._heads: list[KeysAndValues] = []
        can_resume = measured.resume_blocker is None
        wanted = list(dict.fromkeys([*swept, *(sites_to_resume(model) if can_resume else ())]))
        # Per group of prompts that ran together: how many, states, logits.
        self._groups: list[tuple[int, Mapping[Site, Tensor], Tensor]] = []
        if can_resume and cache is not None:
            for ids in prompts:
                run = cache.run_of(model, ids, 1)
                states = {site: run.states_at(model, site)[None] for site in wanted}
                self._groups.append((1, states, run.result.logits[-1:]))
                if run.heads is not None:
                    self._heads.append(run.heads)
            return
        lengths = {len(ids) for ids in prompts}
        one_batch = can_resume and (len(lengths) == 1 or not model.sites.depends_on_length)
        # A model with code of the user's may not expect two prompts at once.
        for several in [prompts] if one_batch else [[ids] for ids in prompts]:
            ran = forward_prompts(model, several, wanted, with_heads=can_resume)
            self._groups.append((len(several), ran.states, ran.logits))
            if ran.heads is not None:
                self._heads.append(ran.heads)

    def logits(self, which: Sequence[int]) -> Tensor:
        """Logits of some prompts, `(prompts, vocabulary)`."""
        return self._chosen([logits for _, _, logits in self._groups], which)

    def states(self, sites: Sequence[Site], which: Sequence[int], length: int) -> Tensor:
        """States `(sites, prompts, length, width)`; nothing reads what a prompt does not have."""
        found = (
            self._chosen([states[site] for _, states, _ in self._groups], which, length)
            for site in sites
        )
        return torch.stack(list(found))

    def trace(self, which: Sequence[int], length: int) -> BaseTrace:
        """The trace of some prompts of one length."""
        model = self._model
        states = self.states(sites_to_resume(model), which, length)
        heads = [
            [
                self._chosen([getattr(one, name)[layer] for one in self._heads], which, length)
                for layer in range(model.sites.layers)
            ]
            for name in ("keys", "values")
        ]
        return BaseTrace(states, KeysAndValues(tuple(heads[0]), tuple(heads[1])))

    def _chosen(
        self, parts: Sequence[Tensor], which: Sequence[int], length: int | None = None
    ) -> Tensor:
        """Rows of some prompts from the groups' tensors; at `length` positions if that is given."""
        if len(parts) > 1:  # each group is one prompt
            own = [parts[n] if length is None else _cut(parts[n], length) for n in which]
            return own[0] if len(own) == 1 and length is not None else torch.cat(own)
        first, whole = which[0], parts[0]
        if list(which) == list(range(first, first + len(which))):
            whole = whole[first : first + len(which)]
        else:
            whole = whole.index_select(0, torch.tensor(which, device=whole.device))
        return whole.clone() if length is None else _cut(whole, length)


def _cut(states: Tensor, length: int) -> Tensor:
    """States `(prompts, positions, ...)` cut to a length, or repeated at the end to reach it."""
    missing = length - states.shape[1]
    if missing <= 0:
        return states[:, :length]
    return torch.cat([states, states[:, -1:].expand(-1, missing, *states.shape[2:])], 1)


def _unequal(plans: Sequence[SweepPlan], runs: PlainPairs) -> dict[int, frozenset[tuple[int, int]]]:
    """`PreparedSweep.unequal`: what a probe says of a model is checked in the runs themselves."""
    if plans[0].intervention != "vanilla":
        return {}
    cells = [
        (pair, layer, column)
        for pair, plan in enumerate(plans)
        for layer in dict.fromkeys(plan.layers)
        for column in range(len(plan.positions))
        if states_are_equal(plan, runs.behaviour, layer, column)
    ]
    if not cells:
        return {}
    base, source = runs.base_states, runs.source_states
    rows = [runs.rows[layer] for _, layer, _ in cells]
    pairs = [pair for pair, _, _ in cells]
    here = [plans[pair].positions[column] for pair, _, column in cells]
    there = [plans[pair].source_positions[column] for pair, _, column in cells]
    at = _flat_index(base, rows, pairs, here), _flat_index(source, rows, pairs, there)
    differences = _at(base, at[0]).float() - _at(source, at[1]).float()
    scales = base.abs().amax((1, 2, 3)).float().clamp_min(torch.finfo(torch.float32).tiny)
    errors = differences.abs().amax(-1) / scales[torch.tensor(rows, device=base.device)]
    within: Any = errors <= tolerance(plans[0].model)
    is_equal: list[bool] = within.tolist()  # one read
    found: dict[int, set[tuple[int, int]]] = {}
    for (pair, layer, column), equal in zip(cells, is_equal, strict=True):
        if not equal:
            found.setdefault(pair, set()).add((layer, column))
    return {pair: frozenset(own) for pair, own in found.items()}


def _flat_index(
    states: Tensor, rows: Sequence[int], pairs: Sequence[int], positions: Sequence[int]
) -> Tensor:
    """Index of vectors among those of states `(layers, pairs, positions, width)`."""
    _, pair_count, length, _ = states.shape
    flat = (np.array(rows) * pair_count + np.array(pairs)) * length + np.array(positions)
    index = torch.from_numpy(flat)  # pyright: ignore[reportUnknownMemberType]  # torch's
    return index.to(states.device)


def _at(states: Tensor, index: Tensor) -> Tensor:
    """Vectors `(n, width)` of states `(layers, pairs, positions, width)`."""
    return states.flatten(0, 2).index_select(0, index)


def sweep_rows(prepared: PreparedSweep) -> Iterator[SweepRow]:
    """Run a prepared sweep; finished layers come in order, and the model is free in between.

    If the model can resume, cells run from their changed layer and position on; otherwise each is a
    full forward pass with a hook, many in a batch.
    """
    plan = prepared.plan
    logits = {
        row: prepared.base_logits.repeat(len(plan.positions), 1) for row in range(len(plan.layers))
    }
    finished = 0
    for chunk, answers in run_cells(prepared.live_cells):
        while finished < chunk[0].row:
            yield SweepRow(plan.layers[finished], logits.pop(finished))
            finished += 1
        start = 0
        for row, group in groupby(chunk, key=lambda cell: cell.row):
            columns = [cell.column for cell in group]
            logits[row][columns] = answers[start : start + len(columns)]
            start += len(columns)
    for row in sorted(logits):
        yield SweepRow(plan.layers[row], logits.pop(row))


def run_cells(
    cells: Sequence[SweepCell], *, at_once: bool = False
) -> Iterator[tuple[Sequence[SweepCell], Tensor]]:
    """Run cells of sweeps that were prepared together, and give their logits chunk by chunk.

    The model is free between two chunks. After the last one it is checked that it is still the
    model that the plain runs are of.

    Args:
        cells: `PreparedSweep.live_cells`, of one sweep or several.
        at_once: whether to run as many cells at a time as memory allows, instead of as many as fill
            the processor, so that a map fills step by step.

    Yields:
        Cells, and their logits `(cells, vocabulary)` at the last position.
    """
    if not cells:
        return
    for chunk in _chunks(cells, at_once):
        yield chunk, _run_chunk(chunk)
    prepared = cells[0].sweep
    require_unchanged(prepared.plan.model, prepared.state, prepared.plan.model.fingerprint)


def _chunks(cells: Sequence[SweepCell], at_once: bool) -> Iterator[Sequence[SweepCell]]:
    """Split cells into chunks of at most as many rows as run well at once and fit in memory.

    A layer is split only if it is too large by itself, so that layers finish one after the other.
    """
    prepared = cells[0].sweep
    model, length = prepared.plan.model, len(prepared.plan.base)
    resumes = prepared.runs.trace is not None
    # A model whose rows are not independent runs one prompt at a time.
    limit = _rows_at_once(model, length, at_once) if prepared.behaviour.batches else length
    chunk: list[SweepCell] = []
    rows = 0
    for _, group in groupby(cells, key=lambda cell: (id(cell.sweep), cell.row)):
        layer = list(group)
        needs = [length - cell.position if resumes else length for cell in layer]
        if chunk and rows + sum(needs) > limit:
            yield chunk
            chunk, rows = [], 0
        for cell, need in zip(layer, needs, strict=True):
            if chunk and rows + need > limit:
                yield chunk
                chunk, rows = [], 0
            chunk.append(cell)
            rows += need
    if chunk:
        yield chunk


def _rows_at_once(model: LanguageModel, length: int, at_once: bool = False) -> int:
    """Token rows per chunk: enough for the matrix products, at most a quarter of free memory."""
    sites = model.sites
    # Per row: residuals and norms, the MLP, attention (queries, keys and values are of all
    # positions, about twice as many), and its attention scores.
    numbers = 4 * sites.d_model + 3 * sites.d_mlp + 5 * sites.heads * sites.d_head
    bytes_each = (numbers + 2 * length * sites.heads) * model.dtype.itemsize
    wanted = CPU_ROWS if model.device.type == "cpu" else GPU_ROWS
    if at_once:
        most = CPU_BYTES if model.device.type == "cpu" else GPU_BYTES
        wanted = max(wanted, most // bytes_each)
    return max(length, min(wanted, _free_bytes(model.device) // (4 * bytes_each)))


def _free_bytes(device: torch.device) -> int:
    """Memory that a chunk may use, in bytes; a cautious guess on systems that do not report it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**31


def _run_chunk(chunk: Sequence[SweepCell]) -> Tensor:
    """Logits `(cells, vocabulary)` of a chunk; out of memory, of each half of it.

    Raises:
        ModelChanged: the model is not the one that the plain runs are of.
        RequestError: not even one cell fits into memory.
    """
    prepared = chunk[0].sweep
    try:
        return (_run_resumed if _resumes(chunk) else _run_batched)(chunk)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        if len(chunk) == 1:
            raise RequestError(
                f"out of memory: not even one cell of this sweep fits ({len(prepared.plan.base)} "
                "tokens). Free memory, or use a shorter prompt or a smaller dtype."
            ) from error
    half = len(chunk) // 2
    warnings.warn(
        f"out of memory with {len(chunk)} cells at once: the sweep goes on with {half}",
        stacklevel=2,
    )
    if prepared.plan.model.device.type == "cuda":
        torch.cuda.empty_cache()
    return torch.cat([_run_chunk(chunk[:half]), _run_chunk(chunk[half:])])


def _resumes(chunk: Sequence[SweepCell]) -> bool:
    """Whether a chunk is resumed, or else takes full passes."""
    prepared = chunk[0].sweep
    if prepared.runs.trace is None:
        return False
    is_small = len(chunk) * len(prepared.plan.base) <= FULL_ROWS
    return prepared.plan.model.device.type == "cpu" or not is_small


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; on a CPU torch says so in words only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def _run_resumed(chunk: Sequence[SweepCell]) -> Tensor:
    """Logits `(cells, vocabulary)` of a chunk, each cell resumed from its own change."""
    prepared = chunk[0].sweep
    model, trace = prepared.plan.model, prepared.runs.trace
    assert trace is not None  # noqa: S101  # our own caller's promise
    order = sorted(range(len(chunk)), key=lambda n: chunk[n].layer)
    cells = [chunk[n] for n in order]
    with model.lock, torch.no_grad(), own_model(model):
        require_unchanged(model, prepared.state, model.tree.state)
        logits = ResumedBatch(
            model,
            trace,
            Cells(
                sites=[_whole_site(cell) for cell in cells],
                bases=[cell.sweep.pair for cell in cells],
                positions=[cell.position for cell in cells],
                states=_changed_states(cells),
            ),
        ).logits()
        if order == list(range(len(chunk))):
            return logits
        return logits.index_select(0, torch.tensor(np.argsort(order), device=logits.device))


def _run_batched(chunk: Sequence[SweepCell]) -> Tensor:
    """Logits `(cells, vocabulary)` of a chunk: full forward passes, one batch row per cell."""
    runs, model = chunk[0].sweep.runs, chunk[0].sweep.plan.model
    states, device = _changed_states(chunk), model.device
    edits: list[Edit] = []
    for layer in dict.fromkeys(cell.layer for cell in chunk):
        rows = [n for n, cell in enumerate(chunk) if cell.layer == layer]
        here = torch.tensor(rows, device=device)
        edits.append(
            Edit(
                site=_whole_site(chunk[rows[0]]),
                rows=here,
                positions=torch.tensor([chunk[n].position for n in rows], device=device),
                change=lambda _vectors, new=states[here]: new,
            )
        )
    pairs = torch.tensor([cell.sweep.pair for cell in chunk], device=device)
    with model.lock, torch.no_grad(), own_model(model), intervene(model, edits):
        require_unchanged(model, chunk[0].sweep.state, model.tree.state)
        return last_position_logits(model, runs.base_ids[pairs])


def _whole_site(cell: SweepCell) -> Site:
    """The cell's site; of a per-head component, the tensor of all heads."""
    plan = cell.sweep.plan
    return plan.model.sites.site(cell.layer, plan.component.removeprefix("head_"))


def _changed_states(cells: Sequence[SweepCell]) -> Tensor:
    """The new vectors at the cells' `_whole_site`, `(cells, width)`."""
    plan, runs = cells[0].sweep.plan, cells[0].sweep.runs
    rows = [runs.rows[cell.layer] for cell in cells]
    pairs = [cell.sweep.pair for cell in cells]
    here, there = [cell.position for cell in cells], [cell.source_position for cell in cells]
    base = _at(runs.base_states, _flat_index(runs.base_states, rows, pairs, here))
    source = _at(runs.source_states, _flat_index(runs.source_states, rows, pairs, there))
    if plan.head is None:
        return _operate(plan, base, source)
    heads = torch.tensor([cell.sweep.plan.head for cell in cells], device=base.device)
    count = plan.model.sites.head_count(plan.component)
    assert count is not None  # noqa: S101  # it has a head
    by_head = base.reshape(len(base), count, -1).clone()
    each = torch.arange(len(cells), device=base.device)
    others = source.reshape(len(source), count, -1)[each, heads]
    by_head[each, heads] = _operate(plan, by_head[each, heads], others)
    return by_head.flatten(1)


def _operate(plan: SweepPlan, base: Tensor, source: Tensor) -> Tensor:
    """The operator on each cell's vectors, `(cells, width)`."""
    module = make(plan.intervention, Options(base.shape[-1])).to(plan.model.device)
    with torch.no_grad():
        # Each cell is a batch example with one position, so noise is that of a run of its own.
        return module(base[:, None], source[:, None])[:, 0]
