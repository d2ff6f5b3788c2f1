"""A figure's caption: what it shows and how it was made, as text and for LaTeX."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from vene_widgets import __version__, sentences
from vene_widgets.experiments.components import component_words, site_words
from vene_widgets.experiments.fields import ALL
from vene_widgets.explorer.wire import views
from vene_widgets.figures.setup_lines import fixed_words
from vene_widgets.tables.metrics import METRICS
from vene_widgets.tables.number_text import NO_BREAK, significant
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    from vene_widgets.engine.planning import PlannedSlot
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.explorer.export.snapshot import Snapshot


def caption(snapshot: Snapshot) -> str:
    """Write the caption of a snapshot's figure, on one line."""
    model = snapshot.model
    dtype = str(model.dtype).removeprefix("torch.")
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "plotnine")
    )
    return " ".join(
        [
            _content(snapshot),
            f"Model: {model.name} ({dtype}, {model.device.type}).",
            _prompts(snapshot),
            _intervention(snapshot),
            _metric(snapshot),
            _exactness(snapshot),
            f"Made with vene_widgets {__version__}, {packages}.",
        ]
    )


def _content(snapshot: Snapshot) -> str:
    """What the figure shows."""
    kind = snapshot.order.kind
    names = snapshot.result.titles
    before, after = (snapshot.order.options.get(k, "") for k in ("before", "after"))
    if kind == "sweep_map":
        sweep = snapshot.sweep
        table = snapshot.frames["sweep_map"]
        site, places = component_words(sweep.component), "layer and token position"
        if sweep.head == ALL and sweep.layers is None:
            label, position = table[["label", "position"]].iloc[0]
            site, places = f"{site} at {label} (position {position})", "layer and head"
        elif sweep.head == ALL:
            site, places = f"{site} of layer {table['layer'].iloc[0]}", "head and token position"
        elif sweep.head is not None:
            site += f", head {sweep.head},"
        copies = sweep.intervention == "vanilla"
        copied = f", patched from the source “{sweep.source}”" if copies else ""
        return f"Map of one intervention per tile: {site} at each {places} of the base{copied}."
    difference = f"what changes from {before} to {after}, largest change of probability first"
    if kind == "difference_panel":
        return f"{difference[0].upper()}{difference[1:]}."
    tokens = f"Next-token probabilities of the runs {', '.join(names)}"
    return f"{tokens}; {difference}." if kind == "result" else f"{tokens}."


def _prompts(snapshot: Snapshot) -> str:
    """Base and sources by name."""
    experiment = snapshot.result.experiment
    texts = {"base": experiment.base, **experiment.sources}
    return f"Prompts: {'; '.join(f'{name} “{_one_line(text)}”' for name, text in texts.items())}."


def _intervention(snapshot: Snapshot) -> str:
    """Every slot, skipped ones too; a map's tiles are one slot each."""
    if snapshot.order.kind == "sweep_map":
        return f"Intervention: {_operator(snapshot.sweep)}, each tile {_alone(snapshot.sweep)}."
    slots = [_slot(planned) for planned in snapshot.plan.slots]
    if not slots:
        return "Intervention: none."
    mode = ", one after the other (serial)" if snapshot.result.experiment.mode == "serial" else ""
    return f"Intervention{mode}: {'; '.join(slots)}."


def _operator(sweep: SweepRequest) -> str:
    """The operator of a map's tiles."""
    if sweep.intervention == "vanilla":
        return "patch (interchange)"
    return sentences.operator(sweep.intervention, len(sweep.prompts))


def _alone(sweep: SweepRequest) -> str:
    """What else acts in each tile of a map."""
    if not sweep.fixed:
        return "alone"
    slots = "; ".join(fixed_words(slot) for slot in sweep.fixed)
    return f"with the same held slots ({slots}), and compared with the run of these alone"


