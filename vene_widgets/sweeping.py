"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, one row per cell, so a sweep's numbers differ from single runs by float
rounding (about 4e-6 in a logit of GPT-2 small). They are previews: `run` gives the exact answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import torch

from vene_widgets import frames
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiment import plain_ints
from vene_widgets.hooks import Edit, intervene, undisturbed
from vene_widgets.interventions import INTERVENTIONS, Options, make
from vene_widgets.memory import Kept, Memory
from vene_widgets.planning import align, resolve_positions
from vene_widgets.resuming import Front, Trace, plain, recorded, trace, why_not
from vene_widgets.sites import Site, module_at

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token

KEEP_BYTES = 256 * 2**20
"""Logits of a whole sweep are kept up to this size."""

CPU_ROWS, GPU_ROWS = 1024, 8192
"""Token rows of one chunk: enough to keep the matrix products busy, few enough to show progress."""

BEFORE_KEYS = ("block_input", "attention_input", "key_output", "value_output")
"""Components whose change at an earlier position still reaches the last one within their block."""


class Cancelled(RuntimeError):
    """A sweep was stopped by its `cancel` event; nothing was kept and the model is as before."""


class Event(Protocol):
    """What `cancel` needs to be, for instance a `threading.Event`."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class SweepPlan:
    """A sweep checked against a model: what runs, in which order, and what need not run.

    Attributes:
        base, source: the prompts' tokens.
        layers, positions: the cells' layers and base positions, as ints from 0.
        source_positions: the source position that each base position is paired with.
        first_difference: the first base position that can differ from the source: prompts agree
            before it, so swapping there changes nothing and needs no run.
    """

    model: LanguageModel = field(repr=False)
    base_prompt: str
    source_prompt: str
    base: tuple[Token, ...]
    source: tuple[Token, ...]
    component: str
    head: int | None
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    source_positions: tuple[int, ...]
    first_difference: int
    intervention: str = "vanilla"

    def site(self, layer: int) -> Site:
        """The swept site at one layer."""
        return self.model.sites.site(layer, self.component, self.head)


@dataclass(frozen=True, eq=False)
class LayerOfCells:
    """One finished row of a sweep: `logits` is `(positions, vocabulary)` at the last position."""

    layer: int
    logits: Tensor


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


def plan_sweep(
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
) -> SweepPlan:
    """Check a sweep against a model; arguments as in `sweep`."""
    kind = INTERVENTIONS[choose(intervention, INTERVENTIONS, "intervention")]
    if intervention == "mean":
        raise RequestError(
            "intervention 'mean' needs prompts to take the mean of, which a sweep does not have; "
            "run one slot at a time instead."
        )
    base_tokens, source_tokens = tuple(model.tokens(base)), tuple(model.tokens(source))
    wanted = plain_ints(range(model.sites.layers) if layers is None else layers)
    sites = [
        model.sites.site(layer, component, head)
        for layer in ((wanted,) if isinstance(wanted, int) else wanted)
    ]
    for site in sites:
        kind.size(Options(site.width))  # refuses what cannot be made from a width alone
    chosen = plain_ints(range(len(base_tokens)) if positions is None else positions)
    where = resolve_positions(chosen, base_tokens, "sweep.position", "base")
    if source_positions is None:
        paired = align(base_tokens, source_tokens)
        partners = tuple(paired[position] for position in where)
    else:
        partners = resolve_positions(
            plain_ints(source_positions), source_tokens, "sweep.source_position", "source"
        )
    if len(partners) != len(where) or not sites or not where:
        raise RequestError(
            f"sweep has {len(sites)} layers, {len(where)} positions and {len(partners)} source "
            "positions: at least one layer and one position are needed, and source position i "
            "goes to base position i."
        )
    return SweepPlan(
        model=model,
        base_prompt=base,
        source_prompt=source,
        base=base_tokens,
        source=source_tokens,
        component=component,
        head=sites[0].head,
        layers=tuple(site.layer for site in sites),
        positions=where,
        source_positions=partners,
        first_difference=_first_difference(base_tokens, source_tokens),
        intervention=intervention,
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
    targets: Sequence[str | int] | None = None,
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
        targets: tokens to follow in the frame, by text or id; None for the most likely next token
            of the base and of the source.
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
        followed = tuple(_target(model, target) for target in targets)
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
        slow = why_not(model)
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


def can_matter(checked: SweepPlan, layer: int, column: int) -> bool:
    """Whether a cell's swap can change the answer at the last position at all.

    An interchange cannot where base and source agree up to there; and nothing can in the last block
    after its keys and values are made, unless at the last position.
    """
    position, partner = checked.positions[column], checked.source_positions[column]
    same = position == partner and position < checked.first_difference
    if same and checked.intervention == "vanilla":
        return False
    early = checked.component.removeprefix("head_") in BEFORE_KEYS
    ends_here = layer == checked.model.sites.layers - 1 and not early
    return not ends_here or position == len(checked.base) - 1


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
    )


def _target(model: LanguageModel, target: str | int) -> int:
    """A target token's id, checked."""
    if isinstance(target, str):
        return model.token_id(target)
    if not 0 <= target < model.sites.vocabulary:
        raise RequestError(
            f"target {target} is out of range: token ids go from 0 to {model.sites.vocabulary - 1}."
        )
    return int(target)


def _count(checked: SweepPlan) -> int:
    return len(checked.layers) * len(checked.positions)


def _first_difference(base: Sequence[Token], source: Sequence[Token]) -> int:
    """First position at which two prompts differ; the shorter length when one begins the other."""
    for index, (one, other) in enumerate(zip(base, source, strict=False)):
        if one.id != other.id:
            return index
    return min(len(base), len(source))
