"""The cells of sweeps, run many at a time.

Each cell is one row of a batch, so its numbers differ from a single run's by float rounding (about
4e-6 in a logit of GPT-2 small). Several sweeps whose bases have one length run as one: a batch
takes cells of any of them.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from vene_widgets.engine.behaviour import behaviour, distance, rows_differ, tolerance
from vene_widgets.engine.forward import last_position_logits
from vene_widgets.engine.held_slots import HeldSlots
from vene_widgets.engine.hooks import Edit, intervene
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.engine.resume import Cells, LaterChange, ResumedBatch
from vene_widgets.errors import RequestError, is_out_of_memory
from vene_widgets.sweeps.changes import changed_states, whole_site, window_changes
from vene_widgets.sweeps.preparing import PreparedSweep, SweepCell

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel

CPU_ROWS, GPU_ROWS = 1024, 8192
"""Token rows of one chunk of a map that fills while someone looks."""

CPU_BYTES, GPU_BYTES = 2**31, 2**33
"""Memory that one chunk may take if nobody looks: a chunk has few operators however large it is."""

FULL_ROWS = 1024
"""Token rows up to which an accelerator runs full passes, one batch row per cell. So few rows cost
launches only, and a full pass has fewer. Measured with GPT-2 small on an H100: cells × tokens of
120 took 11 ms with a hook per block and 19 ms resumed, 3072 took 25 ms and 24 ms."""


CHECK_ROWS = 2
"""Rows that check a batch; as few cells run one at a time instead, in fewer passes."""


@dataclass(frozen=True, eq=False)
class SweepRow:
    """One finished layer of a sweep: `logits` is `(positions, vocabulary)`, last position's."""

    sweep: PreparedSweep
    layer: int
    logits: Tensor


def sweep_rows(*prepared: PreparedSweep) -> Iterator[SweepRow]:
    """The rows of `sweep_steps`, without the steps between them."""
    return (row for row in sweep_steps(*prepared) if row is not None)


def sweep_steps(*prepared: PreparedSweep) -> Iterator[SweepRow | None]:
    """Run sweeps that were prepared together; finished layers come in order, sweep by sweep.

    A layer with many cells takes several steps. The model is free between two steps. If it can
    resume, cells run from their changed layer and position on; otherwise each is a full forward
    pass with a hook, many in a batch.

    Yields:
        A finished layer, or None after a step that has finished none.
    """
    rows = {
        (id(sweep), row): SweepRow(
            sweep, layer, sweep.base_logits.repeat(len(sweep.plan.positions), 1)
        )
        for sweep in prepared
        for row, layer in enumerate(sweep.plan.layers)
    }
    for chunk, answers in run_cells([cell for sweep in prepared for cell in sweep.live_cells()]):
        first = id(chunk[0].sweep), chunk[0].row
        if next(iter(rows)) == first:
            yield None
        while (done := next(iter(rows))) != first:
            yield rows.pop(done)
        start = 0
        for place, group in groupby(chunk, key=lambda cell: (id(cell.sweep), cell.row)):
            columns = [cell.column for cell in group]
            rows[place].logits[columns] = answers[start : start + len(columns)]
            start += len(columns)
    yield from rows.values()


def run_cells(
    cells: Sequence[SweepCell], *, at_once: bool = False, cpu_bytes: int = CPU_BYTES
) -> Iterator[tuple[Sequence[SweepCell], Tensor]]:
    """Run cells of sweeps that were prepared together, and give their logits chunk by chunk.

    The model is free between two chunks. After the last one it is checked that it is still the
    model that the plain runs are of.

    Args:
        cells: `PreparedSweep.live_cells`, of one sweep or several.
        at_once: whether to run as many cells at a time as memory allows, instead of as many as fill
            the processor, so that a map fills step by step.
        cpu_bytes: memory that as many may take on a CPU.

    Yields:
        Cells, and their logits `(cells, vocabulary)` at the last position.
    """
    if not cells:
        return
    for chunk in _chunks(cells, at_once, cpu_bytes):
        yield chunk, _run_chunk(chunk)
    prepared = cells[0].sweep
    require_unchanged(prepared.plan.model, prepared.state, prepared.plan.model.fingerprint)


def _chunks(
    cells: Sequence[SweepCell], at_once: bool, cpu_bytes: int
) -> Iterator[Sequence[SweepCell]]:
    """Split cells into chunks of at most as many rows as run well at once and fit in memory.

    A layer is split only if it is too large by itself, so that layers finish one after the other.
    """
    prepared = cells[0].sweep
    model, length = prepared.plan.model, len(prepared.plan.base)
    resumes = prepared.runs.trace is not None
    # A model whose rows are not independent runs one prompt at a time.
    batches = prepared.behaviour.batches
    limit = _rows_at_once(model, length, at_once, cpu_bytes) if batches else length
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


