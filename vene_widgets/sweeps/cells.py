"""The cells of a sweep, run many at a time.

One row of a batch per cell, so that numbers differ from single runs by float rounding (about 4e-6
in a logit of GPT-2 small).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.cache import Kept, Memory
from vene_widgets.engine.hooks import Edit, intervene, undisturbed
from vene_widgets.interventions import Options, make
from vene_widgets.models.sites import Site, module_at
from vene_widgets.sweeps.planning import SweepPlan, can_matter
from vene_widgets.sweeps.resume import Front, Trace, plain, recorded, trace

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token

CPU_ROWS, GPU_ROWS = 1024, 8192
"""Token rows of one chunk: enough to keep the matrix products busy, few enough to show progress."""


@dataclass(frozen=True, eq=False)
class LayerOfCells:
    """One finished row of a sweep: `logits` is `(positions, vocabulary)` at the last position."""

    layer: int
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A planned sweep with the plain runs that its cells need.

    Attributes:
        plan: what is to be run.
        base_logits, source_logits: `(vocabulary,)`, the plain runs at their last position. The
            base's is the answer of every cell that cannot change anything.
        base_states, source_states: swept site -> vectors of the plain runs, `(positions, width)`.
        trace: what resumed runs need of the base run; None when this model cannot resume.
        slow: why it cannot, or None.
    """

    plan: SweepPlan
    base_logits: Tensor
    source_logits: Tensor
    base_states: Mapping[Site, Tensor]
    source_states: Mapping[Site, Tensor]
    trace: Trace | None
    slow: str | None


@dataclass(frozen=True)
class _Cell:
    """One tile: index into `SweepPlan.layers` and into `SweepPlan.positions`."""

    row: int
    column: int


def prepare(checked: SweepPlan, memory: Memory | None = None) -> Prepared:
    """Run base and source once each, and keep what the cells need of them.

    Args:
        checked: what the sweep is to be.
        memory: where plain runs are kept; prompts that it knows do not run again.
    """
    model = checked.model
    swept = [checked.site(layer) for layer in dict.fromkeys(checked.layers)]
    base_ids, source_ids = ([t.id for t in tokens] for tokens in (checked.base, checked.source))
    with model.lock:  # another thread's run would have our own hooks on the model just now
        slow = model.resume_blocker
        if slow is None and memory is not None:
            with undisturbed(model):
                kept = [memory.recall(model, t, 1) for t in (checked.base, checked.source)]
                base, source = (_known(model, run, swept) for run in kept)
        elif slow is None:
            wanted = list(dict.fromkeys([*swept, *recorded(model)]))
            # Equal prompts are one run: rows of a batch may round differently.
            prompts = [base_ids] if base_ids == source_ids else [base_ids, source_ids]
            runs = plain(model, prompts, wanted)
            base, source = runs[0], runs[-1]
        else:  # the model's own hooks may not expect two prompts at once
            base, source = (plain(model, [ids], swept)[0] for ids in (base_ids, source_ids))
    (base_states, base_logits), (source_states, source_logits) = base, source
    return Prepared(
        plan=checked,
        base_logits=base_logits,
        source_logits=source_logits,
        base_states=base_states,
        source_states={site: source_states[site] for site in swept},
        trace=None if slow else trace(model, base_ids, base_states, base_logits),
        slow=slow,
    )


def _known(
    model: LanguageModel, kept: Kept, swept: Sequence[Site]
) -> tuple[dict[Site, Tensor], Tensor]:
    """What a sweep needs of a kept run: states at its sites, and the last position's logits."""
    sites = dict.fromkeys([*swept, *recorded(model)])
    return {site: kept.at(model, site) for site in sites}, kept.passed.logits[-1]


def sweep_layers(prepared: Prepared) -> Iterator[LayerOfCells]:
    """Run a prepared sweep; finished layers come in order, and the model is free between two steps.

    Where the model can resume, cells run from their changed layer and position on, many at a time;
    otherwise each is a full forward pass with a hook, many in a batch.
    """
    checked = prepared.plan
    done = {
        row: prepared.base_logits.repeat(len(checked.positions), 1)
        for row in range(len(checked.layers))
    }
    cells = [
        _Cell(row, column)
        for row in range(len(checked.layers))
        for column in range(len(checked.positions))
        if can_matter(checked, checked.layers[row], column)
    ]
    answered = 0
    for chunk in _chunks(prepared, cells):
        while answered < chunk[0].row:
            yield LayerOfCells(checked.layers[answered], done.pop(answered))
            answered += 1
        run = _resumed if prepared.trace else _batched
        for cell, logits in zip(chunk, run(prepared, chunk), strict=True):
            done[cell.row][cell.column] = logits
    for row in sorted(done):
        yield LayerOfCells(checked.layers[row], done.pop(row))


