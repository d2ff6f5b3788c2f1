"""A data set of pairs -> `messages.DataSet`: means, intervals, and the values of some pairs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from vene_widgets import sentences
from vene_widgets.explorer.wire import messages as wire
from vene_widgets.sweeps.pairs.controls import CONTROLS
from vene_widgets.sweeps.pairs.effects import PAIR_METRICS, Effects, effects, own_scales
from vene_widgets.tables import number_text
from vene_widgets.tables.metrics import Scale

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.sweeps.pairs.planning import PairPlan
    from vene_widgets.sweeps.pairs.results import PairSweep

DRAWN = 200
"""Pairs whose values are drawn of one tile; with no more than these, all are."""

ENDS = 10
"""Pairs at each end of each tile that are always drawn."""

MAX_VALUES, MAX_PAIRS = 90_000, 1_500
"""Most values and pairs of one message: each takes 8 bytes, or 130."""

CONFIDENCE = 0.95
"""Of the intervals, if nothing else is said."""

STRETCH = 28
"""Characters of a stretch that both prompts of a pair share, beyond which it is shortened."""

QUICK: dict[str, Any] = {"bootstraps": 199, "permutations": 1}
"""Options of `summarize` while a data set is being filled."""


def metric_info(plan: PairPlan, name: str) -> wire.DataMetric:
    """What is averaged, with the tokens in words."""
    facts = PAIR_METRICS[name]

    def spelled(text: str) -> str:
        text = re.sub(r"\bt\b", "target", text)
        return re.sub(r"\bu\b", "contrast", text)

    scale: Scale = "difference" if facts.diverging else "amount"
    is_probability = name in ("probability", "delta")
    return wire.DataMetric(
        name=name,
        title=spelled(facts.title),
        unit="" if name == "recovery" else facts.unit,  # its unit is said of the plain runs
        formula=spelled(facts.formula),
        about=f"{sentences.operator(plan.request.intervention, len(plan.request.prompts))}: "
        "the mean over the pairs.",
        scale=scale,
        low=None if not is_probability else -1.0 if facts.diverging else 0.0,
        high=1.0 if is_probability else None,
    )


def planned_data_set(plan: PairPlan, metric: str | None, controls: Sequence[str]) -> wire.DataSet:
    """A data set of which nothing has run.

    Args:
        plan: what will run.
        metric: what will be averaged; None if that is not known yet.
        controls: the controls that will run.
    """
    pairs = len(plan.rows)
    names = [CONTROLS[name] for name in controls]
    two = len(plan.rows[0].targets) != 1
    default = "recovery" if two and plan.reads_source else "delta"
    return _empty(plan, metric or default).model_copy(
        update={"facts": sentences.data_facts(pairs, 0, None, 0, CONFIDENCE, names)}
    )


def stopped(message: wire.DataSet) -> str:
    """What is said of a data set that was stopped."""
    return (
        f"Stopped after {message.counted:,} of {message.pairs:,} pairs: means and intervals are of "
        "these; q and controls need all of them."
    )


def _empty(plan: PairPlan, metric: str) -> wire.DataSet:
    return wire.DataSet(
        metric=metric_info(plan, metric),
        component=plan.request.component,
        operator=sentences.operator(plan.request.intervention, len(plan.request.prompts)),
        layers=list(plan.layers),
        heads=list(plan.heads),
        places=list(plan.labels),
        pairs=len(plan.rows),
        counted=0,
        facts="",
        base=0.0,
        source=None,
        tiles=[],
        shown=[],
        spread=0,
        ends=0,
        is_old=False,
        note=None,
    )


def facts_of(found: PairSweep, counted: int, units: int, confidence: float) -> str:
    """How the means were made, in one line."""
    unit = {None: None, "base": (units, "base")}.get(found.cluster, (units, f"{found.cluster}"))
    return sentences.data_facts(
        len(found.pairs),
        counted,
        unit,
        found.left_out,
        confidence,
        [CONTROLS[name] for name in found.controls],
    )


def data_set(found: PairSweep, *, is_complete: bool = True) -> wire.DataSet:
    """The message of a data set.

    Args:
        found: the results so far.
        is_complete: whether every chunk has run; if not, p and q are left out.

    Raises:
        RequestError: no pair counts.
    """
    plan = found.plan
    summary = found.summary if is_complete else found.summarize(**QUICK)
    rows = _records(summary)
    moved = effects(found.answers, found.metric)
    values = own_values(moved)
    possible = [bool(row["effect_possible"]) for row in rows]
    shown, spread, ends = drawn_pairs(values[:, possible])
    empty = _empty(plan, found.metric)
    return empty.model_copy(
        update={
            "counted": len(found.answers.pairs),
            "facts": facts_of(
                found,
                len(found.answers.pairs),
                summary.attrs["units"],
                summary.attrs["confidence"],
            ),
            "base": _rounded(rows[0]["base_mean"]),
            "source": _rounded(rows[0]["source_mean"]) if plan.reads_source else None,
            "tiles": [
                _tile(plan, empty.metric, row, values[shown, n] if can else [], is_complete)
                for n, (row, can) in enumerate(zip(rows, possible, strict=True))
            ],
            "shown": [_pair(plan, int(found.answers.pairs[n])) for n in shown],
            "spread": spread,
            "ends": ends,
        }
    )


def own_values(moved: Effects) -> np.ndarray:
    """Each pair's own value in every cell, `(pairs, cells)`; a recovery is a ratio of its own."""
    if moved.scales is None:
        return moved.values
    return (moved.values - moved.reference) / own_scales(moved.scales)[:, None]


