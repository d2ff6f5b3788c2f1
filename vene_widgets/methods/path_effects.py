"""The effects of paths: what a change of the residual stream does to the answer."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vene_widgets.engine.held_inputs import held_inputs
from vene_widgets.engine.path_passes import (
    Writer,
    effects_of,
    effects_on_logits,
    received,
    recomputed,
)
from vene_widgets.errors import RequestError
from vene_widgets.methods.held_paths import HeldPaths
from vene_widgets.methods.path_ends import Receiver, can_reach
from vene_widgets.methods.path_runs import PathRuns, change_of, patched_heads

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.models.sites import Site

MOST_BYTES = 2**31
"""Changes of the residual stream that are kept at once, in bytes."""


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


def edges_to_logits(
    runs: PathRuns, *, held: bool
) -> Generator[None, None, tuple[list[Edge], float, str | None]]:
    """The direct effect of every sender on the logits, all else held; in steps.

    Args:
        runs: the plain runs.
        held: whether to compute effects with norms held too.

    Returns:
        The edges; the biases' part of the base's metric with norms held; and the reason why
        numbers with norms held are missing, None if they are there.
    """
    last = runs.base.length - 1
    patched = patched_heads(runs, slice(last, last + 1))
    yield
    changes = torch.stack([change_of(runs, writer, patched, (last,))[0] for writer in runs.senders])
    effects = effects_on_logits(runs.model, runs.base, changes, runs.metric)
    effects[~changes.cpu().any(-1)] = 0.0
    yield
    missing = [math.nan] * len(runs.senders)
    frozen, contributions, bias, reason = missing, missing, math.nan, None
    try:
        if held:
            frozen, contributions, bias = HeldPaths(runs).effects(patched)
    except RequestError as error:
        reason = str(error)
    found = [
        Edge(writer, (), float(effect), held, part)
        for writer, effect, held, part in zip(
            runs.senders, effects, frozen, contributions, strict=True
        )
    ]
    return found, bias, reason


def edges_between(
    runs: PathRuns, groups: Sequence[tuple[Receiver, ...]], *, held: bool
) -> Generator[None, None, tuple[list[Edge], str | None]]:
    """The effect of every sender by way of each group of receivers, all else between held.

    In steps, between which the model may be left.

    Args:
        runs: the plain runs.
        groups: of receivers.
        held: whether to compute effects with the receivers' norms held too.

    Returns:
        The edges, and the reason why numbers with norms held are missing; None if they are there,
        or were not to be computed.

    Raises:
        RequestError: too many senders for memory.
    """
    model, base = runs.model, runs.base
    size = len(runs.senders) * base.length * model.sites.d_model * 4
    if size > MOST_BYTES:
        raise RequestError(
            f"{len(runs.senders)} senders at {base.length} tokens need {size / 2**30:.3g} GiB for "
            "what they write. Name fewer senders, or take shorter prompts."
        )
    patched = patched_heads(runs, slice(None))
    every = range(base.length)
    changes = torch.stack([change_of(runs, writer, patched, every) for writer in runs.senders])
    yield
    found: list[Edge] = []
    reason: str | None = None
    for group in groups:
        reach = {r: [can_reach(model, writer, r) for writer in runs.senders] for r in group}
        effects = yield from _by_way_of(runs, reach, changes, held=False)
        frozen = torch.full_like(effects, math.nan)
        if held and reason is None:
            try:
                frozen = yield from _by_way_of(runs, reach, changes, held=True)
            except RequestError as error:
                reason = str(error)
        for n, writer in enumerate(runs.senders):
            if any(reach[receiver][n] for receiver in group):
                found.append(Edge(writer, group, float(effects[n]), float(frozen[n])))
    return found, reason


def _by_way_of(
    runs: PathRuns, reach: Mapping[Receiver, Sequence[bool]], changes: Tensor, *, held: bool
) -> Generator[None, None, Tensor]:
    """Effects of the senders by way of some receivers, `(senders,)`; in steps.

    Args:
        runs: the plain runs.
        reach: of each receiver, which senders come before it.
        changes: what senders change in the residual stream, `(senders, positions, d_model)`.
        held: whether the receivers' norms are held.
    """
    model, base = runs.model, runs.base
    sites: dict[Site, Tensor] = {}
    for layer in sorted({receiver.site.layer for receiver in reach}):
        here = [receiver for receiver in reach if receiver.site.layer == layer]
        inputs = {"mlp_input" if one.part == "mlp" else "attention_input" for one in here}
        norms = held_inputs(model, base, layer, sorted(inputs)) if held else ()
        got = yield from received(model, base, [receiver.site for receiver in here], changes, norms)
        for receiver, values in zip(here, got, strict=True):
            sites[receiver.site] = _where_reached(values, reach[receiver])
    effects = yield from effects_of(model, base, sites, runs.metric)
    effects[~changes.flatten(1).cpu().any(-1)] = 0.0
    return effects


def edges_with_free_mlps(
    runs: PathRuns, groups: Sequence[tuple[Receiver, ...]]
) -> Generator[None, None, list[Edge]]:
    """Path patching of Wang et al. 2022: other heads are held, and MLPs compute anew; in steps.

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
        by_way = yield from effects_of(model, runs.base, sites, runs.metric)
        for n, writer in enumerate(runs.senders):
            if any(reach[receiver][n] for receiver in group):
                effect = float(by_way[n]) if runs.is_changed(writer) else 0.0
                found.append(Edge(writer, group, effect))
    return found


def _where_reached(values: Tensor, reach: Sequence[bool]) -> Tensor:
    """Received values `(1 + rows, ...)`, those of the first row where a sender comes too late."""
    mask = torch.tensor([True, *reach], device=values.device)[:, None, None]
    return torch.where(mask, values, values[:1])
