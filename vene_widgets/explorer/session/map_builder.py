"""MapBuilder: a map, from its first finished row to its last.

The browser switches metric and token without a request, so a map carries many tokens: the likely
ones of the two plain runs, those of its cells, and those that the user typed. Numbers are the
sweep's own, hence previews.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from vene_widgets import sentences
from vene_widgets.codegen.sweep_code import sweep_lines
from vene_widgets.engine.own_model import require_unchanged
from vene_widgets.experiments.fields import ALL
from vene_widgets.experiments.operators import OPERATORS
from vene_widgets.explorer.exact_runs import TOP
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import views
from vene_widgets.explorer.wire.numbers import float_rows, floats, int_rows
from vene_widgets.explorer.wire.ordered import wire_slot
from vene_widgets.sweeps.cells import SweepRow, sweep_steps
from vene_widgets.sweeps.planning import SweepPlan
from vene_widgets.sweeps.preparing import PreparedSweep, prepare_sweep, prepare_sweeps
from vene_widgets.sweeps.reach import states_are_equal
from vene_widgets.sweeps.results import plan_frame
from vene_widgets.tables.followed import follow_tokens
from vene_widgets.tables.statistics import (
    CellStatistics,
    cell_statistics,
    checked_distribution,
    concatenated,
    default_targets,
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
"""Probability and rank of some tokens in each cell of a row."""


def idle_reason(
    prepared: PreparedSweep, layer: int, column: int
) -> Literal["same", "causal"] | None:
    """Why the operator cannot change the answer at a cell; None if it may.

    `same`: copying has no effect, because source and base hold equal states there. `causal`: no
    path leads from there to the last position, whatever is done.
    """
    plan = prepared.plan
    if prepared.can_affect_output(layer, column):
        return None
    copies = plan.intervention == "vanilla"
    is_same = copies and states_are_equal(plan, prepared.behaviour, layer, column)
    return "same" if is_same else "causal"


def base_without_held(plan: SweepPlan, cache: ActivationCache | None) -> Tensor | None:
    """Logits `(vocabulary,)` of the base without a sweep's fixed slots; None if it has none."""
    return prepare_sweep(replace(plan, fixed=None), cache).base_logits if plan.fixed else None


