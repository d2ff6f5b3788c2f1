"""A script in this package's own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.codegen.literals import call, source
from vene_widgets.experiments.operators import BUILT_IN

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan
    from vene_widgets.experiments.slot import Slot
    from vene_widgets.models import LanguageModel


def lines(model: LanguageModel, checked: Plan) -> list[str]:
    """The script's lines, see `scripts.script`."""
    experiment = checked.experiment
    written = ["import vene_widgets as vw", ""]
    written += model_lines(model)
    for name in dict.fromkeys(slot.intervention for slot in experiment.slots):
        if name not in BUILT_IN:
            written.append(f"# {source(name)} is your own: vw.register(...) it before this line")
    written.append("experiment = vw.Experiment(")
    written.append(f"    base={source(experiment.base)},")
    if experiment.sources:
        entries = [f"{source(name)}: {source(text)}" for name, text in experiment.sources.items()]
        written += [
            line + "," if line[-1] == "}" else line for line in call("sources={", entries, 4, "}")
        ]
    if experiment.slots:
        written.append("    slots=[")
        for slot in experiment.slots:
            made = call("vw.Slot(", _arguments(slot), 8)
            written += [*made[:-1], made[-1] + ","]
        written.append("    ],")
    if experiment.mode != "parallel":
        written.append(f"    mode={source(experiment.mode)},")
    written.append(")")
    if experiment.live and experiment.has_groups:
        written += [
            "grouped = vw.run(model, experiment, share_sources=False)",
            "ungrouped = vw.run(model, experiment.ungrouped(), share_sources=False)",
            "print(vw.compare(grouped, ungrouped).words)",
            "run = grouped",
        ]
    else:
        written.append("run = vw.run(model, experiment)")
    return [*written, "logits = run.logits", "print(run.top(10))"]


def model_lines(model: LanguageModel) -> list[str]:
    """How the script comes by its model."""
    if model.recipe is None:
        return [
            f"# {model.name} was wrapped: put your own model and tokenizer here",
            "model = vw.wrap(hf_model, tokenizer)",
        ]
    return [f"model = vw.{model.recipe}"]


def _arguments(slot: Slot) -> list[str]:
    """What a slot says beyond its defaults, in the order of its fields."""
    fields = type(slot).model_fields
    return [
        f"{name}={source(getattr(slot, name))}"
        for name, field in fields.items()
        if field.is_required() or getattr(slot, name) != field.default
    ]
