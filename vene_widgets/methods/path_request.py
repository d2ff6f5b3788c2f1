"""PathRequest: what `paths` was asked for, checked, and its runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.path_passes import require_rows
from vene_widgets.engine.positions import resolve_positions
from vene_widgets.engine.residual import record_residual
from vene_widgets.errors import RequestError, choose
from vene_widgets.methods.answer_metric import (
    LINEAR,
    METRICS,
    AnswerMetric,
    answer_metric,
    require_finite,
    resolve_targets,
)
from vene_widgets.methods.path_effects import (
    Edge,
    edges_between,
    edges_to_logits,
    edges_with_free_mlps,
)
from vene_widgets.methods.path_ends import (
    KINDS,
    Receiver,
    can_reach,
    name_of,
    read_receivers,
    read_senders,
    receiver_name,
)
from vene_widgets.methods.path_runs import PathRuns
from vene_widgets.models.language_model import require_language_model

if TYPE_CHECKING:
    from vene_widgets.methods.path_ends import Writer
    from vene_widgets.models import LanguageModel, Token

NORMS = ("exact", "frozen")
"""Whether norms between sender and logits are computed anew, or their scales held."""

MLPS = ("frozen", "recomputed")
"""Whether MLPs between sender and receiver are held, or computed anew."""


@dataclass(frozen=True, eq=False)
class PathNumbers:
    """What the runs of a request gave.

    Attributes:
        metric: what was measured.
        levels: of the plain runs of base and source.
        edges, bias, blocker: as in `Paths`.
    """

    metric: AnswerMetric
    levels: tuple[float, float]
    edges: tuple[Edge, ...]
    bias: float
    blocker: str | None


@dataclass(frozen=True, eq=False)
class PathRequest:
    """Paths that can be computed; arguments of `paths`, names resolved.

    Attributes:
        model: the model.
        base, source: the prompts.
        tokens, other: their tokens, equally many.
        senders: in network order.
        groups: of receivers that are patched in one run; none stand for the logits.
        positions: at which senders are patched.
        targets, norms, mlps, metric: as given.
    """

    model: LanguageModel = field(repr=False)
    base: str
    source: str
    tokens: tuple[Token, ...]
    other: tuple[Token, ...]
    senders: tuple[Writer, ...]
    groups: tuple[tuple[Receiver, ...], ...]
    positions: tuple[int, ...]
    targets: Sequence[str | int] | str | int | None
    norms: str
    mlps: str
    metric: str

    def steps(self) -> Generator[None, None, PathNumbers]:
        """The runs, in steps. Take each inside `own_model`.

        Raises:
            RequestError: a model whose residual stream is no sum, or numbers that are not finite.
        """
        model = self.model
        base = record_residual(model, [token.id for token in self.tokens])
        yield
        source = record_residual(model, [token.id for token in self.other])
        yield
        measure = answer_metric(model, self.metric, self.targets, base.logits, source.logits)
        levels = measure(torch.stack([base.logits, source.logits]))
        require_finite(levels, "metric of the plain runs")
        require_rows(model)
        runs = PathRuns(model, base, source, self.senders, self.positions, measure)
        bias, blocker = float("nan"), None
        if self.mlps == "recomputed":
            edges = yield from edges_with_free_mlps(runs, self.groups)
        elif self.groups:
            edges = yield from edges_between(runs, self.groups)
        else:
            edges, bias, blocker = yield from edges_to_logits(runs, held=self.metric in LINEAR)
        require_finite(torch.tensor([edge.effect for edge in edges]), "effects")
        if self.norms == "frozen" and blocker is not None:
            raise RequestError(f"norms='frozen' cannot be computed: {blocker}. Use norms='exact'.")
        return PathNumbers(
            metric=measure,
            levels=(float(levels[0]), float(levels[1])),
            edges=tuple(edges),
            bias=bias,
            blocker=blocker,
        )


def read_request(
    model: LanguageModel,
    base: str,
    source: str,
    *,
    senders: object = "heads",
    receivers: object = "logits",
    together: bool = False,
    positions: Any = None,
    targets: Sequence[str | int] | str | int | None = None,
    norms: str = "exact",
    mlps: str = "frozen",
    metric: str = "logit_difference",
) -> PathRequest:
    """Check the arguments of `paths`; nothing runs.

    Raises:
        RequestError: as in `paths`.
    """
    require_language_model(model)
    for value, choices, name in (
        (norms, NORMS, "norms"),
        (mlps, MLPS, "mlps"),
        (metric, METRICS, "metric"),
    ):
        choose(value, choices, name)
    tokens, other = tuple(model.tokens(base)), tuple(model.tokens(source))
    if len(tokens) != len(other):
        raise RequestError(
            f"base has {len(tokens)} tokens and source {len(other)}: paths need equally many, "
            "because position i of the source is patched into position i of the base."
        )
    writers, ends = read_senders(model, senders), read_receivers(model, receivers)
    groups = [ends] if together and ends else [(receiver,) for receiver in ends]
    writers = _require_paths(model, writers, groups, senders)
    if norms == "frozen" and (ends or mlps == "recomputed" or metric not in LINEAR):
        raise RequestError(
            "norms='frozen' is for receivers='logits', mlps='frozen' and metric "
            "'logit_difference' or 'logit', where effects add up. Use norms='exact'."
        )
    places = resolve_positions(
        "all" if positions is None else positions, tokens, "positions", "base", distinct=True
    )
    if targets is not None:
        resolve_targets(model, targets, 2 if metric == "logit_difference" else 1, metric)
    return PathRequest(
        model=model,
        base=base,
        source=source,
        tokens=tokens,
        other=other,
        senders=writers,
        groups=tuple(groups),
        positions=places,
        targets=targets,
        norms=norms,
        mlps=mlps,
        metric=metric,
    )


def _require_paths(
    model: LanguageModel,
    writers: tuple[Writer, ...],
    groups: Sequence[tuple[Receiver, ...]],
    asked: object,
) -> tuple[Writer, ...]:
    """The senders that are before a receiver; all of those that were named must be.

    Raises:
        RequestError: a sender that was named comes after a receiver, or none comes before.
    """
    if not groups:
        return writers
    named = not (isinstance(asked, str) and asked in KINDS)
    for group in groups:
        for writer in writers if named else ():
            if not any(can_reach(model, writer, receiver) for receiver in group):
                raise RequestError(
                    f"sender {name_of(writer)!r} is not before receiver "
                    f"{receiver_name(group)!r}: a path leads from a block to a later one, or from "
                    "a head to the MLP that reads its output."
                )
    kept = tuple(
        writer
        for writer in writers
        if any(can_reach(model, writer, r) for group in groups for r in group)
    )
    if not kept:
        raise RequestError(
            f"no sender is before {', '.join(receiver_name(group) for group in groups)}: name a "
            "receiver of a later layer, or 'embedding' as a sender."
        )
    return kept
