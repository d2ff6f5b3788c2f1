# pyright: basic
"""Self-repair: what a head writes, and how much less the model loses without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import vene_widgets as vw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.replications.prompts import Pair
    from vene_widgets.replications.reading import Reading


def self_repair(
    model: vw.LanguageModel, pairs: Sequence[Pair], movers: Sequence[tuple[int, int]]
) -> Reading:
    """Zero heads at the last token, and every other head with and without them."""
    zero = {"component": "z", "position": -1, "intervention": "zero"}
    out = [vw.Slot(layer=layer, head=head, **zero) for layer, head in movers]
    names = [f"{layer}.{head}" for layer, head in movers]
    direct, whole, without, changes = [], [], [], []
    for _, prompt, answer, other in pairs:
        right, wrong = model.resolve_tokens([answer, other])
        written = vw.paths(model, prompt, prompt, senders=names, targets=(right, wrong))
        direct.append(written.frame["contribution"].sum())
        effects = []
        for fixed, values in ((), whole), (out, without):
            zeroed = vw.sweep(
                model,
                prompt,
                None,
                "z",
                head="all",
                positions=-1,
                intervention="zero",
                targets=[right, wrong],
                fixed=fixed,
            )
            values.append((zeroed.sweeps[0].base_logits[[right, wrong]]).diff().neg().item())
            rows = zeroed.frame.query("target_id == @right").set_index(["layer", "head"])
            effects.append(rows["logit_difference"] - values[-1])
        changes.append(effects[1] - effects[0])
    lost, written = np.mean(whole) - np.mean(without), np.mean(direct)
    change = pd.concat(changes, axis=1).mean(axis=1).drop([tuple(head) for head in movers])
    backup = change.idxmin()
    values = {
        "logit difference": np.mean(whole),
        "written by the heads": written,
        "lost without them": lost,
        "made up for": 1 - lost / written,
        "share of the logit difference lost": lost / np.mean(whole),
        "head that matters more than before": "{}.{}".format(*backup),
        "by": -change[backup],
    }
    return values, lambda style: zeroed.plot("logit_difference", style=style)
