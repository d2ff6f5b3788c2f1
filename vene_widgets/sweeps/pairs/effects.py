"""Metrics of a data set: one number per pair and cell, and what it is in the plain runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vene_widgets.errors import RequestError, choose
from vene_widgets.tables.frames import LEAST

if TYPE_CHECKING:
    from vene_widgets.sweeps.pairs.chunks import PairAnswers


@dataclass(frozen=True)
class PairMetric:
    """What is averaged over pairs.

    Attributes:
        title: as a legend shows it, t the target and u its contrast.
        unit: of the values.
        formula: in words and symbols.
        needs_contrast: whether every pair needs two targets.
        diverging: whether values are coloured symmetrically around 0.
    """

    title: str
    unit: str
    formula: str
    needs_contrast: bool = False
    diverging: bool = True


PAIR_METRICS: dict[str, PairMetric] = {
    "recovery": PairMetric(
        "recovery",
        "0 = base, 1 = source",
        "(logit difference of the cell − of the base) / (of the source − of the base), sums of "
        "both over the pairs",
        needs_contrast=True,
    ),
    "logit_difference": PairMetric(
        "logit(t) − logit(u)",
        "logits",
        "ln (P(t) / P(u)) after patching",
        needs_contrast=True,
    ),
    "probability": PairMetric("P(t)", "", "P(t) after patching", diverging=False),
    "delta": PairMetric("ΔP(t)", "", "P(t) after patching − P(t) in the base run"),
    "log_ratio": PairMetric(
        "Δ ln P(t)", "nats", "ln P(t) after patching − ln P(t) in the base run"
    ),
}
"""Metrics of a data set by name."""


@dataclass(frozen=True, eq=False)
class Effects:
    """One metric of one token followed.

    Attributes:
        values: in every cell, `(pairs, cells)`; NaN where a run had no distribution.
        reference: where nothing is changed, `(pairs, 1)`.
        scales: what values minus reference are divided by, sum by sum, `(pairs,)`; None for 1.
        base, source: the metric in the plain runs, `(pairs,)`.
    """

    values: np.ndarray
    reference: np.ndarray
    scales: np.ndarray | None
    base: np.ndarray
    source: np.ndarray


def effects(answers: PairAnswers, metric: str, token: int = 0) -> Effects:
    """The numbers that a metric averages.

    Args:
        answers: of some pairs.
        metric: one of `PAIR_METRICS`.
        token: which of the tokens followed; its contrast is the first other one.

    Raises:
        RequestError: an unknown metric, or one that needs a contrast where pairs have one token.
    """
    facts = PAIR_METRICS[choose(metric, PAIR_METRICS, "metric")]
    count = answers.targets.shape[1]
    if facts.needs_contrast and count < 2:
        raise contrast_missing(f"metric {metric!r}")
    runs = [
        array.reshape(len(array), -1, count)
        for array in (answers.log_p, answers.base_log_p, answers.source_log_p)
    ]
    if metric == "probability":
        cell, base, source = (np.exp(run[..., token]) for run in runs)
        return Effects(cell, base, None, base[:, 0], source[:, 0])
    if facts.needs_contrast:
        other = 0 if token else 1
        cell, base, source = (run[..., token] - run[..., other] for run in runs)
        if metric == "logit_difference":
            return Effects(cell, base, None, base[:, 0], source[:, 0])
        ones = np.ones(len(base))
        return Effects(cell, base, (source - base)[:, 0], 0 * ones, ones)
    if metric == "delta":
        runs = [np.exp(run) for run in runs]
    cell, base, source = (run[..., token] for run in runs)
    zero = np.zeros_like(base)
    return Effects(cell - base, zero, None, zero[:, 0], (source - base)[:, 0])


def own_scales(scales: np.ndarray) -> np.ndarray:
    """What the changes of single pairs are divided by: NaN where the plain runs do not differ."""
    return np.where(np.abs(scales) < LEAST, np.nan, scales)


def contrast_missing(what: str) -> RequestError:
    """The error of what needs a contrast, where pairs have one target."""
    valid = ", ".join(repr(name) for name, m in PAIR_METRICS.items() if not m.needs_contrast)
    return RequestError(
        f"{what} needs two targets per pair, the answer of the source and that of the base; the "
        f"pairs have one. Metrics of one target: {valid}."
    )
