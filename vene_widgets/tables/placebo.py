"""placebo_frame(): the changes of a sweep beside those of its controls, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vene_widgets.tables.frames import table
from vene_widgets.tables.metrics import METRICS

ROUNDING = 1e-6
"""How far beyond a control's range a change counts as within, as a share of the largest change."""

Levels = tuple[pd.DataFrame, pd.DataFrame]
"""Of one sweep: its cells, and the same rows with the numbers of its base run (`sweep_frame`)."""


def placebo_frame(
    exact: Levels, controls: Mapping[str, Sequence[Levels]], metric: str
) -> pd.DataFrame:
    """What each cell changes, and the range of what each control changes there.

    A change is the metric in the cell − in the base run of the same model. All share the scale of
    the real plain runs: recovery is a share of what these differ by.

    Args:
        exact: of the sweep.
        controls: of every draw, by control; the same cells and targets in the same order.
        metric: a key of `METRICS`.

    Returns:
        One row per control, cell and target: `metric`, `control`, `draws`, `component`, `head`,
        `layer`, `position`, `token`, `token_id`, `label`, `target_id`, `target`, `target_label`,
        `exact`, `least`, `most` (of the draws in this cell), `within` and `effect_possible`.
        `within`: the change is no larger than the largest that the control makes in the same
        direction anywhere in the map, in any draw. So a control would leave a false tile in at most
        1 of `draws` + 1 maps, in each direction (the maximum statistic: Nichols & Holmes 2002,
        "Nonparametric Permutation Tests for Functional Neuroimaging").
    """
    cells, _ = exact
    own, targets = changes(exact, metric), cells["target_id"].to_numpy()
    slack = ROUNDING * np.nanmax(np.abs(own), initial=0.0)
    parts: list[pd.DataFrame] = []
    for name, drawn in controls.items():
        several = np.stack([changes(one, metric) for one in drawn])
        least, most = np.fmin.reduce(several), np.fmax.reduce(several)
        low, high = np.zeros_like(own), np.zeros_like(own)
        for target in np.unique(targets):
            rows = targets == target
            low[rows] = np.nanmin(least[rows], initial=0.0)
            high[rows] = np.nanmax(most[rows], initial=0.0)
        is_within = (low - slack <= own) & (own <= high + slack)
        same: dict[str, Any] = {
            column: cells[column]
            for column in ("component", "head", "layer", "position", "token", "token_id", "label")
        }
        parts.append(
            table(
                "placebo_frame",
                **same,
                **{column: cells[column] for column in ("target_id", "target", "target_label")},
                metric=[metric] * len(cells),
                control=[name] * len(cells),
                draws=[len(drawn)] * len(cells),
                exact=own,
                least=least,
                most=most,
                within=is_within,
                effect_possible=cells["effect_possible"],
            )
        )
    return pd.concat(parts, ignore_index=True)


def changes(levels: Levels, metric: str) -> np.ndarray:
    """The metric in each row's cell − in the base run; NaN where the metric has no value."""
    column = METRICS[metric].column
    cells, base = (
        frame[column].astype("Float64").to_numpy(float, na_value=np.nan) for frame in levels
    )
    return cells - base
