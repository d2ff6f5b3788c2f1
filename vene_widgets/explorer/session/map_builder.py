"""MapBuilder: the map of a sweep, from its first finished layer to its last.

The browser switches metric and token without a request, so a map carries many tokens: the likely
ones of the two plain runs, those of its cells, and those that the user typed. Numbers are the
sweep's own, hence previews.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from vene_widgets import sentences
from vene_widgets.engine.own_model import require_unchanged
from vene_widgets.explorer.exact_runs import TOP
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.numbers import float_rows, floats, int_rows
from vene_widgets.sweeps.cells import SweepRow, sweep_rows
from vene_widgets.sweeps.preparing import PreparedSweep, prepare_sweep
from vene_widgets.sweeps.reach import states_are_equal
from vene_widgets.sweeps.sweep import plan_frame
from vene_widgets.tables.statistics import (
    CellStatistics,
    cell_statistics,
    concatenated,
    log_probabilities,
    probabilities,
    ranks_of,
    top_ids,
)

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from vene_widgets.engine.cache import ActivationCache

TARGETS = 48
"""Tokens that a finished map carries, not counting those that the user typed."""

CELL_TOP = 5
"""Most likely tokens of each cell that a finished map carries, as far as `TARGETS` allows."""

HOLD_BYTES = 64 * 2**20
"""Logits are held while a map fills, up to this size, so that its cells' tokens can be added."""

KEEP_BYTES = 16 * 2**20
"""Logits stay afterwards up to this size; for a larger map, a typed token costs a sweep."""

TokenReadings = tuple[list[list[float]], list[list[int]]]
"""Probability and rank of some tokens in each cell of a layer."""


def idle_reason(
    prepared: PreparedSweep, layer: int, column: int
) -> Literal["same", "causal"] | None:
    """Why copying at a cell cannot change the answer; None if it may.

    `same`: source and base hold equal states there; another operator may still act. `causal`: no
    path leads from there to the last position, whatever is done.
    """
    if prepared.can_affect_output(layer, column):
        return None
    is_same = states_are_equal(prepared.plan, prepared.behaviour, layer, column)
    return "same" if is_same else "causal"


