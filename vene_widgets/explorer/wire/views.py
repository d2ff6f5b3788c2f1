"""Engine objects -> `messages`: pure functions that serialise results for the browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from vene_widgets.codegen.questions import questions
from vene_widgets.codegen.script import FACES, Face, script
from vene_widgets.engine.comparing import Comparison
from vene_widgets.engine.planning import Plan, PlannedSlot
from vene_widgets.errors import RequestError
from vene_widgets.explorer.exact_runs import TOP, ExactRuns
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire.answer_sentence import answer_sentence
from vene_widgets.explorer.wire.slot_outcomes import receipts
from vene_widgets.interventions import INTERVENTIONS, Intervention, Options
from vene_widgets.tables import frames
from vene_widgets.tables.metrics import METRICS
from vene_widgets.tables.token_text import visible

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel, Token

Row = dict[str, Any]
"""One row of a DataFrame by column."""


def scene(
    model: LanguageModel, plan: Plan, revision: int, request: str | None, model_since: int = 0
) -> wire.Scene:
    """The experiment on the screen, its prompts split into tokens."""
    return wire.Scene(
        revision=revision,
        request=request,
        model=model_info(model),
        base=token_infos(plan.base),
        sources=[
            wire.SourceTokens(name=name, tokens=token_infos(tokens))
            for name, tokens in plan.sources.items()
        ],
        experiment=plan.experiment,
        slots=[_slot(planned) for planned in plan.slots],
        model_since=model_since,
    )


def _slot(planned: PlannedSlot) -> wire.SlotInfo:
    """A slot with its positions as ints."""
    slot = planned.slot
    subspace, partition = slot.subspace, slot.partition
    return wire.SlotInfo(
        index=planned.index,
        layer=planned.site.layer,
        component=planned.site.component,
        head=planned.site.head,
        source=planned.source,
        base_positions=list(planned.base_positions),
        source_positions=list(planned.keys or planned.source_positions),
        target=planned.target,
        intervention=slot.intervention,
        strength=slot.strength,
        subspace=list(subspace) if isinstance(subspace, tuple) else subspace,
        dims=None if planned.dims is None else list(planned.dims),
        coordinates=INTERVENTIONS[slot.intervention].size(planned.options),
        partition=(
            None if partition is None else {name: list(ends) for name, ends in partition.items()}
        ),
        rank=slot.rank,
        link=slot.link,
        group=slot.group,
        skip=slot.skip,
    )


def model_info(model: LanguageModel) -> wire.ModelInfo:
    """The model, and the choices that it offers."""
    counts = {name: model.sites.head_count(name) for name in model.sites.components}
    return wire.ModelInfo(
        name=model.name,
        layers=model.sites.layers,
        heads={name: count for name, count in counts.items() if count},
        widths={name: model.sites.width(name) // (count or 1) for name, count in counts.items()},
        components=list(model.sites.components),
        interventions=[intervention_info(name, kind) for name, kind in INTERVENTIONS.items()],
        metrics=metric_infos(),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
    )


@cache
def intervention_info(name: str, kind: type[Intervention]) -> wire.InterventionInfo:
    """One operator, as its menu and controls need it.

    Whether it needs a rank and has weights is found by building a small one.
    """
    width, rank = 8, 2
    try:
        needs_rank = kind.size(Options(width)) != width
    except RequestError:
        needs_rank = True
    try:
        has_weights = len(kind(Options(width, rank)).state_dict()) > 0
    except Exception:  # a user-defined class may accept only the widths that it was written for
        has_weights = True
    return wire.InterventionInfo(
        name=name,
        formula=kind.formula,
        about=kind.about,
        needs_source=kind.needs_source,
        rotated=kind.rotated,
        needs_rank=needs_rank,
        takes_rank=kind.size(Options(width, rank)) != width,
        has_weights=has_weights,
    )


def metric_infos() -> list[wire.MetricInfo]:
    """The registry of metrics, as the map's menu needs it."""
    return [
        wire.MetricInfo(
            name=metric.name,
            title=metric.title,
            label=metric.label,
            unit=metric.unit,
            formula=metric.formula,
            about=metric.about,
            scale=metric.scale,
            low=metric.range[0],
            high=metric.range[1],
            of_target=metric.of_target,
            of_pair=metric.of_pair,
            of_source=metric.of_source,
        )
        for metric in METRICS.values()
    ]


