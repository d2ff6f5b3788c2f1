"""PathMeans: direct effects, averaged over several pairs of prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vene_widgets.methods.answer_metric import METRICS
from vene_widgets.methods.path_results import Paths, PathTable, signed
from vene_widgets.tables.columns import COLUMNS, FRAMES

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel

AVERAGED = ("effect", "effect_frozen", "contribution")
"""Columns of which the mean over the pairs is taken."""


@dataclass(frozen=True, eq=False)
class PathMeans(PathTable):
    """Direct effects of senders on receivers, or on the logits, as means over pairs of prompts.

    Attributes:
        model: the model that ran.
        pairs: the paths of each pair, in the order in which the pairs were given.
        norms, mlps: as in `paths`.
    """

    model: LanguageModel = field(repr=False)
    pairs: tuple[Paths, ...] = field(repr=False)
    norms: str
    mlps: str

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per sender and receiver, in network order (`tables.columns`).

        Columns: `sender_name`, `sender`, `sender_layer`, `sender_head`, `receiver` as in
        `Paths.frame`; `effect`, `effect_frozen`, `contribution` (means over the pairs), `share`
        (mean effect / mean of what the two plain runs differ by); `n` (pairs), `standard_error` (of
        the mean of the effect that counts: `ranked_by`; the pairs are taken as independent).
        """
        parts = [one.frame for one in self.pairs]
        values = {
            name: np.stack([part[name].to_numpy(dtype=float) for part in parts])
            for name in AVERAGED
        }
        means: dict[str, Any] = {name: several.mean(0) for name, several in values.items()}
        whole, count = self.source_metric - self.base_metric, len(parts)
        frame = parts[0].assign(
            **means,
            share=means[self.ranked_by] / whole if whole else np.nan,
            n=count,
            standard_error=values[self.ranked_by].std(0, ddof=1) / np.sqrt(count),
        )
        columns = list(FRAMES["path_means_frame"])
        return frame[columns].astype({name: COLUMNS[name].dtype for name in columns})

    @property
    def base_metric(self) -> float:
        """Mean of the metric in the base runs."""
        return sum(one.base_metric for one in self.pairs) / len(self.pairs)

    @property
    def source_metric(self) -> float:
        """Mean of the metric in the source runs."""
        return sum(one.source_metric for one in self.pairs) / len(self.pairs)

    @property
    def bias(self) -> float:
        """Mean of what biases alone contribute to `base_metric` with norms held, as in `Paths`."""
        return sum(one.bias for one in self.pairs) / len(self.pairs)

    @property
    def frozen_blocker(self) -> str | None:
        """Why numbers with norms held are missing; None if they are there."""
        return next((one.frozen_blocker for one in self.pairs if one.frozen_blocker), None)

    @property
    def setup(self) -> str:
        """What was done, in one line, with the first pair as an example."""
        first, count = self.pairs[0], len(self.pairs)
        places = {one.places for one in self.pairs}
        measured = {one.metric.words(self.model) for one in self.pairs}
        where = places.pop() if len(places) == 1 else "tokens of each pair"
        what = measured.pop() if len(measured) == 1 else METRICS[first.metric.name]
        return (
            f"{count} pairs, such as {first.prompts} · senders patched at {where}, {first.held} · "
            f"mean effect on {what} · base {signed(self.base_metric)}, source "
            f"{signed(self.source_metric)} · {self.model.name} · n = {count}"
        )

    def __repr__(self) -> str:
        best = self.strongest(1).iloc[0]
        return (
            f"<PathMeans over {len(self.pairs)} pairs: {len(self.frame)} paths, "
            f"{self.pairs[0].metric.name} {self.base_metric:.3g} -> {self.source_metric:.3g}; "
            f"strongest {best.sender_name} -> {best.receiver} {best[self.ranked_by]:+.3g} ± "
            f"{best.standard_error:.2g}>"
        )
