"""The cells of a sweep, run many at a time.

Each cell is one row of a batch, so its numbers differ from a single run's by float rounding (about
4e-6 in a logit of GPT-2 small).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.behaviour import behaviour, tolerance
from vene_widgets.engine.cache import ActivationCache, CachedRun
from vene_widgets.engine.forward import forward_prompts, last_position_logits, token_batch
from vene_widgets.engine.hooks import Edit, intervene
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.engine.resume import BaseTrace, ResumedBatch, base_trace, sites_to_resume
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
"""Token rows of one chunk: enough to keep matrix products busy, few enough to show progress."""


@dataclass(frozen=True, eq=False)
class SweepRow:
    """One finished layer of a sweep: `logits` is `(positions, vocabulary)`, last position's."""

    layer: int
    logits: Tensor


@dataclass(frozen=True, eq=False)
class PreparedSweep:
    """A planned sweep with the plain runs that its cells need.

    Attributes:
        plan: what to run.
        base_logits, source_logits: `(vocabulary,)`, the plain runs at their last position. The
            base's is the answer of every cell that cannot change anything.
        base_states, source_states: swept site -> vectors of the plain runs, `(positions, width)`.
        trace: what resumed runs need of the base run; None if this model cannot resume.
        behaviour: what was measured of the model.
        state: the state of the model that the plain runs are of; the cells must be of the same.
        unequal: cells (layer, column) whose states differ in the plain runs though they should not
            by what was measured; they run.
    """

    plan: SweepPlan
    base_logits: Tensor
    source_logits: Tensor
    base_states: Mapping[Site, Tensor]
    source_states: Mapping[Site, Tensor]
    trace: BaseTrace | None
    behaviour: Behaviour
    state: Fingerprint
    unequal: frozenset[tuple[int, int]] = frozenset()

    @property
    def resume_blocker(self) -> str | None:
        """Why cells take full forward passes; None if they are resumed."""
        return self.behaviour.resume_blocker

    def can_affect_output(self, layer: int, column: int) -> bool:
        """Whether a cell has to run (`sweeps.reach`)."""
        may = can_affect_output(self.plan, self.behaviour, layer, column)
        return may or (layer, column) in self.unequal


@dataclass(frozen=True)
class _Cell:
    """One tile: index into `SweepPlan.layers` and into `SweepPlan.positions`."""

    row: int
    column: int


def prepare_sweep(plan: SweepPlan, cache: ActivationCache | None = None) -> PreparedSweep:
    """Run base and source once each, and keep what the cells need of them.

    Args:
        plan: the sweep.
        cache: plain runs by prompt; cached prompts do not run again.
    """
    model = plan.model
    swept = [plan.site(layer) for layer in dict.fromkeys(plan.layers)]
    base_ids, source_ids = ([t.id for t in tokens] for tokens in (plan.base, plan.source))
    with model.lock, torch.no_grad(), own_model(model):
        state, measured = model.tree.state, behaviour(model)
        blocker = measured.resume_blocker
        if blocker is None and cache is not None:
            runs = [cache.plain_run(model, tokens, 1) for tokens in (plan.base, plan.source)]
            base, source = (_from_cache(model, run, swept) for run in runs)
        elif blocker is None:
            wanted = list(dict.fromkeys([*swept, *sites_to_resume(model)]))
            # Equal prompts are one run: rows of a batch may round differently.
            prompts = [base_ids] if base_ids == source_ids else [base_ids, source_ids]
            found = forward_prompts(model, prompts, wanted)
            base, source = found[0], found[-1]
        else:  # user-defined hooks may not expect two prompts at once
            base, source = (
                forward_prompts(model, [ids], swept)[0] for ids in (base_ids, source_ids)
            )
        (base_states, base_logits), (source_states, source_logits) = base, source
        trace = None if blocker else base_trace(model, base_ids, base_states, base_logits)
        unequal = _unequal(plan, measured, base_states, source_states)
    return PreparedSweep(
        plan=plan,
        # Copies: a user may write into them, and the originals may be cached.
        base_logits=base_logits.clone(),
        source_logits=source_logits.clone(),
        base_states=base_states,
        source_states={site: source_states[site] for site in swept},
        trace=trace,
        behaviour=measured,
        state=state,
        unequal=unequal,
    )


