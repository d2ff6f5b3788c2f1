"""explore_pairs(), and PairSweep.explore(): an explorer on a data set of pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vene_widgets.experiments.experiment import Experiment
from vene_widgets.explorer.widget import Explorer, open_explorer
from vene_widgets.sweeps.pairs.results import PairSweep
from vene_widgets.sweeps.pairs.sweep_pairs import prepare_pairs

if TYPE_CHECKING:
    import pandas as pd

    from vene_widgets.models import LanguageModel
    from vene_widgets.sweeps.pairs.planning import PairPlan

SPLIT = 16
"""By what chunks are smaller than those of `sweep_pairs`: a click waits for the running one."""


def explore_pairs(
    model: LanguageModel,
    pairs: pd.DataFrame | Iterable[Any],
    component: str = "block_output",
    **options: Any,
) -> Explorer:
    """Open the explorer on a data set of pairs, whose map fills while it is looked at.

    Chunks run as jobs of the explorer's worker: between two of them the model is free for clicks.
    A click on a tile shows its pairs, one on a pair opens it as an ordinary experiment.

    Args:
        model: from `load` or `wrap`.
        pairs: as in `sweep_pairs`.
        component: the tensor that is swapped.
        options: those of `sweep_pairs` but `progress` and `cancel`, which the screen has.

    Returns:
        The widget; its `pair_sweep` waits for the results.

    Raises:
        RequestError: see `sweep_pairs`.
    """
    run = prepare_pairs(model, pairs, component, split=SPLIT, **options)
    return open_explorer(model, _pair(run.plan, 0), component, pairs=run)


def open_pair_sweep(found: PairSweep) -> Explorer:
    """Open the explorer on a data set that has run (`PairSweep.explore`).

    Raises:
        RequestError: no pair counts.
    """
    first = int(found.answers.pairs[0]) if len(found.answers.pairs) else 0
    plan = found.plan
    return open_explorer(plan.model, _pair(plan, first), plan.request.component, pairs=found)


def _pair(plan: PairPlan, number: int) -> Experiment:
    """A pair's prompts, with nothing patched."""
    pair = plan.pairs[number]
    return Experiment(base=pair.base, sources={} if pair.source is None else pair.source)


PairSweep.open_explorer = open_pair_sweep
