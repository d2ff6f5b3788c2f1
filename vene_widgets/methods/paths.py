"""paths(): path patching, the effect that one component has directly on another or on the answer.

Wang et al. 2022, "Interpretability in the Wild: a Circuit for Indirect Object Identification in
GPT-2 small"; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch

from vene_widgets.engine.own_model import own_model
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
    LOGITS,
    Receiver,
    can_reach,
    name_of,
    read_receivers,
    read_senders,
)
from vene_widgets.methods.path_runs import PathRuns
from vene_widgets.models.language_model import require_language_model
from vene_widgets.models.unwrapping import PickledWithoutWeights
from vene_widgets.tables.columns import COLUMNS, FRAMES

if TYPE_CHECKING:
    import pandas as pd
    from plotnine import ggplot

    from vene_widgets.experiments.fields import Where
    from vene_widgets.methods.path_ends import Writer
    from vene_widgets.models import LanguageModel, Token

NORMS = ("exact", "frozen")
"""Whether norms that a change goes through are computed anew, or their scales held."""

MLPS = ("frozen", "recomputed")
"""Whether MLPs between sender and receiver are held, or computed anew."""


@dataclass(frozen=True, eq=False)
class Paths(PickledWithoutWeights):
    """Direct effects of senders on receivers, or on the logits.

    Attributes:
        model: the model that ran.
        base, source: the prompts.
        tokens: the base prompt's tokens.
        positions: at which senders got the source's values.
        metric: what was measured.
        base_metric, source_metric: of the plain runs.
        norms, mlps: as in `paths`.
        edges: one per sender and receiver, in network order.
        bias: what biases alone contribute to `base_metric` with norms held; NaN where that is not
            computed. With `senders="all"`, it and the frame's `contribution` add up to
            `base_metric`.
        frozen_blocker: why numbers with norms held are missing; None if they are there.
    """

    model: LanguageModel = field(repr=False)
    base: str
    source: str
    tokens: tuple[Token, ...]
    positions: tuple[int, ...]
    metric: AnswerMetric
    base_metric: float
    source_metric: float
    norms: str
    mlps: str
    edges: tuple[Edge, ...] = field(repr=False)
    bias: float
    frozen_blocker: str | None

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per sender and receiver, in network order (`tables.columns`).

        Columns: `sender_name`, `sender` (`head`, `mlp` or `embedding`), `sender_layer`,
        `sender_head`, `receiver` (`logits`, `9.9 q`, `mlp10`, …), `effect` (metric with the path
        patched − metric of the base), `effect_frozen` (the same with norms held; NaN where that
        was not computed), `share` (of what
        the two plain runs differ by), `contribution` (the sender's own part of the base's metric).
        """
        import pandas as pd

        whole = self.source_metric - self.base_metric
        rows: list[tuple[Any, ...]] = []
        for edge in self.edges:
            writer = edge.sender
            chosen = edge.frozen if self.norms == "frozen" else edge.effect
            rows.append(
                (
                    name_of(writer),
                    _kind(writer),
                    None if writer.layer < 0 else writer.layer,
                    writer.head,
                    receiver_name(edge.receivers),
                    edge.effect,
                    edge.frozen,
                    chosen / whole if whole else float("nan"),
                    edge.contribution,
                )
            )
        frame = pd.DataFrame(rows, columns=list(FRAMES["path_frame"]))
        return frame.astype({name: COLUMNS[name].dtype for name in frame.columns})

    @property
    def ranked_by(self) -> str:
        """The column by which paths are compared: `effect` or `effect_frozen`."""
        return "effect_frozen" if self.norms == "frozen" else "effect"

    def strongest(self, n: int = 10) -> pd.DataFrame:
        """The n paths with the largest effects, of either sign; columns as in `frame`.

        Raises:
            RequestError: `n` is no number of paths.
        """
        if type(n) is not int or n < 1:
            raise RequestError(f"n must be a number of paths, 1 or more, got {n!r}.")
        column: Any = self.frame[self.ranked_by]
        order: Any = column.abs().sort_values(ascending=False, kind="stable").index[:n]
        return self.frame.reindex(order).reset_index(drop=True)

    def plot(
        self, title: str | None = None, *, strongest: int | None = None, style: str = "light"
    ) -> ggplot:
        """A layer × head map of effects, or the strongest paths as bars, drawn by plotnine.

        Args:
            title: above the figure.
            strongest: how many paths to draw as bars; None for the map.
            style: `light` or `dark`.
        """
        from vene_widgets import figures

        setup = self.setup
        if strongest is not None:
            data = self.strongest(strongest)
            return figures.path_bars(data, self.ranked_by, title=title, setup=setup, style=style)
        return figures.path_map(self.frame, self.ranked_by, title=title, setup=setup, style=style)

    @property
    def setup(self) -> str:
        """What was done, in one line: prompts, positions, what was held, what was measured."""
        held = "other heads held, MLPs recomputed" if self.mlps == "recomputed" else "all else held"
        if receiver_name(self.edges[0].receivers) == LOGITS:
            norms = "final norm's scale held" if self.norms == "frozen" else "final norm recomputed"
            held = f"{held}, {norms}"
        elif self.norms == "frozen":
            held = f"{held}, scale of the receiver's norm too"
        count = len(self.positions)
        where = (
            "all tokens"
            if count == len(self.tokens)
            else (f"token{'s' if count > 1 else ''} {', '.join(map(str, self.positions))}")
        )
        return (
            f"base “{self.base}” · source “{self.source}” · senders patched at {where}, {held} · "
            f"effect on {self.metric.words(self.model)} · base {_signed(self.base_metric)}, "
            f"source {_signed(self.source_metric)} · {self.model.name}"
        )

    def __repr__(self) -> str:
        best = self.strongest(1).iloc[0]
        return (
            f"<Paths {self.base!r} <- {self.source!r}: {len(self.edges)} paths, "
            f"{self.metric.name} {self.base_metric:.3g} -> {self.source_metric:.3g}; strongest "
            f"{best.sender_name} -> {best.receiver} {best[self.ranked_by]:+.3g}>"
        )


