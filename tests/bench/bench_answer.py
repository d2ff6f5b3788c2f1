"""One slot's exact answer from the cache, compared with a plain forward pass."""

from __future__ import annotations

from collections.abc import Iterator

from gpt2 import SEED_PAIR, gpt2_small, plain_run
from measuring import seconds
from table import Row

import vene_widgets as vw
from vene_widgets.engine.cache import ActivationCache

POSITIONS = (3, 4)  # positions of the seed pair where a swap changes the output


def rows(quick: bool) -> Iterator[Row]:
    """Alternate 24 cells with plain passes; an answer resumes at the layer of its slot."""
    model, cache = gpt2_small(), ActivationCache()
    base, source = SEED_PAIR
    plain = plain_run(model, base)
    ratios: dict[int, list[float]] = {layer: [] for layer in range(model.sites.layers)}

    def answer(layer: int, position: int) -> vw.Run:
        slots = [vw.Slot(layer=layer, position=position)]
        experiment = vw.Experiment(base=base, sources=source, slots=slots)
        return vw.run(model, experiment, cache=cache, logits_to_keep=1)

    # Warm up: fills the cache, so that only resumed passes are timed.
    answer(0, POSITIONS[0])
    plain()
    for _ in range(1 if quick else 5):
        for layer in ratios:
            for position in POSITIONS:
                whole = seconds(plain)
                resumed = seconds(lambda at=(layer, position): answer(*at))
                ratios[layer].append(resumed / whole)
    every = [ratio for part in ratios.values() for ratio in part]
    yield Row.of(
        "answer", "answer from cache / plain pass", every, "×",
        yardstick="a plain pass with all logits; 24 cells of 12 layers", most=0.6,
    )  # fmt: skip
    for layer in (0, max(ratios)):
        yield Row.of(
            "answer", f"the same, layer {layer} alone", ratios[layer], "×",
            yardstick="a plain pass with all logits",
        )  # fmt: skip
