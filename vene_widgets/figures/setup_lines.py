"""What was run, in a line for a figure: prompts, place, intervention, model, number of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vene_widgets.experiments.components import ATTENTION_WEIGHT, component_words, site_words
from vene_widgets.experiments.fields import ALL
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.sentences import operator
from vene_widgets.tables.number_text import NO_BREAK, significant
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.experiments.slot import Slot
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.models import LanguageModel, Token

LONGEST_PROMPT = 72
"""Most characters of a prompt in the line; the middle of a longer one is left out."""

MOST_SLOTS = 3
"""Slots that the line lists; more are counted."""


class PlannedSlot(Protocol):
    """What the line reads of a slot of `engine.planning`."""

    @property
    def slot(self) -> Slot: ...
    @property
    def source(self) -> str | None: ...
    @property
    def base_positions(self) -> Sequence[int]: ...
    @property
    def source_positions(self) -> Sequence[int]: ...
    @property
    def keys(self) -> Sequence[int] | None: ...


class Plan(Protocol):
    """What the line reads of an experiment's plan (`engine.planning`)."""

    @property
    def experiment(self) -> Experiment: ...
    @property
    def base(self) -> Sequence[Token]: ...
    @property
    def sources(self) -> Mapping[str, Sequence[Token]]: ...
    @property
    def slots(self) -> Sequence[PlannedSlot]: ...


class SweepPlan(Protocol):
    """What the line reads of a sweep's plan (`sweeps.planning`)."""

    @property
    def model(self) -> LanguageModel: ...
    @property
    def base_prompt(self) -> str: ...
    @property
    def source_prompt(self) -> str: ...
    @property
    def component(self) -> str: ...
    @property
    def head(self) -> int | None: ...
    @property
    def intervention(self) -> str: ...
    @property
    def request(self) -> SweepRequest: ...
    @property
    def seeds(self) -> Sequence[int]: ...


def sweep_setup(
    plan: SweepPlan, head: str | int | None = None, how: str = "one place at a time"
) -> str:
    """The line of a sweep: `“…” ← “…” · residual stream, after block: patch, one at a time · …`.

    Args:
        plan: the sweep.
        head: of a per-head component; `all` for a map of every head.
        how: the cells were changed.
    """
    prompts = _quoted(plan.base_prompt)
    if OPERATORS[plan.intervention].needs_source:
        prompts += f" ← {_quoted(plan.source_prompt)}"
    site = component_words(plan.component)
    head = plan.head if head is None else head
    if head is not None:
        site += ", each head" if head == ALL else f", head {head}"
    done = operator(plan.intervention, len(plan.request.prompts)).replace("_", " ")
    window = plan.request.window
    place = how if window == 1 else f"windows of {window} layers"
    parts = [prompts, f"{site}: {done}, {place}"]
    if held := [slot for slot in plan.request.fixed if not slot.skip]:
        more = f" and {len(held) - MOST_SLOTS} more" if len(held) > MOST_SLOTS else ""
        parts.append(f"in every cell {', '.join(map(fixed_words, held[:MOST_SLOTS]))}{more}")
    if plan.seeds:
        parts.append(f"mean over {len(plan.seeds)} seed{'' if len(plan.seeds) == 1 else 's'}")
    return " · ".join([*parts, plan.model.name, "n = 1"])


def fixed_words(slot: Slot) -> str:
    """A fixed slot: `noise layer 0 before block, positions 2 and 3`."""
    done = _operator(slot)
    where = f"position {_written(slot.position)}"
    if slot.component == ATTENTION_WEIGHT:
        keys = "all" if slot.source_position is None else _written(slot.source_position)
        where = f"query {_written(slot.position)}, key {keys}"
    return f"{done} {site_words(slot.component, slot.layer, slot.head)}, {where}"


def _operator(slot: Slot) -> str:
    """A slot's operator in words; prompts that another one than `mean` reads are said apart."""
    prompts = len(slot.prompts) if slot.intervention == "mean" else 0
    return operator(slot.intervention, prompts).replace("_", " ")