class MapBuilder:
    """A map that is being filled: layers go in, the wire's `Map` comes out at any time.

    Args:
        prepared: the sweep whose layers will be added.
        source: the name of its source prompt.
        revision: of the experiment.
        typed: tokens that the user typed, with the ids of their requests.

    Attributes:
        plan: the sweep.
        answers: ids of the most likely next token of the base and of the source.
    """

    def __init__(
        self, prepared: PreparedSweep, source: str, revision: int, typed: Mapping[int, str]
    ) -> None:
        self.plan, self._prepared = prepared.plan, prepared
        self._name, self._revision, self._slow = source, revision, prepared.resume_blocker
        base, source_logits = prepared.base_logits.cpu(), prepared.source_logits.cpu()
        self._log_base = log_probabilities(base)
        self._p_base, self._p_source = self._log_base.exp(), probabilities(source_logits)
        self.answers = list(dict.fromkeys([int(base.argmax()), int(source_logits.argmax())]))
        likely = sorted(
            {int(t) for logits in (base, source_logits) for t in top_ids(logits[None], TOP)[0]},
            key=lambda t: (-max(self._p_base[t].item(), self._p_source[t].item()), t),
        )
        self._typed = dict(typed)
        self._targets = list(dict.fromkeys([*self.answers, *likely, *self._typed]))
        self._cells: list[wire.Cell] = []
        self._statistics: list[CellStatistics] = []  # per layer, at `answers`
        need = base.numel() * base.element_size() * self.total
        self._may_hold, self._may_keep = need <= HOLD_BYTES, need <= KEEP_BYTES
        self._rows: list[Tensor] = []  # per layer `(positions, vocabulary)`; empty if not held

    @property
    def total(self) -> int:
        """Cells of the finished map."""
        return self.plan.cell_count

    @property
    def done(self) -> int:
        """Cells that have been added."""
        return len(self._cells)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The finished map at `answers` (`frames.sweep_frame`)."""
        cells = concatenated(self._statistics)
        return plan_frame(self.plan, cells, self._log_base, self.answers)

    def add_row(self, row: SweepRow) -> None:
        """Add one finished layer; after the last one, the cells' own likely tokens."""
        logits = row.logits.cpu()
        statistics = cell_statistics(logits, self._log_base, self._targets, k=TOP)
        self._statistics.append(statistics.first_tokens(len(self.answers)))
        self._cells += self._layer_cells(row.layer, statistics)
        if self._may_hold:
            self._rows.append(logits)
        if self.done < self.total:
            return
        if self._rows:
            self._extend(self._likely_in_cells(), self._rows)
        if not self._may_keep:
            self._rows.clear()

    def track_tokens(
        self, typed: Mapping[int, str], cache: ActivationCache | None = None
    ) -> Generator[float, None, None]:
        """Carry these typed tokens too; between two steps the model is free.

        If the logits were not kept, the sweep runs again to read the missing tokens.

        Args:
            typed: tokens, with the ids of their requests.
            cache: plain runs by prompt.

        Yields:
            The finished share of that sweep, 0 to 1.
        """
        missing = [token for token in typed if token not in self._targets]
        if not missing or self._rows:
            self._extend(missing, self._rows)
        else:
            found: list[TokenReadings] = []
            per_row = len(self.plan.positions)
            prepared = prepare_sweep(self.plan, cache)
            require_unchanged(self.plan.model, self._prepared.state, prepared.state)
            for row in sweep_rows(prepared):
                if len(found) * per_row == self.done:  # the map was cancelled at this layer
                    break
                found.append(read_tokens(row.logits, missing))
                yield len(found) * per_row / self.total
            self._append(missing, found)
        self._typed |= typed

    def map(self) -> wire.Map:
        """The map as far as it is filled, as the wire's message."""
        plan = self.plan
        return wire.Map(
            revision=self._revision,
            source=self._name,
            component=plan.component,
            head=plan.head,
            layers=list(plan.layers),
            positions=list(plan.positions),
            source_positions=list(plan.source_positions),
            first_difference=plan.first_difference,
            targets=[
                wire.Target(
                    token_id=target,
                    label=views.label(plan.model, target),
                    base=self._p_base[target].item(),
                    source=self._p_source[target].item(),
                    request=self._typed.get(target),
                )
                for target in self._targets
            ],
            cells=list(self._cells),
            done=self.done,
            total=self.total,
            slow=self._slow,
        )

    def _layer_cells(self, layer: int, statistics: CellStatistics) -> list[wire.Cell]:
        """The cells of one layer, from their statistics at `_targets`."""
        plan, model = self.plan, self.plan.model
        probability = float_rows(statistics.log_p.exp())
        top_probability = float_rows(statistics.top_log_p.exp())
        ranks = int_rows(statistics.ranks)
        kl = floats(statistics.kl.nan_to_num(0.0))  # JSON has neither NaN nor infinity
        found: list[wire.Cell] = []
        for n, top in enumerate(int_rows(statistics.top)):
            candidates = [
                wire.Candidate(
                    token_id=token,
                    label=views.label(model, token),
                    probability=top_probability[n][i],
                    logit=float(statistics.top_logits[n, i]),
                    rank=i + 1,
                )
                for i, token in enumerate(top)
            ]
            idle = idle_reason(self._prepared, layer, n)
            found.append(
                wire.Cell(
                    layer=layer,
                    position=plan.positions[n],
                    source_position=plan.source_positions[n],
                    top=candidates,
                    probabilities=probability[n],
                    ranks=ranks[n],
                    kl=kl[n],
                    idle=idle,
                    sentence=self._sentence(layer, n, idle, probability[n], candidates[0]),
                )
            )
        return found

    def _sentence(
        self,
        layer: int,
        column: int,
        idle: Literal["same", "causal"] | None,
        after: Sequence[float],
        best: wire.Candidate,
    ) -> str:
        """A cell in words; `after` are its probabilities at `_targets`, answers first."""
        plan, text = self.plan, self.plan.model.token_text
        position, partner = plan.positions[column], plan.source_positions[column]
        token = plan.base[position].text
        if idle == "same" and position < plan.first_difference:
            return sentences.nothing_can_change(plan.base[plan.first_difference - 1].text)
        if idle == "same":
            return sentences.nothing_came_in(token)
        if idle == "causal":
            return sentences.out_of_reach(layer)
        action = sentences.describe_patch(
            token,
            plan.source[partner].text,
            plan.component,
            layer,
            plan.head,
            is_last=position == len(plan.base) - 1,
        )
        base, source = self.answers[0], self.answers[-1]
        change = sentences.ProbabilityChange(
            base_token=text(base),
            base_before=self._p_base[base].item(),
            base_after=after[0],
            source_token=text(source),
            source_before=self._p_base[source].item(),
            source_after=after[len(self.answers) - 1],
            best_token=text(best.token_id),
            best_after=best.probability,
        )
        return sentences.sentence(action, change)

    def _likely_in_cells(self) -> list[int]:
        """Tokens among the cells' most likely ones that the map lacks, the likeliest first."""
        most: dict[int, float] = {}  # the largest probability in any cell
        for cell in self._cells:
            for candidate in cell.top[:CELL_TOP]:
                token = candidate.token_id
                most[token] = max(most.get(token, 0.0), candidate.probability)
        fresh = sorted(set(most) - set(self._targets), key=lambda token: (-most[token], token))
        typed = sum(token in self._typed for token in self._targets)
        return fresh[: max(0, TARGETS - len(self._targets) + typed)]

    def _extend(self, tokens: Sequence[int], rows: Iterable[Tensor]) -> None:
        """Carry more tokens, from the logits of every layer."""
        if tokens:
            self._append(tokens, [read_tokens(row, tokens) for row in rows])

    def _append(self, tokens: Sequence[int], found: Sequence[TokenReadings]) -> None:
        """Append tokens to every cell, from their readings in every layer."""
        p = [cell for layer, _ in found for cell in layer]
        ranks = [cell for _, layer in found for cell in layer]
        self._cells = [
            cell.model_copy(
                update={
                    "probabilities": [*cell.probabilities, *more_p],
                    "ranks": [*cell.ranks, *more_ranks],
                }
            )
            for cell, more_p, more_ranks in zip(self._cells, p, ranks, strict=True)
        ]
        self._targets += tokens


def read_tokens(logits: Tensor, tokens: Sequence[int]) -> TokenReadings:
    """Probability and rank of some tokens in each row of `(positions, vocabulary)`."""
    logits = logits.cpu()
    p = probabilities(logits)[:, list(tokens)]
    return float_rows(p), int_rows(ranks_of(logits, tokens))
