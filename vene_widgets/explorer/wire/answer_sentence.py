"""The exact result in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets import sentences
from vene_widgets.engine.planning import Plan, PlannedSlot
from vene_widgets.explorer.exact_runs import ExactRuns
from vene_widgets.tables.statistics import probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models import LanguageModel


def answer_sentence(model: LanguageModel, result: ExactRuns, plan: Plan) -> str:
    """The exact result in words."""
    base = probabilities(result.base.logits[-1])
    slots = result.experiment.slots
    best = int(base.argmax())
    base_answer = model.token_text(best), base[best].item()
    if not result.experiment.live:
        has_source = bool(result.experiment.sources)
        return sentences.nothing_live(len(slots), has_source, *base_answer)
    live = plan.live
    skipped = len(slots) - len(live)
    plural = len(live) > 1
    tried = [planned for planned in live if not planned.slot.hold] if plural else live
    if len(tried) != 1 or skipped:
        action = sentences.several(len(live), skipped)
    else:
        action = sentences.describe(_slot_action(model, tried[0], plan))
        action = sentences.beside_held(action, len(live) - 1) if plural else action
    reports = [report for report in result.final.record if not report.planned.slot.skip]
    if all(report.idle for report in reports):
        reached = any(report.fired for report in reports)
        return sentences.all_idle(action, reached, *base_answer, plural=plural)
    source = result.source or result.base
    after = probabilities(result.final.logits[-1])
    change = probability_change(model, base, probabilities(source.logits[-1]), after)
    return sentences.sentence(action, change, plural=plural)


def _slot_action(model: LanguageModel, planned: PlannedSlot, plan: Plan) -> sentences.SlotAction:
    """The action of a slot, for a sentence."""
    slot, site = planned.slot, planned.site
    acts_on = plan.base if planned.target is None else plan.sources[planned.target]
    prompts = [model.tokens(prompt) for prompt in slot.prompts if planned.mean_positions]
    averaged: tuple[str, ...] = ()
    if len(planned.base_positions) == 1 and any(len(one) != len(acts_on) for one in prompts):
        read = zip(prompts, planned.mean_positions, strict=True)
        averaged = tuple(tokens[place].text for tokens, (place,) in read)
    return sentences.SlotAction(
        token=acts_on[planned.base_positions[0]].text,
        component=site.component,
        layer=site.layer,
        head=site.head,
        source_token=(
            plan.sources[planned.source][planned.source_positions[0]].text
            if planned.source
            else None
        ),
        intervention=slot.intervention,
        strength=slot.strength,
        subspace=slot.subspace,
        prompts=len(slot.prompts),
        minus=len(slot.minus),
        vector=len(slot.vector or ()),
        source_layer=slot.source_layer,
        averaged=averaged,
        target=planned.target,
        positions=len(planned.base_positions),
        keys=tuple(acts_on[key].text for key in planned.keys or ()),
        is_last=planned.base_positions == (len(acts_on) - 1,),
    )


def probability_change(
    model: LanguageModel, base: Tensor, source: Tensor, after: Tensor
) -> sentences.ProbabilityChange:
    """The numbers of a sentence, from three distributions `(vocabulary,)`."""
    base_best, source_best, best = (int(p.argmax()) for p in (base, source, after))
    return sentences.ProbabilityChange(
        base_token=model.token_text(base_best),
        base_before=base[base_best].item(),
        base_after=after[base_best].item(),
        source_token=model.token_text(source_best),
        source_before=base[source_best].item(),
        source_after=after[source_best].item(),
        best_token=model.token_text(best),
        best_after=after[best].item(),
    )