def _unequal(
    plan: SweepPlan,
    measured: Behaviour,
    base: Mapping[Site, Tensor],
    source: Mapping[Site, Tensor],
) -> frozenset[tuple[int, int]]:
    """`PreparedSweep.unequal`: what a probe says of a model is checked in the runs themselves."""
    if plan.intervention != "vanilla":
        return frozenset()
    cells: list[tuple[int, int]] = []
    errors: list[Tensor] = []
    for layer in dict.fromkeys(plan.layers):
        columns = [
            column
            for column in range(len(plan.positions))
            if states_are_equal(plan, measured, layer, column)
        ]
        if not columns:
            continue
        site = plan.site(layer)
        here = base[site][[plan.positions[column] for column in columns]].float()
        there = source[site][[plan.source_positions[column] for column in columns]].float()
        scale = base[site].abs().max().float().clamp_min(torch.finfo(torch.float32).tiny)
        errors.append((here - there).abs().amax(-1) / scale)
        cells += [(layer, column) for column in columns]
    if not errors:
        return frozenset()
    is_equal = (torch.cat(errors) <= tolerance(plan.model)).cpu()
    return frozenset(cell for cell, equal in zip(cells, is_equal, strict=True) if not equal)


def _from_cache(
    model: LanguageModel, run: CachedRun, swept: Sequence[Site]
) -> tuple[dict[Site, Tensor], Tensor]:
    """What a sweep needs of a cached run: states by site, and the last position's logits."""
    sites = dict.fromkeys([*swept, *sites_to_resume(model)])
    return {site: run.states_at(model, site) for site in sites}, run.result.logits[-1]


def sweep_rows(prepared: PreparedSweep) -> Iterator[SweepRow]:
    """Run a prepared sweep; finished layers come in order, and the model is free in between.

    If the model can resume, cells run from their changed layer and position on; otherwise each is a
    full forward pass with a hook, many in a batch.
    """
    plan = prepared.plan
    logits = {
        row: prepared.base_logits.repeat(len(plan.positions), 1) for row in range(len(plan.layers))
    }
    cells = [
        _Cell(row, column)
        for row in range(len(plan.layers))
        for column in range(len(plan.positions))
        if prepared.can_affect_output(plan.layers[row], column)
    ]
    finished = 0
    for chunk in _chunks(prepared, cells):
        while finished < chunk[0].row:
            yield SweepRow(plan.layers[finished], logits.pop(finished))
            finished += 1
        for cell, answer in zip(chunk, _run_cells(prepared, chunk), strict=True):
            logits[cell.row][cell.column] = answer
    require_unchanged(plan.model, prepared.state, plan.model.fingerprint)
    for row in sorted(logits):
        yield SweepRow(plan.layers[row], logits.pop(row))


def _chunks(prepared: PreparedSweep, cells: list[_Cell]) -> Iterator[list[_Cell]]:
    """Split the cells into chunks of at most as many rows as run well at once and fit in memory.

    A layer is split only if it is too large by itself, so that layers finish one after the other.
    """
    plan = prepared.plan
    length = len(plan.base)
    # A model whose rows are not independent runs one prompt at a time.
    limit = _rows_at_once(plan.model, length) if prepared.behaviour.batches else length
    chunk: list[_Cell] = []
    rows = 0
    for _, group in groupby(cells, key=lambda cell: cell.row):
        layer = list(group)
        needs = [length - plan.positions[c.column] if prepared.trace else length for c in layer]
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