def _rows_at_once(model: LanguageModel, length: int, at_once: bool, cpu_bytes: int) -> int:
    """Token rows per chunk: enough for the matrix products, at most a quarter of free memory."""
    sites = model.sites
    # Per row: residuals and norms, the MLP, attention (queries, keys and values are of all
    # positions, about twice as many), and its attention scores.
    numbers = 4 * sites.d_model + 3 * sites.d_mlp + 5 * sites.heads * sites.d_head
    bytes_each = (numbers + 2 * length * sites.heads) * model.dtype.itemsize
    wanted = CPU_ROWS if model.device.type == "cpu" else GPU_ROWS
    if at_once:
        most = cpu_bytes if model.device.type == "cpu" else GPU_BYTES
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
        if not is_out_of_memory(error):
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
    gc.collect()  # the error's traceback refers to itself, and to what filled the memory
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


def _run_resumed(chunk: Sequence[SweepCell]) -> Tensor:
    """Logits `(cells, vocabulary)` of a chunk, each cell resumed from its own change."""
    prepared = chunk[0].sweep
    model, trace = prepared.plan.model, prepared.runs.trace
    assert trace is not None  # noqa: S101  # our own caller's promise
    order = sorted(range(len(chunk)), key=lambda n: chunk[n].layer)
    cells = [chunk[n] for n in order]
    with model.lock, torch.no_grad(), own_model(model):
        require_unchanged(model, prepared.state, model.tree.state)
        batch = ResumedBatch(
            model,
            trace,
            Cells(
                sites=[whole_site(cell) for cell in cells],
                bases=[cell.sweep.pair for cell in cells],
                positions=[cell.position for cell in cells],
                states=changed_states(cells),
            ),
            [*_held_changes(cells), *window_changes(cells)],
        )
        is_sorted = order == list(range(len(chunk)))
        return batch.logits(None if is_sorted else np.argsort(order).tolist())


def _held_changes(cells: Sequence[SweepCell]) -> list[LaterChange]:
    """What the fixed slots change in the cells' rows."""
    return [
        change
        for held, numbers in _by_held(cells)
        if held is not None
        for change in held.later_changes(numbers)
    ]


def _by_held(cells: Sequence[SweepCell]) -> list[tuple[HeldSlots | None, list[int]]]:
    """Indices of cells by the fixed slots that they have."""
    found: dict[int, tuple[HeldSlots | None, list[int]]] = {}
    for number, cell in enumerate(cells):
        held = cell.sweep.runs.held[cell.sweep.pair]
        found.setdefault(id(held), (held, []))[1].append(number)
    return [*found.values()]


def _run_batched(chunk: Sequence[SweepCell]) -> Tensor:
    """Logits `(cells, vocabulary)` of a chunk: full forward passes, one batch row per cell.

    Code that is not the family's own may treat the rows of a large batch, or of long prompts, in
    another way than the probes have shown. The base itself is then the first and the last row: if
    it does not get the logits of the plain run, cells run one at a time from then on.
    """
    prepared = chunk[0].sweep
    model = prepared.plan.model
    with model.lock, torch.no_grad(), own_model(model):
        require_unchanged(model, prepared.state, model.tree.state)
        known = behaviour(model)
        if known.batches and known.is_family_code:
            return _full_passes(model, chunk)
        if known.batches and len(chunk) > CHECK_ROWS:
            before, after = chunk[:1], chunk[-1:]
            logits = _full_passes(model, chunk, before, after)
            checks = (logits[0], before[0].sweep), (logits[-1], after[0].sweep)
            if all(_is_plain_run(row, sweep) for row, sweep in checks):
                return logits[1:-1]
            rows_differ(model)
        return torch.cat([_full_passes(model, [cell]) for cell in chunk])


def _is_plain_run(logits: Tensor, sweep: PreparedSweep) -> bool:
    """Whether a row of a batch that held the base as it is got the logits of the plain run."""
    own = sweep.base_logits
    return distance(logits, own, own) <= tolerance(sweep.plan.model)


def _full_passes(
    model: LanguageModel,
    chunk: Sequence[SweepCell],
    before: Sequence[SweepCell] = (),
    after: Sequence[SweepCell] = (),
) -> Tensor:
    """Logits of a batch: a row per cell, between the unchanged bases of some cells."""
    runs = chunk[0].sweep.runs
    states, device = changed_states(chunk), model.device
    every = [*before, *chunk, *after]
    edits = [
        edit
        for held, numbers in _by_held(every)
        if held is not None
        for edit in held.edits(numbers)
    ]
    for layer in dict.fromkeys(cell.layer for cell in chunk):
        rows = [n for n, cell in enumerate(chunk) if cell.layer == layer]
        here = torch.tensor(rows, device=device)
        edits.append(
            Edit(
                site=whole_site(chunk[rows[0]]),
                rows=here + len(before),
                positions=torch.tensor([chunk[n].position for n in rows], device=device),
                change=lambda _vectors, new=states[here]: new,
            )
        )
    for change in window_changes(chunk):
        here = torch.tensor(change.cells, device=device)
        which = torch.arange(len(change.cells), device=device)
        edits.append(
            Edit(
                site=change.site,
                rows=here + len(before),
                positions=torch.tensor(change.positions, device=device),
                change=partial(_of_all, change, which),
            )
        )
    pairs = torch.tensor([cell.sweep.pair for cell in every], device=device)
    with intervene(model, edits):
        return last_position_logits(model, runs.base_ids[pairs])


def _of_all(change: LaterChange, which: Tensor, vectors: Tensor) -> Tensor:
    return change.change(vectors, which)
