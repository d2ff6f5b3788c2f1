"""run_passes(): the forward and backward passes of attribution patching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.forward import PlainRuns, forward_prompts
from vene_widgets.engine.gradients import GradientPass, gradient_pass
from vene_widgets.engine.hooks import Edit
from vene_widgets.engine.own_model import own_model, require_unchanged
from vene_widgets.errors import RequestError, shown
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.methods.attribution_results import Attribution
from vene_widgets.models.sites import Site
from vene_widgets.sweeps.changes import new_vectors
from vene_widgets.sweeps.following import follow
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.tables.attribution import ANSWER_METRICS
from vene_widgets.tables.statistics import checked_distribution

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel


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
        followed, self.target = follow(self._plan, self._targets, base, source)
        others = [token for token in followed.ids if token != self.target]
        self._require_finite(self.target, base)
        if not ANSWER_METRICS[self._metric].needs_contrast:
            return
        if not others:
            text = self._plan.model.token_text(self.target)
            raise RequestError(
                f"metric {self._metric!r} compares two target tokens, but there is one, "
                f"{shown(text)}: name a second one, as in targets=[' Rome', ' Madrid'], or use "
                "'log_probability'."
            )
        self._require_finite(others[0], base)
        self.contrast = others[0]

    def _require_finite(self, token: int, base: Tensor) -> None:
        """Check that a token may be said.

        Raises:
            RequestError: the model masks it.
        """
        if not bool(base[token].isfinite()):
            text = self._plan.model.token_text(token)
            raise RequestError(
                f"target {shown(text)} has the logit {float(base[token]):g} in the base run, so "
                f"metric {self._metric!r} has no gradient: name another token."
            )

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


def run_passes(
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
