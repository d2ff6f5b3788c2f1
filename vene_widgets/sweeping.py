"""sweep(): the same single slot moved over every layer and position.

Cells run in batches, one row per cell, so a sweep's numbers differ from single runs by float
rounding (about 4e-6 in a logit of GPT-2 small). They are previews: `run` gives the exact answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from vene_widgets import frames
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiment import align, plain_ints, resolve_positions
from vene_widgets.hooks import Edit, intervene, undisturbed
from vene_widgets.interventions import INTERVENTIONS
from vene_widgets.running import record_states
from vene_widgets.sites import Site, module_at

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token

KEEP_BYTES = 256 * 2**20
"""Logits of a whole sweep are kept up to this size."""

BATCH_TOKENS = 2048
"""Rows × positions of one batch: enough to keep the matrix products busy, little enough to hold."""


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
    choose(intervention, INTERVENTIONS, "intervention")
    base_tokens, source_tokens = tuple(model.tokens(base)), tuple(model.tokens(source))
    wanted = plain_ints(range(model.sites.layers) if layers is None else layers)
    sites = [
        model.sites.site(layer, component, head)
        for layer in ((wanted,) if isinstance(wanted, int) else wanted)
    ]
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
    base_logits, source_logits = (last_logits(model, prompt) for prompt in (base, source))
    if targets is None:
        followed = tuple(dict.fromkeys(int(x.argmax()) for x in (base_logits, source_logits)))
    else:
        followed = tuple(_target(model, target) for target in targets)
    size = base_logits.numel() * base_logits.element_size()
    keep = size * len(checked.layers) * len(checked.positions) <= keep_bytes
    kept, parts = [], []
    rows = sweep_layers(checked, base_logits)
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


def sweep_layers(checked: SweepPlan, base_logits: Tensor) -> Iterator[LayerOfCells]:
    """Run a planned sweep, layer by layer; the model is free between two steps.

    Args:
        checked: from `plan_sweep`.
        base_logits: `(vocabulary,)`, the plain base run at its last position: the answer of every
            cell that cannot change anything.
    """
    model = checked.model
    sites = {layer: checked.site(layer) for layer in checked.layers}
    source = record_states(model, checked.source_prompt, list(sites.values()))
    ids = torch.tensor([[token.id for token in checked.base]], device=model.device)
    moving = [
        i
        for i, (position, partner) in enumerate(
            zip(checked.positions, checked.source_positions, strict=True)
        )
        if position != partner or position >= checked.first_difference
    ]
    step = max(1, BATCH_TOKENS // len(checked.base))
    for layer in checked.layers:
        logits = base_logits.repeat(len(checked.positions), 1)
        for start in range(0, len(moving), step):
            some = moving[start : start + step]
            states = source[sites[layer]][0, [checked.source_positions[i] for i in some]]
            where = [checked.positions[i] for i in some]
            logits[some] = _batch(checked, sites[layer], ids, where, states)
        yield LayerOfCells(layer, logits)


def _batch(
    checked: SweepPlan, site: Site, ids: Tensor, positions: list[int], states: Tensor
) -> Tensor:
    """One batch of cells of a layer: row n swaps `states[n]` in at `positions[n]`.

    Returns:
        `(rows, vocabulary)`, logits at the last position.
    """
    model = checked.model
    apply = INTERVENTIONS[checked.intervention].apply
    edit = Edit(
        site=site,
        rows=torch.arange(len(positions), device=model.device),
        positions=torch.tensor(positions, device=model.device),
        change=lambda vectors: apply(vectors, states),
    )
    with undisturbed(model), intervene(model, [edit]):
        return _forward_last(model, ids.expand(len(positions), -1))


def last_logits(model: LanguageModel, prompt: str) -> Tensor:
    """Logits `(vocabulary,)` of a plain run at the prompt's last position."""
    ids = torch.tensor([[token.id for token in model.tokens(prompt)]], device=model.device)
    with undisturbed(model):
        return _forward_last(model, ids)[0]


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