def _written(at: int | tuple[int | str, ...] | str) -> str:
    """Positions as a slot writes them."""
    several = at if isinstance(at, tuple) else (at,)
    return ", ".join(visible(one) if isinstance(one, str) else str(one) for one in several)


def pairs_setup(summary: pd.DataFrame) -> str:
    """The line of a sweep over pairs: `MLP output: patch, … · 1,000 pairs, 119 distinct bases · …`.

    Args:
        summary: from `PairSweep.summary`; what its `.attrs` lack is left out of the line.
    """
    known: Mapping[Any, Any] = summary.attrs
    site = component_words(str(summary["component"].iloc[0]))
    heads = summary["head"].dropna().unique()
    if len(heads):
        site += ", each head" if len(heads) > 1 else f", head {heads[0]}"
    done = known.get("intervention")
    done = operator(str(done)).replace("_", " ") if done else "one slot"
    parts = [f"{site}: {done}, one place at a time"]
    if "model" in known:
        parts.append(str(known["model"]))
    return " · ".join([*parts, pairs_words(summary), left_out_words(known.get("left_out"))])


def pairs_words(summary: pd.DataFrame) -> str:
    """How many pairs the means are over, and how many of them are independent."""
    known: Mapping[Any, Any] = summary.attrs
    live = summary[summary["n"] > 0]
    most, units = int(summary["n"].max()), int(summary["units"].max())
    least = int(live["n"].min()) if len(live) else 0
    count = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    noun = "pair" if most == 1 else "pairs"
    cluster = known.get("cluster", "")
    if cluster is None:
        return f"n = {count} independent {noun}"
    plural = "" if units == 1 else "s"
    kinds = f"distinct base{plural}" if cluster == "base" else f"independent unit{plural}"
    if cluster not in ("", "base"):
        kinds = f"distinct value{plural} of {visible(str(cluster))}"
    return f"n = {count} {noun}, {units:,} {kinds}"


def left_out_words(count: int | None) -> str:
    """How many pairs do not count."""
    if count is None:
        return "number left out unknown"
    return f"{count:,} left out" if count else "none left out"


def means_words(confidence: float | None, has_numbers: bool, has_intervals: bool) -> str:
    """What the tiles of a map of means show, and where the rest is."""
    interval = "bootstrap interval"
    if confidence is not None:
        interval = f"{100 * confidence:g} % {interval}"
    if has_intervals:
        return f"numbers: mean, {interval}"
    return f"{'numbers' if has_numbers else 'colour'}: mean; the table has its {interval}"


def controls_words(summary: pd.DataFrame, muted: bool) -> str:
    """The controls in words, and what they mean for the tiles.

    Args:
        summary: from `PairSweep.summary`.
        muted: whether a control explains any tile.
    """
    known: Mapping[Any, Any] = summary.attrs
    ran = [str(name) for name in known.get("controls", summary["control"].dropna().unique())]
    if not ran:
        return "no control ran"
    words: Mapping[str, str] = known.get("control_words") or {}
    named = "; ".join(words.get(name, name.replace("_", " ")) for name in ran)
    named = f"control{'s' if len(ran) > 1 else ''}: {named}"
    correction = f"{known['correction']} over the map" if "correction" in known else "corrected"
    if not muted:
        return (
            f"{named} · no tile is explained by one (all q{NO_BREAK}<{NO_BREAK}0.05, {correction})"
        )
    return (
        f"{named} · pale, corner marked: no larger than a control’s effect, or not clearly so "
        f"(q{NO_BREAK}≥{NO_BREAK}0.05, {correction})"
    )