def answer(model: LanguageModel, result: ExactRuns, plan: Plan, revision: int) -> wire.Answer:
    """The exact result of one experiment."""
    rows = _rows(result.token_frame)
    return wire.Answer(
        revision=revision,
        label="exact",
        milliseconds=result.milliseconds,
        runs=[
            wire.RunInfo(
                role=column.role,
                name=column.name,
                top=_top_candidates(rows, title),
                source_runs=column.run.source_runs,
            )
            for title, column in zip(result.titles, result.columns, strict=True)
        ],
        tokens=token_rows(rows, result.titles),
        differences=difference_rows(result.difference_frame) if result.experiment.live else [],
        verdicts=verdicts(result),
        receipts=receipts(result, plan),
        sentence=answer_sentence(model, result, plan),
        scripts=[_script(model, plan, face) for face in FACES],
        kl=result.kl if result.experiment.live and math.isfinite(result.kl) else None,
        questions=[wire.Question(name=one.name, code=one.code) for one in questions(model, plan)],
    )


def contrast(request: wire.Compare, comparison: Comparison) -> wire.Contrast:
    """Two sides compared: the likely tokens of both, and those that changed most."""
    left, right = comparison.left, comparison.right
    before, after = left.logits[-1], right.logits[-1]
    text = left.model.token_text
    tokens = frames.token_frame({"left": before, "right": after}, text, k=TOP)
    return wire.Contrast(
        request=request.id,
        left=request.left.title,
        right=request.right.title,
        milliseconds=left.milliseconds + right.milliseconds,
        kl=comparison.kl,
        tokens=token_rows(_rows(tokens), ("left", "right")),
        differences=difference_rows(frames.difference_frame(before, after, text, k=TOP)),
        verdict=verdict(request.left.title, request.right.title, comparison),
        error=None,
    )


def failed_contrast(request: wire.Compare, error: str) -> wire.Contrast:
    """A comparison that failed, with the reason."""
    return wire.Contrast(
        request=request.id,
        left=request.left.title,
        right=request.right.title,
        milliseconds=0.0,
        kl=0.0,
        tokens=[],
        differences=[],
        verdict=None,
        error=error,
    )


def _script(model: LanguageModel, plan: Plan, face: Face) -> wire.Script:
    """The code of an experiment in one library's names, or the reason why there is none."""
    try:
        return wire.Script(face=face, text=script(model, plan, face), why=None)
    except RequestError as error:
        return wire.Script(face=face, text=None, why=str(error))


def token_rows(rows: Sequence[Row], runs: Sequence[str]) -> list[wire.TokenRow]:
    """One row per token of a `frames.token_frame`, with its probability in each of the runs."""
    by_token: dict[int, list[Row]] = {}
    for row in rows:
        by_token.setdefault(row["token_id"], []).append(row)
    found: list[wire.TokenRow] = []
    for token, of_token in by_token.items():
        p = {row["run"]: row["probability"] for row in of_token}
        found.append(
            wire.TokenRow(
                token_id=token,
                label=of_token[0]["label"],
                probabilities=[p[run] for run in runs],
            )
        )
    return found


def _top_candidates(rows: Sequence[Row], run: str) -> list[wire.Candidate]:
    """One run's most likely tokens, from the rows of a `frames.token_frame`."""
    names = wire.Candidate.model_fields
    top = [row for row in rows if row["run"] == run and row["rank"] <= TOP]
    top.sort(key=lambda row: row["rank"])
    return [wire.Candidate(**{name: row[name] for name in names}) for row in top]


def _rows(frame: pd.DataFrame) -> list[Row]:
    """A frame's rows by column; one pass over pandas, which is slow row by row."""
    columns = {str(name): frame[name].tolist() for name in frame.columns}
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def difference_rows(frame: pd.DataFrame) -> list[wire.Difference]:
    """The rows of a `frames.difference_frame`."""
    names = wire.Difference.model_fields
    return [wire.Difference(**{name: row[name] for name in names}) for row in _rows(frame)]


def verdicts(result: ExactRuns) -> list[wire.Verdict]:
    """Grouped against ungrouped; empty without groups."""
    comparison = result.comparison
    return [] if comparison is None else [verdict("grouped", "ungrouped", comparison)]


def verdict(left: str, right: str, comparison: Comparison) -> wire.Verdict:
    """The verdict of a comparison; `left` and `right` are the titles of its sides."""
    return wire.Verdict(
        left=left,
        right=right,
        verdict=comparison.verdict,
        max_abs=comparison.max_abs,
        tolerance=comparison.tolerance,
        first_divergence=comparison.first_divergence,
        scope=comparison.scope,
        words=comparison.words,
    )


def token_infos(tokens: Sequence[Token]) -> list[wire.TokenInfo]:
    """The tokens of a prompt."""
    return [
        wire.TokenInfo(index=t.index, id=t.id, text=t.text, label=visible(t.text)) for t in tokens
    ]


def label(model: LanguageModel, token_id: int) -> str:
    """A token's text made visible."""
    return visible(model.token_text(token_id))
