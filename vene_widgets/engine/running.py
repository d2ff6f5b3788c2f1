"""run(): the source runs, then the base run with every slot in place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.cache import Memory, pass_through, resume
from vene_widgets.engine.hooks import Edit, Touch, intervene, record, undisturbed
from vene_widgets.engine.planning import Plan, PlannedSlot, plan
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.interventions import INTERVENTIONS, Intervention, blend
from vene_widgets.tables import frames

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.models import LanguageModel, Token
    from vene_widgets.models.sites import Site


@dataclass(frozen=True)
class Receipt:
    """Proof of what one slot did.

    Attributes:
        planned: the slot, its site and its positions as ints.
        touch: what its hook reported; None when it did not fire.
    """

    planned: PlannedSlot
    touch: Touch | None

    @property
    def fired(self) -> bool:
        """Whether the slot's hook ran."""
        return self.touch is not None

    @property
    def idle(self) -> bool:
        """Whether the slot was meant to change something and did not."""
        slot = self.planned.slot
        quiet = slot.skip or slot.intervention == "collect" or slot.strength == 0
        return not quiet and (self.touch is None or self.touch.size == 0)

    @property
    def words(self) -> str:
        """One sentence for the screen."""
        slot, site = self.planned.slot, self.planned.site
        what = f"slot {self.planned.index} ({site})"
        if slot.skip:
            return f"{what} is skipped."
        if self.touch is None:
            return f"{what} did not fire: the forward pass never reached it."
        if slot.intervention == "collect":
            return f"{what} collected {self.touch.rows} vectors and changed nothing."
        if self.touch.size == 0:
            return f"{what} changed nothing: what it would put there is there already."
        return f"{what} replaced {self.touch.rows} vectors, a change of norm {self.touch.size:.4g}."


# A run without slots has them too.
RECEIPT_COLUMNS = (
    *("slot", "layer", "component", "head", "source", "base_positions", "source_positions"),
    *("skipped", "fired", "shape", "rows", "size", "others_equal"),
)


