# pyright: basic
"""Estimate against exact: attribution patching beside the patches that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import vene_widgets as vw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.replications.prompts import Pair
    from vene_widgets.replications.reading import Reading


def estimate_and_exact(
    model: vw.LanguageModel, pairs: Sequence[Pair], components: Sequence[str], steps: int
) -> Reading:
    """Correlate estimated and exact effects over all cells, each a mean over pairs."""
    cells = {name: [] for name in ("exact", "one step", "several steps")}
    missed, checks = 0, []
    for base, source, answer, other in pairs:
        rows = {name: [] for name in cells}
        for component in components:
            one = vw.sweep(model, base, source, component, targets=[answer, other])
            for name, count in (("one step", 1), ("several steps", steps)):
                estimated = vw.attribute(
                    model, base, source, component, targets=[answer, other], steps=count
                )
                check = estimated.against(one)
                rows[name].append(check.frame["estimate"])
                if count == 1:
                    rows["exact"].append(check.frame["exact"])
                    missed += len(check.false_negatives)
                    checks.append(check)
        for name, parts in rows.items():
            cells[name].append(np.concatenate(parts))
    mean = {name: np.mean(each, axis=0) for name, each in cells.items()}
    values = {
        "r, one step": np.corrcoef(mean["exact"], mean["one step"])[0, 1],
        f"r, {steps} steps": np.corrcoef(mean["exact"], mean["several steps"])[0, 1],
        "large effects that one step misses, over all pairs": missed,
        "cells": len(mean["exact"]),
    }
    return values, lambda style: checks[0].plot(style=style)
