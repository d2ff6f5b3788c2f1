"""The effects of paths: plain runs, what each sender writes, what receivers make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.forward import apply_rows
from vene_widgets.engine.held_norms import HeldNorm
from vene_widgets.engine.path_passes import (
    Writer,
    effects_of,
    effects_on_logits,
    received,
    recomputed,
)
from vene_widgets.engine.residual import (
    AttentionParts,
    ResidualRun,
    attention_parts,
    residual_factor,
)
from vene_widgets.errors import RequestError
from vene_widgets.methods.path_ends import Receiver, can_reach
from vene_widgets.models.sites import module_at

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.methods.answer_metric import AnswerMetric
    from vene_widgets.models import LanguageModel

MOST_BYTES = 2**31
"""Changes of the residual stream that are kept at once, in bytes."""

HEAD_ROWS = 64
"""Vectors that go through the output head at once."""


@dataclass(frozen=True)
class Edge:
    """One path.

    Attributes:
        sender: what is patched.
        receivers: what gets its direct part; none stand for the logits.
        effect: metric with the path patched − metric of the base.
        frozen: the same with norms held; NaN where it is not computed.
        contribution: the sender's own part of the base's metric with norms held; NaN likewise.
    """

    sender: Writer
    receivers: tuple[Receiver, ...]
    effect: float
    frozen: float = math.nan
    contribution: float = math.nan


@dataclass(frozen=True, eq=False)
class PathRuns:
    """The plain runs that paths go between, and the request in integers.

    Attributes:
        model: the model.
        base, source: plain runs, equally long.
        senders: what is patched.
        positions: at which senders are patched.
        metric: what is measured.
    """

    model: LanguageModel
    base: ResidualRun
    source: ResidualRun
    senders: tuple[Writer, ...]
    positions: tuple[int, ...]
    metric: AnswerMetric

    def is_changed(self, writer: Writer) -> bool:
        """Whether the sender writes something else in the source run, at the positions."""
        here = list(self.positions)
        one, other = (_written(self.model, run, writer)[here] for run in (self.base, self.source))
        return not torch.equal(one, other)


def _written(model: LanguageModel, run: ResidualRun, writer: Writer) -> Tensor:
    """What a sender computes in a plain run, `(positions, width)`."""
    if writer.layer < 0:
        return run.inputs[0]
    if writer.head is None:
        return run.outputs["mlp"][writer.layer]
    start = writer.head * model.sites.d_head
    return run.attended[writer.layer][:, start : start + model.sites.d_head]


def edges_to_logits(runs: PathRuns, *, held: bool) -> tuple[list[Edge], float, str | None]:
    """The direct effect of every sender on the logits, all else held.

    Args:
        runs: the plain runs.
        held: whether to compute effects with norms held too.

    Returns:
        The edges; the biases' part of the base's metric with norms held; and the reason why
        numbers with norms held are missing, None if they are there.
    """
    last = runs.base.length - 1
    patched = _patched_heads(runs, slice(last, last + 1))
    changes = torch.stack([_change(runs, writer, patched, (last,))[0] for writer in runs.senders])
    effects = effects_on_logits(runs.model, runs.base, changes, runs.metric)
    effects[~changes.cpu().any(-1)] = 0.0
    missing = [math.nan] * len(runs.senders)
    frozen, contributions, bias, reason = missing, missing, math.nan, None
    try:
        if held:
            frozen, contributions, bias = _HeldPaths(runs).effects(patched)
    except RequestError as error:
        reason = str(error)
    found = [
        Edge(writer, (), float(effect), held, part)
        for writer, effect, held, part in zip(
            runs.senders, effects, frozen, contributions, strict=True
        )
    ]
    return found, bias, reason


def edges_between(runs: PathRuns, groups: Sequence[tuple[Receiver, ...]]) -> list[Edge]:
    """The effect of every sender by way of each group of receivers, all else between held."""
    model, base = runs.model, runs.base
    size = len(runs.senders) * base.length * model.sites.d_model * 4
    if size > MOST_BYTES:
        raise RequestError(
            f"{len(runs.senders)} senders at {base.length} tokens need {size / 2**30:.3g} GiB for "
            "what they write. Name fewer senders, or take shorter prompts."
        )
    patched = _patched_heads(runs, slice(None))
    every = torch.arange(base.length)
    changes = torch.stack(
        [_change(runs, writer, patched, every.tolist()) for writer in runs.senders]
    )
    found: list[Edge] = []
    for group in groups:
        reach = {r: [can_reach(model, writer, r) for writer in runs.senders] for r in group}
        new: dict[Receiver, Tensor] = {}
        for layer in sorted({receiver.site.layer for receiver in group}):
            here = [receiver for receiver in group if receiver.site.layer == layer]
            got = received(model, base, [receiver.site for receiver in here], changes)
            new.update(zip(here, got, strict=True))
        sites = {r.site: _where_reached(values, reach[r]) for r, values in new.items()}
        effects = effects_of(model, base, sites, runs.metric)
        for n, writer in enumerate(runs.senders):
            if not any(reach[receiver][n] for receiver in group):
                continue
            effect = float(effects[n]) if bool(changes[n].any()) else 0.0
            found.append(Edge(writer, group, effect))
    return found


def edges_with_free_mlps(runs: PathRuns, groups: Sequence[tuple[Receiver, ...]]) -> list[Edge]:
    """Path patching of Wang et al. 2022: other heads are held, and MLPs compute anew.

    Args:
        runs: the plain runs.
        groups: of receivers; none stand for the logits.
    """
    model, receivers = runs.model, [receiver for group in groups for receiver in group]
    effects, got = recomputed(
        model,
        runs.base,
        runs.source,
        runs.senders,
        runs.positions,
        [receiver.site for receiver in receivers],
        runs.metric,
    )
    if not groups:
        return [
            Edge(writer, (), float(effect) if runs.is_changed(writer) else 0.0)
            for writer, effect in zip(runs.senders, effects, strict=True)
        ]
    values = dict(zip(receivers, got, strict=True))
    found: list[Edge] = []
    for group in groups:
        reach = {r: [can_reach(model, writer, r) for writer in runs.senders] for r in group}
        sites = {r.site: _where_reached(values[r], reach[r]) for r in group}
        by_way = effects_of(model, runs.base, sites, runs.metric)
        for n, writer in enumerate(runs.senders):
            if any(reach[receiver][n] for receiver in group):
                effect = float(by_way[n]) if runs.is_changed(writer) else 0.0
                found.append(Edge(writer, group, effect))
    return found


def _where_reached(values: Tensor, reach: Sequence[bool]) -> Tensor:
    """Received values `(1 + rows, ...)`, those of the first row where a sender comes too late."""
    mask = torch.tensor([True, *reach], device=values.device)[:, None, None]
    return torch.where(mask, values, values[:1])


def _patched_heads(runs: PathRuns, kept: slice) -> AttentionParts | None:
    """What attention adds with one head's vectors from the source; None without such senders."""
    heads = _heads_of(runs)
    if not heads:
        return None
    here = torch.zeros(runs.base.length, 1, dtype=torch.bool, device=runs.base.attended.device)
    here[list(runs.positions)] = True
    one = torch.where(here, runs.source.attended, runs.base.attended)
    return attention_parts(runs.model, runs.base, heads, one, runs.base.attended, kept)


