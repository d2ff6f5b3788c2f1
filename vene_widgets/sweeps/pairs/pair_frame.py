"""The tidy table of a data set: one row per pair, cell and token followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vene_widgets.experiments.token_text import visible
from vene_widgets.sweeps.pairs.effects import own_scales
from vene_widgets.sweeps.pairs.pair_targets import role
from vene_widgets.tables.frames import table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from vene_widgets.sweeps.pairs.chunks import PairAnswers
    from vene_widgets.sweeps.pairs.planning import PairPlan


def pair_frame(plan: PairPlan, answers: PairAnswers) -> pd.DataFrame:
    """Every number of some pairs (`PairSweep.frame`).

    Args:
        plan: what was run.
        answers: of the pairs to list.

    Returns:
        One row per pair, head, layer, place and token followed: `pair`, `component`, `head`,
        `layer`, `position`, `place`, `token`, `token_id`, `label` (of the base token there),
        `source_position`, `role`, `target_id`, `target`, `target_label`, `probability`,
        `base_probability`, `source_probability`, `delta`, `log_ratio`, `contrast_id`,
        `logit_difference`, `recovery`, `effect_possible`.
    """
    import pandas as pd

    shape = answers.log_p.shape
    heads, tokens = np.array([-1 if head is None else head for head in plan.heads]), shape[-1]
    rows = [plan.rows[int(pair)] for pair in answers.pairs]

    def spread(values: np.ndarray, *axes: int) -> np.ndarray:
        """Values along some of the axes (0: pairs, … 4: tokens) as a column."""
        wide = values.reshape([shape[axis] if axis in axes else 1 for axis in range(5)])
        return np.broadcast_to(wide, shape).flatten()

    text, target_text = plan.model.token_text, plan.target_text
    positions = np.array([row.positions for row in rows])
    here = np.array([[row.base[n] for n in row.positions] for row in rows])
    targets, log_p = answers.targets, answers.log_p
    base_log_p, source_log_p = answers.base_log_p, answers.source_log_p
    # The contrast of a token is the first other one.
    contrast = np.array([0 if token else min(1, tokens - 1) for token in range(tokens)])
    difference, base_difference, source_difference = (
        run - run[..., contrast] for run in (log_p, base_log_p, source_log_p)
    )
    if tokens == 1:
        difference = np.full(shape, np.nan)
    with np.errstate(invalid="ignore"):
        size = own_scales(source_difference - base_difference)[:, None, None, None]
        recovery = (difference - base_difference[:, None, None, None]) / size
    base_p = np.exp(base_log_p)
    return table(
        "pair_frame",
        pair=spread(answers.pairs, 0),
        component=np.full(log_p.size, plan.request.component, dtype=object),
        head=pd.arrays.IntegerArray(spread(np.abs(heads), 1), spread(heads < 0, 1)),
        layer=spread(np.array(plan.layers), 2),
        position=spread(positions, 0, 3),
        place=spread(np.array(plan.places, dtype=object), 3),
        token=spread(_by_id(text, here), 0, 3),
        token_id=spread(here, 0, 3),
        label=spread(_by_id(lambda token: visible(text(token)), here), 0, 3),
        source_position=spread(np.array([row.source_positions for row in rows]), 0, 3),
        role=spread(np.array([role(n) for n in range(tokens)], dtype=object), 4),
        target_id=spread(targets, 0, 4),
        target=spread(_by_id(target_text, targets), 0, 4),
        target_label=spread(
            _by_id(lambda key: target_text(key) if key < 0 else visible(text(key)), targets), 0, 4
        ),
        probability=np.exp(log_p).flatten(),
        base_probability=spread(base_p, 0, 4),
        source_probability=spread(np.exp(source_log_p), 0, 4),
        delta=(np.exp(log_p) - base_p[:, None, None, None]).flatten(),
        log_ratio=(log_p - base_log_p[:, None, None, None]).flatten(),
        contrast_id=pd.arrays.IntegerArray(
            spread(targets[:, contrast], 0, 4), np.full(log_p.size, tokens == 1)
        ),
        logit_difference=difference.flatten(),
        recovery=recovery.flatten(),
        effect_possible=spread(answers.effect_possible, 0, 1, 2, 3),
    )


def _by_id(find: Callable[[int], str], ids: np.ndarray) -> np.ndarray:
    """What a function gives for each id, looked up once per id."""
    distinct, places = np.unique(ids, return_inverse=True)
    found = np.array([find(int(one)) for one in distinct], dtype=object)
    return found[places].reshape(ids.shape)
