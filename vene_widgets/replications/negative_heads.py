# pyright: basic
"""Negative heads: in the logit difference, and hidden in a probability that is near 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

import vene_widgets as vw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.replications.prompts import Pair
    from vene_widgets.replications.reading import Reading


def negative_heads(model: vw.LanguageModel, pairs: Sequence[Pair]) -> Reading:
    """Patch each head from the clean into the corrupted run, and read both metrics."""
    frames = []
    for base, source, answer, other in pairs:
        swept = vw.sweep(
            model, base, source, "z", head="all", positions=-1, targets=[answer, other]
        )
        right, wrong = swept.targets
        start = swept.sweeps[0].base_logits[[right, wrong]].diff().neg().item()
        rows = swept.frame.query("target_id == @right").set_index(["layer", "head"])
        frames.append(
            rows[["delta", "base_probability"]].assign(logits=rows["logit_difference"] - start)
        )
    mean = pd.concat(frames).groupby(level=["layer", "head"]).mean()
    worst, best = mean["logits"].idxmin(), mean["logits"].idxmax()
    values = {
        "most negative head": "{}.{}".format(*worst),
        "logits that it takes": -mean["logits"][worst],
        "share of the largest effect, in logits": -mean["logits"][worst] / mean["logits"][best],
        "share of the largest effect, in probability": -mean["delta"][worst] / mean["delta"].max(),
        "most that a probability can fall by": mean["base_probability"].iloc[0],
    }
    return values, lambda style: swept.plot("delta", style=style)