def drawn_pairs(values: np.ndarray) -> tuple[list[int], int, int]:
    """Choose the pairs whose values are sent.

    Args:
        values: of the cells that can change something, `(pairs, cells)`.

    Returns:
        Indices of pairs; how many of them, the first ones, are spread evenly over the data set; and
        how many at each end of each cell are among the others at least.
    """
    pairs, cells = values.shape
    if pairs <= DRAWN:
        return list(range(pairs)), pairs, 0
    most = max(DRAWN, min(MAX_PAIRS, MAX_VALUES // max(1, cells)))
    count = DRAWN - 2 * ENDS
    even = {round(n * (pairs - 1) / (count - 1)): None for n in range(count)}
    chosen = dict(even)
    order = np.argsort(np.where(np.isfinite(values), values, np.nan), axis=0)
    finite = np.isfinite(values).sum(0)  # the others come last
    ends = 0
    for rank in range(ENDS):
        last = order[np.maximum(finite - 1 - rank, 0), np.arange(cells)]
        more = {int(n): None for n in (*order[rank], *last) if int(n) not in chosen}
        if len(chosen) + len(more) > most:
            break
        chosen |= more
        ends = rank + 1
    return list(chosen), len(even), ends


def _tile(
    plan: PairPlan, metric: wire.DataMetric, row: Any, values: Any, is_complete: bool
) -> wire.DataTile:
    can = bool(row["effect_possible"])
    has_control = row["control"] is not None and np.isfinite(row["control_mean"])
    control = CONTROLS[row["control"]] if has_control else None
    is_explained = can and is_complete and has_control and bool(row["explained"])
    numbers = sentences.TileNumbers(
        title=metric.title,
        mean=value_text(metric, row["mean"]),
        low=value_text(metric, row["low"]),
        high=value_text(metric, row["high"]),
        n=int(row["n"]),
        q=_finite(row["q"]) if is_complete else None,
        control=control,
        control_mean=value_text(metric, row["control_mean"]),
        control_q=_finite(row["control_q"]) if is_complete else None,
        is_explained=is_explained,
    )
    return wire.DataTile(
        layer=int(row["layer"]),
        head=None if row["head"] is None or row["head"] != row["head"] else int(row["head"]),
        place=plan.places.index(row["place"]),
        possible=can,
        n=int(row["n"]),
        mean=_rounded(row["mean"], 6),
        low=_rounded(row["low"], 6),
        high=_rounded(row["high"], 6),
        p=_rounded(row["p"], 6) if is_complete else None,
        q=_rounded(row["q"], 6) if is_complete else None,
        control=control,
        control_mean=_rounded(row["control_mean"], 6) if control else None,
        explained=is_explained,
        values=[_rounded(value) for value in values],
        words=sentences.data_tile(numbers if can else None),
    )


def value_text(metric: wire.DataMetric, value: float) -> str:
    """A value with its unit: percent, points, or three significant digits."""
    if not np.isfinite(value):
        return "not known"
    if metric.name == "probability":
        return number_text.percent(value)
    if metric.name == "delta":
        return f"{number_text.points(value)}{number_text.NO_BREAK}points"
    unit = f"{number_text.NO_BREAK}{metric.unit}" if metric.unit in ("nats", "logits") else ""
    return f"{number_text.significant(0.0 if abs(value) < 5e-4 else value)}{unit}"


def _pair(plan: PairPlan, number: int) -> wire.DataPair:
    pair = plan.pairs[number]
    return wire.DataPair(number=number, words=prompt_words(pair.base, pair.source or pair.base))


def prompt_words(base: str, source: str) -> list[list[str]]:
    """Two prompts as stretches of words: what both share, shortened, and where they differ."""
    left, right = (re.findall(r"\s*\S+|\s+$", text) for text in (base, source))
    found: list[list[str]] = []
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        here, there = "".join(left[a:b]), "".join(right[c:d])
        if kind == "equal":
            found.append([_shortened(here, a == 0, b == len(left))])
        else:
            found.append([here[: 3 * STRETCH].strip(), there[: 3 * STRETCH].strip()])
    return found


def _shortened(text: str, is_first: bool, is_last: bool) -> str:
    """A stretch with its middle left out, or what is far from the differing words."""
    text = text.strip()
    if len(text) <= STRETCH:
        return text
    if is_first and is_last:
        return f"{text[:STRETCH]}…"
    if is_first:
        return f"…{text[-STRETCH:]}"
    if is_last:
        return f"{text[:STRETCH]}…"
    return f"{text[: STRETCH // 2]}…{text[-STRETCH // 2 :]}"


def _records(summary: pd.DataFrame) -> Sequence[Any]:
    """The rows of the target, in the order of the cells."""
    return summary[summary["role"] == "target"].astype(object).to_dict("records")


def _rounded(value: Any, digits: int = 4) -> float | None:
    number = _finite(value)
    return None if number is None else float(f"{number:.{digits}g}")


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
