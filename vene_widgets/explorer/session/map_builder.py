"""A map for the screen: cells as they arrive, and the tokens that each of them is asked for.

The browser switches metric and token without asking, so a map carries many tokens: what the two
plain runs find likely, then what its cells do, then those that a person typed. Numbers are the
sweep's own, hence previews.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch

from vene_widgets.errors import RequestError
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.explorer.wire import sentences as words
from vene_widgets.explorer.wire import views
from vene_widgets.sweeps.cells import LayerOfCells, Prepared, prepare, sweep_layers
from vene_widgets.sweeps.planning import SweepPlan, can_matter, holds_the_same

if TYPE_CHECKING:
    from torch import Tensor

    from vene_widgets.engine.cache import Memory
    from vene_widgets.models import LanguageModel

TARGETS = 48
"""Tokens that a finished map carries, those typed by a person not counted."""

CELL_TOP = 5
"""Most likely tokens of each cell that a finished map is to carry, as far as `TARGETS` allows."""

HOLD_BYTES = 64 * 2**20
"""Logits are held while a map fills, up to this size: its cells' own tokens come at the end."""

KEEP_BYTES = 16 * 2**20
"""Logits stay after that up to this size; for a larger map, a typed token costs a sweep."""


def token_of(model: LanguageModel, wanted: str | int) -> int:
    """The id of a token that was typed: its exact text, or the id itself.

    Raises:
        RequestError: a text of none or several tokens, or an id outside the vocabulary.
    """
    if isinstance(wanted, str):
        return model.token_id(wanted)
    size = model.sites.vocabulary
    if not 0 <= wanted < size:
        raise RequestError(f"token id {wanted} is out of range: ids go from 0 to {size - 1}.")
    return wanted


def why_idle(checked: SweepPlan, layer: int, column: int) -> Literal["same", "causal"] | None:
    """Why a cell's copy cannot change the answer, or None where it may.

    `same`: source and base hold equal states there, which is true of copying alone. `causal`: no
    path leads from there to the last position, whatever is done.
    """
    if can_matter(checked, layer, column):
        return None
    return "same" if holds_the_same(checked, layer, column) else "causal"


