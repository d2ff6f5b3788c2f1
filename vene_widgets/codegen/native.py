"""Scripts in this package's own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.codegen.literals import end_with_comma, format_call, to_source
from vene_widgets.experiments.operators import BUILT_IN

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.slot import Slot
    from vene_widgets.models import LanguageModel


def write_lines(model: LanguageModel, plan: Plan) -> list[str]:
    """The script's lines, see `codegen.script.script`."""
    experiment = plan.experiment
    lines = ["import vene_widgets as vw", "", *load_model_lines(model)]
    for name in dict.fromkeys(slot.intervention for slot in experiment.slots):
        if name not in BUILT_IN:
            lines.append(f"# {to_source(name)} is your own: vw.register(...) it before this line")
    lines.append("experiment = vw.Experiment(")
    lines.append(f"    base={to_source(experiment.base)},")
    if experiment.sources:
        entries = [
            f"{to_source(name)}: {to_source(text)}" for name, text in experiment.sources.items()
        ]
        lines += end_with_comma(format_call("sources={", entries, 4, "}"))
    if experiment.slots:
        lines.append("    slots=[")
        for slot in experiment.slots:
            lines += end_with_comma(format_call("vw.Slot(", slot_arguments(slot), 8))
        lines.append("    ],")
    if experiment.mode != "parallel":
        lines.append(f"    mode={to_source(experiment.mode)},")
    lines.append(")")
    # With groups, the script also prints how its result compares with that of ungrouped slots.
    if experiment.live and experiment.has_groups:
        lines += [
            "grouped = vw.run(model, experiment, share_sources=False)",
            "ungrouped = vw.run(model, experiment.ungrouped(), share_sources=False)",
            "print(vw.compare(grouped, ungrouped).words)",
            "run = grouped",
        ]
    else:
        lines.append("run = vw.run(model, experiment)")
    return [*lines, "logits = run.logits", "print(run.top(10))"]


def load_model_lines(model: LanguageModel) -> list[str]:
    """The lines that load the model, or leave a place for a wrapped one."""
    if model.recipe is None:
        return [
            f"# {model.name} was wrapped: put your own model and tokenizer here",
            "model = vw.wrap(hf_model, tokenizer)",
        ]
    return [f"model = vw.{model.recipe}"]


def slot_arguments(slot: Slot) -> list[str]:
    """The fields of a slot that differ from their defaults, in the order of its fields."""
    fields = type(slot).model_fields
    return [
        f"{name}={to_source(getattr(slot, name))}"
        for name, field in fields.items()
        if field.is_required() or getattr(slot, name) != field.default
    ]
