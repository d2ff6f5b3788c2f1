"""How a sweep's time scales: a line fitted over four prompt lengths and four entry layers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import torch
from gpt2 import apart
from measuring import Work, in_turns
from products import token_layers
from table import Row

from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.cells import sweep_rows
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.sweeps.preparing import prepare_sweep

LENGTHS, ENTRIES = (8, 16, 32, 64), (0, 3, 6, 9)


def cost_rows(model: LanguageModel, quick: bool) -> Iterator[Row]:
    """Fit the time of one layer's cells = a + b × their necessary token-layers, by least squares.

    The output head's products are converted to token-layers and counted; attention is not counted.
    """
    plans = {
        (length, entry): plan_sweep(model, *apart(length), SweepRequest(layers=entry))
        for length in (LENGTHS[:3] if quick else LENGTHS)
        for entry in ENTRIES
    }
    counts = torch.tensor([token_layers(plan) for plan in plans.values()], dtype=torch.float64)
    works: dict[str, Work] = {}
    for key, plan in plans.items():
        prepared = prepare_sweep(plan)
        works[str(key)] = lambda prepared=prepared: list(sweep_rows(prepared))
    repeats = 2 if quick else 3
    times = in_turns(repeats, works)
    medians = torch.tensor([1000 * statistics.median(t) for t in times.values()]).double()
    line = torch.stack([torch.ones_like(counts), counts], 1)
    # Minimise relative errors, so that short prompts count as much as long ones.
    weighted = torch.linalg.lstsq(line / medians[:, None], torch.ones(len(medians), 1).double())
    a, b = (float(x) for x in weighted.solution.flatten())
    fitted = line @ torch.tensor([a, b], dtype=torch.float64)
    explained = 1 - ((medians - fitted) ** 2).sum() / ((medians - medians.mean()) ** 2).sum()
    how = f"time = a + b × token-layers, {len(plans)} sweeps of one layer"
    yield Row.of("sweep", "cost: a, of a sweep at all", [a], "ms", yardstick=how)
    yield Row.of("sweep", "cost: b, per 1000 token-layers", [1000 * b], "ms", yardstick=how)
    yield Row.of("sweep", "cost: R² of the line", [float(explained)], "", yardstick="1")
    for length in dict.fromkeys(length for length, _ in plans):
        own = [i for i, (n, _) in enumerate(plans) if n == length]
        off = [float(medians[i] / fitted[i]) for i in own]
        yield Row.of(
            "sweep", f"cost: {length} tokens, measured / line", off, "×",
            yardstick=f"the line; entry layers {', '.join(map(str, ENTRIES))}",
        )  # fmt: skip
