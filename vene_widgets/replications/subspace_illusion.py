# pyright: basic
"""The subspace illusion: a direction works where the whole state does nothing of the kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vene_widgets as vw

if TYPE_CHECKING:
    from vene_widgets.replications.prompts import Pair
    from vene_widgets.replications.reading import Reading


def subspace_illusion(
    model: vw.LanguageModel, pair: Pair, component: str, layer: int, position: int
) -> Reading:
    """Patch the whole state, one direction between two others, and each of those two alone."""
    base, source, answer, other = pair
    right, wrong = model.resolve_tokens([answer, other])
    site = {"layer": layer, "component": component, "position": position}
    linear = vw.attribute(
        model, base, source, component, layers=layer, positions=position, targets=[right, wrong]
    )
    change, gradient = linear.changes.flatten(), linear.gradients.flatten()
    # Disconnected: the prompts differ along it, but the answer has no gradient along it.
    # Dormant: it moves the answer, but the prompts do not differ along it.
    disconnected = change - (change @ gradient) / (gradient @ gradient) * gradient
    dormant = gradient - (gradient @ change) / (change @ change) * change
    disconnected, dormant = disconnected / disconnected.norm(), dormant / dormant.norm()
    illusion = disconnected + dormant
    illusion = illusion / illusion.norm()

    def patched(direction):
        """Logits with the source's coordinate along a direction of length 1."""
        added = (change @ direction) * direction
        slot = vw.Slot(**site, intervention="addition", vector=added.tolist())
        return vw.run(model, vw.Experiment(base=base, slots=[slot])).logits[-1]

    whole = vw.Experiment(base=base, sources=source, slots=[vw.Slot(**site)])
    logits = {
        "base": vw.run(model, vw.Experiment(base=base)).logits[-1],
        "whole state": vw.run(model, whole).logits[-1],
        "direction": patched(illusion),
        "disconnected part": patched(disconnected),
        "dormant part": patched(dormant),
    }
    differences = {
        f"logit difference, {name}": (run[right] - run[wrong]).item()
        for name, run in logits.items()
    }
    tops = {
        "next token, whole state": model.token_text(int(logits["whole state"].argmax())),
        "next token, direction": model.token_text(int(logits["direction"].argmax())),
    }
    tokens = vw.frames.token_frame(logits, model.token_text, k=2, also=[right, wrong])
    setup = f"“{base}” ← “{source}” · {component} of layer {layer} · {model.name}"
    return differences | tops, lambda style: vw.figures.token_heatmap(
        tokens, setup=setup, style=style
    )
