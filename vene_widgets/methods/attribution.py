"""attribute(): what every cell of a sweep would do, estimated from one backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import torch

from vene_widgets.engine.forward import PlainRuns, forward_prompts
from vene_widgets.engine.gradients import GradientPass, gradient_pass
from vene_widgets.engine.hooks import Edit
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.errors import RequestError, choose, is_out_of_memory, shown
from vene_widgets.experiments.fields import as_int
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.methods.attribution_check import AttributionCheck, check_attribution
from vene_widgets.models.sites import Site
from vene_widgets.sweeps.changes import new_vectors
from vene_widgets.sweeps.planning import SweepPlan, pairing_warning
from vene_widgets.sweeps.results import HeadSweep, Sweep
from vene_widgets.sweeps.sweep import followed_tokens, plan_heads
from vene_widgets.tables.attribution import (
    ANSWER_METRICS,
    AnswerMetricName,
    answer_value,
    attribution_frame,
)
from vene_widgets.tables.statistics import checked_distribution, log_probabilities
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot
    from torch import Tensor

    from vene_widgets.experiments.fields import Where
    from vene_widgets.models import LanguageModel

MOST_STEPS = 10_000
"""Steps that integrated gradients may take, one forward and one backward pass each."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """The estimated effect of changing one state, of every cell of a sweep.

    `.frame` is made when it is first read. Tensors are on the CPU.

    Attributes:
        plans: the sweep that was estimated, one plan per head: layers, positions, tokens.
        metric: whose change is estimated, a key of `tables.attribution.ANSWER_METRICS`.
        target, contrast: ids of the metric's tokens; the contrast is None where it has none.
        steps: passes over which the gradient was averaged; 1 for the base's own.
        base_logits, source_logits: `(vocabulary,)` at the last position of the plain runs.
        changes: new state − base state, float32: `(layers, positions, width)`; of several heads
            `(layers, heads, positions, width)`.
        gradients: of the metric to the states, float32, shaped like `changes`. In units of the
            metric per unit of the state.
    """

    plans: tuple[SweepPlan, ...]
    metric: str
    target: int
    contrast: int | None
    steps: int
    base_logits: Tensor
    source_logits: Tensor
    changes: Tensor = field(repr=False)
    gradients: Tensor = field(repr=False)

    @property
    def plan(self) -> SweepPlan:
        """The first head's plan, or the only one."""
        return self.plans[0]

    @property
    def heads(self) -> tuple[int, ...]:
        """The heads, in their order; empty for a component with one vector per position."""
        return tuple(plan.head for plan in self.plans if plan.head is not None)

    @cached_property
    def estimates(self) -> Tensor:
        """Predicted changes of the metric, float64: `changes` times `gradients`, without width."""
        return (self.changes.double() * self.gradients.double()).sum(-1)

    @property
    def base_value(self) -> float:
        """The metric in the base run."""
        return self._value(self.base_logits)

    @property
    def source_value(self) -> float:
        """The metric in the source run."""
        return self._value(self.source_logits)

    def _value(self, logits: Tensor) -> float:
        return answer_value(self.metric, log_probabilities(logits), self.target, self.contrast)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per head, layer and position (`tables.attribution.attribution_frame`).

        `.attrs` holds `metric`, `unit`, `contrast_label`, `steps`, and the metric's `base_value`
        and `source_value`.
        """
        import pandas as pd

        several = self.estimates.ndim > 2
        parts: list[pd.DataFrame] = []
        for n, plan in enumerate(self.plans):
            here = (slice(None), n) if several else (slice(None),)
            parts.append(
                attribution_frame(
                    self.estimates[here],
                    self.changes[here].ne(0).any(-1),
                    plan.layers,
                    [plan.base[position] for position in plan.positions],
                    plan.source_positions,
                    _source_texts(plan),
                    self.target,
                    self.contrast,
                    plan.model.token_text,
                    plan.component,
                    plan.head,
                )
            )
        frame, text = pd.concat(parts, ignore_index=True), self.plan.model.token_text
        frame.attrs = {
            "metric": self.metric,
            "unit": ANSWER_METRICS[self.metric].unit,
            "contrast_label": None if self.contrast is None else visible(text(self.contrast)),
            "steps": self.steps,
            "base_value": self.base_value,
            "source_value": self.source_value,
        }
        return frame

    def against(
        self, sweep: Sweep | HeadSweep, *, share: float = 0.25, kept: float = 0.5
    ) -> AttributionCheck:
        """Set the estimates beside the exact effects of a sweep over the same cells.

        A false negative is a cell whose exact effect is large and whose estimate shows too little
        of it (Kramár et al. 2024, "AtP*", names the two causes: saturated attention, and effects
        that cancel). Here: |exact| is at least `share` of the map's largest, and the estimate, in
        the same direction, is below `kept` of it.

        Args:
            sweep: from `sweep`, of the same request; its targets must hold the metric's tokens.
            share: from 0 to 1.
            kept: from 0 to 1.

        Raises:
            RequestError: a sweep of another request, or a share out of its range.
        """
        return check_attribution(self, self.frame, sweep, share, kept)

    def plot(self, title: str | None = None, *, style: str = "light") -> ggplot:
        """The layer × token map of the estimates, or layer × head per token.

        Drawn by `figures.attribution_map`.
        """
        from vene_widgets import figures

        return figures.attribution_map(self.frame, title, setup=self.setup(), style=style)

    def setup(self) -> str:
        """What was done, in the line that figures have below their title."""
        from vene_widgets import figures

        return figures.attribution_setup(
            self.plan, "all" if len(self.plans) > 1 else None, self.steps
        )

    def __repr__(self) -> str:
        p = self.plan
        heads = f"{len(self.plans)} heads x " if len(self.plans) > 1 else ""
        prompts = repr(p.base_prompt)
        if OPERATORS[p.intervention].needs_source:
            prompts += f" <- {p.source_prompt!r}"
        return (
            f"<Attribution of {p.component}: {heads}{len(p.layers)} layers x {len(p.positions)} "
            f"positions, {prompts}; {self.metric} {self.base_value:+.3g} in the base, "
            f"{self.source_value:+.3g} in the source, steps={self.steps}>"
        )


def attribute(
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
    metric: AnswerMetricName = "logit_difference",
    steps: int = 1,
) -> Attribution:
    """Estimate every cell of a sweep at once, from gradients.

    With `steps=1` this is attribution patching (Nanda 2023, "Attribution Patching"; Syed et al.
    2023, "Attribution Patching Outperforms Automated Circuit Discovery"): a change of the state
    times the gradient of the metric to it, in the base run. It takes two forward passes and one
    backward pass, whatever the number of cells, and is exact where the metric is linear in the
    state.

    With more steps the gradient is the average over that many points of the straight line from the
    base's input embeddings to the source's, at the midpoints of equal parts (Sundararajan et al.
    2017, "Axiomatic Attribution for Deep Networks"; Hanna et al. 2024, "Have Faith in
    Faithfulness", EAP-IG). Each step adds a forward and a backward pass for all cells together.
    The estimates of `block_input` 0 then add up to the metric's change from base to source. A line
    between the site's own states would add up at every site, but needs passes per layer.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was, and no tensor of yours gets a
            gradient.
        base, source, component, head, layers, positions, source_positions, intervention, prompts:
            as in `sweep`.
        targets: tokens of the metric, by text or id: the first is the target, the next its
            contrast, more are ignored. None chooses both as `sweep` does.
        metric: `logit_difference` of target and contrast, in logits; `probability` of the target;
            `log_probability`, in nats.
        steps: points at which the gradient is taken. More than 1 need `vanilla`, equally many
            tokens in both prompts, and every position paired with itself.

    Raises:
        RequestError: a value that the model or the prompts do not have, or a gradient that does not
            exist.

    Example:
        >>> import vene_widgets as vw
        >>> prompts = "The capital of Spain is", "The capital of Italy is"
        >>> estimated = vw.attribute(vw.load(), *prompts)
        >>> largest = estimated.frame.nlargest(3, "estimate")
    """
    choose(metric, ANSWER_METRICS, "metric")
    steps = _checked_steps(steps)
    fields: Mapping[str, Any] = {
        "component": component,
        "layers": layers,
        "positions": positions,
        "source_positions": source_positions,
        "intervention": intervention,
        "prompts": prompts,
    }
    plans = plan_heads(model, base, source, head, fields)
    if targets is not None:
        model.resolve_tokens(targets, "target")  # refuse wrong ones before anything runs
    if steps > 1:
        _require_line(plans[0], steps)
    if warning := pairing_warning(plans[0]):
        warnings.warn(warning, stacklevel=2)
    model.accept_hooks()
    try:
        return _attribute(plans, targets, metric, steps, several=_is_several(head))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RequestError(
            f"out of memory: a pass over {len(plans[0].base)} tokens with its gradients is too "
            "large. Choose later layers, whose graph is shorter, a shorter prompt or a smaller "
            "dtype."
        ) from error


def _is_several(head: object) -> bool:
    return head is not None and not isinstance(head, Integral)


def _checked_steps(steps: object) -> int:
    """The number of steps as a plain int.

    Raises:
        RequestError: no int from 1 on.
    """
    try:
        found = as_int(steps)
    except RequestError:
        found = 0
    if not 1 <= found <= MOST_STEPS:
        raise RequestError(
            f"steps {shown(steps)} must be an int from 1 (the gradient at the base) to "
            f"{MOST_STEPS}."
        )
    return found


def _require_line(plan: SweepPlan, steps: int) -> None:
    """Check that inputs can be interpolated token by token.

    Raises:
        RequestError: another operator, unequal lengths, or other pairs of positions.
    """
    if plan.intervention != "vanilla":
        raise RequestError(
            f"steps={steps} interpolates from the base's inputs to the source's, but "
            f"intervention {plan.intervention!r} puts other states in place: use 'vanilla' or "
            "steps=1."
        )
    if len(plan.base) != len(plan.source):
        raise RequestError(
            f"steps={steps} interpolates input embeddings token by token, but the base has "
            f"{len(plan.base)} tokens and the source {len(plan.source)}: use prompts of equal "
            "length, or steps=1."
        )
    if plan.positions != plan.source_positions:
        raise RequestError(
            f"steps={steps} interpolates each position toward the same one of the source, but "
            f"positions {shown(list(plan.positions))} are paired with "
            f"{shown(list(plan.source_positions))}: leave out source_positions, or use steps=1."
        )


class _Readout:
    """The metric as a function of logits; its tokens are chosen from the base's first run.

    Attributes:
        target, contrast: ids of its tokens; the target is -1 until it is known.
    """

    def __init__(
        self,
        plan: SweepPlan,
        targets: Sequence[str | int] | str | int | None,
        metric: str,
        source_logits: Tensor | None,
    ) -> None:
        self._plan, self._targets, self._metric = plan, targets, metric
        self._source_logits = source_logits
        self.target, self.contrast = -1, None

    def choose_tokens(self, base_logits: Tensor) -> None:
        """Choose the tokens.

        Raises:
            RequestError: no distribution, or a metric of two tokens with one.
        """
        base = base_logits.detach().cpu()
        source = base if self._source_logits is None else self._source_logits.cpu()
        checked_distribution(base, "base logits")
        checked_distribution(source, "source logits")
        followed, self.target = followed_tokens(self._plan, self._targets, base, source)
        others = [token for token in followed if token != self.target]
        if not ANSWER_METRICS[self._metric].needs_contrast:
            return
        if not others:
            text = self._plan.model.token_text(self.target)
            raise RequestError(
                f"metric {self._metric!r} compares two target tokens, but there is one, "
                f"{shown(text)}: name a second one, as in targets=[' Rome', ' Madrid'], or use "
                "'log_probability'."
            )
        self.contrast = others[0]

    def __call__(self, logits: Tensor) -> tuple[Tensor, float]:
        """The number to differentiate, and the factor of its gradient (`engine.gradients`)."""
        if self.target < 0:
            self.choose_tokens(logits)
        numbers = logits.float() if logits.dtype.itemsize < 4 else logits
        if self._metric == "logit_difference" and self.contrast is not None:
            return numbers[self.target] - numbers[self.contrast], 1.0
        log_p = numbers.log_softmax(-1)[self.target]
        # dP = P d ln P: gradients of a small probability would vanish in half precision.
        factor = float(log_p.detach().exp()) if self._metric == "probability" else 1.0
        return log_p, factor


def _attribute(
    plans: Sequence[SweepPlan],
    targets: Sequence[str | int] | str | int | None,
    metric: str,
    steps: int,
    *,
    several: bool,
) -> Attribution:
    """Run the passes of planned sweeps of one pair of prompts that differ in their heads only."""
    plan = plans[0]
    model = plan.model
    layers = list(dict.fromkeys(plan.layers))
    # The tensor of all heads has one gradient, of which each head has a part.
    whole = plan.component.removeprefix("head_")
    sites = [model.sites.site(layer, whole) for layer in layers]
    base_ids = tuple(token.id for token in plan.base)
    with model.lock, torch.no_grad(), own_model(model):
        state = model.tree.state
        runs = _Runs(model, sites, with_input=steps > 1)
        source_ids = tuple(token.id for token in plan.source)
        source_logits = None if source_ids == base_ids else runs.logits(source_ids)
        readout = _Readout(plan, targets, metric, source_logits)
        if steps == 1:
            passed = gradient_pass(model, base_ids, sites, readout)
            base_logits, base_states, gradients = passed.logits, passed.states, passed.gradients
        else:
            base_logits, base_states = runs.logits(base_ids), runs.states(base_ids)
            readout.choose_tokens(base_logits)
            start, end = runs.inputs(base_ids), runs.inputs(source_ids)
            passes = (
                gradient_pass(
                    model, base_ids, sites, readout, _on_line(model, start, end, (n + 0.5) / steps)
                )
                for n in range(steps)
            )
            gradients = _mean(passes, steps)
        new_from = _source_states(plan, runs, base_ids, base_states)
    require_unchanged(model, state, model.fingerprint)
    rows = [layers.index(layer) for layer in plan.layers]
    own, slopes = (states[rows][:, list(plan.positions)] for states in (base_states, gradients))
    changes = [_changes(one, own, new_from[rows]) for one in plans]
    parts = [_part(one, slopes) for one in plans]
    return Attribution(
        plans=tuple(plans),
        metric=metric,
        target=readout.target,
        contrast=readout.contrast,
        steps=steps,
        base_logits=base_logits.cpu(),
        source_logits=(base_logits if source_logits is None else source_logits).cpu(),
        changes=(torch.stack(changes, 1) if several else changes[0]).cpu(),
        gradients=(torch.stack(parts, 1) if several else parts[0]).cpu(),
    )


def _mean(passes: Iterable[GradientPass], count: int) -> Tensor:
    """Mean of the gradients of some passes; one of them is kept at a time."""
    total: Tensor | None = None
    for one in passes:
        total = one.gradients if total is None else total + one.gradients
    assert total is not None  # noqa: S101  # there is a step
    return total / count


class _Runs:
    """Plain runs by token ids, each made once.

    Args:
        model: the model in use.
        sites: what to record, all of one width.
        with_input: whether to record the input of the first block too.
    """

    def __init__(self, model: LanguageModel, sites: Sequence[Site], *, with_input: bool) -> None:
        self._model, self._sites = model, sites
        self._input = [model.sites.site(0, "block_input")] if with_input else []
        self._known: dict[tuple[int, ...], PlainRuns] = {}

    def _run(self, ids: tuple[int, ...]) -> PlainRuns:
        if ids not in self._known:
            wanted = list(dict.fromkeys([*self._sites, *self._input]))
            self._known[ids] = forward_prompts(self._model, [ids], wanted)
        return self._known[ids]

    def logits(self, ids: tuple[int, ...]) -> Tensor:
        """Logits of the next token, `(vocabulary,)`."""
        return self._run(ids).logits[0]

    def states(self, ids: tuple[int, ...]) -> Tensor:
        """States at every site, `(sites, positions, width)`."""
        found = self._run(ids).states
        return torch.stack([found[site][0] for site in self._sites])

    def inputs(self, ids: tuple[int, ...]) -> Tensor:
        """The first block's input, `(positions, d_model)`."""
        return self._run(ids).states[self._input[0]][0]


def _on_line(model: LanguageModel, start: Tensor, end: Tensor, part: float) -> list[Edit]:
    """Put the first block's input on the line between two prompts' inputs, `(positions, d_model)`.

    Args:
        model: the model to run.
        start, end: the ends of the line.
        part: 0 is the start, 1 the end.
    """
    positions = torch.arange(len(start), device=model.device)
    new = (start.float() + part * (end.float() - start.float())).to(start.dtype)
    site = model.sites.site(0, "block_input")
    return [Edit(site, torch.zeros_like(positions), positions, lambda _vectors: new)]


def _source_states(
    plan: SweepPlan, runs: _Runs, base_ids: tuple[int, ...], base_states: Tensor
) -> Tensor:
    """What the operator reads in each cell, `(sites, positions, width)`; of a `mean`, the mean."""
    if plan.mean_tokens:
        places = zip(plan.mean_tokens, plan.mean_positions, strict=True)
        return torch.stack([runs.states(ids)[:, list(at)] for ids, at in places]).mean(0)
    if not OPERATORS[plan.intervention].needs_source:
        return base_states[:, list(plan.positions)]
    ids = tuple(token.id for token in plan.source)
    states = base_states if ids == base_ids else runs.states(ids)
    return states[:, list(plan.source_positions)]


def _changes(plan: SweepPlan, base: Tensor, source: Tensor) -> Tensor:
    """New state − base state of each cell, `(layers, positions, width)`, float32.

    Args:
        plan: the sweep, of one head or of a whole component.
        base, source: states of the whole component, `(layers, positions, width)`.
    """
    own = _part(plan, base)
    new = new_vectors(plan, own.flatten(0, 1), _part(plan, source).flatten(0, 1))
    return new.view_as(own).float() - own.float()


def _part(plan: SweepPlan, states: Tensor) -> Tensor:
    """A plan's head in the states of all heads; without a head, all of them."""
    if plan.head is None:
        return states
    count = plan.model.sites.head_count(plan.component)
    assert count is not None  # noqa: S101  # it has a head
    return states.reshape(*states.shape[:2], count, -1)[:, :, plan.head].contiguous()


def _source_texts(plan: SweepPlan) -> list[str | None]:
    """The source's token at each position; None where no source prompt is read."""
    if not OPERATORS[plan.intervention].needs_source:
        return [None] * len(plan.positions)
    return [plan.source[position].text for position in plan.source_positions]
