"""Tables of attribution patching: estimates of every cell, beside what its own run gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from vene_widgets.tables.frames import PromptToken, TokenText, table, visible

if TYPE_CHECKING:
    from torch import Tensor

AnswerMetricName = Literal["logit_difference", "probability", "log_probability"]
"""Keys of `ANSWER_METRICS`, as a type."""


@dataclass(frozen=True)
class AnswerMetric:
    """One number of a run's answer, which has a gradient.

    Attributes:
        title: for figures; `t` stands for the target token, `u` for the contrast token.
        unit: of the values, empty for a probability.
        formula: in words and symbols.
        needs_contrast: whether it compares the target with a contrast token.
    """

    title: str
    unit: str
    formula: str
    needs_contrast: bool = False


ANSWER_METRICS: dict[str, AnswerMetric] = {
    "logit_difference": AnswerMetric(
        "logit(t) − logit(u)", "logits", "logit(t) − logit(u) = ln (P(t) / P(u))", True
    ),
    "probability": AnswerMetric("P(t)", "", "P(t)"),
    "log_probability": AnswerMetric("ln P(t)", "nats", "ln P(t)"),
}
"""Metrics by name."""


SHARE, KEPT = 0.25, 0.5
"""An effect is large from this share of the map's largest on, and missed below this part of it."""


def answer_value(metric: str, log_p: Tensor, target: int, contrast: int | None) -> float:
    """A metric's value in a run.

    Args:
        metric: a key of `ANSWER_METRICS`.
        log_p: ln P of every token, `(vocabulary,)`.
        target, contrast: ids of the tokens; the contrast only where the metric has one.
    """
    if metric == "probability":
        return float(log_p[target].exp())
    if metric == "log_probability" or contrast is None:
        return float(log_p[target])
    return float(log_p[target] - log_p[contrast])


def attribution_frame(
    estimates: Tensor,
    changed: Tensor,
    layers: Sequence[int],
    tokens: Sequence[PromptToken],
    source_positions: Sequence[int],
    source_tokens: Sequence[str | None],
    target: int,
    contrast: int | None,
    token_text: TokenText,
    component: str = "block_output",
    head: int | None = None,
) -> pd.DataFrame:
    """The estimates of one component or head.

    Args:
        estimates: `(layers, positions)`, in units of the metric.
        changed: whether the cell's state is changed at all, same shape.
        layers: index of each row's block.
        tokens: the base token at each position.
        source_positions: the source position paired with each of them.
        source_tokens: the source's text there; None where no source is read.
        target, contrast: ids of the metric's tokens.
        token_text: exact text of a token id.
        component, head: the tensor that is changed.

    Returns:
        One row per layer and position: `component`, `head`, `layer`, `position`, `token`,
        `token_id`, `label` (of the base token there), `source_position`, `source_token`,
        `target_id`, `target`, `target_label`, `contrast_id`, `estimate`, `effect_possible`
        (False: the state that is put there is the one that is there already).
    """
    rows, across = len(layers), len(tokens)
    count, text = rows * across, token_text(target)

    def tiled(values: Sequence[Any]) -> list[Any]:
        return [*values] * rows

    return table(
        "attribution_frame",
        component=[component] * count,
        head=pd.array([head] * count, dtype="Int64"),
        layer=np.repeat([int(layer) for layer in layers], across),
        position=tiled([token.index for token in tokens]),
        token=tiled([token.text for token in tokens]),
        token_id=tiled([token.id for token in tokens]),
        label=tiled([visible(token.text) for token in tokens]),
        source_position=tiled([int(position) for position in source_positions]),
        source_token=tiled(source_tokens),
        target_id=[target] * count,
        target=[text] * count,
        target_label=[visible(text)] * count,
        contrast_id=pd.array([contrast] * count, dtype="Int64"),
        estimate=estimates.flatten(),
        effect_possible=changed.flatten(),
    )


def attribution_check_frame(
    estimated: pd.DataFrame, swept: pd.DataFrame, metric: str, share: float, kept: float
) -> pd.DataFrame:
    """Estimates beside the exact effects of a sweep over the same cells.

    Args:
        estimated: from `attribution_frame`.
        swept: from `sweep_frame`, the same cells in the same order, with the metric's tokens among
            its targets.
        metric: a key of `ANSWER_METRICS`.
        share: of the largest exact |effect| from which on an effect counts as large.
        kept: of a large effect below which an estimate has missed it.

    Returns:
        The columns of `attribution_frame` (`component`, `head`, `layer`, `position`, `token`,
        `token_id`, `label`, `source_position`, `source_token`, `target_id`, `target`,
        `target_label`, `contrast_id`, `estimate`), then `exact` (the metric in the cell − in the
        base run), `effect_possible` (the sweep's) and `false_negative` (a large effect of which
        the estimate, in its direction, has less than `kept`). `.attrs` also holds `share` and
        `kept`.
    """
    target, contrast = estimated["target_id"].iloc[0], estimated["contrast_id"].iloc[0]
    own = (swept["target_id"] == target).to_numpy(bool)

    def numbers(column: str, rows: np.ndarray) -> np.ndarray:
        return swept[column].to_numpy(float)[rows]

    exact = numbers("delta" if metric == "probability" else "log_ratio", own)
    if metric == "logit_difference":
        exact = exact - numbers("log_ratio", (swept["target_id"] == contrast).to_numpy(bool))
    may = swept["effect_possible"].to_numpy(bool)[own]
    missed = false_negatives(estimated["estimate"].to_numpy(float), exact, may, share, kept)
    columns: dict[str, Any] = {str(name): estimated[name] for name in estimated.columns}
    made = table(
        "attribution_check_frame",
        **{**columns, "exact": exact, "effect_possible": may, "false_negative": missed},
    )
    made.attrs = {**estimated.attrs, "share": share, "kept": kept}
    return made


def false_negatives(
    estimate: np.ndarray, exact: np.ndarray, may: np.ndarray, share: float, kept: float
) -> np.ndarray:
    """Whether each cell has a large effect that the estimate misses.

    Args:
        estimate, exact: changes of the metric, `(cells,)`.
        may: whether an effect is possible.
        share, kept: as in `attribution_check_frame`.
    """
    sizes = np.abs(exact)
    largest = np.nanmax(np.where(may, sizes, 0.0), initial=0.0)
    large = may & (sizes >= share * largest) & (sizes > 0)
    return large & (estimate * np.sign(exact) < kept * sizes)


def correlations(check: pd.DataFrame) -> tuple[float, float, int]:
    """How well estimates follow exact effects, over the cells where an effect is possible.

    Args:
        check: from `attribution_check_frame`.

    Returns:
        Pearson's r, Spearman's rho (equal values share a rank), and the number of cells. Both are
        NaN for fewer than two cells, or if all values of one side are equal.
    """
    live = check[check["effect_possible"]].dropna(subset=["exact", "estimate"])
    exact, estimate = live["exact"].astype(float), live["estimate"].astype(float)
    return _pearson(exact, estimate), _pearson(exact.rank(), estimate.rank()), len(live)


def _pearson(one: pd.Series[float], other: pd.Series[float]) -> float:
    x, y = (values.to_numpy(float) - values.mean() for values in (one, other))
    sizes = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / sizes if len(x) > 1 and sizes > 0 else float("nan")