@dataclass(frozen=True, eq=False)
class Run:
    """What one forward pass with an experiment gave.

    Attributes:
        model: the model that ran.
        experiment: what was asked.
        tokens: the base prompt's tokens.
        logits: `(positions, vocabulary)`, on the model's device and in its dtype; only those of the
            last positions where no more were to be kept.
        last_hidden_state: `(positions, d_model)`, what the output head reads.
        states: `(layers, positions, d_model)`, every block's output, changes included.
        record: one `Receipt` per slot, skipped ones too.
        source_runs: runs of source prompts that this run read, made for it or kept before.
        milliseconds: wall time of all its forward passes.
    """

    model: LanguageModel = field(repr=False)
    experiment: Experiment
    tokens: tuple[Token, ...]
    logits: Tensor
    last_hidden_state: Tensor
    states: Tensor
    record: tuple[Receipt, ...]
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

        Columns: slot, layer, component, head, source, base_positions, source_positions, skipped,
        fired, shape, rows, size (norm of the change), others_equal (everything else bit-equal).
        """
        import pandas as pd

        rows = []
        for receipt in self.record:
            p, touch = receipt.planned, receipt.touch
            rows.append(
                {
                    "slot": p.index,
                    "layer": p.site.layer,
                    "component": p.site.component,
                    "head": p.site.head,
                    "source": p.source,
                    "base_positions": p.base_positions,
                    "source_positions": p.source_positions,
                    "skipped": p.slot.skip,
                    "fired": receipt.fired,
                    "shape": touch.shape if touch else None,
                    "rows": touch.rows if touch else 0,
                    "size": touch.size if touch else 0.0,
                    "others_equal": touch.others_equal if touch else True,
                }
            )
        return pd.DataFrame(rows, columns=list(RECEIPT_COLUMNS))

    def __repr__(self) -> str:
        slots = self.experiment.slots
        try:
            best = self.top(1).iloc[0]
            following = f"next {best.token!r} {best.probability:.3f}"
        except RequestError:  # NaN, for instance: no reason to have no repr
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
    memory: Memory | None = None,
    logits_to_keep: int = 0,
) -> Run:
    """Run an experiment: every source it needs, then the base with its slots in place.

    Each forward pass has batch size 1 and goes over the whole prompt, so equal experiments give
    bit-equal results.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        experiment: what to run.
        share_sources: True runs each distinct source prompt once and lets all slots read it. False
            runs the source prompt anew for every slot outside a group, as an honest counterpart to
            grouping: slots of one group still share a run.
        weights: interventions to use, by the slot's key (`"link NAME"`, or `"slot INDEX"` where
            there is no link); what is not given is made from the slot's own seed.
        gradients: let gradients flow from the run's tensors to those weights. The model's own
            weights are constants in it.
        memory: a `vene_widgets.Memory`, where plain runs are kept. With one, prompts that are known
            do not run again, and the base starts at its first changed block; the numbers are the
            same, bit for bit. It is passed over where it would not be honest or the same: for
            separate source runs, in serial mode, with gradients, and where the model carries hooks
            of its own.
        logits_to_keep: for how many of the last positions the output head runs, as in transformers;
            0 for all. The next-token distribution needs 1, which is cheaper: on a CPU the head is
            a third of a pass through GPT-2 small. One position and several round differently in
            the last digit.

    Raises:
        RequestError: the experiment does not fit the model; the message names the slot.
    """
    if type(logits_to_keep) is not int or logits_to_keep < 0:
        raise RequestError(
            f"logits_to_keep {logits_to_keep!r} does not fit; a number of positions is needed, "
            "0 for all."
        )
    checked = plan(model, experiment)
    modules = _weights(model, checked, weights)
    start = time.perf_counter()
    touched: dict[int, Touch] = {}
    values: dict[int, Tensor] = {}

    def edits(target: str | None) -> list[Edit]:
        """The changes to the run of one source, or of the base."""
        return [
            _edit(model, slot, modules, values.get(slot.index), touched)
            for slot in checked.live
            if slot.target == target
        ]

    if not share_sources or gradients or experiment.mode == "serial":
        memory = None
    with undisturbed(model, gradients=gradients):
        # Asked under the lock: the hooks of another run are not the model's own.
        if memory is not None and model.resume_blocker:
            memory = None
        means: dict[tuple[str, Site], Tensor] = {}
        for slot in checked.live:
            if slot.means:
                values[slot.index] = _mean(model, slot, means)
        source_runs = 0
        for name, slots in _source_runs(checked, share_sources):
            source_runs += 1
            sites = [slot.site for slot in slots]
            if memory is not None:
                kept = memory.recall(model, checked.sources[name], logits_to_keep)
                states = {site: kept.at(model, site) for site in sites}
            else:
                with intervene(model, edits(name) if experiment.mode == "serial" else []):
                    found = _states(model, checked.sources[name], sites)
                states = {site: tensor[0] for site, tensor in found.items()}
            for slot in slots:
                values[slot.index] = states[slot.site][list(slot.source_positions)]
        if memory is not None:
            kept = memory.recall(model, checked.base, logits_to_keep)
            passed = resume(model, kept, edits(None), logits_to_keep)
        else:
            ids = [token.id for token in checked.base]
            passed = pass_through(model, ids, edits(None), logits_to_keep)
    return Run(
        model=model,
        experiment=experiment,
        tokens=checked.base,
        logits=passed.logits,
        last_hidden_state=passed.last_hidden_state,
        states=passed.states,
        record=tuple(Receipt(slot, touched.get(slot.index)) for slot in checked.slots),
        source_runs=source_runs,
        milliseconds=1000 * (time.perf_counter() - start),
    )


def make_weights(
    model: LanguageModel,
    experiment: Experiment,
    *,
    given: Mapping[str, Intervention] | None = None,
) -> dict[str, Intervention]:
    """The interventions of an experiment's slots, by key; linked slots share one.

    Equal experiments give equal weights: they begin from the slot's seed. Train them with any
    optimiser over their parameters, and hand them to `run(..., weights=...)`.

    Args:
        model: whose sites and device they are for.
        experiment: whose slots they are for.
        given: what is there already, by key.

    Raises:
        RequestError: a given key that no slot has, or an intervention of another kind, width or
            rank.
    """
    return _weights(model, plan(model, experiment), given)


def _weights(
    model: LanguageModel, checked: Plan, given: Mapping[str, Intervention] | None
) -> dict[str, Intervention]:
    """`make_weights` of an experiment that was checked already."""
    keys = {slot.weights: slot for slot in checked.slots}
    for key in given or {}:
        choose(key, keys, "key of weights")
    made: dict[str, Intervention] = {}
    for key, planned in keys.items():
        wanted = INTERVENTIONS[planned.slot.intervention]
        module = (given or {}).get(key)
        if module is None:
            made[key] = wanted(planned.options).to(model.device)
            continue
        if not isinstance(module, Intervention):
            raise RequestError(
                f"weights {key!r} are a {type(module).__name__}; slots[{planned.index}] needs a "
                f"{wanted.__name__}, as vw.make_weights(model, experiment) gives."
            )
        have, need = module.options, planned.options
        if (
            type(module) is not wanted
            or have.width != need.width
            or wanted.size(have) != wanted.size(need)
        ):
            raise RequestError(
                f"weights {key!r} are a {type(module).__name__} of width {have.width} and rank "
                f"{have.rank}; slots[{planned.index}] needs a {wanted.__name__} of width "
                f"{need.width} and rank {need.rank}."
            )
        made[key] = module
    return made


def record_states(
    model: LanguageModel, prompt: str, sites: Sequence[Site]
) -> Mapping[Site, Tensor]:
    """Run a prompt as it is and return what stands at some sites, `(1, positions, width)` each."""
    with undisturbed(model):
        return _states(model, model.tokens(prompt), sites)


def _states(
    model: LanguageModel, tokens: Sequence[Token], sites: Sequence[Site]
) -> Mapping[Site, Tensor]:
    """`record_states` within a run, whose gradients and hooks it keeps."""
    with record(model, sites) as found:
        model.model(input_ids=_ids(model, tokens), use_cache=False, return_dict=True)
    missing = [site for site in sites if site not in found]
    if missing:
        raise RequestError(
            f"{missing[0]} was never reached by a forward pass of {model.name}, so there is "
            "nothing to copy from it. Choose another component."
        )
    return found


def _source_runs(checked: Plan, share_sources: bool) -> Iterator[tuple[str, list[PlannedSlot]]]:
    """The source runs to make, in order: the source's name, and the slots that read the run.

    In serial mode a source is one link of a chain, run once, in the order of the sources.
    """
    experiment = checked.experiment
    readers: dict[tuple[str, str], list[PlannedSlot]] = {}
    for slot in checked.live:
        if slot.source is None:
            continue
        group = slot.slot.group
        apart = f"slot {slot.index}" if group is None else f"group {group}"
        if experiment.mode == "serial":
            key = slot.source, ""
        else:
            key = experiment.sources[slot.source], "" if share_sources else apart
        readers.setdefault(key, []).append(slot)
    order = list(experiment.sources)
    runs = [(slots[0].source or "", slots) for slots in readers.values()]
    if experiment.mode == "serial":
        runs.sort(key=lambda run: order.index(run[0]))
    yield from runs


def _mean(
    model: LanguageModel, planned: PlannedSlot, known: dict[tuple[str, Site], Tensor]
) -> Tensor:
    """Mean over a slot's prompts of their states at its positions, `(positions, width)`."""
    states = []
    for prompt, positions in zip(planned.slot.prompts, planned.means, strict=True):
        key = prompt, planned.site
        if key not in known:
            known[key] = _states(model, model.tokens(prompt), [planned.site])[planned.site]
        states.append(known[key][0, list(positions)])
    return torch.stack(states).mean(0)


