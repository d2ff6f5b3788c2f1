"""A whole map, compared with pyvene's loop and with the matrix products that it needs."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from typing import Any

import torch
from gpt2 import SEED_PAIR, Ids, apart, gpt2_small, plain_run
from measuring import Work, in_turns, ratios
from products import bare_products
from scaling import cost_rows
from table import Row

import vene_widgets as vw
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.cells import prepare_sweep, sweep_rows
from vene_widgets.sweeps.planning import plan_sweep

LOOP = "pyvene's loop, one call per cell"
BOUND = "its bare matrix products + 2 plain passes"


def rows(quick: bool) -> Iterator[Row]:
    """Measure the seed pair, two longer prompts, and how the time scales."""
    model = gpt2_small()
    yield from _pair(model, "5 tokens", SEED_PAIR, 1 if quick else 3, quick, (40, 80))
    yield from _pair(model, "16 tokens", apart(16), 0 if quick else 1, quick, (25, None))
    yield from cost_rows(model, quick)


def _pair(
    model: LanguageModel,
    name: str,
    pair: tuple[str, str],
    loops: int,
    quick: bool,
    least: tuple[float, float | None],
) -> Iterator[Row]:
    plan = plan_sweep(model, *pair)
    cache = ActivationCache()
    works: dict[str, Work] = {
        "cold": lambda: list(sweep_rows(prepare_sweep(plan))),
        "known": lambda: list(sweep_rows(prepare_sweep(plan, cache))),
        "bare": bare_products(plan),
        "plain": plain_run(model, pair[0]),
    }
    if loops:
        loop = reference_loop(model, *pair)
        times = in_turns(
            loops, {"loop": loop, "cold": works["cold"], "known": works["known"]}, slow=["loop"]
        )
        for work, label, target in zip(
            ("cold", "known"), ("nothing known", "prompts known"), least, strict=True
        ):
            yield Row.of(
                "sweep", f"{name}: loop / map, {label}", ratios(times["loop"], times[work]), "×",
                yardstick=LOOP, least=target,
            )  # fmt: skip
    times = in_turns(4 if quick else 15, works)
    # Least work: the products, and one plain pass for each of the two prompts.
    bound = [bare + 2 * plain for bare, plain in zip(times["bare"], times["plain"], strict=True)]
    yield Row.of(
        "sweep", f"{name}: map / least work", ratios(times["cold"], bound), "×",
        yardstick=BOUND, most=1.3,
    )  # fmt: skip
    cells = f"{len(plan.layers)} layers × {len(plan.positions)} tokens"
    for work, label in (("cold", "nothing known"), ("known", "prompts known")):
        milliseconds = [1000 * t for t in times[work]]
        yield Row.of("sweep", f"{name}: map, {label}", milliseconds, "ms", yardstick=cells)
    yield Row.of(
        "sweep", f"{name}: largest logit difference", [worst_difference(model, *pair)], "",
        yardstick="single runs of 12 cells", most=1e-4,
    )  # fmt: skip


def reference_loop(model: LanguageModel, base: str, source: str) -> Work:
    """pyvene as in its tutorials: one intervenable model per layer, one call per cell."""
    # pyvene prints which optional packages are missing.
    with contextlib.redirect_stdout(sys.stderr):
        import pyvene

    own: Any = copy.deepcopy(model.model)  # pyvene modifies the model that it wraps
    ids = [{"input_ids": torch.tensor([Ids()(text)["input_ids"]])} for text in (base, source)]
    count = ids[0]["input_ids"].shape[1]

    def loop() -> None:
        with torch.no_grad():
            for layer in range(model.sites.layers):
                config = pyvene.IntervenableConfig(
                    model_type=type(own),
                    representations=[pyvene.RepresentationConfig(layer, "block_output", "pos", 1)],
                    intervention_types=pyvene.VanillaIntervention,
                )
                intervenable = pyvene.IntervenableModel(config, own)
                for p in range(count):
                    intervenable(ids[0], [ids[1]], {"sources->base": ([[[p]]], [[[p]]])})

    return loop


def worst_difference(model: LanguageModel, base: str, source: str) -> float:
    """Largest absolute logit difference between twelve cells and single runs of the same slots."""
    swept = vw.sweep(model, base, source)
    layers, positions = len(swept.plan.layers), len(swept.plan.positions)
    worst = 0.0
    for n in range(12):
        layer, p = n % layers, positions - 1 - (n * 5) % positions
        slot = vw.Slot(layer=layer, position=p)
        run = vw.run(model, vw.Experiment(base=base, sources=source, slots=[slot]))
        worst = max(worst, (run.logits[-1] - swept.logits[layer, p]).abs().max().item())
    return worst
