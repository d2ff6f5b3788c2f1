# pyright: basic
"""Probe against intervention: the country can be read where patching does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import vene_widgets as vw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.replications.reading import Reading


def probe_and_patch(
    model: vw.LanguageModel, templates: Sequence[str], words: Sequence[str], position: int
) -> Reading:
    """Train a ridge probe at each layer on all templates but the last, and patch the last."""
    states = (
        torch.stack(
            [
                torch.stack(
                    [
                        vw.run(model, vw.Experiment(base=template.format(word))).states[:, position]
                        for word in words
                    ]
                )
                for template in templates
            ]
        )
        .double()
        .cpu()
    )  # (templates, words, layers, d_model)
    exact = {"dtype": torch.float64, "device": "cpu"}
    labels = torch.eye(len(words), **exact).repeat(len(templates) - 1, 1)
    read = []
    for layer in range(states.shape[2]):
        known, new = states[:-1, :, layer].flatten(0, 1), states[-1, :, layer]
        centre = known.mean(0)
        square = (known - centre).T @ (known - centre)
        ridge = square + 1e-2 * square.diagonal().mean() * torch.eye(len(square), **exact)
        weights = torch.linalg.solve(ridge, (known - centre).T @ labels)
        found = ((new - centre) @ weights).argmax(1)
        read.append((found == torch.arange(len(words), device="cpu")).double().mean().item())
    base, source = (templates[-1].format(word) for word in words[:2])
    swept = vw.sweep(model, base, source)
    moved = swept.frame.query("position == @position and target_id == @swept.target")["recovery"]
    layers = len(read) - 1
    values = {
        "accuracy of the probe, first layer": read[0],
        "recovery by a patch, first layer": moved.iloc[0],
        "accuracy of the probe, last layer but one": read[layers - 1],
        "recovery by a patch, last layer but one": moved.iloc[layers - 1],
    }
    return values, lambda style: swept.plot("recovery", style=style)
