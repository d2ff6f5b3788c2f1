"""One slot's exact answer from memory, against a plain forward pass."""

from __future__ import annotations

from collections.abc import Iterator

from gpt2 import SEED_PAIR, gpt2_small, plain_run
from measuring import seconds
from table import Row

import vene_widgets as vw
from vene_widgets.engine.cache import Memory

POSITIONS = (3, 4)  # those of the seed pair at which a swap changes something


def rows(quick: bool) -> Iterator[Row]:
    """24 cells in turns with plain passes; an answer starts at its own layer."""
    model, memory = gpt2_small(), Memory()
    base, source = SEED_PAIR
    plain = plain_run(model, base)
    found: dict[int, list[float]] = {layer: [] for layer in range(model.sites.layers)}

    def answer(layer: int, position: int) -> vw.Run:
        slots = [vw.Slot(layer=layer, position=position)]
        experiment = vw.Experiment(base=base, sources=source, slots=slots)
        return vw.run(model, experiment, memory=memory, logits_to_keep=1)

    answer(0, POSITIONS[0])
    plain()
    for _ in range(1 if quick else 5):
        for layer in found:
            for position in POSITIONS:
                whole = seconds(plain)
                found[layer].append(
                    seconds(lambda at=(layer, position): answer(*at)) / whole
                )  # fmt: skip
    every = [ratio for part in found.values() for ratio in part]
    yield Row.of(
        "answer", "answer from memory / plain pass", every, "×",
        yardstick="a plain pass with all logits; 24 cells of 12 layers", most=0.6,
    )  # fmt: skip
    for layer in (0, max(found)):
        yield Row.of(
            "answer", f"the same, layer {layer} alone", found[layer], "×",
            yardstick="a plain pass with all logits",
        )  # fmt: skip