def _edit(
    model: LanguageModel,
    planned: PlannedSlot,
    modules: Mapping[str, Intervention],
    source: Tensor | None,
    touched: dict[int, Touch],
) -> Edit:
    """The hook-level change that one live slot stands for."""
    module, slot = modules[planned.weights], planned.slot
    positions = torch.tensor(planned.base_positions, device=model.device)
    mask = None
    if planned.dims is not None:
        mask = torch.zeros(module.size(planned.options), dtype=torch.bool, device=model.device)
        mask[list(planned.dims)] = True

    def change(vectors: Tensor) -> Tensor:
        new = module(vectors, source, mask)
        if new.shape != vectors.shape:  # a user's class; writing it would stretch it silently
            raise RequestError(
                f"slots[{planned.index}]: intervention {slot.intervention!r} returned a tensor of "
                f"shape {tuple(new.shape)}; the base's shape {tuple(vectors.shape)} is needed."
            )
        return blend(vectors, new, slot.strength)

    return Edit(
        site=planned.site,
        rows=torch.zeros_like(positions),
        positions=positions,
        change=change,
        report=partial(touched.__setitem__, planned.index),
    )


def _ids(model: LanguageModel, tokens: Sequence[Token]) -> Tensor:
    """Token ids as a batch of one, `(1, positions)`, on the model's device."""
    return torch.tensor([[token.id for token in tokens]], device=model.device)
