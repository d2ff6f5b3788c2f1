"""alt_text: a figure's result in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vene_widgets.errors import choose
from vene_widgets.figures.labels import kl_text, layer_text, position_text, value_text
from vene_widgets.figures.map_layout import has_head_columns, rows_of
from vene_widgets.figures.maps import require_targets
from vene_widgets.figures.needs import NEEDS, run_names, validate_frame, validate_summary
from vene_widgets.figures.notes import place_words
from vene_widgets.figures.pair_panels import OF_CONTRAST, metric_of
from vene_widgets.figures.setup_lines import controls_words, pairs_setup
from vene_widgets.figures.targets import shown_targets
from vene_widgets.tables.metrics import METRICS, Metric
from vene_widgets.tables.number_text import percent, significant

_MOST_POSITIONS = 6
"""Positions that a map's text names one by one; more are counted."""


def alt_text(
    frame: pd.DataFrame,
    kind: str,
    metric: str = "probability",
    before: str = "base",
    after: str = "intervened",
) -> str:
    """A figure's result in words and numbers, as alternative text for readers who cannot see it.

    Args:
        frame: what the figure is drawn from.
        kind: the name of a figure function: a key of `NEEDS`, or `pair_map`.
        metric: of a `sweep_map`.
        before, after: as given to `difference_panel`.

    Raises:
        RequestError: an unknown kind or metric, a frame without the required columns, or a metric
            that needs another target.
    """
    if kind == "pair_map":
        return _means_text(validate_summary(frame))
    data = validate_frame(frame, choose(kind, NEEDS, "figure"))
    if kind == "sweep_map":
        info = METRICS[choose(metric, METRICS, "metric")]
        require_targets(data, info)
        return _sweep_text(data, info)
    if kind == "difference_panel":
        columns = ["label", "before", "after", "rank_before", "rank_after"]
        rows = data[columns].head(5).itertuples(index=False, name=None)
        changes = [
            f"{label} {percent(p_before)} to {percent(p_after)} (rank {rank_before} to "
            f"{rank_after})"
            for label, p_before, p_after, rank_before, rank_after in rows
        ]
        return (
            f"Next-token probabilities, {before} to {after}, largest change first: "
            f"{'; '.join(changes)}. {kl_text(frame, before, after)}."
        )
    parts: list[str] = []
    for run in run_names(data):
        best = data[data["run"] == run].nlargest(3, "probability")
        pairs = zip(best["label"], best["probability"], strict=True)
        parts.append(f"{run}: {', '.join(f'{label} {percent(p)}' for label, p in pairs)}")
    count = data["token_id"].nunique()
    return f"Next-token probabilities of {count} tokens. Most likely in {'; in '.join(parts)}."


def _sweep_text(data: pd.DataFrame, metric: Metric) -> str:
    """The cells with a sweep's smallest and largest values, and where each target is the answer."""
    row, positions = rows_of(data), data["position"].nunique()
    of_heads = has_head_columns(data)
    column = ["head", "position"] if of_heads else ["position"]
    places_named = f"{positions} token positions"
    if of_heads:
        where = position_text(data.iloc[0]) if positions == 1 else places_named
        places_named = f"{data['head'].nunique()} heads at {where}"

    def column_text(cell: pd.Series[Any]) -> str:
        if not of_heads:
            return position_text(cell)
        return f"head {cell['head']}" + ("" if positions == 1 else f", {position_text(cell)}")

    def rows_text(part: pd.DataFrame) -> str:
        """The rows of some cells: `layers 0 to 2`, `heads 0 and 1`."""
        return layer_text(sorted(part[row].unique())).replace("layer", row)

    of_layer = "" if row == "layer" else f" of layer {data['layer'].iloc[0]}"
    sentences = [f"Map of {metric.title} over {rows_text(data)}{of_layer} and {places_named}."]
    named = shown_targets(data, metric)
    for target in map(int, data["target_id"].unique()):
        cells = data[data["target_id"] == target]
        ran = cells[cells[metric.column].notna()]
        if ran.empty:
            return f"{sentences[0]} No cell was run."
        values = ran[metric.column].astype(float)
        least, most = (ran.iloc[int(i)] for i in (values.argmin(), values.argmax()))
        name = ran["target_label"].iloc[0]
        base = f"{name} ({percent(ran['base_probability'].iloc[0])} in the base run)"
        if metric.of_pair and target in named:
            base = f"{named[target].name} ({named[target].base})"
        # A metric of the whole distribution is the same for every target: state it once.
        if target in named:
            sentences.append(
                (f"For {base}: from" if metric.of_target else "From")
                + f" {value_text(metric, least[metric.column])} at {column_text(least)},"
                + f" {row} {least[row]},"
                + f" to {value_text(metric, most[metric.column])} at {column_text(most)},"
                + f" {row} {most[row]}."
            )
        won = ran[ran["best_id"] == target]
        places = [
            f"{column_text(part.iloc[0])} in {rows_text(part)}" for _, part in won.groupby(column)
        ]
        rest = len(places) - _MOST_POSITIONS
        more = f" and {rest} more {column[0]}s" if rest > 0 else ""
        sentences.append(
            f"{name} is the most likely token in {len(won)} of {len(ran)} cells"
            + (f": {'; '.join(places[:_MOST_POSITIONS])}{more}." if places else ".")
        )
    return " ".join(sentences)


def _means_text(data: pd.DataFrame) -> str:
    """The cells with the smallest and largest means of a sweep over pairs, and its controls."""
    metric = str(data["metric"].iloc[0])
    name, row = metric_of(metric).title, rows_of(data)
    layers = layer_text(sorted(data[row].unique())).replace("layer", row)
    places = data["place"].nunique()
    sentences = [
        f"Map of mean {name} over {layers} and {places} places: "
        + pairs_setup(data).replace(" · ", ", ")
    ]
    has_one = metric in OF_CONTRAST or (row == "layer" and data["head"].nunique() > 1)
    for role in data["role"].unique()[: 1 if has_one else None]:
        found: Any = data
        ran = found[(found["role"] == role) & found["mean"].notna()]
        if ran.empty:
            sentences.append(f"For the {role}: no pair has a value")
            continue
        ends = [ran.loc[ran["mean"].idxmin()], ran.loc[ran["mean"].idxmax()]]
        texts = [
            f"{significant(each['mean'])} (interval {significant(each['low'])} to "
            f"{significant(each['high'])}) at {place_words(each['label'], each['place'])}, layer "
            + f"{each['layer']}"
            + ("" if pd.isna(each["head"]) else f", head {each['head']}")
            for each in ends
        ]
        sentences.append(f"For the {role}: from {texts[0]}, to {texts[1]}")
        muted = ran["explained"] & ran["effect_possible"] & ran["control"].notna()
        if ran["control"].notna().any():
            sentences.append(
                f"A control explains {int(muted.sum())} of {int(ran['effect_possible'].sum())} "
                "cells where an effect is possible"
            )
    controls = controls_words(data, muted=False).split(" · ")[0]
    return ". ".join([*sentences, controls[0].upper() + controls[1:]]) + "."
