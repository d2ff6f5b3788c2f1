"""PathRequest: what `paths` was asked for, checked, and its runs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from vene_widgets.engine.path_passes import require_rows
from vene_widgets.engine.positions import resolve_positions
from vene_widgets.engine.residual import record_residual
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.pair_arguments import lone_tokens
from vene_widgets.experiments.pairs import Pair, named_row
from vene_widgets.methods.answer_metric import (
    LINEAR,
    METRICS,
    answer_metric,
    require_finite,
    resolve_targets,
)
from vene_widgets.methods.path_effects import (
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
from vene_widgets.methods.path_results import Paths
from vene_widgets.methods.path_runs import PathRuns
from vene_widgets.models.language_model import require_language_model

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.methods.path_ends import Writer
    from vene_widgets.models import LanguageModel, Token

NORMS = ("exact", "frozen")
"""Whether norms that a change goes through are computed anew, or their scales held."""

MLPS = ("frozen", "recomputed")
"""Whether MLPs between sender and receiver are held, or computed anew."""


Targets = Sequence[str | int] | str | int


@dataclass(frozen=True, eq=False)
class PathRequest:
    """Paths of one pair that can be computed; arguments of `paths`, names resolved.

    Attributes:
        model: the model.
        base, source: the prompts.
        tokens, other: their tokens, equally many.
        senders: in network order.
        groups: of receivers that are patched in one run; none stand for the logits.
        positions: at which senders are patched.
        targets: the target and its contrast; None for the plain runs' answers.
        norms, mlps, metric: as given.
        row: of the pair in a table; None of a single one.
        both: whether receivers other than the logits have effects with norms held as well, where
            these can be computed.
    """

    model: LanguageModel = field(repr=False)
    base: str
    source: str
    tokens: tuple[Token, ...]
    other: tuple[Token, ...]
    senders: tuple[Writer, ...]
    groups: tuple[tuple[Receiver, ...], ...]
    positions: tuple[int, ...]
    targets: Targets | None
    norms: str
    mlps: str
    metric: str
    row: int | None = None
    both: bool = False

    def steps(self) -> Generator[None, None, Paths]:
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
            between = edges_between(runs, self.groups, held=self.norms == "frozen" or self.both)
            edges, blocker = yield from between
        else:
            edges, bias, blocker = yield from edges_to_logits(runs, held=self.metric in LINEAR)
        if self.norms == "frozen" and blocker is not None:
            raise RequestError(f"norms='frozen' cannot be computed: {blocker}. Use norms='exact'.")
        require_finite(_numbers([edge.effect for edge in edges]), "effects")
        if self.norms == "frozen":
            frozen = _numbers([edge.frozen for edge in edges])
            require_finite(frozen, "effects with norms held")
        return Paths(
            model=model,
            base=self.base,
            source=self.source,
            tokens=self.tokens,
            positions=self.positions,
            metric=measure,
            base_metric=float(levels[0]),
            source_metric=float(levels[1]),
            norms=self.norms,
            mlps=self.mlps,
            edges=tuple(edges),
            bias=bias,
            frozen_blocker=blocker,
        )


def read_requests(
    model: LanguageModel,
    pairs: Sequence[Pair],
    *,
    senders: object = "heads",
    receivers: object = "logits",
    together: bool = False,
    positions: Any = None,
    targets: Targets | None = None,
    norms: str = "exact",
    mlps: str = "frozen",
    metric: str = "logit_difference",
    both: bool = False,
) -> list[PathRequest]:
    """Check the arguments of `paths`, one request per pair; nothing runs.

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
    writers, ends = read_senders(model, senders), read_receivers(model, receivers)
    groups = [ends] if together and ends else [(receiver,) for receiver in ends]
    writers = _require_paths(model, writers, groups, senders)
    _require_norms(norms, mlps, metric, to_logits=not ends)
    found: list[PathRequest] = []
    for number, pair in enumerate(pairs):
        row = number if len(pairs) > 1 else None
        with nullcontext() if row is None else named_row(row):
            if pair.source is None:
                raise RequestError("source is missing: paths need the run of a source prompt.")
            tokens, other = _tokens(model, pair.base, pair.source)
            wanted = "all" if positions is None else positions
            places = resolve_positions(wanted, tokens, "positions", "base", distinct=True)
            if not places:
                raise RequestError("positions must name at least one, got none.")
            own = targets if targets is not None else lone_tokens(pair.targets[:2]) or None
            if own is not None:
                resolve_targets(model, own, 2 if metric == "logit_difference" else 1, metric)
        request = PathRequest(
            model=model,
            base=pair.base,
            source=pair.source,
            tokens=tokens,
            other=other,
            senders=writers,
            groups=tuple(groups),
            positions=places,
            targets=own,
            norms=norms,
            mlps=mlps,
            metric=metric,
            row=row,
            both=both,
        )
        found.append(request)
    return found


def _numbers(values: Sequence[float]) -> Tensor:
    """Numbers as a tensor, whatever torch's default device and dtype are."""
    return torch.tensor(values, dtype=torch.float64, device="cpu")


def _tokens(
    model: LanguageModel, base: str, source: str
) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
    """The tokens of two prompts.

    Raises:
        RequestError: they are not equally many.
    """
    tokens, other = tuple(model.tokens(base)), tuple(model.tokens(source))
    if len(tokens) != len(other):
        raise RequestError(
            f"base has {len(tokens)} tokens and source {len(other)}: paths need equally many, "
            "because position i of the source is patched into position i of the base."
        )
    return tokens, other


def _require_norms(norms: str, mlps: str, metric: str, *, to_logits: bool) -> None:
    """Check that norms can be held with the other options.

    Raises:
        RequestError: they cannot.
    """
    if norms == "exact":
        return
    if mlps == "recomputed":
        raise RequestError(
            "norms='frozen' is for mlps='frozen': what MLPs compute anew goes through norms of "
            "their own. Use norms='exact'."
        )
    if to_logits and metric not in LINEAR:
        raise RequestError(
            "norms='frozen' to the logits is for metric 'logit_difference' or 'logit', where "
            f"effects add up, not {metric!r}. Use norms='exact'."
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
