"""The engine's objects -> what the browser shows: pure functions that fill `messages`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch

from vene_widgets.codegen.script import FACES, Face, script
from vene_widgets.engine.planning import Plan, PlannedSlot
from vene_widgets.errors import RequestError
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import sentences as words
from vene_widgets.explorer.wire.slot_outcomes import receipts
from vene_widgets.interventions import INTERVENTIONS, Intervention, Options
from vene_widgets.tables import frames
from vene_widgets.tables.metrics import METRICS

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.explorer.exact_runs import Result
    from vene_widgets.models import LanguageModel, Token

TOP = 10
"""Most likely next tokens kept per run and per cell on the wire."""


def scene(model: LanguageModel, checked: Plan, revision: int, request: str | None) -> wire.Scene:
    """The experiment on the screen, its prompts split into tokens."""
    return wire.Scene(
        revision=revision,
        request=request,
        model=model_info(model),
        base=token_infos(checked.base),
        sources={name: token_infos(tokens) for name, tokens in checked.sources.items()},
        experiment=checked.experiment,
        slots=[_slot(planned) for planned in checked.slots],
    )


def _slot(planned: PlannedSlot) -> wire.SlotInfo:
    slot = planned.slot
    subspace, partition = slot.subspace, slot.partition
    return wire.SlotInfo(
        index=planned.index,
        layer=planned.site.layer,
        component=planned.site.component,
        head=planned.site.head,
        source=planned.source,
        base_positions=list(planned.base_positions),
        source_positions=list(planned.source_positions),
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
    """What the screen says about the model."""
    counts = {name: model.sites.head_count(name) for name in model.sites.components}
    return wire.ModelInfo(
        name=model.name,
        layers=model.sites.layers,
        heads={name: count for name, count in counts.items() if count},
        components=list(model.sites.components),
        interventions=[intervention_info(name, kind) for name, kind in INTERVENTIONS.items()],
        metrics=metric_infos(),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
    )


@cache
def intervention_info(name: str, kind: type[Intervention]) -> wire.InterventionInfo:
    """What the screen says of one operator; found out by asking the class for a small one."""
    width, rank = 8, 2
    try:
        needs_rank = kind.size(Options(width)) != width
    except RequestError:
        needs_rank = True
    try:
        has_weights = len(kind(Options(width, rank)).state_dict()) > 0
    except Exception:  # a user's own class may accept just the widths that it was written for
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
    """The registry of metrics, as the screen's menu needs it."""
    return [
        wire.MetricInfo(
            name=metric.name,
            title=metric.title,
            unit=metric.unit,
            formula=metric.formula,
            about=metric.about,
            scale=metric.scale,
            low=metric.range[0],
            high=metric.range[1],
            of_target=metric.of_target,
            of_pair=metric.of_pair,
        )
        for metric in METRICS.values()
    ]


def answer(model: LanguageModel, result: Result, checked: Plan, revision: int) -> wire.Answer:
    """The exact result, ready for the screen."""
    columns = result.columns
    log_p = torch.stack([c.run.logits[-1].double().log_softmax(-1) for c in columns]).cpu()
    p = log_p.exp()
    runs = [
        wire.RunInfo(
            role=column.role,  # pyright: ignore[reportArgumentType]
            name=column.name,
            top=candidates(model, column.run.logits[-1].cpu(), p[n]),
            source_runs=column.run.source_runs,
        )
        for n, column in enumerate(columns)
    ]
    shown = list(dict.fromkeys(c.token_id for run in runs for c in run.top))
    shown.sort(key=lambda token: -p[:, token].max().item())
    return wire.Answer(
        revision=revision,
        label="exact",
        milliseconds=result.milliseconds,
        runs=runs,
        tokens=[
            wire.TokenRow(
                token_id=token, label=label(model, token), probabilities=p[:, token].tolist()
            )
            for token in shown
        ],
        differences=differences(result),
        verdicts=verdicts(result),
        receipts=receipts(result, checked),
        sentence=sentence(model, result, checked),
        scripts=[_script(model, checked, face) for face in FACES],
    )


def _script(model: LanguageModel, checked: Plan, face: Face) -> wire.Script:
    """The code of an experiment in one library's names, or why there is none."""
    try:
        return wire.Script(face=face, text=script(model, checked, face), why=None)
    except RequestError as error:
        return wire.Script(face=face, text=None, why=str(error))