def _rows_at_once(model: LanguageModel, length: int) -> int:
    """Token rows per chunk: enough for the matrix products, at most a quarter of free memory."""
    sites = model.sites
    # Per row: residuals and norms, MLP, heads; then its attention scores over all positions.
    numbers = 12 * sites.d_model + 3 * sites.d_mlp + 4 * sites.heads * sites.d_head
    bytes_each = (numbers + 2 * length * sites.heads) * model.dtype.itemsize
    wanted = CPU_ROWS if model.device.type == "cpu" else GPU_ROWS
    return max(length, min(wanted, _free_bytes(model.device) // (4 * bytes_each)))


def _free_bytes(device: torch.device) -> int:
    """Memory that a chunk may use, in bytes; a cautious guess on systems that do not report it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**31


def _run_cells(prepared: PreparedSweep, chunk: list[_Cell]) -> list[Tensor]:
    """Answers `(vocabulary,)` of a chunk's cells; out of memory, of each half of them.

    Raises:
        ModelChanged: the model is not the one that the plain runs are of.
        RequestError: not even one cell fits into memory.
    """
    try:
        return list((_run_resumed if prepared.trace else _run_batched)(prepared, chunk))
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
    return [*_run_cells(prepared, chunk[:half]), *_run_cells(prepared, chunk[half:])]


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out; on a CPU torch says so in words only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def _run_resumed(prepared: PreparedSweep, chunk: list[_Cell]) -> Iterator[Tensor]:
    """Answers `(vocabulary,)` of a chunk's cells, each resumed from its own change."""
    plan = prepared.plan
    assert prepared.trace is not None  # noqa: S101  # our own caller's promise
    model = plan.model
    enters_before_block = plan.component == "block_input"
    by_layer: dict[int, list[_Cell]] = {}
    for cell in chunk:
        by_layer.setdefault(plan.layers[cell.row], []).append(cell)
    batch = ResumedBatch(model, prepared.trace)
    # Where each cell's answer will be: its first changed position, and its place among those.
    places: dict[_Cell, tuple[int, int]] = {}

    def enter(layer: int) -> None:
        cells = by_layer.get(layer, [])
        if not cells:
            return
        positions = [plan.positions[cell.column] for cell in cells]
        for cell, p in zip(cells, positions, strict=True):
            places[cell] = p, sum(1 for q, _ in places.values() if q == p)
        batch.enter(plan.site(layer), positions, _changed_states(prepared, layer, cells))

    with model.lock, torch.no_grad(), own_model(model):
        require_unchanged(model, prepared.state, model.tree.state)
        for layer in range(min(by_layer), model.sites.layers):
            if enters_before_block:
                enter(layer)
            batch.advance(layer)
            if not enters_before_block:
                enter(layer)
        logits = batch.logits()
    return (logits[p][n] for p, n in (places[cell] for cell in chunk))


def _run_batched(prepared: PreparedSweep, chunk: list[_Cell]) -> Iterator[Tensor]:
    """Answers `(vocabulary,)` of a chunk's cells: full forward passes, one batch row per cell."""
    plan = prepared.plan
    model = plan.model
    edits: list[Edit] = []
    for layer in dict.fromkeys(plan.layers[cell.row] for cell in chunk):
        rows = [n for n, cell in enumerate(chunk) if plan.layers[cell.row] == layer]
        cells = [chunk[n] for n in rows]
        states = _changed_states(prepared, layer, cells)
        edits.append(
            Edit(
                site=plan.site(layer),
                rows=torch.tensor(rows, device=model.device),
                positions=torch.tensor(
                    [plan.positions[cell.column] for cell in cells], device=model.device
                ),
                change=lambda _vectors, states=states: states,
            )
        )
    ids = token_batch(model, [token.id for token in plan.base])
    with model.lock, torch.no_grad(), own_model(model), intervene(model, edits):
        require_unchanged(model, prepared.state, model.tree.state)
        return iter(last_position_logits(model, ids.expand(len(chunk), -1)))


def _changed_states(prepared: PreparedSweep, layer: int, cells: list[_Cell]) -> Tensor:
    """The new vectors at the cells' site, `(cells, width)`."""
    plan = prepared.plan
    site = plan.site(layer)
    positions = [plan.positions[cell.column] for cell in cells]
    partners = [plan.source_positions[cell.column] for cell in cells]
    module = make(plan.intervention, Options(site.width)).to(plan.model.device)
    base, source = prepared.base_states[site][positions], prepared.source_states[site][partners]
    with torch.no_grad():
        # Each cell is a batch example with one position, so noise is that of a run of its own.
        return module(base[:, None], source[:, None])[:, 0]