class Filling:
    """A map on its way: layers go in, the wire's `Map` comes out at any time.

    Args:
        prepared: the sweep whose layers will be added.
        source: the name of its source prompt.
        revision: of the experiment.
        typed: tokens that a person asked for, with the ids of their requests.
    """

    def __init__(
        self, prepared: Prepared, source: str, revision: int, typed: Mapping[int, str]
    ) -> None:
        self.plan = prepared.plan
        self._name, self._revision, self._slow = source, revision, prepared.slow
        self._base, self._source = prepared.base_logits.cpu(), prepared.source_logits.cpu()
        self._log_base = self._base.double().log_softmax(-1)
        self._p_base, self._p_source = self._log_base.exp(), self._source.double().softmax(-1)
        self.answers = list(dict.fromkeys([int(self._base.argmax()), int(self._source.argmax())]))
        likely = (self._base, self._source)
        plain = sorted(
            {token for logits in likely for token in top_ids(logits[None], views.TOP)[0]},
            key=lambda t: (-max(self._p_base[t].item(), self._p_source[t].item()), t),
        )
        self._typed = dict(typed)
        self._targets = list(dict.fromkeys([*self.answers, *plain, *self._typed]))
        self._cells: list[wire.Cell] = []
        need = self._base.numel() * self._base.element_size() * self.total
        self._may_hold, self._may_keep = need <= HOLD_BYTES, need <= KEEP_BYTES
        self._rows: list[Tensor] = []  # (positions, vocabulary) each; empty when not held

    @property
    def total(self) -> int:
        """Cells of the finished map."""
        return len(self.plan.layers) * len(self.plan.positions)

    @property
    def done(self) -> int:
        """Cells that have arrived."""
        return len(self._cells)

    def add(self, row: LayerOfCells) -> None:
        """Take in one finished layer; with the last one come the cells' own tokens."""
        logits = row.logits.cpu()
        self._cells += self._row_of(row.layer, logits)
        if self._may_hold:
            self._rows.append(logits)
        if self.done < self.total:
            return
        if self._rows:
            self._extend(self._likely_in_cells(), self._rows)
        if not self._may_keep:
            self._rows.clear()

    def follow(
        self, typed: Mapping[int, str], memory: Memory | None = None
    ) -> Generator[float, None, None]:
        """Carry these typed tokens too; between two steps the model is free.

        Where the logits were not kept, the sweep runs again for what is missing; yields the part
        that is done, 0..1.
        """
        missing = [token for token in typed if token not in self._targets]
        if not missing or self._rows:
            self._extend(missing, self._rows)
        else:
            found: list[tuple[list[list[float]], list[list[int]]]] = []
            per_row = len(self.plan.positions)
            for row in sweep_layers(prepare(self.plan, memory)):
                if len(found) * per_row == self.done:  # a map that was stopped half-way
                    break
                found.append(readings(row.logits.cpu(), missing))
                yield len(found) * per_row / self.total
            self._widen(missing, found)
        self._typed |= typed

    def map(self) -> wire.Map:
        """What the screen shows now."""
        checked = self.plan
        return wire.Map(
            revision=self._revision,
            source=self._name,
            component=checked.component,
            head=checked.head,
            layers=list(checked.layers),
            positions=list(checked.positions),
            source_positions=list(checked.source_positions),
            first_difference=checked.first_difference,
            targets=[
                wire.Target(
                    token_id=target,
                    label=views.label(checked.model, target),
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

    def _row_of(self, layer: int, logits: Tensor) -> list[wire.Cell]:
        """The cells of one layer; `logits` is `(positions, vocabulary)`."""
        checked, model = self.plan, self.plan.model
        log_p = logits.double().log_softmax(-1)
        p = log_p.exp()
        kl = (p * (log_p - self._log_base)).nan_to_num(0.0).sum(-1).clamp(min=0).tolist()
        probabilities, ranks = readings(logits, self._targets)
        found = []
        for n, top in enumerate(top_ids(logits, views.TOP)):
            position, partner = checked.positions[n], checked.source_positions[n]
            idle = why_idle(checked, layer, n)
            if idle == "same" and position < checked.first_difference:
                last = checked.base[checked.first_difference - 1].text
                said = words.nothing_can_change(last)
            elif idle == "same":
                said = words.nothing_came_in(checked.base[position].text)
            elif idle == "causal":
                said = words.out_of_reach(checked.base[position].text, layer)
            else:
                token, other = checked.base[position].text, checked.source[partner].text
                deed = words.copied(token, other, checked.component, layer, checked.head)
                said = words.sentence(deed, views.change(model, self._p_base, self._p_source, p[n]))
            found.append(
                wire.Cell(
                    layer=layer,
                    position=position,
                    source_position=partner,
                    top=[
                        wire.Candidate(
                            token_id=token,
                            label=views.label(model, token),
                            probability=p[n, token].item(),
                            logit=float(logits[n, token]),
                            rank=rank,
                        )
                        for rank, token in enumerate(top, start=1)
                    ],
                    probabilities=probabilities[n],
                    ranks=ranks[n],
                    kl=kl[n],
                    idle=idle,
                    sentence=said,
                )
            )
        return found

    def _likely_in_cells(self) -> list[int]:
        """Tokens of the cells' own tops that the map lacks, the likeliest first."""
        most: dict[int, float] = {}
        for cell in self._cells:
            for candidate in cell.top[:CELL_TOP]:
                token = candidate.token_id
                most[token] = max(most.get(token, 0.0), candidate.probability)
        fresh = sorted(set(most) - set(self._targets), key=lambda token: (-most[token], token))
        typed = sum(token in self._typed for token in self._targets)
        return fresh[: max(0, TARGETS - len(self._targets) + typed)]

    def _extend(self, tokens: Sequence[int], rows: Iterable[Tensor]) -> None:
        if tokens:
            self._widen(tokens, [readings(row, tokens) for row in rows])

    def _widen(
        self, tokens: Sequence[int], found: Sequence[tuple[list[list[float]], list[list[int]]]]
    ) -> None:
        """Append tokens to every cell; `found` holds one pair of readings per layer."""
        probabilities = [row for p, _ in found for row in p]
        ranks = [row for _, r in found for row in r]
        self._cells = [
            cell.model_copy(
                update={"probabilities": [*cell.probabilities, *p], "ranks": [*cell.ranks, *r]}
            )
            for cell, p, r in zip(self._cells, probabilities, ranks, strict=True)
        ]
        self._targets += tokens


def readings(logits: Tensor, tokens: Sequence[int]) -> tuple[list[list[float]], list[list[int]]]:
    """Probability and rank of some tokens in each row of `(positions, vocabulary)`.

    Ranks are exact over the whole vocabulary; equal logits rank by id, lower first.
    """
    ids = list(tokens)
    chosen = logits[:, ids]
    norm = logits.double().logsumexp(-1, keepdim=True)
    count = torch.int32  # half the time of counting into int64
    above = [
        (logits > x[:, None]).sum(-1, dtype=count)
        + (logits[:, :token] == x[:, None]).sum(-1, dtype=count)
        for token, x in zip(ids, chosen.T, strict=True)
    ]
    return (chosen.double() - norm).exp().tolist(), (torch.stack(above, -1) + 1).tolist()


def top_ids(logits: Tensor, count: int) -> list[list[int]]:
    """Ids of the largest logits in each row, largest first, lower id first among equals."""
    count = min(count, logits.shape[-1])
    # Not `>=`: a NaN counts as the largest, as it does for `torch.sort`.
    least = logits.topk(count, dim=-1).values[:, -1:]
    found = []
    for row, near in zip(logits, ~(logits < least), strict=True):
        ids = near.nonzero()[:, 0]
        order = torch.sort(row[ids], descending=True, stable=True).indices[:count]
        found.append(ids[order].tolist())
    return found