def differences(result: Result) -> list[wire.Difference]:
    """Rows of the difference panel: base against the result, ordered by KL contribution."""
    if not result.experiment.live:
        return []
    run = result.final
    frame = frames.difference_frame(
        result.columns[0].run.logits[-1], run.logits[-1], run.model.token_text, k=TOP
    )
    return [
        wire.Difference(
            token_id=int(row["token_id"]),
            label=row["label"],
            before=row["before"],
            after=row["after"],
            kl=row["kl"],
            rank_before=int(row["rank_before"]),
            rank_after=int(row["rank_after"]),
        )
        for row in frame.to_dict("records")
    ]


def verdicts(result: Result) -> list[wire.Verdict]:
    """Grouped against ungrouped, as one line; nothing when there is no group."""
    comparison = result.comparison
    if comparison is None:
        return []
    return [
        wire.Verdict(
            left="grouped",
            right="ungrouped",
            verdict=comparison.verdict,
            max_abs=comparison.max_abs,
            tolerance=comparison.tolerance,
            first_divergence=comparison.first_divergence,
            scope=comparison.scope,
            words=comparison.words,
        )
    ]


def sentence(model: LanguageModel, result: Result, checked: Plan) -> str:
    """The exact result in words."""
    base = result.columns[0].run.logits[-1].double().softmax(-1)
    slots = result.experiment.slots
    if not result.experiment.live:
        best = int(base.argmax())
        has_source = bool(result.experiment.sources)
        return words.nothing_live(len(slots), has_source, model.token_text(best), base[best].item())
    live = checked.live
    skipped = len(slots) - len(live)
    if len(live) == 1 and len(live[0].base_positions) == 1 and not skipped:
        deed = words.done(_deed(live[0], checked))
    else:
        deed = words.several(len(live), skipped)
    receipts = [receipt for receipt in result.final.record if not receipt.planned.slot.skip]
    if all(receipt.idle for receipt in receipts):
        best, reached = int(base.argmax()), any(receipt.fired for receipt in receipts)
        return words.all_idle(deed, len(live), reached, model.token_text(best), base[best].item())
    source = result.source or result.columns[0].run
    after = result.final.logits[-1].double().softmax(-1)
    return words.sentence(deed, change(model, base, source.logits[-1].double().softmax(-1), after))


def _deed(planned: PlannedSlot, checked: Plan) -> words.Deed:
    """What a slot with one position does."""
    slot, site = planned.slot, planned.site
    acts_on = checked.base if planned.target is None else checked.sources[planned.target]
    return words.Deed(
        token=acts_on[planned.base_positions[0]].text,
        component=site.component,
        layer=site.layer,
        head=site.head,
        source_token=(
            checked.sources[planned.source][planned.source_positions[0]].text
            if planned.source
            else None
        ),
        intervention=slot.intervention,
        strength=slot.strength,
        subspace=slot.subspace,
        prompts=len(slot.prompts),
        target=planned.target,
    )


def candidates(model: LanguageModel, logits: Tensor, probabilities: Tensor) -> list[wire.Candidate]:
    """The most likely next tokens of one distribution; both tensors are `(vocabulary,)`."""
    order = torch.sort(logits, descending=True, stable=True).indices[:TOP].tolist()
    return [
        wire.Candidate(
            token_id=token,
            label=label(model, token),
            probability=probabilities[token].item(),
            logit=float(logits[token]),
            rank=rank,
        )
        for rank, token in enumerate(order, start=1)
    ]


def change(model: LanguageModel, base: Tensor, source: Tensor, after: Tensor) -> words.Change:
    """The numbers of a sentence, from three distributions `(vocabulary,)`."""
    was, other, best = (int(p.argmax()) for p in (base, source, after))
    return words.Change(
        base_token=model.token_text(was),
        base_before=base[was].item(),
        base_after=after[was].item(),
        source_token=model.token_text(other),
        source_before=base[other].item(),
        source_after=after[other].item(),
        best_token=model.token_text(best),
        best_after=after[best].item(),
    )


def token_infos(tokens: Sequence[Token]) -> list[wire.TokenInfo]:
    """The tokens of a prompt."""
    return [
        wire.TokenInfo(index=t.index, id=t.id, text=t.text, label=frames.visible(t.text))
        for t in tokens
    ]


def label(model: LanguageModel, token_id: int) -> str:
    """A token's text made visible."""
    return frames.visible(model.token_text(token_id))
