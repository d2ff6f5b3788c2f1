"""A chunk of a data set as a worker gets it, and its answers: integers and numbers, no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vene_widgets.errors import RequestError
from vene_widgets.models import Token
from vene_widgets.sweeps.pairs.maps import pair_maps
from vene_widgets.sweeps.pairs.pair_targets import TargetIds
from vene_widgets.sweeps.planning import SweepPlan, first_difference

if TYPE_CHECKING:
    from vene_widgets.experiments.sweep_request import SweepRequest
    from vene_widgets.models import LanguageModel


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair as integers. Pairs of one data set share equal tuples.

    Attributes:
        pair: its row in the data set, from 0.
        base, source: token ids.
        targets: ids of the tokens to follow, with a tuple of ids for a set; empty for the model's
            own answers.
        positions, source_positions: of every place, from 0.
        mean_positions: as in `SweepPlan`.
        noise_seed: of a control, as in `SweepPlan`.
    """

    pair: int
    base: tuple[int, ...]
    source: tuple[int, ...]
    targets: tuple[TargetIds, ...]
    positions: tuple[int, ...]
    source_positions: tuple[int, ...]
    mean_positions: tuple[tuple[int, ...], ...] = ()
    noise_seed: int | None = None

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens of the base and of the source."""
        return len(self.base), len(self.source)


@dataclass(frozen=True)
class PairChunk:
    """Some pairs whose prompts have the same lengths, to be run as one batch.

    Attributes:
        number: from 0; one data set's chunks are numbered in the order of their pairs.
        control: name of the control that it belongs to; empty for the sweep itself.
        request: component and intervention.
        heads: the heads to sweep one after the other; `(None,)` for whole vectors.
        layers: indices of blocks.
        mean_tokens: as in `SweepPlan`.
        rows: the pairs.
    """

    number: int
    control: str
    request: SweepRequest
    heads: tuple[int | None, ...]
    layers: tuple[int, ...]
    mean_tokens: tuple[tuple[int, ...], ...]
    rows: tuple[PairRow, ...]


@dataclass(frozen=True, eq=False)
class PairAnswers:
    """The numbers of some pairs. Probabilities are natural logarithms, float64.

    Attributes:
        pairs: rows in the data set, `(pairs,)`.
        targets: ids of the tokens followed, of sets -1, -2, …, `(pairs, tokens)`.
        base_log_p, source_log_p: ln P of them in the plain runs, `(pairs, tokens)`.
        base_best, source_best: ids of the likeliest tokens of the plain runs, `(pairs,)`.
        log_p: ln P of the tokens in every cell, `(pairs, heads, layers, places, tokens)`; NaN where
            the run had no distribution.
        effect_possible: whether a cell can change anything, `(pairs, heads, layers, places)`.
    """

    pairs: np.ndarray
    targets: np.ndarray
    base_log_p: np.ndarray
    source_log_p: np.ndarray
    base_best: np.ndarray
    source_best: np.ndarray
    log_p: np.ndarray
    effect_possible: np.ndarray

    FIELDS = (
        *("pairs", "targets", "base_log_p", "source_log_p"),
        *("base_best", "source_best", "log_p", "effect_possible"),
    )

    def take(self, rows: np.ndarray) -> PairAnswers:
        """Some of the pairs, by index or mask, in that order."""
        return PairAnswers(**{name: getattr(self, name)[rows] for name in self.FIELDS})


def joined(parts: Sequence[PairAnswers]) -> PairAnswers:
    """The pairs of several answers, in the order of the data set."""
    whole = PairAnswers(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in PairAnswers.FIELDS
        }
    )
    return whole.take(np.argsort(whole.pairs, kind="stable"))


def run_chunk(model: LanguageModel, chunk: PairChunk) -> PairAnswers:
    """Run one chunk of a data set.

    Raises:
        RequestError: a plain run without a distribution, or not enough memory for one cell.
    """
    plans = [_plan(model, chunk, row, head) for row in chunk.rows for head in chunk.heads]
    heads, rows = len(chunk.heads), chunk.rows
    given = [row.targets for row in rows for _ in chunk.heads] if rows[0].targets else None
    try:
        names = [f"pair {row.pair}" for row in rows for _ in chunk.heads]
        found = pair_maps(plans, given, names=names)
    except RequestError as error:
        first, last = rows[0].pair, rows[-1].pair
        which = f"pair {first}" if first == last else f"pairs {first} to {last}"
        raise type(error)(f"{which}: {error}") from None
    shape = (len(rows), heads, len(chunk.layers), len(rows[0].positions))
    return PairAnswers(
        pairs=np.array([row.pair for row in rows]),
        targets=found.targets[::heads].numpy(),
        base_log_p=found.base_log_p[::heads].numpy(),
        source_log_p=found.source_log_p[::heads].numpy(),
        base_best=found.base_best[::heads].numpy(),
        source_best=found.source_best[::heads].numpy(),
        log_p=found.log_p.view(*shape, -1).numpy(),
        effect_possible=found.effect_possible.view(shape).numpy(),
    )


def _plan(model: LanguageModel, chunk: PairChunk, row: PairRow, head: int | None) -> SweepPlan:
    """One pair's sweep; texts are not needed to run it."""
    base, source = _tokens(row.base), _tokens(row.source)
    return SweepPlan(
        model=model,
        request=chunk.request,
        base_prompt="",
        source_prompt="",
        base=base,
        source=source,
        head=head,
        layers=chunk.layers,
        positions=row.positions,
        source_positions=row.source_positions,
        first_difference=first_difference(row.base, row.source),
        mean_tokens=chunk.mean_tokens,
        mean_positions=row.mean_positions,
        noise_seed=row.noise_seed,
    )


def _tokens(ids: tuple[int, ...]) -> tuple[Token, ...]:
    return tuple(Token(index, token, "") for index, token in enumerate(ids))
