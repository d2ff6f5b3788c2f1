"""alt_text: a figure's result in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vene_widgets.errors import choose
from vene_widgets.figures.labels import kl_words, layer_words, percent, place, saying
from vene_widgets.figures.needs import NEEDS, checked, runs_of
from vene_widgets.tables.metrics import METRICS, Metric


def alt_text(
    frame: pd.DataFrame,
    kind: str,
    metric: str = "probability",
    before: str = "base",
    after: str = "intervened",
) -> str:
    """A figure's result in words with its numbers, for readers who do not see it.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function, a key of `NEEDS`.
        metric: of a `sweep_map`.
        before, after: as given to `difference_panel`.

    Raises:
        RequestError: an unknown kind or metric, or a frame that does not fit the kind.
    """
    data = checked(frame, choose(kind, NEEDS, "figure"))
    if kind == "sweep_map":
        return _sweep_words(data, METRICS[choose(metric, METRICS, "metric")])
    if kind == "difference_panel":
        moved = [
            f"{row.label} {percent(row.before)} % to {percent(row.after)} % (rank "
            f"{row.rank_before} to {row.rank_after})"
            for row in data.head(5).itertuples()
        ]
        return (
            f"Next-token probabilities, {before} to {after}, by contribution to the KL divergence: "
            f"{'; '.join(moved)}. {kl_words(frame, before, after)}."
        )
    parts = []
    for run in runs_of(data):
        best = data[data["run"] == run].nlargest(3, "probability")
        tokens = ", ".join(f"{row.label} {percent(row.probability)} %" for row in best.itertuples())
        parts.append(f"{run}: {tokens}")
    count = data["token_id"].nunique()
    return f"Next-token probabilities of {count} tokens. Most likely in {'; in '.join(parts)}."


def _sweep_words(data: Any, metric: Metric) -> str:
    """Where a sweep's values are smallest and largest, and where each target is the answer."""
    layers, positions = sorted(data["layer"].unique()), data["position"].nunique()
    words = [f"Map of {metric.title} over {layer_words(layers)} and {positions} token positions."]
    say = saying(metric)
    for n, (target, cells) in enumerate(data.groupby("target_id", sort=False)):
        ran = cells[cells[metric.column].notna()]
        if ran.empty:
            return f"{words[0]} No cell was run."
        values = ran[metric.column].astype(float)
        least, most = (ran.loc[i] for i in (values.idxmin(), values.idxmax()))
        name = ran["target_label"].iloc[0]
        base = f"{name} ({percent(ran['base_probability'].iloc[0])} % in the base run)"
        if n == 0 or metric.of_target:
            words.append(
                (f"For {base}: from" if metric.of_target else "From")
                + f" {say(least[metric.column])} at {place(least)}, layer {least['layer']},"
                + f" to {say(most[metric.column])} at {place(most)}, layer {most['layer']}."
            )
        won = ran[ran["best_id"] == target]
        where = [
            f"{place(part.iloc[0])} in {layer_words(sorted(part['layer']))}"
            for _, part in won.groupby("position")
        ]
        more = f" and {len(where) - 6} more positions" if len(where) > 6 else ""
        words.append(
            f"{name} is the most likely token in {len(won)} of {len(ran)} cells"
            + (f": {'; '.join(where[:6])}{more}." if where else ".")
        )
    return " ".join(words)
