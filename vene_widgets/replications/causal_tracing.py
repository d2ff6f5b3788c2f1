# pyright: basic
"""Causal tracing: which state of the clean run brings the fact back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vene_widgets as vw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vene_widgets.replications.reading import Reading


def causal_tracing(
    model: vw.LanguageModel,
    prompt: str,
    subject: Sequence[int],
    answer: str,
    scale: float,
    seeds: Sequence[int],
) -> Reading:
    """Noise on the subject's embeddings; restore one clean state at a time."""
    noise = vw.Slot(
        layer=0, component="block_input", position=subject, intervention="noise", scale=scale
    )
    traced = vw.sweep(model, prompt, fixed=[noise], seeds=seeds, targets=[answer])
    restored = traced.frame.set_index(["layer", "position"])["probability"]
    by_position = restored.groupby("position").max()
    last = len(model.tokens(prompt)) - 1
    values = {
        "clean probability": traced.frame["source_probability"].iloc[0],
        "corrupted probability": traced.frame["base_probability"].iloc[0],
        "restored at the subject's last token": by_position[subject[-1]],
        "restored at the last token": by_position[last],
        "last layer at the subject": restored[:, subject[-1]].gt(restored.max() / 2)[::-1].idxmax(),
        "first layer at the last token": restored[:, last].gt(restored.max() / 2).idxmax(),
    }
    return values, lambda style: traced.plot(style=style)
