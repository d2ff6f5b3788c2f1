"""attribute(): what every cell of a sweep would do, estimated from one backward pass."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from vene_widgets.errors import RequestError, choose, is_out_of_memory, shown
from vene_widgets.experiments.fields import as_int
from vene_widgets.methods.attribution_passes import run_passes
from vene_widgets.methods.attribution_results import Attribution
from vene_widgets.sweeps.planning import SweepPlan, pairing_warning
from vene_widgets.sweeps.sweep import plan_heads
from vene_widgets.tables.attribution import ANSWER_METRICS, AnswerMetricName

if TYPE_CHECKING:
    from vene_widgets.experiments.fields import Where
    from vene_widgets.models import LanguageModel

MOST_STEPS = 10_000
"""Steps that integrated gradients may take, one forward and one backward pass each."""


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
        return run_passes(plans, targets, metric, steps, several=_is_several(head))
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
