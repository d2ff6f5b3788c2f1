"""attribution_map: estimated effects over layer x token position, or layer x head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from vene_widgets.errors import RequestError
from vene_widgets.figures.heads import head_tiles
from vene_widgets.figures.labels import label
from vene_widgets.figures.map_layout import has_head_columns
from vene_widgets.figures.maps import tile_map
from vene_widgets.figures.palette import palette_of
from vene_widgets.figures.setup_lines import SweepPlan, sweep_setup
from vene_widgets.tables.columns import FRAMES
from vene_widgets.tables.metrics import Metric
from vene_widgets.tables.number_text import percent, significant

if TYPE_CHECKING:
    import plotnine as p9


def attribution_map(
    frame: pd.DataFrame,
    title: str | None = None,
    *,
    setup: str | None = None,
    style: str = "light",
) -> p9.ggplot:
    """Estimates of attribution patching: layer x token position, one tile per cell.

    Of several heads it is layer x head, one panel per position, of those with the largest
    estimates. Tiles whose state is the same in both runs are hatched.

    Args:
        frame: from `vw.attribute(...).frame`.
        title: above the figure.
        setup: what was done, in a line below the title.
        style: `light` or `dark`.

    Raises:
        RequestError: no such frame, or an unknown style.

    Example:
        >>> import vene_widgets as vw
        >>> pair = "The capital of Spain is", "The capital of Italy is"
        >>> figure = vw.figures.attribution_map(vw.attribute(vw.load(), *pair).frame)
    """
    palette = palette_of(style)
    data = validate_attribution(frame, "attribution_map", "attribution_frame")
    info = effect_metric(data.attrs, "estimate", "estimate")
    named = f"estimated change of {metric_words(data)}"
    if has_head_columns(data):
        return head_tiles(data, info, named, title, setup=setup, palette=palette, change="estimate")
    return tile_map(data, info, title, setup=setup, palette=palette, named=named)


def attribution_setup(plan: SweepPlan, head: str | int | None, steps: int) -> str:
    """What was done: `“…” ← “…” · residual stream, after block: patch, estimated by … · …`.

    Args:
        plan: the sweep that was estimated.
        head: as in `sweep_setup`.
        steps: points at which the gradient was taken.
    """
    how = "estimated by the gradient at the base (attribution patching)"
    if steps > 1:
        how = f"estimated by the mean gradient of {steps:,} steps from base to source (EAP-IG)"
    return sweep_setup(plan, head, how)


def validate_attribution(frame: object, figure: str, kind: str) -> pd.DataFrame:
    """Return the frame if a figure can be drawn from it.

    Args:
        frame: what the user passed.
        figure: its name, for the message.
        kind: a key of `FRAMES`.

    Raises:
        RequestError: no DataFrame, a missing column, or no rows.
    """
    maker = "vw.attribute(...)" + (".against(...)" if "check" in kind else "")
    if not isinstance(frame, pd.DataFrame):
        raise RequestError(
            f"{figure}: expected the .frame of {maker}, got a {type(frame).__name__}."
        )
    if missing := [column for column in FRAMES[kind] if column not in frame.columns]:
        raise RequestError(
            f"{figure}: the frame lacks the columns {', '.join(map(repr, missing))}; expected "
            f"those of {maker}."
        )
    if frame.empty:
        raise RequestError(f"{figure}: the frame is empty; expected at least one row.")
    return frame


def effect_metric(known: Mapping[Any, Any], column: str, title: str) -> Metric:
    """How a map shows changes of a metric.

    Args:
        known: `.attrs` of the frame.
        column: which of its columns is shown.
        title: of the colour bar.
    """
    is_probability = known.get("metric") == "probability"
    return Metric(
        name="delta" if is_probability else "log_ratio",
        title=title,
        label=title,
        unit=str(known.get("unit", "")),
        formula="(new state − base state) · gradient of the metric",
        column=column,
        range=(-1.0, 1.0) if is_probability else (None, None),
        scale="difference",
        of_target=True,
        about="Predicted change of the metric from the base run.",
    )


def metric_words(data: pd.DataFrame) -> str:
    """The metric with its tokens, and its values in the base and in the source run."""
    known: Mapping[Any, Any] = data.attrs
    target, contrast = label(str(data["target_label"].iloc[0])), known.get("contrast_label")
    name = {
        "probability": f"P({target})",
        "log_probability": f"ln P({target})",
    }.get(str(known.get("metric")), f"logit({target})")
    if contrast is not None:
        name += f" − logit({label(str(contrast))})"
    said = [name]
    for run in ("base", "source"):
        if (value := known.get(f"{run}_value")) is not None:
            is_probability = known.get("metric") == "probability"
            said.append(f"{run} {percent(value) if is_probability else significant(value)}")
    return ", ".join(said)