def _heads_of(runs: PathRuns) -> list[int]:
    """Heads, of any layer, that are senders."""
    return sorted({writer.head for writer in runs.senders if writer.head is not None})


def _change(
    runs: PathRuns, writer: Writer, patched: AttentionParts | None, kept: Sequence[int]
) -> Tensor:
    """What patching a sender changes in the residual stream, `(kept positions, d_model)`."""
    base, source = runs.base, runs.source
    if writer.head is not None and patched is not None:
        change = patched.added[writer.layer, _heads_of(runs).index(writer.head)]
        # Equal vectors give no change at all, whatever the rounding of a batch.
        return change if runs.is_changed(writer) else torch.zeros_like(change)
    if writer.layer < 0:
        change = source.inputs[0].float() - base.inputs[0].float()
    else:
        change = source.added["mlp"][writer.layer] - base.added["mlp"][writer.layer]
    outside = [n for n in range(base.length) if n not in set(runs.positions)]
    change[outside] = 0
    return change[list(kept)]


class _HeldPaths:
    """Direct paths to the logits with norms held at what they are in the base run.

    Args:
        runs: the plain runs.

    Raises:
        RequestError: a norm is of no known kind.
    """

    def __init__(self, runs: PathRuns) -> None:
        self._runs = runs
        model, base = runs.model, runs.base
        architecture = model.sites.architecture
        self._norm = HeldNorm(model, architecture.final_norm, base.final[-1])
        self._head = module_at(model.net, model.sites.unembedding)
        self._sublayers: dict[tuple[int, str], HeldNorm] = {}
        if architecture.norms_after is not None:
            for layer in range(model.sites.layers):
                for kind, path in zip(("attention", "mlp"), architecture.norms_after, strict=True):
                    full = f"{architecture.blocks}.{layer}.{path}"
                    at = base.outputs["attention" if kind == "attention" else "mlp"][layer, -1]
                    self._sublayers[layer, kind] = HeldNorm(model, full, at)
        tokens = list(runs.metric.tokens)
        zero = torch.zeros_like(self._norm.output)
        self._no_input = self._raw(zero[None])[0]
        raw = self._raw(self._norm.output[None])[0]
        given = base.logits.float()
        # What a model does after its head (a cap, a scale) is held as a factor of each logit.
        near = raw.abs().where(raw != 0, torch.inf).argmin()
        factors = torch.where(raw != 0, given / raw, given[near] / raw[near])
        self._factors = factors[tokens]
        self._signs = torch.tensor([1.0, -1.0][: len(tokens)], device=raw.device)

    def effects(self, patched: AttentionParts | None) -> tuple[list[float], list[float], float]:
        """Effects of patching, contributions in the base run, and the biases' contribution."""
        runs, last = self._runs, self._runs.base.length - 1
        model, base = runs.model, runs.base
        heads = _heads_of(runs) or [0]
        silent = torch.zeros_like(base.attended)
        parts = attention_parts(model, base, heads, base.attended, silent, slice(last, last + 1))
        changes: list[Tensor] = []
        own: list[Tensor] = []
        for writer in runs.senders:
            if writer.layer < 0:
                own.append(base.inputs[0][-1].float())
                changes.append(_change(runs, writer, patched, (last,))[0])
            elif writer.head is None:
                own.append(base.added["mlp"][writer.layer][-1])
                one, other = (
                    run.outputs["mlp"][writer.layer, -1].float() for run in (runs.source, base)
                )
                is_patched = last in runs.positions
                changes.append(self._added(writer.layer, "mlp", (one - other) * is_patched))
            else:
                row = heads.index(writer.head)
                own.append(
                    self._added(writer.layer, "attention", parts.outputs[writer.layer, row, 0])
                )
                change = parts.outputs[writer.layer, row, 0] * 0
                if patched is not None and runs.is_changed(writer):
                    change = patched.outputs[writer.layer, row, 0]
                changes.append(self._added(writer.layer, "attention", change))
        bias = torch.zeros_like(self._norm.output)
        for layer in range(model.sites.layers):
            bias += self._added(layer, "attention", parts.reference[layer, 0])
            if norm := self._sublayers.get((layer, "attention")):
                bias += norm.offset * residual_factor(model)
        rows = self._read(torch.stack([*changes, *own, bias]))
        count = len(changes)
        offset = self._norm.offset[None]
        constant = self._metric(self._linear(offset) + self._no_input[list(runs.metric.tokens)])
        return (
            rows[:count].tolist(),
            rows[count : 2 * count].tolist(),
            float(rows[-1] + constant[0]),
        )

    def _added(self, layer: int, kind: str, change: Tensor) -> Tensor:
        """A part of a sublayer's output as it is added to the residual stream."""
        norm = self._sublayers.get((layer, kind))
        return (change if norm is None else norm(change)) * residual_factor(self._runs.model)

    def _read(self, parts: Tensor) -> Tensor:
        """Parts of the final residual stream `(rows, d_model)` -> of the metric `(rows,)`."""
        return self._metric(self._linear(self._norm(parts)))

    def _metric(self, raw: Tensor) -> Tensor:
        """The head's outputs for the metric's tokens `(rows, tokens)` -> `(rows,)`, float64."""
        return (raw * self._factors * self._signs).double().sum(-1).cpu()

    def _linear(self, normed: Tensor) -> Tensor:
        """The head's outputs for the metric's tokens without its bias, `(rows, tokens)`."""
        tokens = list(self._runs.metric.tokens)
        found: list[Tensor] = []
        for rows in normed.split(HEAD_ROWS):
            found.append((self._raw(rows) - self._no_input)[:, tokens])
        return torch.cat(found)

    def _raw(self, rows: Tensor) -> Tensor:
        """The output head's own output, `(rows, vocabulary)`, float32."""
        return apply_rows(self._head, rows, self._runs.model.dtype)
