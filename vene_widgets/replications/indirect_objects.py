# pyright: basic
"""Indirect objects: which heads move the answer to the last token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import vene_widgets as vw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.replications.prompts import Pair
    from vene_widgets.replications.reading import Reading


def indirect_objects(
    model: vw.LanguageModel, pairs: Sequence[Pair], component: str, layer: int
) -> Reading:
    """Patch each head, and one state, at the last token; means over pairs."""
    base_values, source_values, states, heads, maps = [], [], [], [], []
    for base, source, answer, other in pairs:
        right, wrong = model.resolve_tokens([answer, other])
        targets = [right, wrong]
        state = vw.sweep(
            model, base, source, component, layers=layer, positions=-1, targets=targets
        )
        by_head = vw.sweep(model, base, source, "z", head="all", positions=-1, targets=targets)
        maps.append(by_head)
        for values, logits in (
            (base_values, state.base_logits),
            (source_values, state.source_logits),
        ):
            values.append((logits[right] - logits[wrong]).item())
        states.append(state.frame.query("target_id == @right")["logit_difference"].item())
        heads.append(
            by_head.frame.query("target_id == @right").set_index(["layer", "head"])[
                "logit_difference"
            ]
        )
    start, end = np.mean(base_values), np.mean(source_values)
    recovery = (pd.concat(heads, axis=1).mean(axis=1) - start) / (end - start)
    most, least = recovery.idxmax(), recovery.idxmin()
    values = {
        "logit difference": end,
        f"recovery, {component} {layer}, last token": (np.mean(states) - start) / (end - start),
        "head that recovers most": "{}.{}".format(*most),
        "its recovery": recovery[most],
        "most negative head": "{}.{}".format(*least),
        "recovery of that": recovery[least],
    }
    return values, lambda style: maps[0].plot("recovery", style=style)