def runs_setup(plan: Plan, model: str) -> str:
    """The line of one experiment: `“…” ← “…” · ␣Spain ← ␣Italy after block 0 · gpt2 · n = 1`.

    Args:
        plan: the experiment.
        model: the model's name.
    """
    live = [planned for planned in plan.slots if not planned.slot.skip]
    # Sources that no live slot reads say nothing about the numbers.
    sources = list(dict.fromkeys(p.source for p in live if p.source and _reads_source(p)))
    texts = plan.experiment.sources
    if live:
        parts = [_prompts(plan.experiment.base, {name: texts[name] for name in sources})]
        slots = [_slot(plan, planned, len(sources) > 1) for planned in live[:MOST_SLOTS]]
        more = len(live) - MOST_SLOTS
        parts.append("; ".join(slots) + (f"; {more} more" if more > 0 else ""))
        if plan.experiment.mode == "serial":
            parts.append("one source after the other")
    else:
        prompts = [plan.experiment.base, *texts.values()]
        parts = [", ".join(map(_quoted, prompts)), "no intervention"]
    return " · ".join([*parts, model, "n = 1"])


def attention_setup(plan: Plan, model: str, run: str) -> str:
    """The line of one run's attention pattern: `“…” · no intervention · gpt2 · n = 1`.

    Args:
        plan: the experiment.
        model: the model's name.
        run: `intervened` and `difference` have the slots; `base` and the sources have none.
    """
    if run in ("intervened", "difference"):
        return runs_setup(plan, model)
    prompt = plan.experiment.base if run == "base" else plan.experiment.sources[run]
    return " · ".join([_quoted(prompt), "no intervention", model, "n = 1"])


def _prompts(base: str, sources: Mapping[str, str]) -> str:
    """The base and the sources, by name where there are several."""
    named = [
        _quoted(text) if len(sources) == 1 else f"{name} {_quoted(text)}"
        for name, text in sources.items()
    ]
    return f"{_quoted(base)} ← {', '.join(named)}" if named else _quoted(base)


def _slot(plan: Plan, planned: PlannedSlot, names_source: bool) -> str:
    """A slot: `␣Spain ← ␣Italy after block 0`, with its operator unless it is a patch."""
    slot = planned.slot
    texts = [visible(plan.base[position].text) for position in planned.base_positions]
    place = _few(texts)
    if planned.keys is not None:
        place += f" → {_few([visible(plan.base[key].text) for key in planned.keys])}"
        if planned.source and _reads_source(planned):
            place += f" ← {planned.source}"
    elif planned.source and _reads_source(planned):
        tokens = plan.sources[planned.source]
        name = f"{planned.source} " if names_source else ""
        place += f" ← {name}{_few([visible(tokens[p].text) for p in planned.source_positions])}"
    done = _operator(slot)
    words = "" if done == "patch" else f"{done} "
    if slot.rank is not None:
        words = f"{done} of rank {slot.rank} "
    if slot.strength != 1:
        words = f"{significant(slot.strength)} × {words or 'patch '}"
    if slot.vector is not None:
        place += " ← a vector"
    if slot.prompts and slot.intervention != "mean":
        less = f" minus {len(slot.minus)}" if slot.minus else ""
        place += f" ← mean over {len(slot.prompts)}{less} prompts"
    if slot.source_layer is not None:
        place += f" of layer {slot.source_layer}"
    group = f" ({slot.group})" if slot.group is not None else ""
    return f"{words}{place} {site_words(slot.component, slot.layer, slot.head)}{group}"


def _reads_source(planned: PlannedSlot) -> bool:
    return planned.slot.reads_run


def _few(texts: list[str]) -> str:
    """Up to two tokens, or the first and the last."""
    return " ".join(texts) if len(texts) < 3 else f"{texts[0]} … {texts[-1]}"


def _quoted(text: str) -> str:
    """A prompt in quotation marks, on one line, its middle left out if it is long."""
    line = " ".join(visible(part) if part else "" for part in text.split(" "))
    if len(line) > LONGEST_PROMPT:
        half = (LONGEST_PROMPT - 3) // 2
        line = f"{line[:half].rstrip()} … {line[-half:].lstrip()}"
    return f"“{line}”"