def _chunks(prepared: Prepared, cells: list[_Cell]) -> Iterator[list[_Cell]]:
    """Cut the cells into chunks of at most as many rows as run well at once and fit into memory.

    A layer is cut only where it is too large by itself, so that layers finish one after the other.
    """
    checked = prepared.plan
    length = len(checked.base)
    limit = _rows_at_once(checked.model, length)
    chunk: list[_Cell] = []
    rows = 0
    for _, layer in groupby(cells, key=lambda cell: cell.row):
        whole = list(layer)
        needs = [length - checked.positions[c.column] if prepared.trace else length for c in whole]
        if chunk and rows + sum(needs) > limit:
            yield chunk
            chunk, rows = [], 0
        for cell, need in zip(whole, needs, strict=True):
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
    wide = 12 * sites.d_model + 3 * sites.d_mlp + 4 * sites.heads * sites.d_head
    each = (wide + 2 * length * sites.heads) * model.dtype.itemsize
    wanted = CPU_ROWS if model.device.type == "cpu" else GPU_ROWS
    return max(length, min(wanted, _free_bytes(model.device) // (4 * each)))


def _free_bytes(device: torch.device) -> int:
    """Memory that a chunk may count on, in bytes; a cautious guess where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**31


def _resumed(prepared: Prepared, chunk: list[_Cell]) -> Iterator[Tensor]:
    """Answers `(vocabulary,)` of a chunk's cells, each resumed from its own change."""
    checked, base = prepared.plan, prepared.trace
    if base is None:
        raise AssertionError("a sweep without a trace was to be resumed")
    model, before = checked.model, checked.component == "block_input"
    entering: dict[int, list[_Cell]] = {}
    for cell in chunk:
        entering.setdefault(checked.layers[cell.row], []).append(cell)
    front = Front(model, base)
    seats: dict[_Cell, tuple[int, int]] = {}

    def enter(layer: int) -> None:
        cells = entering.get(layer, [])
        if not cells:
            return
        positions = [checked.positions[cell.column] for cell in cells]
        for cell, p in zip(cells, positions, strict=True):
            seats[cell] = p, sum(1 for q, _ in seats.values() if q == p)
        front.enter(checked.site(layer), positions, _changed(prepared, layer, cells))

    with undisturbed(model):
        for layer in range(min(entering), model.sites.layers):
            if before:
                enter(layer)
            front.advance(layer)
            if not before:
                enter(layer)
        logits = front.logits()
    return (logits[p][n] for p, n in (seats[cell] for cell in chunk))


def _batched(prepared: Prepared, chunk: list[_Cell]) -> Iterator[Tensor]:
    """Answers `(vocabulary,)` of a chunk's cells: full forward passes, one batch row per cell."""
    checked = prepared.plan
    model = checked.model
    edits = []
    for layer in dict.fromkeys(checked.layers[cell.row] for cell in chunk):
        rows = [n for n, cell in enumerate(chunk) if checked.layers[cell.row] == layer]
        cells = [chunk[n] for n in rows]
        states = _changed(prepared, layer, cells)
        edits.append(
            Edit(
                site=checked.site(layer),
                rows=torch.tensor(rows, device=model.device),
                positions=torch.tensor(
                    [checked.positions[cell.column] for cell in cells], device=model.device
                ),
                change=lambda _vectors, states=states: states,
            )
        )
    with undisturbed(model), intervene(model, edits):
        return iter(_forward_last(model, _ids(model, checked.base).expand(len(chunk), -1)))


def _changed(prepared: Prepared, layer: int, cells: list[_Cell]) -> Tensor:
    """What the cells' site takes, `(cells, width)`."""
    checked = prepared.plan
    site = checked.site(layer)
    positions = [checked.positions[cell.column] for cell in cells]
    partners = [checked.source_positions[cell.column] for cell in cells]
    module = make(checked.intervention, Options(site.width)).to(checked.model.device)
    base, source = prepared.base_states[site][positions], prepared.source_states[site][partners]
    with torch.no_grad():
        # A cell is a batch example with one position: its noise is that of a run of its own.
        return module(base[:, None], source[:, None])[:, 0]


def _ids(model: LanguageModel, tokens: Sequence[Token]) -> Tensor:
    return torch.tensor([[token.id for token in tokens]], device=model.device)


def _forward_last(model: LanguageModel, ids: Tensor) -> Tensor:
    """Forward pass with the output head on the last position only: `(batch, vocabulary)`."""
    backbone = module_at(model.model, model.sites.architecture.backbone)
    hidden = backbone(input_ids=ids, use_cache=False, return_dict=True).last_hidden_state
    # Still three dimensions, as a hook of the user's on the head expects them.
    return model.head(hidden[:, -1:])[:, 0]
