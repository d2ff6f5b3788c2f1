"""GatheredAnswers: the answers of a data set's chunks, in arrays that are made before the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vene_widgets.sweeps.pairs.chunks import PairAnswers

if TYPE_CHECKING:
    from vene_widgets.sweeps.pairs.chunks import PairChunk, PairRow
    from vene_widgets.sweeps.pairs.planning import PairPlan


class GatheredAnswers:
    """The answers of some pairs, filled chunk by chunk.

    Every number is held once. Arrays of each chunk would be joined by copying them, and until then
    would lie between the freed blocks of the chunks' runs, which could not be given back.

    Args:
        plan: the data set.
        rows: the pairs, those of a control perhaps, in the order of the data set.
    """

    def __init__(self, plan: PairPlan, rows: Sequence[PairRow]) -> None:
        count, tokens = len(rows), plan.target_count
        cells = (count, len(plan.heads), len(plan.layers), len(plan.places))
        self._whole = PairAnswers(
            pairs=np.array([row.pair for row in rows]),
            targets=np.zeros((count, tokens), np.int64),
            base_log_p=np.zeros((count, tokens)),
            source_log_p=np.zeros((count, tokens)),
            base_best=np.zeros(count, np.int64),
            source_best=np.zeros(count, np.int64),
            log_p=np.zeros((*cells, tokens)),
            effect_possible=np.zeros(cells, bool),
        )

    def put(self, part: PairAnswers) -> None:
        """Copy the answers of some of the pairs to their places."""
        at = self._places(part.pairs)
        for name in PairAnswers.FIELDS:
            getattr(self._whole, name)[at] = getattr(part, name)

    def read(self, chunks: Sequence[PairChunk]) -> PairAnswers:
        """The answers of some chunks, in the order of the data set; of all of them, no copy."""
        pairs = np.array([row.pair for chunk in chunks for row in chunk.rows])
        if len(pairs) == len(self._whole.pairs):
            return self._whole
        return self._whole.take(np.sort(self._places(pairs)))

    def _places(self, pairs: np.ndarray) -> np.ndarray:
        """Where some pairs of the data set stand in the arrays."""
        return np.searchsorted(self._whole.pairs, pairs)
