"""Experiments of one operator, and how close the numbers of two devices must be."""

from __future__ import annotations

from typing import Any

from by_hand import ITALY, SPAIN

import vene_widgets as vw

FRANCE = "The capital of France is"

CLOSE = 1e-4
"""Largest difference between two devices, as a fraction of the logits' range."""

RANKED = ("low_rank_rotated_space", "pca_rotated_space")


def of_operator(name: str, **more: Any) -> vw.Experiment:
    """One operator at several positions of two layers."""
    if name in RANKED:
        more["rank"] = 4
    if name == "mean":
        more["prompts"] = [ITALY, FRANCE]
    slots = [
        vw.Slot(layer=layer, position=[3, 4], component=component, intervention=name, **more)
        for layer, component in ((0, "mlp_output"), (1, "block_output"))
    ]
    return vw.Experiment(base=SPAIN, sources=ITALY, slots=slots)
