"""prepare_sweeps(): the plain runs that the cells of some sweeps need, and which cells have to run.

Several sweeps whose bases have one length are prepared together, so that their cells run as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vene_widgets.engine.behaviour import behaviour, tolerance
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.forward import KeysAndValues, forward_prompts
from vene_widgets.engine.held_slots import HeldSlots, hold
from vene_widgets.engine.hooks import intervene
from vene_widgets.engine.own_model import own_model
from vene_widgets.engine.resume import (
    BaseTrace,
    sites_to_resume,
)
from vene_widgets.errors import RequestError
from vene_widgets.models.sites import Site
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.reach import can_affect_output, states_are_equal

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel
    from vene_widgets.models.behaviour import Behaviour
    from vene_widgets.models.fingerprint import Fingerprint


@dataclass(frozen=True, eq=False)
class PlainPairs:
    """The plain runs of some pairs of prompts; the bases have one length.

    Attributes:
        base_logits, source_logits: `(pairs, vocabulary)` at each prompt's last position.
        base_states, source_states: swept layers' states `(layers, pairs, positions, width)`; of a
            per-head component, all heads. Of a `mean`, `source_states` are the means, at the
            base's positions.
        rows: swept layer -> index into the states.
        base_ids: `(pairs, positions)`.
        trace: what resumed runs need of the bases; None if this model cannot resume, or not with
            these fixed slots.
        held: of every pair, its fixed slots; None without.
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
    held: Sequence[HeldSlots | None]
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

    def live_cells(self) -> tuple[SweepCell, ...]:
        """The cells that have to run, layer by layer in the plan's order.

        They refer to this sweep, which does not keep them: a cycle would hold the states of the
        plain runs until the garbage collector comes by.
        """
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
    def window(self) -> range:
        """The layers that it changes."""
        return self.sweep.plan.window_of(self.sweep.plan.layers[self.row])

    @property
    def layer(self) -> int:
        """The first of them."""
        return self.window[0]

    @property
    def position(self) -> int:
        """The position that it changes."""
        return self.sweep.plan.positions[self.column]

    @property
    def source_position(self) -> int:
        """The position of `PlainPairs.source_states` that it reads."""
        plan = self.sweep.plan
        return self.position if plan.mean_positions else plan.source_positions[self.column]


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
    layers = list(
        dict.fromkeys(at for one in plans for layer in one.layers for at in one.window_of(layer))
    )
    # A head is a part of the whole component, and a cell puts the whole back.
    swept = [model.sites.site(layer, plan.component.removeprefix("head_")) for layer in layers]
    base_ids = [[token.id for token in one.base] for one in plans]
    source_ids = [[token.id for token in one.source] for one in plans]
    with model.lock, torch.no_grad(), own_model(model):
        state, measured = model.tree.state, behaviour(model)
        held = _held(model, plans)
        can_resume = measured.resume_blocker is None and all(
            one is None or one.may_resume for one in held
        )
        mean_ids = [ids for one in plans for ids in one.mean_tokens]
        based = [_Prompt(tuple(ids), one) for ids, one in zip(base_ids, held, strict=True)]
        plain = [_Prompt(tuple(ids)) for ids in (*source_ids, *mean_ids)]
        prompts = list(dict.fromkeys([*based, *plain]))
        place = {prompt: n for n, prompt in enumerate(prompts)}
        bases = [place[prompt] for prompt in based]
        sources = [place[prompt] for prompt in plain[: len(plans)]]
        runs = _Prompts(model, prompts, swept, cache, can_resume=can_resume)
        length = len(base_ids[0])
        longest = max(len(ids) for ids in source_ids)
        pairs = PlainPairs(
            # Copies: a user may write into them, and the originals may be cached.
            base_logits=runs.logits(bases),
            source_logits=runs.logits(sources),
            base_states=runs.states(swept, bases, length),
            source_states=(
                _mean_states(plans, swept, runs, place, length)
                if mean_ids
                else runs.states(swept, sources, longest)
            ),
            rows={layer: row for row, layer in enumerate(layers)},
            base_ids=torch.tensor(base_ids, dtype=torch.long, device=model.device),
            trace=runs.trace(bases, length) if can_resume else None,
            held=held,
            behaviour=measured,
            state=state,
        )
        unequal = _unequal(plans, pairs)
    return tuple(
        PreparedSweep(one, pairs, pair, unequal.get(pair, frozenset()))
        for pair, one in enumerate(plans)
    )


def _mean_states(
    plans: Sequence[SweepPlan],
    swept: Sequence[Site],
    runs: _Prompts,
    place: Mapping[_Prompt, int],
    length: int,
) -> Tensor:
    """Means over each plan's prompts, `(layers, pairs, positions of the base, width)`.

    Nothing reads the positions that a plan does not sweep: they are zero.
    """
    found: list[Tensor] = []
    for plan in plans:
        states = [
            runs.states(swept, [place[_Prompt(ids)]], len(ids))[:, 0, list(positions)]
            for ids, positions in zip(plan.mean_tokens, plan.mean_positions, strict=True)
        ]
        mean = torch.stack(states).mean(0)
        whole = mean.new_zeros(len(swept), length, mean.shape[-1])
        whole[:, list(plan.positions)] = mean
        found.append(whole)
    return torch.stack(found, 1)


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


