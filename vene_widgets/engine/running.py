"""run(): the source runs, then the base run with every slot in place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.behaviour import resume_blocker
from vene_widgets.engine.cache import ActivationCache, CachedRun
from vene_widgets.engine.forward import forward_recorded, record_prompt, resume_forward
from vene_widgets.engine.hooks import Edit, EditStats, intervene
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.engine.planning import Plan, PlannedSlot, plan_experiment
from vene_widgets.engine.slot_reports import RECEIPT_COLUMNS, SlotReport
from vene_widgets.engine.weights import planned_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.interventions import Intervention, blend
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.models.weight_site import WeightSite
from vene_widgets.tables import frames

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.fingerprint import Fingerprint
    from vene_widgets.models.sites import Site


@dataclass(frozen=True, eq=False)
class Run(PickledWithoutWeights):
    """Result of one forward pass with an experiment in place.

    A pickle of it holds the numbers and the tokenizer, not the model's weights.

    Attributes:
        model: the model that ran.
        experiment: the request.
        tokens: the base prompt's tokens.
        logits: `(positions, vocabulary)`, on the model's device and in its dtype; those of the last
            positions only if no more were kept.
        last_hidden_state: `(positions, d_model)`, the input of the output head.
        states: `(layers, positions, d_model)`, every block's output, changes included.
        record: one `SlotReport` per slot, skipped ones too.
        source_runs: runs of source prompts that this run read, made for it or cached.
        milliseconds: wall time of all its forward passes.
    """

    model: LanguageModel = field(repr=False)
    experiment: Experiment
    tokens: tuple[Token, ...]
    logits: Tensor
    last_hidden_state: Tensor
    states: Tensor
    record: tuple[SlotReport, ...]
    source_runs: int
    milliseconds: float

    def top(self, k: int = 10) -> pd.DataFrame:
        """The k most likely next tokens: rank, token, token_id, probability, logit."""
        return frames.top_frame(self.logits[-1], self.model.token_text, k)

    @property
    def frame(self) -> pd.DataFrame:
        """The whole next-token distribution, most likely first; columns as in `top`."""
        return self.top(self.logits.shape[-1])

    @property
    def receipts(self) -> pd.DataFrame:
        """One row per slot: what it was meant to do and what it did.

        Columns: slot, layer, component, head, source, base_positions, source_positions, keys (of
        attention weights, else None), skipped, fired, shape, rows, size (Euclidean norm of the
        change), others_equal (everything else bit-equal).
        """
        import pandas as pd

        return pd.DataFrame([report.row for report in self.record], columns=list(RECEIPT_COLUMNS))

    def __repr__(self) -> str:
        slots = self.experiment.slots
        try:
            best = self.top(1).iloc[0]
            following = f"next {best.token!r} {best.probability:.3f}"
        except RequestError:  # a distribution of NaN must not break the repr
            following = "no distribution: logits are NaN or infinite"
        return (
            f"<Run of {self.experiment.base!r}: {len(slots)} slots, "
            f"{len(self.experiment.live)} live; {following}>"
        )

    def _repr_html_(self) -> str:
        import html

        try:
            table = self.top(5).to_html(index=False)
        except RequestError:
            table = ""
        return f"<p>{html.escape(repr(self))}</p>{table}"


def run(
    model: LanguageModel,
    experiment: Experiment,
    *,
    share_sources: bool = True,
    weights: Mapping[str, Intervention] | None = None,
    gradients: bool = False,
    cache: ActivationCache | None = None,
    logits_to_keep: int = 0,
) -> Run:
    """Run an experiment: every source it needs, then the base with its slots in place.

    Each forward pass has batch size 1 and goes over the whole prompt, so equal experiments give
    bit-equal results.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        experiment: what to run.
        share_sources: True runs each distinct source prompt once and lets all slots read it. False
            runs the source prompt anew for every slot outside a group, as an independent baseline
            for grouping: slots of one group still share a run.
        weights: interventions to use, by the slot's key (`"link NAME"`, or `"slot INDEX"` where
            there is no link); the others start from the slot's own seed.
        gradients: let gradients flow from the run's tensors to those weights. The model's own
            weights are constants in it.
        cache: a `vene_widgets.ActivationCache` of plain runs. Cached prompts do not run again, and
            the base starts at its first changed block; the numbers are the same, bit for bit. The
            cache is ignored where it would not be comparable: for separate source runs, in serial
            mode, with gradients, and for a model with a `resume_blocker`.
        logits_to_keep: for how many of the last positions the output head runs, as in transformers;
            0 for all. The next-token distribution needs 1, which is cheaper: on a CPU the head is
            a third of a pass through GPT-2 small. One position and several round differently in
            the last digit.

    Raises:
        RequestError: an experiment that the model cannot run; the message names the slot.
    """
    if type(logits_to_keep) is not int or logits_to_keep < 0:
        raise RequestError(
            f"logits_to_keep must be a number of positions, 0 for all, got {logits_to_keep!r}."
        )
    plan = plan_experiment(model, experiment)
    model.accept_hooks()
    return run_plan(
        model,
        plan,
        share_sources=share_sources,
        weights=weights,
        gradients=gradients,
        cache=cache,
        logits_to_keep=logits_to_keep,
    )


def run_plan(
    model: LanguageModel,
    plan: Plan,
    *,
    share_sources: bool = True,
    weights: Mapping[str, Intervention] | None = None,
    gradients: bool = False,
    cache: ActivationCache | None = None,
    logits_to_keep: int = 0,
    state: Fingerprint | None = None,
) -> Run:
    """`run` of an experiment that is planned already; other arguments as there.

    Hooks that came since the model was wrapped, or since the user's last run, take no part.

    Args:
        state: the state of the model that the run must be of, where it is one of several; None for
            any.

    Raises:
        ModelChanged: the model is in another state.
    """
    return record_plan(
        model,
        plan,
        (),
        share_sources=share_sources,
        weights=weights,
        gradients=gradients,
        cache=cache,
        logits_to_keep=logits_to_keep,
        state=state,
    )[0]


def record_plan(
    model: LanguageModel,
    plan: Plan,
    sites: Sequence[Site],
    *,
    share_sources: bool = True,
    weights: Mapping[str, Intervention] | None = None,
    gradients: bool = False,
    cache: ActivationCache | None = None,
    logits_to_keep: int = 0,
    state: Fingerprint | None = None,
) -> tuple[Run, Mapping[Site, Tensor]]:
    """`run_plan`, and what some sites of the base hold with the slots in place.

    Args:
        sites: what to record; the cache is ignored if there are any. Other arguments as there.

    Returns:
        The run, and per site a tensor `(1, positions, width)`.

    Raises:
        ModelChanged: the model is in another state.
        RequestError: a site that the pass never reaches.
    """
    experiment = plan.experiment
    start = time.perf_counter()
    edits = SlotEdits(model, plan, planned_weights(model, plan, weights))
    if sites or not share_sources or gradients or experiment.mode == "serial":
        cache = None
    grad_mode = torch.enable_grad() if gradients else torch.no_grad()
    # Gradients were asked for: a caller's inference mode would drop them.
    inference = torch.inference_mode(mode=False) if gradients else nullcontext()
    with model.lock, inference, grad_mode, own_model(model):
        if state is not None:
            require_unchanged(model, state, model.tree.state)
        if cache is not None and resume_blocker(model):
            cache = None
        source_runs = edits.read_sources(share_sources, cache, logits_to_keep)
        ids = [token.id for token in plan.base]
        if cache is not None:
            cached = cache.plain_run(model, plan.base, logits_to_keep)
            result = resume_forward(model, ids, cached.result, edits.on(None), logits_to_keep)
            recorded: Mapping[Site, Tensor] = {}
        else:
            result, recorded = forward_recorded(model, ids, edits.on(None), sites, logits_to_keep)
    run = Run(
        model=model,
        experiment=experiment,
        tokens=plan.base,
        logits=result.logits,
        last_hidden_state=result.last_hidden_state,
        states=result.states,
        record=tuple(SlotReport(slot, edits.stats.get(slot.index)) for slot in plan.slots),
        source_runs=source_runs,
        milliseconds=1000 * (time.perf_counter() - start),
    )
    return run, recorded


@dataclass
class SlotEdits:
    """The changes that an experiment's slots stand for, once their sources have been read.

    Use it inside `own_model`.

    Attributes:
        model: the model that runs.
        plan: the experiment.
        modules: its interventions, by the slot's key.
        values: by slot: the vectors `(positions, width)` that it reads.
        stats: by slot: what its edit did, filled as the model runs.
    """

    model: LanguageModel
    plan: Plan
    modules: Mapping[str, Intervention]
    values: dict[int, Tensor] = field(default_factory=dict[int, Any])
    stats: dict[int, EditStats] = field(default_factory=dict[int, EditStats])

    def on(self, target: str | None) -> list[Edit]:
        """The changes to the run of one source, or of the base."""
        return [self.of(slot) for slot in self.plan.live if slot.target == target]

    def of(self, slot: PlannedSlot) -> Edit:
        """The change of one live slot."""
        return _edit(self.model, slot, self.modules, self.values.get(slot.index), self.stats)

    def read_sources(
        self,
        share_sources: bool = True,
        cache: ActivationCache | None = None,
        logits_to_keep: int = 0,
    ) -> int:
        """Run the sources and the prompts of means, and keep what the slots read of them.

        Args:
            share_sources, cache, logits_to_keep: as in `run`.

        Returns:
            How many runs of sources were read.
        """
        model, plan = self.model, self.plan
        means: dict[tuple[str, Site], Tensor] = {}
        for slot in plan.live:
            if slot.mean_positions:
                self.values[slot.index] = _means(model, slot, means)
            elif slot.slot.vector is not None:
                vector = torch.tensor(slot.slot.vector, dtype=model.dtype, device=model.device)
                self.values[slot.index] = vector.expand(len(slot.base_positions), -1)
        source_runs = _source_runs(plan, share_sources)
        for name, readers in source_runs:
            read_sites = [slot.read_site for slot in readers]
            ids = [token.id for token in plan.sources[name]]
            if cache is not None:
                cached = cache.plain_run(model, plan.sources[name], logits_to_keep)
                states = _cached_states(model, ids, read_sites, cached)
            else:
                with intervene(model, self.on(name) if plan.experiment.mode == "serial" else []):
                    found = record_prompt(model, ids, read_sites)
                states = {site: tensor[0] for site, tensor in found.items()}
            for slot in readers:
                self.values[slot.index] = states[slot.read_site][list(slot.source_positions)]
        return len(source_runs)


def record_states(
    model: LanguageModel, prompt: str, sites: Sequence[Site]
) -> Mapping[Site, Tensor]:
    """Run a prompt without changes and record some sites, `(1, positions, width)` each.

    Raises:
        RequestError: a site that the forward pass never reaches.
    """
    ids = [token.id for token in model.tokens(prompt)]
    model.accept_hooks()
    with model.lock, torch.no_grad(), own_model(model):
        return {s: state.clone() for s, state in record_prompt(model, ids, sites).items()}


def _source_runs(plan: Plan, share_sources: bool) -> list[tuple[str, list[PlannedSlot]]]:
    """The source runs to make, in order: the source's name, and the slots that read the run.

    In serial mode a source is one link of a chain, run once, in the order of the sources.
    """
    experiment = plan.experiment
    serial = experiment.mode == "serial"
    readers: dict[tuple[str, str], list[PlannedSlot]] = {}
    for slot in plan.live:
        if slot.source is None:
            continue
        group = slot.slot.group
        if serial:
            key = slot.source, ""
        elif share_sources:
            key = experiment.sources[slot.source], ""
        else:
            own = f"slot {slot.index}" if group is None else f"group {group}"
            key = experiment.sources[slot.source], own
        readers.setdefault(key, []).append(slot)
    runs = [(slots[0].source or "", slots) for slots in readers.values()]
    if serial:
        order = list(experiment.sources)
        runs.sort(key=lambda run: order.index(run[0]))
    return runs


def _cached_states(
    model: LanguageModel, ids: Sequence[int], sites: Sequence[Site], cached: CachedRun
) -> dict[Site, Tensor]:
    """The vectors at some sites of a plain run, `(positions, width)` each.

    Attention weights, which grow with the square of the prompt, are not kept: the prompt runs
    again for them.
    """
    weights = [site for site in sites if isinstance(site, WeightSite)]
    found: Mapping[Site, Tensor] = record_prompt(model, ids, weights) if weights else {}
    return {
        site: found[site][0] if site in found else cached.states_at(model, site) for site in sites
    }


def _means(
    model: LanguageModel, planned: PlannedSlot, known: dict[tuple[str, Site], Tensor]
) -> Tensor:
    """What a slot reads of its prompts, `(positions, width)`: their mean, minus that of others."""
    slot = planned.slot
    sites = planned.mean_sites or (planned.site,) * len(slot.prompts)
    found = _mean(model, slot.prompts, sites, planned.mean_positions, known)
    if not slot.minus:
        return found
    other = (sites[0],) * len(slot.minus)
    return found - _mean(model, slot.minus, other, planned.minus_positions, known)


def _mean(
    model: LanguageModel,
    prompts: Sequence[str],
    sites: Sequence[Site],
    positions: Sequence[Sequence[int]],
    known: dict[tuple[str, Site], Tensor],
) -> Tensor:
    """Mean over prompts of their states at some positions each, `(positions, width)`."""
    states: list[Tensor] = []
    for prompt, site, places in zip(prompts, sites, positions, strict=True):
        key = prompt, site
        if key not in known:
            ids = [token.id for token in model.tokens(prompt)]
            known[key] = record_prompt(model, ids, [site])[site]
        states.append(known[key][0, list(places)])
    return torch.stack(states).mean(0)


def _edit(
    model: LanguageModel,
    planned: PlannedSlot,
    modules: Mapping[str, Intervention],
    source: Tensor | None,
    stats: dict[int, EditStats],
) -> Edit:
    """The hook-level change that one live slot stands for."""
    module, slot = modules[planned.weights_key], planned.slot
    positions = torch.tensor(planned.base_positions, device=model.device)
    mask = None
    if planned.dims is not None:
        mask = torch.zeros(module.size(planned.options), dtype=torch.bool, device=model.device)
        mask[list(planned.dims)] = True

    def change(vectors: Tensor) -> Tensor:
        try:
            new = module(vectors, source, mask)
        except RequestError as error:  # what a user-defined operator returned
            raise RequestError(f"slots[{planned.index}]: {error}") from None
        return blend(vectors, new, slot.strength)

    return Edit(
        site=planned.site,
        rows=torch.zeros_like(positions),
        positions=positions,
        change=change,
        on_applied=partial(stats.__setitem__, planned.index),
    )