def paths(
    model: LanguageModel,
    base: str,
    source: str,
    *,
    senders: Literal["heads", "mlps", "all"] | str | Sequence[Any] = "heads",
    receivers: str | Sequence[Any] = "logits",
    together: bool = False,
    positions: Where | None = None,
    targets: Sequence[str | int] | str | int | None = None,
    norms: Literal["exact", "frozen"] = "exact",
    mlps: Literal["frozen", "recomputed"] = "frozen",
    metric: str = "logit_difference",
) -> Paths:
    """Patch single paths: what a sender writes reaches the receiver directly, and nothing else.

    The sender's output is taken from the source run; every other head and MLP between it and the
    receiver keeps what it computes in the base run. Only the receiver's input changes, by what the
    sender adds to the residual stream; from the receiver on, everything is computed anew.

    Args:
        model: from `load` or `wrap`; it is left exactly as it was.
        base, source: prompts of equally many tokens; position i of one stands for position i of the
            other.
        senders: `"heads"`, `"mlps"`, `"all"` (both, and the embedding), or names: `"9.9"` or
            `(9, 9)` for a head, `"mlp5"`, `"embedding"`.
        receivers: `"logits"`, or a list of `("9.9", "q")`, with `"q"`, `"k"` or `"v"` for what the
            head computes from its input, and of `"mlp10"`. Of a model whose heads share keys and
            values, `"k"` and `"v"` count key-value heads.
        together: patch all receivers in one run, as Wang et al. do with a class of heads, instead
            of one run for each.
        positions: of the senders, written as in `Slot`; None for all. For the logits only the last
            one counts: the residual stream does not move between positions.
        targets: the target and the contrast token, by text or id; None for the token that the
            source raises most, and the base's answer.
        norms: which numbers count for `share`, `strongest` and `plot`: `"exact"` computes the norm
            before the receiver anew; `"frozen"` holds its scale at the base's. To the logits,
            whatever follows the head is held too, so that effects add up, and the frame has both
            in either case; to other receivers `"frozen"` takes twice as long and gives both.
        mlps: `"frozen"` holds MLPs too, so that a path is one edge of the residual stream
            (Goldowsky-Dill et al.); `"recomputed"` lets them compute anew, so that a path may lead
            through MLPs (Wang et al.).
        metric: `"logit_difference"`, `"logit"`, `"probability"` or `"log_probability"`.

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
    tokens, other = tuple(model.tokens(base)), tuple(model.tokens(source))
    if len(tokens) != len(other):
        raise RequestError(
            f"base has {len(tokens)} tokens and source {len(other)}: paths need equally many, "
            "because position i of the source is patched into position i of the base."
        )
    writers, ends = read_senders(model, senders), read_receivers(model, receivers)
    groups = [ends] if together and ends else [(receiver,) for receiver in ends]
    writers = _require_paths(model, writers, groups, senders)
    _require_norms(norms, mlps, metric, to_logits=not ends)
    places = resolve_positions(
        "all" if positions is None else positions, tokens, "positions", "base", distinct=True
    )
    if targets is not None:
        resolve_targets(model, targets, 2 if metric == "logit_difference" else 1, metric)
    model.accept_hooks()
    with model.lock, torch.no_grad(), own_model(model):
        plain = [record_residual(model, [token.id for token in each]) for each in (tokens, other)]
        measure = answer_metric(model, metric, targets, plain[0].logits, plain[1].logits)
        levels = measure(torch.stack([run.logits for run in plain]))
        require_finite(levels, "metric of the plain runs")
        require_rows(model)
        runs = PathRuns(model, plain[0], plain[1], writers, places, measure)
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
        base=base,
        source=source,
        tokens=tokens,
        positions=places,
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


def receiver_name(receivers: tuple[Receiver, ...]) -> str:
    """Receivers as frames show them."""
    return " + ".join(receiver.name for receiver in receivers) or LOGITS


def _kind(writer: Writer) -> str:
    if writer.layer < 0:
        return "embedding"
    return "mlp" if writer.head is None else "head"


def _signed(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
