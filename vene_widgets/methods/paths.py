"""paths(): path patching, the effect that one component has directly on another or on the answer.

Wang et al. 2022, "Interpretability in the Wild: a Circuit for Indirect Object Identification in
GPT-2 small"; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from vene_widgets.engine.own_model import own_model
from vene_widgets.engine.path_passes import require_rows
from vene_widgets.engine.positions import resolve_positions
from vene_widgets.engine.residual import record_residual
from vene_widgets.errors import RequestError, choose
from vene_widgets.experiments.pair_arguments import lone_tokens, pairs_of
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
from vene_widgets.methods.path_means import PathMeans
from vene_widgets.methods.path_results import Paths
from vene_widgets.methods.path_runs import PathRuns
from vene_widgets.models.language_model import require_language_model

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.experiments.fields import Where
    from vene_widgets.methods.path_ends import Writer
    from vene_widgets.models import LanguageModel, Token

NORMS = ("exact", "frozen")
"""Whether norms that a change goes through are computed anew, or their scales held."""

MLPS = ("frozen", "recomputed")
"""Whether MLPs between sender and receiver are held, or computed anew."""

Targets = Sequence[str | int] | str | int


@overload
def paths(
    model: LanguageModel,
    base: str,
    source: str,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Targets | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths: ...


@overload
def paths(
    model: LanguageModel,
    base: Sequence[str] | pd.DataFrame | Iterable[Any],
    source: Sequence[str] | None = None,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Targets | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths | PathMeans: ...


def paths(
    model: LanguageModel,
    base: str | Sequence[str] | pd.DataFrame | Iterable[Any],
    source: str | Sequence[str] | None = None,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Targets | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths | PathMeans:
    """Patch single paths: what a sender writes reaches the receiver directly, and nothing else.

    The sender's output is taken from the source run; every other head and MLP between it and the
    receiver keeps what it computes in the base run. Only the receiver's input changes, by what the
    sender adds to the residual stream; from the receiver on, everything is computed anew.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts of equally many tokens; position i of one stands for position i of the
            other. Or equally many of each, or `base` alone, a table of pairs with `base`, `source`
            and `targets` as for `sweep_pairs`: effects are then means over the pairs.
        senders: `"heads"`, `"mlps"`, `"all"` (both, and the embedding), or names: `"9.9"` or
            `(9, 9)` for a head, `"mlp5"`, `"embedding"`.
        receivers: `"logits"`, or a list of `("9.9", "q")`, with `"q"`, `"k"` or `"v"` for what the
            head computes from its input, and of `"mlp10"`. Of a model whose heads share keys and
            values, `"k"` and `"v"` count key-value heads.
        together: patch all receivers in one run, as Wang et al. do with a class of heads, instead
            of one run for each.
        positions: of the senders, written as in `Slot`; None for all. For the logits only the last
            one counts: the residual stream does not move between positions.
        targets: the target and the contrast token, by text or id, of all pairs; None for those of
            the table, or the token that the source raises most, and the base's answer.
        norms: which numbers count for `share`, `strongest` and `plot`: `"exact"` computes the norm
            before the receiver anew; `"frozen"` holds its scale at the base's. To the logits,
            whatever follows the head is held too, so that effects add up, and the frame has both
            in either case; to other receivers `"frozen"` takes twice as long and gives both.
        mlps: `"frozen"` holds MLPs too, so that a path is one edge of the residual stream
            (Goldowsky-Dill et al.); `"recomputed"` lets them compute anew, so that a path may lead
            through MLPs (Wang et al.).
        metric: `"logit_difference"`, `"logit"`, `"probability"` or `"log_probability"`.

    Returns:
        `Paths` of one pair; of several, `PathMeans`, whose frame also has `n` and `standard_error`.

    Raises:
        RequestError: prompts of unequal length, an unknown sender or receiver, a sender that is not
            before its receiver, an option that has no meaning with the others, a model whose
            residual stream is no sum, or numbers that are not finite.
    """
    require_language_model(model)
    for value, choices, name in (
        (norms, NORMS, "norms"),
        (mlps, MLPS, "mlps"),
        (metric, METRICS, "metric"),
    ):
        choose(value, choices, name)
    pairs = pairs_of(base, source)
    writers, ends = read_senders(model, senders), read_receivers(model, receivers)
    groups = [ends] if together and ends else [(receiver,) for receiver in ends]
    writers = _require_paths(model, writers, groups, senders)
    _require_norms(norms, mlps, metric, to_logits=not ends)
    asked = [
        _asked(model, pair, positions, targets, metric, number if len(pairs) > 1 else None)
        for number, pair in enumerate(pairs)
    ]
    model.accept_hooks()
    found: list[Paths] = []
    with model.lock, torch.no_grad(), own_model(model):
        for one in asked:
            with nullcontext() if one.row is None else named_row(one.row):
                found.append(_paths_of(model, one, writers, groups, norms, mlps, metric))
    if len(found) == 1:
        return found[0]
    return PathMeans(model=model, pairs=tuple(found), norms=norms, mlps=mlps)


@dataclass(frozen=True)
class _Asked:
    """One pair of prompts, checked.

    Attributes:
        base, source: the prompts.
        tokens, others: of the base and of the source, equally many.
        positions: at which senders are patched.
        targets: the target and its contrast; None for the plain runs' answers.
        row: of the pair; None of a single one.
    """

    base: str
    source: str
    tokens: tuple[Token, ...]
    others: tuple[Token, ...]
    positions: tuple[int, ...]
    targets: Targets | None
    row: int | None


def _asked(
    model: LanguageModel,
    pair: Pair,
    positions: Where | None,
    targets: Targets | None,
    metric: str,
    row: int | None,
) -> _Asked:
    """Check one pair of prompts.

    Raises:
        RequestError: see `paths`.
    """
    with nullcontext() if row is None else named_row(row):
        if pair.source is None:
            raise RequestError("source is missing: paths need the run of a source prompt.")
        tokens, others = tuple(model.tokens(pair.base)), tuple(model.tokens(pair.source))
        if len(tokens) != len(others):
            raise RequestError(
                f"base has {len(tokens)} tokens and source {len(others)}: paths need equally many, "
                "because position i of the source is patched into position i of the base."
            )
        places = resolve_positions(
            "all" if positions is None else positions, tokens, "positions", "base", distinct=True
        )
        own = targets if targets is not None else lone_tokens(pair.targets[:2]) or None
        if own is not None:
            resolve_targets(model, own, 2 if metric == "logit_difference" else 1, metric)
        return _Asked(pair.base, pair.source, tokens, others, places, own, row)


def _paths_of(
    model: LanguageModel,
    asked: _Asked,
    writers: tuple[Writer, ...],
    groups: Sequence[tuple[Receiver, ...]],
    norms: str,
    mlps: str,
    metric: str,
) -> Paths:
    """The paths of one pair. Inside `own_model`.

    Raises:
        RequestError: a residual stream that is no sum, or numbers that are not finite.
    """
    plain = [
        record_residual(model, [token.id for token in each])
        for each in (asked.tokens, asked.others)
    ]
    measure = answer_metric(model, metric, asked.targets, plain[0].logits, plain[1].logits)
    levels = measure(torch.stack([run.logits for run in plain]))
    require_finite(levels, "metric of the plain runs")
    require_rows(model)
    runs = PathRuns(model, plain[0], plain[1], writers, asked.positions, measure)
    bias, blocker = float("nan"), None
    if mlps == "recomputed":
        edges = edges_with_free_mlps(runs, groups)
    elif groups:
        edges, blocker = edges_between(runs, groups, held=norms == "frozen")
    else:
        edges, bias, blocker = edges_to_logits(runs, held=metric in LINEAR)
    if norms == "frozen" and blocker is not None:
        raise RequestError(f"norms='frozen' cannot be computed: {blocker}. Use norms='exact'.")
    require_finite(torch.tensor([edge.effect for edge in edges]), "effects")
    if norms == "frozen":
        require_finite(torch.tensor([edge.frozen for edge in edges]), "effects with norms held")
    return Paths(
        model=model,
        base=asked.base,
        source=asked.source,
        tokens=asked.tokens,
        positions=asked.positions,
        metric=measure,
        base_metric=float(levels[0]),
        source_metric=float(levels[1]),
        norms=norms,
        mlps=mlps,
        edges=tuple(edges),
        bias=bias,
        frozen_blocker=blocker,
    )


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
