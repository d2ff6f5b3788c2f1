"""One line of code for each further question that can be asked of an experiment.

The lines continue its script, whose names they use: `vw`, `model` and `experiment`. A line is left
out where it would be refused: without a source, or for prompts of unequal length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vene_widgets.codegen.literals import to_source
from vene_widgets.errors import RequestError
from vene_widgets.models.weight_site import weight_site
from vene_widgets.sweeps.planning import plan_fixed

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.models import LanguageModel

TOKENS = 10
"""New tokens that the line of `vw.generate` asks for."""


@dataclass(frozen=True)
class Question:
    """A question of the field, and the line that asks it of an experiment."""

    name: str
    code: str


def questions(model: LanguageModel, plan: Plan) -> list[Question]:
    """The questions that can be asked of an experiment, each with its line.

    Args:
        model: that the experiment is for.
        plan: the experiment, checked.
    """
    experiment = plan.experiment
    live = plan.live
    layer = live[0].site.layer if live else 0
    named = next((slot.slot.source for slot in live if slot.slot.source), None)
    source = named or next(iter(experiment.sources), None)
    base = "experiment.base"
    found: list[Question] = []

    def ask(name: str, code: str) -> None:
        found.append(Question(name, code))

    if source is None:
        swept, pair = f'{base}, intervention="zero"', None
    else:
        swept = pair = f"{base}, experiment.sources[{to_source(source)}]"
    ask("every layer and token", f"vw.sweep(model, {swept}).plot()")
    if pair is not None:
        ask("recovery", f'vw.sweep(model, {pair}).plot("recovery")')
    if "head_attention_value_output" in model.sites.components:
        ask(
            "every head",
            f'vw.sweep(model, {swept}, component="z", head="all", positions=-1).plot()',
        )
    if pair is not None:
        ask("controls", f'vw.placebo(vw.sweep(model, {pair})).plot("recovery")')
    if (fixed := _fixed(model, plan, source)) is not None:
        ask("a map with these slots fixed", f"vw.sweep(model, {pair or base}, {fixed}).plot()")
    if _has_patterns(model, layer):
        ask("attention", f"vw.attention(model, experiment, layer={layer}).plot()")
    ask("the logit lens", "vw.lens(model, experiment).plot()")
    ask("an estimate by gradients", f"vw.attribute(model, {swept}).plot()")
    if pair is not None and source is not None and _equally_long(plan, source):
        ask("direct paths", f'vw.paths(model, {pair}, senders="all").plot()')
        heads = [f"{layer}.{head}" for head in _heads(model, plan, layer)]
        ask(
            "a circuit of these heads",
            f'vw.circuit(model, {pair}, heads={to_source(heads)}, ablation="source").plot()',
        )
    if source is not None:
        lists = f"prompts=[experiment.sources[{to_source(source)}]], minus=[{base}]"
        where = f'layer={layer}, position=-1, intervention="addition", source_position=-1'
        slot = f"vw.Slot({where}, {lists}, strength=2)"
        ask("steering", f"vw.run(model, experiment.replace(slots=[{slot}])).top(10)")
    ask("the text that follows", f"vw.generate(model, experiment, {TOKENS}).text")
    if pair is not None:
        one, other = pair.split(", ", 1)
        both = f"[({one}, {other}), ({other}, {one})]"
        ask("a data set of pairs", f"vw.sweep_pairs(model, {both}, controls=()).plot()")
    return found


def _fixed(model: LanguageModel, plan: Plan, source: str | None) -> str | None:
    """The arguments that hold the experiment's slots fixed; None if a sweep would refuse them."""
    experiment = plan.experiment
    if not plan.live or any(slot.target is not None for slot in plan.live):
        return None
    named = [slot.source is not None for slot in experiment.slots if slot.reads_run]
    is_named = any(named)
    if is_named and not all(named):  # whose source would the others read? Planned once more
        own = experiment.base if source is None else experiment.sources[source]
        try:
            plan_fixed(model, experiment.base, own, experiment.slots, experiment.sources)
        except RequestError:
            return None
    return "fixed=experiment.slots" + (", sources=experiment.sources" if is_named else "")


def _has_patterns(model: LanguageModel, layer: int) -> bool:
    """Whether a layer's attention weights can be read."""
    try:
        weight_site(model, layer, None)
    except RequestError:
        return False
    return True


def _equally_long(plan: Plan, source: str) -> bool:
    return len(plan.sources[source]) == len(plan.base)


def _heads(model: LanguageModel, plan: Plan, layer: int) -> list[int]:
    """The heads of the experiment's slots in a layer, else all of it.

    A head of keys or values stands for all heads that read it.
    """
    sites, own = model.sites, set[int]()
    for slot in plan.live:
        head = slot.site.head
        if slot.site.layer != layer or head is None:
            continue
        is_shared = slot.slot.component in ("head_key_output", "head_value_output")
        readers = sites.heads // sites.key_value_heads if is_shared else 1
        own.update(range(head * readers, (head + 1) * readers))
    return sorted(own) or list(range(sites.heads))