def _slot(planned: PlannedSlot) -> str:
    """One slot by its fields, complete enough to reproduce it."""
    slot = planned.slot
    is_mean = slot.intervention == "mean"
    averaged = len(slot.prompts) if is_mean else 0
    text = f"slot {planned.index} {sentences.operator(slot.intervention, averaged)} "
    text += site_words(slot.component, slot.layer, slot.head)
    text += f", position {_numbers(planned.base_positions)}"
    if planned.keys is not None:
        text += f", key {_numbers(planned.keys)}"
    if planned.source and slot.reads_run:
        text += f", from {planned.source} at {_numbers(planned.source_positions)}"
    own = sentences.reading(len(slot.prompts), len(slot.minus), len(slot.vector or ()))
    if own and not is_mean:
        text += f", of {own}"
    if slot.source_layer is not None:
        text += f", read at layer {slot.source_layer}"
    fields = ("target", planned.target), ("group", slot.group), ("link", slot.link)
    fields += ("rank", slot.rank), ("subspace", slot.subspace)
    text += "".join(f", {name} {value}" for name, value in fields if value is not None)
    if slot.strength != 1:
        text += f", strength {slot.strength:g}"
    return f"{text} (skipped)" if slot.skip else text


def _metric(snapshot: Snapshot) -> str:
    """The formula and unit of the numbers shown."""
    options = snapshot.order.options
    if snapshot.order.kind == "sweep_map":
        metric = METRICS[options.get("metric", "probability")]
        unit = f", in {metric.unit}" if metric.unit and metric.name != "rank" else ""
        targets = [*dict.fromkeys(snapshot.order.frames["sweep_map"]["target_label"])]
        of = f"; t is {' or '.join(targets)}" if metric.of_target else ""
        if metric.of_pair:
            of = f"; t is {targets[0]}, u is {targets[1]}"
        return f"Metric: {metric.title} = {metric.formula}{unit}{of}."
    p = "P(t) = softmax of the logits at the last position"
    if snapshot.order.kind in ("token_heatmap", "distribution_dots"):
        return f"Metric: {p}."
    before, after = options["before"], options["after"]
    divergence = snapshot.order.frames["difference_panel"].attrs["kl_divergence"]
    return (
        f"Metrics: {p}; ΔP = P after − P before; KL({after} ‖ {before}) = "
        "Σ P after · ln (P after / P before) over the vocabulary, here "
        f"{significant(divergence)} nats."
    )


def _exactness(snapshot: Snapshot) -> str:
    """Whether the numbers are previews or exact runs."""
    if snapshot.order.kind == "sweep_map":
        return (
            "Numbers are the batched preview of a sweep, which differs from single runs by "
            "floating-point rounding."
        )
    verdict = "".join(
        f" Grouped against ungrouped: {v.words}" for v in views.verdicts(snapshot.result)
    )
    return f"Numbers are exact runs, one forward pass at batch size 1 each.{verdict}"


def _numbers(positions: tuple[int, ...]) -> str:
    return ", ".join(map(str, positions))


def _one_line(text: str) -> str:
    """A prompt on one line: spaces stay, other invisible characters become visible."""
    return " ".join(visible(part) if part else "" for part in text.split(" "))


# Characters of captions that LaTeX would read as commands, or that its fonts may lack.
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # \textquotedbl is not in every font encoding
    NO_BREAK: "~",
    "␣": r"\textvisiblespace{}",
    "…": r"\dots{}",
    "“": "``",
    "’": "'",
    "”": "''",
    "–": "--",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "‖": r"$\Vert$",
    "·": r"$\cdot$",
    "−": "$-$",
    "↵": r"$\hookleftarrow$",
    "⇥": r"$\mapsto$",
    "∅": r"$\emptyset$",
    "×": r"$\times$",
}


def latex(text: str) -> str:
    """Escape a text for LaTeX, on one line: no part of it acts as a command."""
    return "".join(_LATEX.get(c, " " if c in "\r\n" else c) for c in text)