def _held(model: LanguageModel, plans: Sequence[SweepPlan]) -> list[HeldSlots | None]:
    """The fixed slots of every plan; plans that share an experiment share them."""
    made: dict[int, HeldSlots] = {}
    for plan in plans:
        if plan.fixed is not None and id(plan.fixed) not in made:
            made[id(plan.fixed)] = hold(model, plan.fixed)
    return [None if plan.fixed is None else made[id(plan.fixed)] for plan in plans]


@dataclass(frozen=True)
class _Prompt:
    """A run to make: token ids, and the slots that it has."""

    ids: tuple[int, ...]
    held: HeldSlots | None = None


class _Prompts:
    """Runs of distinct prompts, cached or made now, as tensors over all of them.

    Args:
        model: the model in use.
        prompts: what to run.
        swept: sites whose states are wanted.
        cache: plain runs by prompt.
        can_resume: whether to record what resumed runs need.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Sequence[_Prompt],
        swept: Sequence[Site],
        cache: ActivationCache | None,
        *,
        can_resume: bool,
    ) -> None:
        self._model = model
        self._heads: list[KeysAndValues] = []
        wanted = list(dict.fromkeys([*swept, *(sites_to_resume(model) if can_resume else ())]))
        # Per group of prompts that ran together: how many, states, logits.
        self._groups: list[tuple[int, Mapping[Site, Tensor], Tensor]] = []
        if can_resume and cache is not None:
            for prompt in prompts:
                if prompt.held is not None:
                    self._run([prompt], wanted, can_resume=can_resume)
                    continue
                run = cache.run_of(model, prompt.ids, 1)
                states = {site: run.states_at(model, site)[None] for site in wanted}
                self._groups.append((1, states, run.result.logits[-1:]))
                if run.heads is not None:
                    self._heads.append(run.heads)
            return
        lengths = {len(prompt.ids) for prompt in prompts}
        # Code that was added to a model may not expect two prompts at once.
        one_batch = (
            can_resume
            and all(prompt.held is None for prompt in prompts)
            and (len(lengths) == 1 or not model.sites.depends_on_length)
        )
        for several in [prompts] if one_batch else [[prompt] for prompt in prompts]:
            self._run(several, wanted, can_resume=can_resume)

    def _run(self, prompts: Sequence[_Prompt], wanted: Sequence[Site], *, can_resume: bool) -> None:
        """Run some prompts as one batch; one that has slots runs alone."""
        held = prompts[0].held
        with intervene(self._model, held.noted_edits() if held else []):
            ran = forward_prompts(
                self._model, [prompt.ids for prompt in prompts], wanted, with_heads=can_resume
            )
        if held:
            held.reports()  # refuses slots that never acted
        self._groups.append((len(prompts), ran.states, ran.logits))
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
    tiles = [
        (pair, layer, column)
        for pair, plan in enumerate(plans)
        for layer in dict.fromkeys(plan.layers)
        for column in range(len(plan.positions))
        if states_are_equal(plan, runs.behaviour, layer, column)
    ]
    # Each with every layer that it changes.
    cells = [
        (pair, layer, column, at)
        for pair, layer, column in tiles
        for at in plans[pair].window_of(layer)
    ]
    if not cells:
        return {}
    base, source = runs.base_states, runs.source_states
    rows = [runs.rows[at] for _, _, _, at in cells]
    pairs = [pair for pair, _, _, _ in cells]
    here = [plans[pair].positions[column] for pair, _, column, _ in cells]
    there = [plans[pair].source_positions[column] for pair, _, column, _ in cells]
    at = flat_index(base, rows, pairs, here), flat_index(source, rows, pairs, there)
    differences = vectors_at(base, at[0]).float() - vectors_at(source, at[1]).float()
    scales = base.abs().amax((1, 2, 3)).float().clamp_min(torch.finfo(torch.float32).tiny)
    errors = differences.abs().amax(-1) / scales[torch.tensor(rows, device=base.device)]
    within: Any = errors <= tolerance(plans[0].model)
    is_equal: list[bool] = within.tolist()  # one read
    found: dict[int, set[tuple[int, int]]] = {}
    for (pair, layer, column, _), equal in zip(cells, is_equal, strict=True):
        if not equal:
            found.setdefault(pair, set()).add((layer, column))
    return {pair: frozenset(own) for pair, own in found.items()}


def flat_index(
    states: Tensor, rows: Sequence[int], pairs: Sequence[int], positions: Sequence[int]
) -> Tensor:
    """Index of vectors among those of states `(layers, pairs, positions, width)`."""
    _, pair_count, length, _ = states.shape
    flat = (np.array(rows) * pair_count + np.array(pairs)) * length + np.array(positions)
    index = torch.from_numpy(flat)  # pyright: ignore[reportUnknownMemberType]  # torch's
    return index.to(states.device)


def vectors_at(states: Tensor, index: Tensor) -> Tensor:
    """Vectors `(n, width)` of states `(layers, pairs, positions, width)`."""
    return states.flatten(0, 2).index_select(0, index)
