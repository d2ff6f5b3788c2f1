"""How fast a map is: `python tests/bench/bench_sweep.py [--json FILE]`.

Everything is measured in this process, one after the other and in turns, on GPT-2 small with random
weights: the reference library's loop (pyvene, one intervention per cell), a plain forward pass, the
bare matrix products that the map's changed rows cannot do without, and our sweep. Printed are the
times' medians and quartiles and, what carries over to other machines, their ratios.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

import vene_widgets as vw
from vene_widgets.hooks import undisturbed
from vene_widgets.models import LanguageModel
from vene_widgets.sweeping import can_matter, plan_sweep, prepare, sweep_layers

SEED_PAIR = "464 3139 286 8602 318", "464 3139 286 8031 318"  # differ at position 3 of 5
APART_16 = " ".join(map(str, range(100, 116))), " ".join(map(str, range(200, 216)))


class Ids:
    """A tokenizer whose prompts are token ids, since the weights are random anyway."""

    def __call__(self, text: str, **_more: object) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids: list[int], **_more: object) -> str:
        return f" {ids[0]}"

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return str(token_id)


@dataclass(frozen=True)
class Time:
    """Seconds: median and quartiles of some repeats."""

    name: str
    median: float
    low: float
    high: float
    repeats: int


def measure(name: str, work: Callable[[], object], repeats: int) -> Time:
    """Times of `work`, after one run that is not counted."""
    if repeats > 1:
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(times, n=4) if repeats > 1 else times * 3
    return Time(name, middle, low, high, repeats)


def gpt2_small() -> LanguageModel:
    torch.manual_seed(0)
    config = GPT2Config(bos_token_id=0, eos_token_id=0)
    return LanguageModel("gpt2-small-random", GPT2LMHeadModel(config).eval(), Ids())


def reference_loop(model: LanguageModel, base: str, source: str) -> Callable[[], object]:
    """pyvene as its tutorials use it: one intervenable model and one call per cell."""
    import pyvene

    own: Any = copy.deepcopy(model.model)  # it changes the model it wraps
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


def bare_products(model: LanguageModel, base: str, source: str) -> Callable[[], object]:
    """The matrix products of the rows that a swap can change, on matrices of the same shapes."""
    checked = plan_sweep(model, base, source)
    s, length = model.sites, len(checked.base)
    d = s.d_model
    matter = [
        (layer, position)
        for layer in checked.layers
        for column, position in enumerate(checked.positions)
        if can_matter(checked, layer, column)
    ]
    shapes: list[tuple[int, int, int]] = []
    for layer in range(s.layers):
        inside = [position for entered, position in matter if entered < layer]
        rows = sum(length - position for position in inside)
        after = len(inside) if layer == s.layers - 1 else rows
        shapes += [(rows, d, 3 * d), (after, d, d), (after, d, s.d_mlp), (after, s.d_mlp, d)]
    shapes.append((len(matter), d, s.vocabulary))
    weights = {shape[1:]: torch.randn(shape[1:]) for shape in shapes}
    copies = [(torch.randn(n, i), weights[i, o].clone()) for n, i, o in shapes if n]

    def work() -> None:
        for rows, weight in copies:
            torch.matmul(rows, weight)

    return work


def plain_run(model: LanguageModel, prompt: str) -> Callable[[], object]:
    ids = torch.tensor([Ids()(prompt)["input_ids"]])

    def work() -> None:
        with undisturbed(model):
            model.model(input_ids=ids, use_cache=False)

    return work


def known_prompts(model: LanguageModel, base: str, source: str) -> Callable[[], object]:
    prepared = prepare(plan_sweep(model, base, source))
    return lambda: list(sweep_layers(prepared))


def compare(model: LanguageModel, name: str, base: str, source: str, loops: int) -> list[Time]:
    """All times of one pair of prompts, and a table of their ratios."""
    checked = plan_sweep(model, base, source)
    times = [
        measure("reference library's loop", reference_loop(model, base, source), loops),
        measure("plain forward pass", plain_run(model, base), 15),
        measure("bare products", bare_products(model, base, source), 9),
        measure(
            "sweep, nothing known",
            lambda: list(sweep_layers(prepare(checked))),
            9,
        ),
        measure("sweep, prompts known", known_prompts(model, base, source), 9),
    ]
    loop, plain, bare, cold, warm = (t.median for t in times)
    worst = worst_difference(model, base, source)
    print(f"\n{name}: {len(checked.layers)} layers x {len(checked.positions)} tokens")
    for t in times:
        print(
            f"  {t.name:<26}{1000 * t.median:10.0f} ms   {1000 * t.low:.0f} to {1000 * t.high:.0f}"
        )
    print(f"  {'loop / nothing known':<40}{loop / cold:8.1f}")
    print(f"  {'loop / prompts known':<40}{loop / warm:8.1f}")
    print(f"  {'nothing known / (products + 2 plain)':<40}{cold / (bare + 2 * plain):8.2f}")
    print(f"  {'prompts known / products':<40}{warm / bare:8.2f}")
    print(f"  {'largest difference to single runs':<40}{worst:8.1e}")
    return times


def worst_difference(model: LanguageModel, base: str, source: str) -> float:
    """Largest difference of a logit between a dozen cells and the runs that they stand for."""
    swept = vw.sweep(model, base, source)
    layers, positions = len(swept.plan.layers), len(swept.plan.positions)
    worst = 0.0
    for n in range(12):
        layer, p = n % layers, positions - 1 - (n * 5) % positions
        slot = vw.Slot(layer=layer, position=p)
        run = vw.run(model, vw.Experiment(base=base, sources=source, slots=[slot]))
        worst = max(worst, (run.logits[-1] - swept.logits[layer, p]).abs().max().item())
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the times to this file")
    file = parser.parse_args().json
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}"
    )
    model = gpt2_small()
    found = {
        "seed pair, 5 tokens": compare(model, "seed pair", *SEED_PAIR, loops=3),
        "no shared prefix, 16 tokens": compare(model, "no shared prefix", *APART_16, loops=1),
    }
    if file:
        file.write_text(json.dumps({k: [asdict(t) for t in v] for k, v in found.items()}, indent=1))


if __name__ == "__main__":
    main()
