"""summarize(): means over pairs, their uncertainty, and what controls make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vene_widgets.sweeps.pairs.effects import Effects, effects
from vene_widgets.sweeps.pairs.pair_targets import role
from vene_widgets.tables.frames import table
from vene_widgets.tables.pair_statistics import (
    CellEstimates,
    estimate_cells,
    false_discovery_rates,
)

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.sweeps.pairs.chunks import PairAnswers
    from vene_widgets.sweeps.pairs.planning import PairPlan

EXPLAINED = 0.05
"""A cell is explained by a control if their difference has a q of this or more."""


def summarize(
    plan: PairPlan,
    answers: PairAnswers,
    controls: Mapping[str, PairAnswers],
    metric: str,
    clusters: Sequence[object] | None,
    **options: Any,
) -> pd.DataFrame:
    """The table of means, one row per cell and token followed (`PairSweep.summary`).

    Args:
        plan: what was run.
        answers: of the pairs that count.
        controls: of the same pairs; a control may lack some.
        metric: one of `PAIR_METRICS`.
        clusters: of each pair, what it shares with others; None if pairs are independent.
        options: of `estimate_cells`: confidence, bootstraps, permutations, seed.

    Returns:
        `metric`, `component`, `head`, `layer`, `place`, `label`, `role`; `n`, `units`, `mean`,
        `low`, `high`, `p`, `q`, `p_max`; `base_mean`, `source_mean`, `effect_possible`; of the
        closest control `control`, `control_mean`, `control_low`, `control_high`, `control_p`,
        `control_q`, `explained`.
    """
    import pandas as pd

    labels = None if clusters is None else np.array(pd.factorize(np.array(clusters, object))[0])
    tokens = range(answers.targets.shape[1])
    parts = [
        _of_token(plan, answers, controls, metric, token, {**options, "clusters": labels})
        for token in tokens
    ]
    whole = pd.concat(parts, ignore_index=True)
    # Rows are ordered by head, layer and place, then token.
    order = np.arange(len(whole)).reshape(len(parts), -1).T.flatten()
    return whole.iloc[order].reset_index(drop=True)


def _of_token(
    plan: PairPlan,
    answers: PairAnswers,
    controls: Mapping[str, PairAnswers],
    metric: str,
    token: int,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """The rows of one of the tokens followed."""
    found = effects(answers, metric, token)
    possible = np.asarray(answers.effect_possible.reshape(len(answers.pairs), -1).any(0))
    whole = estimated(found, possible, options)
    against = [
        (name, *_control(found, answers, other, metric, token, possible, options))
        for name, other in controls.items()
    ]
    heads, layers, places = len(plan.heads), len(plan.layers), len(plan.places)
    cells = heads * layers * places
    nothing = np.full(cells, np.nan)
    means: dict[str, Any] = dict.fromkeys(("mean", "low", "high", "p", "q"), nothing)
    names = np.full(cells, None, dtype=object)
    if against:
        # The control that comes closest to the effect: by p, then by the size of its own effect.
        sizes = np.stack([np.abs(own.mean - _level(found)) for _, own, _ in against])
        ps = np.nan_to_num(np.stack([p for _, _, p in against]), nan=1.0)
        closest = np.lexsort((sizes, ps), axis=0)[-1]
        each = np.arange(cells)
        names = np.array([name for name, _, _ in against], dtype=object)[closest]
        for part in ("mean", "low", "high"):
            means[part] = np.stack([getattr(own, part) for _, own, _ in against])[closest, each]
        means["p"] = np.where(possible, ps[closest, each], np.nan)
        means["q"] = false_discovery_rates(means["p"])
    explained = ~possible
    if against:
        is_larger = np.abs(whole.mean - _level(found)) > np.abs(means["mean"] - _level(found))
        explained = ~(possible & (means["q"] < EXPLAINED) & is_larger)
    return table(
        "pair_summary",
        metric=np.full(cells, metric, dtype=object),
        component=np.full(cells, plan.request.component, dtype=object),
        head=_heads(plan.heads, layers * places),
        layer=np.tile(np.repeat(plan.layers, places), heads),
        place=np.tile(np.array(plan.places, dtype=object), heads * layers),
        label=np.tile(np.array(plan.labels, dtype=object), heads * layers),
        role=np.full(cells, role(token), dtype=object),
        n=whole.n,
        units=np.full(cells, whole.units),
        mean=whole.mean,
        low=whole.low,
        high=whole.high,
        p=whole.p,
        q=whole.q,
        p_max=whole.p_max,
        base_mean=np.full(cells, found.base.mean()),
        source_mean=np.full(cells, found.source.mean()),
        effect_possible=possible,
        control=names,
        control_mean=means["mean"],
        control_low=means["low"],
        control_high=means["high"],
        control_p=means["p"],
        control_q=means["q"],
        explained=explained,
    )


def estimated(found: Effects, possible: np.ndarray, options: Mapping[str, Any]) -> CellEstimates:
    """Estimates of all cells; those in which nothing is possible are not tested.

    Args:
        found: a metric of some pairs.
        possible: whether a cell can change anything in any pair, `(cells,)`.
        options: of `estimate_cells`.
    """
    live, dead = np.flatnonzero(possible), np.flatnonzero(~possible)
    own: dict[str, Any] = {"reference": found.reference, "scales": found.scales, **options}
    parts: list[tuple[np.ndarray, CellEstimates]] = []
    plain: dict[str, Any] = {"permutations": 1}
    for cells, more in ((live, own), (dead, {**own, **plain})):
        if len(cells):
            parts.append((cells, estimate_cells(found.values[:, cells], **more)))
    whole: dict[str, Any] = {"units": parts[0][1].units}
    for name in ("n", "mean", "low", "high", "p", "q", "p_max"):
        whole[name] = np.full(len(possible), np.nan if name != "n" else 0)
        for cells, part in parts:
            whole[name][cells] = getattr(part, name)
    for name in ("p", "q", "p_max"):
        whole[name][dead] = np.nan
    whole["n"] = whole["n"].astype(np.int64)
    return CellEstimates(**whole)


def _control(
    found: Effects,
    answers: PairAnswers,
    control: PairAnswers,
    metric: str,
    token: int,
    possible: np.ndarray,
    options: Mapping[str, Any],
) -> tuple[CellEstimates, np.ndarray]:
    """A control's estimates on the scale of the sweep's own, and p of no difference between them.

    Pairs that the control lacks do not count in either.
    """
    own = effects(control, metric, token)
    change = np.full(found.values.shape, np.nan)
    at = np.searchsorted(answers.pairs, control.pairs)
    at[at == len(answers.pairs)] = 0
    is_kept = answers.pairs[at] == control.pairs
    change[at[is_kept]] = (own.values - own.reference)[is_kept]
    moved = Effects(
        found.reference + change, found.reference, found.scales, found.base, found.source
    )
    estimates = estimated(moved, possible, {**options, "permutations": 1})
    difference = Effects(
        found.values - found.reference - change,
        np.zeros((len(change), 1)),
        None,
        found.base,
        found.source,
    )
    return estimates, estimated(difference, possible, {**options, "bootstraps": 1}).p


def _level(found: Effects) -> float:
    """The mean of a cell that changes nothing."""
    return 0.0 if found.scales is not None else float(found.reference.mean())


def _heads(heads: Sequence[int | None], each: int) -> Any:
    import pandas as pd

    return pd.array(list(heads), dtype="Int64").repeat(each)
