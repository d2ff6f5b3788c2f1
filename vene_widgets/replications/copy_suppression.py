# pyright: basic
"""Copy suppression: a head that keeps a token of the prompt from being said again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vene_widgets as vw

if TYPE_CHECKING:
    from vene_widgets.replications.reading import Reading


def copy_suppression(
    model: vw.LanguageModel, prompt: str, layer: int, head: int, copied: str
) -> Reading:
    """Zero one head at the last token and read the probability of a token of the prompt."""
    token = model.token_id(copied)
    off = vw.Slot(layer=layer, head=head, component="z", position=-1, intervention="zero")
    logits = {
        "model": vw.run(model, vw.Experiment(base=prompt)).logits[-1],
        f"{layer}.{head} off": vw.run(model, vw.Experiment(base=prompt, slots=[off])).logits[-1],
    }
    plain, without = (each.log_softmax(-1) for each in logits.values())
    values = {
        "next token": model.token_text(int(plain.argmax())),
        "next token without the head": model.token_text(int(without.argmax())),
        f"P({copied})": plain[token].exp().item(),
        f"P({copied}) without the head": without[token].exp().item(),
        "rise in nats": (without[token] - plain[token]).item(),
    }
    tokens = vw.frames.token_frame(logits, model.token_text, k=4, also=[token])
    setup = f"“{prompt}” · {model.name}"
    return values, lambda style: vw.figures.token_heatmap(tokens, setup=setup, style=style)
