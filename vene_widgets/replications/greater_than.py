# pyright: basic
"""Greater-than: the probability of later years less that of earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import vene_widgets as vw

if TYPE_CHECKING:
    from vene_widgets.replications.reading import Reading


def greater_than(model: vw.LanguageModel, count: int, width: int) -> Reading:
    """Read the whole distribution over what may follow `from the year 1732 to the year 17`."""
    ids = list(model.resolve_tokens([f"{number:0{width}d}" for number in range(10**width)]))
    pairs = vw.tasks.greater_than(model, count)
    differences = []
    for prompt in pairs["base"]:
        start = int(prompt.split("year ")[1][2 : 2 + width])  # 32 of 1732, or 3
        follows = vw.run(model, vw.Experiment(base=prompt)).logits[-1].softmax(-1)[ids]
        differences.append(
            (follows[start + 1 :].sum() - follows[: start + (width > 1)].sum()).item()
        )
    values = {
        "probability difference": np.mean(differences),
        "prompts with a positive one": np.mean(np.array(differences) > 0),
    }
    first = pairs.iloc[0]
    swept = vw.sweep(model, first["base"], first["source"], targets=list(first["targets"]))
    return values, lambda style: swept.plot("recovery", style=style)
