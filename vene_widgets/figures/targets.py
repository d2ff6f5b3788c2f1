"""Targets of a sweep's frame: which of them have a panel in a map, and the panel's title."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from vene_widgets.figures.heading import lettered
from vene_widgets.figures.labels import distinct_labels
from vene_widgets.tables.number_text import percent

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.tables.metrics import Metric


class Shown(NamedTuple):
    """A target that a map shows.

    Attributes:
        name: the metric with the tokens in it: `P(␣Rome)`, `logit(␣Rome) − logit(␣Madrid)`.
        base: its value in the base run, or the target's probability there, with its name.
    """

    name: str
    base: str


def shown_targets(data: pd.DataFrame, metric: Metric) -> dict[int, Shown]:
    """Id of each target that a map shows, in the frame's order.

    It is the first one for a metric without a target. Of two tokens compared with each other it is
    one of the two: the other's map is the same with the opposite sign.
    """
    first = data.drop_duplicates("target_id").set_index("target_id")
    labels = {
        int(target): text
        for target, text in distinct_labels(
            dict(zip(map(str, first.index), first["target_label"], strict=True))
        ).items()
    }
    before = dict(zip(labels, first["base_probability"].astype(float), strict=True))
    if not metric.of_target:
        target = next(iter(labels))
        return {target: Shown(metric.title, f"base {percent(before[target])}")}
    found: dict[int, Shown] = {}
    pairs = set[tuple[int, int]]()
    for target, text in labels.items():
        name = metric.title.replace("(t)", f"({text})").replace("of t", f"of {text}")
        was = f"{'base' if metric.name == 'probability' else 'base P'} {percent(before[target])}"
        if metric.of_pair and (contrast := _contrast(data, target)) is not None:
            if (contrast, target) in pairs:
                continue
            pairs.add((target, contrast))
            name = name.replace("(u)", f"({labels.get(contrast, contrast)})")
            if metric.scale == "share":
                of = data.attrs.get("recovery", "logit_difference")
                against = f" against {labels.get(contrast, contrast)}" if "diff" in of else ""
                name = f"Recovery of {text}" + (against or f", {of.replace('_', ' ')}")
                was = "0 = base, 1 = source"
            elif (odds := before[target]) > 0 and before.get(contrast, 0) > 0:
                difference = math.log(odds / before[contrast])
                was = f"base {difference:+.2g}".replace("-", "−")
        found[target] = Shown(name, was)
    return found


def panel_titles(data: pd.DataFrame, metric: Metric) -> dict[int, str]:
    """Target id -> title of its panel, with the base run's value; several have letters."""
    shown = shown_targets(data, metric)
    if not metric.of_target:
        return {target: one.name for target, one in shown.items()}
    titles = [f"{one.name}, {one.base}" for one in shown.values()]
    if len(titles) > 1:
        titles = [lettered(n, title) for n, title in enumerate(titles)]
    return dict(zip(shown, titles, strict=True))


def _contrast(data: pd.DataFrame, target: int) -> int | None:
    """The token that a target is compared with: the frame's, else the first other target."""
    if "contrast_id" in data.columns:
        named = data.loc[data["target_id"] == target, "contrast_id"].dropna()
        return int(named.iloc[0]) if len(named) else None
    return next((int(one) for one in data["target_id"].unique() if one != target), None)
