"""Required columns: what each figure reads of its frame."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from vene_widgets.errors import RequestError, choose
from vene_widgets.figures.labels import distinct_labels
from vene_widgets.tables.columns import FRAMES
from vene_widgets.tables.metrics import METRICS

Kind = Literal["token_heatmap", "difference_panel", "sweep_map", "distribution_dots"]

_SWEEP = "layer position label target_id target_label base_probability best_id best_probability"
NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "token_heatmap": ("token_frame", ("run", "token_id", "label", "probability")),
    "distribution_dots": ("token_frame", ("run", "token_id", "label", "probability")),
    "difference_panel": (
        "difference_frame",
        ("token_id", "label", "before", "after", "delta", "kl", "rank_before", "rank_after"),
    ),
    "sweep_map": (
        "sweep_frame",
        (*_SWEEP.split(), *(m.column for m in METRICS.values() if not m.of_source)),
    ),
}
"""Per figure: the function of `frames` that makes its frame, and the required columns."""

PAIR_METRICS = ("recovery", "logit_difference", "probability", "delta", "log_ratio")
"""Metrics of a sweep over pairs of prompts, those that a map of means can show."""


def validate_frame(frame: object, kind: str) -> pd.DataFrame:
    """Return the frame if a figure can be drawn from it.

    Args:
        frame: what the user passed.
        kind: a key of `NEEDS`.

    Raises:
        RequestError: no DataFrame, a missing column, or no rows.
    """
    maker, required = NEEDS[kind]
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"{kind}: expected a DataFrame from frames.{maker}, got {type(frame).__name__}."
        )
    if missing := [column for column in required if column not in frame.columns]:
        raise RequestError(
            f"{kind}: the frame lacks the columns {', '.join(map(repr, missing))}. Required "
            f"columns, as in frames.{maker}: {', '.join(map(repr, required))}."
        )
    if frame.empty:
        raise RequestError(
            f"{kind}: the frame is empty; expected at least one row, from frames.{maker}."
        )
    return frame


def validate_summary(frame: object, name: str = "pair_map") -> pd.DataFrame:
    """Return the frame if it is the summary of a sweep over pairs, of one metric.

    Args:
        frame: what the user passed.
        name: the figure's.

    Raises:
        RequestError: no DataFrame, a missing column, no rows, or several metrics.
    """
    maker = "PairSweep.summary"
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"{name}: expected a DataFrame from {maker}, got {type(frame).__name__}."
        )
    if missing := [column for column in FRAMES["pair_summary"] if column not in frame.columns]:
        raise RequestError(
            f"{name}: the frame lacks the columns {', '.join(map(repr, missing))}; expected those "
            f"of {maker}."
        )
    if frame.empty:
        raise RequestError(f"{name}: the frame is empty; expected at least one row, from {maker}.")
    if len(metrics := list(frame["metric"].unique())) > 1:
        raise RequestError(
            f"{name}: the frame has {len(metrics)} metrics, {', '.join(map(repr, metrics))}; "
            "expected the rows of one."
        )
    choose(str(metrics[0]), PAIR_METRICS, "metric")
    return frame


def run_names(data: pd.DataFrame) -> list[str]:
    """Names of the runs in a token frame: in categorical order if there is one, else as found."""
    run = data["run"]
    present: list[str] = list(dict.fromkeys(run))
    if isinstance(run.dtype, pd.CategoricalDtype):
        return [name for name in run.cat.categories if name in set(present)]
    return present


def token_labels(data: pd.DataFrame) -> dict[str, str]:
    """Token id as text -> label for the axis, in the frame's order; equal labels get their id."""
    first = data.drop_duplicates("token_id")
    return distinct_labels(dict(zip(first["token_id"].astype(str), first["label"], strict=True)))
