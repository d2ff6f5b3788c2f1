"""What each figure is drawn from, and what it reads of that."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from vene_widgets.errors import RequestError
from vene_widgets.figures.labels import distinct
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
    "sweep_map": ("sweep_frame", (*_SWEEP.split(), *(m.column for m in METRICS.values()))),
}
"""What each figure is drawn from: the function that makes the frame, and the columns it reads."""


def checked(frame: Any, kind: str) -> Any:
    """The frame, refused when a figure cannot be drawn from it (`Any`: rows have no types)."""
    maker, needs = NEEDS[kind]
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"{kind} takes a DataFrame from frames.{maker}, not a {type(frame).__name__}."
        )
    if missing := [column for column in needs if column not in frame.columns]:
        raise RequestError(
            f"{kind} lacks the columns {', '.join(map(repr, missing))}; it is drawn from "
            f"frames.{maker}, whose columns {', '.join(map(repr, needs))} it needs."
        )
    if frame.empty:
        raise RequestError(f"{kind} has nothing to draw: the frame from frames.{maker} is empty.")
    return frame


def runs_of(data: Any) -> list[str]:
    """Names of the runs that occur, in their order."""
    run = data["run"]
    present = list(dict.fromkeys(run))
    if isinstance(run.dtype, pd.CategoricalDtype):
        return [name for name in run.cat.categories if name in set(present)]
    return present


def token_labels(data: Any) -> dict[str, str]:
    """Token id as text -> label for the axis, in the frame's order; equal labels get their id."""
    first = data.drop_duplicates("token_id")
    return distinct(dict(zip(first["token_id"].astype(str), first["label"], strict=True)))