class MapBuilder:
    """A map that is being filled: rows go in, the wire's `Map` comes out at any time.

    Args:
        prepared: the sweep whose layers will be its rows, or one sweep per head: of one layer, or
            at one position.
        revision: of the experiment.
        typed: tokens that the user typed, with the ids of their requests.
        plain: from `base_without_held`.

    Attributes:
        plans: the sweeps.
        answers: ids of the most likely next token of the base and of the source. The base is the
            run with the held slots alone, here and in all numbers.
        followed: ids of the tokens of `frame` (`statistics.default_targets`).
        target: id of the token to show first: the last of them, or where nothing is copied from the
            source, the base's likeliest.
        log_base, log_source: ln P in the plain runs, `(vocabulary,)`.
    """

    def __init__(
        self,
        prepared: Sequence[PreparedSweep],
        revision: int,
        typed: Mapping[int, str],
        plain: Tensor | None = None,
    ) -> None:
        first = prepared[0]
        self.plans, self._state = [one.plan for one in prepared], first.state
        self._revision, self._slow = revision, first.resume_blocker
        base = checked_distribution(first.base_logits, "base logits")
        source_logits = checked_distribution(first.source_logits, "source logits")
        self.log_base = log_probabilities(base)
        self.log_source = log_probabilities(source_logits)
        self._p_base, self._p_source = self.log_base.exp(), self.log_source.exp()
        self._p_plain, self._plain_answer = self._p_base, int(base.argmax())
        runs = [base, source_logits]
        if plain is not None:
            runs.append(plain)
            self._plain_answer = int(plain.argmax())
            self._p_plain = log_probabilities(checked_distribution(plain, "base logits")).exp()
        self.answers = list(dict.fromkeys([int(base.argmax()), int(source_logits.argmax())]))
        known = (self._p_base, self._p_source, self._p_plain)
        likely = sorted(
            {int(t) for logits in runs for t in top_ids(logits[None], TOP)[0]},
            key=lambda t: (-max(p[t].item() for p in known), t),
        )
        target, other = default_targets(self._p_base, self._p_source)
        self.followed = list(dict.fromkeys([other, target]))
        reads_source = OPERATORS[self.plan.intervention].needs_source
        self.target = target if reads_source else self.answers[0]
        self._typed = dict(typed)
        self._targets = list(dict.fromkeys([*self.followed, *self.answers, *likely, *self._typed]))
        self._cells: list[wire.Cell] = []
        self._sentences: list[str] = []  # of each cell against the plain base; with held slots only
        self._statistics: list[CellStatistics] = []  # per row, at `followed`
        need = first.base_logits.numel() * first.base_logits.element_size() * self.total
        self._may_hold, self._may_keep = need <= HOLD_BYTES, need <= KEEP_BYTES
        self._rows: list[Tensor] = []  # each `(positions, vocabulary)`; empty if not held

    @property
    def plan(self) -> SweepPlan:
        """The sweep, or that of the first head."""
        return self.plans[0]

    @property
    def targets(self) -> list[int]:
        """Ids of the tokens that every cell carries."""
        return list(self._targets)

    @property
    def held(self) -> int:
        """Number of slots that every cell has besides its own."""
        return len(self.plan.request.fixed)

    @property
    def cells(self) -> list[wire.Cell]:
        """The cells that have been added, in their order."""
        return list(self._cells)

    @property
    def total(self) -> int:
        """Cells of the finished map."""
        return sum(plan.cell_count for plan in self.plans)

    @property
    def done(self) -> int:
        """Cells that have been added."""
        return len(self._cells)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The finished map at `followed` (`frames.sweep_frame`), heads one below the other."""
        import pandas as pd

        frames: list[pd.DataFrame] = []
        followed = follow_tokens(self.followed)
        start = 0
        for plan in self.plans:
            rows = self._statistics[start : start + len(plan.layers)]
            width = len(plan.positions)
            cells = self._cells[start * width : (start + len(plan.layers)) * width]
            may = [cell.idle is None for cell in cells]
            cells_here = concatenated(rows)
            frames.append(
                plan_frame(plan, cells_here, self.log_base, followed, may, self.log_source)
            )
            start += len(plan.layers)
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

    def add_row(self, row: SweepRow) -> None:
        """Add one finished row; after the last one, the cells' own likely tokens."""
        logits = row.logits.cpu()
        statistics = cell_statistics(
            logits, self.log_base, self._targets, k=TOP, log_source=self.log_source
        )
        self._statistics.append(statistics.first_tokens(len(self.followed)))
        self._cells += self._row_cells(row.sweep, row.layer, statistics)
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
            prepared = prepare_sweeps(self.plans, cache)
            require_unchanged(self.plan.model, self._state, prepared[0].state)
            for row in sweep_steps(*prepared):
                if len(found) * per_row == self.done:  # the map was cancelled at this row
                    break
                if row is not None:
                    found.append(read_tokens(row.logits, missing))
                yield len(found) * per_row / self.total
            self._append(missing, found)
        self._typed |= typed

    @property
    def key(self) -> dict[str, Any]:
        """The fields of its message that tell this map from others."""
        plan, request = self.plan, self.plan.request
        by_head = request.head == ALL
        of_layer = by_head and request.layers is not None
        return {
            "revision": self._revision,
            "component": plan.component,
            "head": request.head if by_head else plan.head,
            "layer": plan.layers[0] if of_layer else None,
            "position": plan.positions[0] if by_head and not of_layer else None,
            "source": request.source,
            "intervention": plan.intervention,
        }

    def map(self) -> wire.Map:
        """The map as far as it is filled, as the wire's message."""
        plan, request = self.plan, self.plan.request
        return wire.Map(
            **self.key,
            operator=sentences.operator(plan.intervention, len(request.prompts)),
            prompts=list(request.prompts),
            layers=list(plan.layers),
            positions=list(plan.positions),
            source_positions=list(plan.source_positions),
            first_difference=min(
                plan.first_difference,
                len(plan.base) if plan.first_fixed is None else plan.first_fixed,
            ),
            targets=[
                wire.Target(
                    token_id=target,
                    label=views.label(plan.model, target),
                    base=self._p_base[target].item(),
                    source=self._p_source[target].item(),
                    plain=self._p_plain[target].item(),
                    request=self._typed.get(target),
                )
                for target in self._targets
            ],
            target=self.target,
            cells=list(self._cells),
            done=self.done,
            total=self.total,
            slow=self._slow,
            held=[wire_slot(slot) for slot in request.fixed],
            sentences=list(self._sentences),
            code="\n".join(sweep_lines(request)) if self.held else None,
        )

    def _row_cells(
        self, sweep: PreparedSweep, layer: int, statistics: CellStatistics
    ) -> list[wire.Cell]:
        """The cells of one layer of a sweep, from their statistics at `_targets`."""
        plan, model = sweep.plan, sweep.plan.model
        probability = float_rows(statistics.log_p.exp())
        top_probability = float_rows(statistics.top_log_p.exp())
        ranks = int_rows(statistics.ranks)
        kl, kl_source = floats(statistics.kl), floats(statistics.kl_source)
        found: list[wire.Cell] = []
        for n, top in enumerate(int_rows(statistics.top)):
            idle = idle_reason(sweep, layer, n)
            cell = partial(
                wire.Cell,
                layer=layer,
                head=plan.head,
                position=plan.positions[n],
                source_position=plan.source_positions[n],
                idle=idle,
            )
            if not math.isfinite(top_probability[n][0]):
                sentence = sentences.no_distribution()
                self._sentences += [sentence] * bool(self.held)
                found.append(
                    cell(
                        top=[],
                        probabilities=[],
                        ranks=[],
                        kl=None,
                        kl_source=None,
                        sentence=sentence,
                    )
                )
                continue
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
            found.append(
                cell(
                    top=candidates,
                    probabilities=probability[n],
                    ranks=ranks[n],
                    kl=kl[n],
                    kl_source=kl_source[n],
                    sentence=self._sentence(plan, layer, n, idle, probability[n], candidates[0]),
                )
            )
            if self.held:
                action = sentences.beside_held(self._action(plan, layer, n), self.held)
                plain = self._plain_answer, self._p_plain
                change = self._change(*plain, probability[n], candidates[0])
                self._sentences.append(sentences.sentence(action, change, plural=True))
        return found

    def _sentence(
        self,
        plan: SweepPlan,
        layer: int,
        column: int,
        idle: Literal["same", "causal"] | None,
        after: Sequence[float],
        best: wire.Candidate,
    ) -> str:
        """A cell in words; `after` are its probabilities at `_targets`."""
        position = plan.positions[column]
        if idle == "same" and position < plan.first_difference:
            return sentences.nothing_can_change(plan.base[plan.first_difference - 1].text)
        if idle == "same":
            return sentences.nothing_came_in(plan.base[position].text)
        if idle == "causal":
            return sentences.out_of_reach(layer)
        action = self._action(plan, layer, column)
        change = self._change(self.answers[0], self._p_base, after, best)
        return sentences.sentence(action, change, held=self.held)

    def _action(self, plan: SweepPlan, layer: int, column: int) -> str:
        """What a cell does, in words."""
        copies = plan.intervention == "vanilla"
        position, partner = plan.positions[column], plan.source_positions[column]
        return sentences.describe(
            sentences.SlotAction(
                plan.base[position].text,
                plan.component,
                layer,
                plan.head,
                plan.source[partner].text if copies else None,
                plan.intervention,
                prompts=len(plan.request.prompts),
                averaged=self._averaged(plan, column),
                is_last=position == len(plan.base) - 1,
            )
        )

    def _change(
        self, base: int, p_base: Tensor, after: Sequence[float], best: wire.Candidate
    ) -> sentences.ProbabilityChange:
        """A cell against a run with the answer `base`; `after` are probabilities at `_targets`."""
        text, source = self.plan.model.token_text, self.answers[-1]
        return sentences.ProbabilityChange(
            base_token=text(base),
            base_before=p_base[base].item(),
            base_after=after[self._targets.index(base)],
            source_token=text(source),
            source_before=p_base[source].item(),
            source_after=after[self._targets.index(source)],
            best_token=text(best.token_id),
            best_after=best.probability,
        )

    def _averaged(self, plan: SweepPlan, column: int) -> tuple[str, ...]:
        """The tokens that a cell's mean is over, if its prompts are not as long as the base."""
        if all(len(tokens) == len(plan.base) for tokens in plan.mean_tokens):
            return ()
        read = zip(plan.mean_tokens, plan.mean_positions, strict=True)
        return tuple(plan.model.token_text(ids[places[column]]) for ids, places in read)

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
        """Carry more tokens, from the logits of every row."""
        if tokens:
            self._append(tokens, [read_tokens(row, tokens) for row in rows])

    def _append(self, tokens: Sequence[int], found: Sequence[TokenReadings]) -> None:
        """Append tokens to every cell, from their readings in every row."""
        p = [cell for row, _ in found for cell in row]
        ranks = [cell for _, row in found for cell in row]
        self._cells = [
            cell
            if not cell.top
            else cell.model_copy(
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
