"""`vw.sweep_pairs`: maps per second, compared with the least work and with loops over the pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from bench_sweep import hooked_batch
from gpt2 import gpt2_small, on_device
from measuring import Work, in_turns, ratios
from products import Product, necessary
from table import Row

import vene_widgets as vw
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.planning import SweepPlan, plan_sweep

BOUND = "bare matrix products of all pairs + plain runs of all prompts"
LOOP = "per pair, one batch of all cells with a hook per block"
CAPITALS = 2000


def rows(quick: bool) -> Iterator[Row]:
    """Measure GPT-2 small on the CPU, and on CUDA if there is one; the built-in model; memory."""
    yield from _of("cpu", gpt2_small(), 8, 2 if quick else 7, 1.3)
    if torch.cuda.is_available():
        yield from _of("cuda", on_device(gpt2_small(), "cuda"), 256, 5 if quick else 15, 2.5)
    yield from _capitals(quick)


def _of(name: str, model: LanguageModel, count: int, repeats: int, most: float) -> Iterator[Row]:
    """Pairs of five random tokens that differ from position 3 on, two targets each."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, model.sites.vocabulary, (count, 7), generator=generator)
    words = [[str(int(token)) for token in row] for row in drawn]
    pairs = [
        {
            "base": " ".join(row[:5]),
            "source": " ".join([*row[:3], *row[5:]]),
            "targets": (5, 900),
        }
        for row in words
    ]
    plans = [plan_sweep(model, pair["base"], pair["source"]) for pair in pairs]
    loops = [hooked_batch(model, plan) for plan in plans]
    times = in_turns(
        repeats,
        {
            label: _waited(work, name)
            for label, work in {
                "pairs": lambda: vw.sweep_pairs(model, pairs, controls=()),
                "bare": _bare(plans, name),
                "plain": _plain(model, plans),
                "loop": lambda: [loop() for loop in loops],
                "sweeps": lambda: [
                    vw.sweep(model, p["base"], p["source"], targets=p["targets"]) for p in pairs
                ],
            }.items()
        },
    )
    label = f"{name}, GPT-2 small, {count} pairs of 5 tokens"
    bound = [a + b for a, b in zip(times["bare"], times["plain"], strict=True)]
    yield Row.of("pairs", f"{label}: maps / least work", ratios(times["pairs"], bound), "×",
                 yardstick=BOUND, most=most)  # fmt: skip
    for loop, title, yardstick in (
        ("loop", "hooks by hand", LOOP),
        ("sweeps", "a loop of sweeps", "vw.sweep of each pair"),
    ):
        yield Row.of("pairs", f"{label}: {title} / maps", ratios(times[loop], times["pairs"]), "×",
                     yardstick=yardstick, least=1)  # fmt: skip
    yield Row.of("pairs", f"{label}: maps", [count / t for t in times["pairs"]], "maps/s")


def _bare(plans: list[SweepPlan], device: str) -> Work:
    """The necessary products of all pairs, each product once for all of them."""
    each: list[list[Product]] = [necessary(plan) for plan in plans]
    copies = [
        (
            torch.randn(sum(rows for rows, _, _ in same), same[0][1], device=device),
            torch.randn(same[0][1], same[0][2], device=device),
        )
        for same in zip(*each, strict=True)
    ]

    def work() -> None:
        for matrix, weight in copies:
            torch.matmul(matrix, weight)

    return work


def _plain(model: LanguageModel, plans: list[SweepPlan]) -> Work:
    """Every prompt once, as one batch, of which only the last logits are wanted."""
    prompts = [[t.id for t in side] for plan in plans for side in (plan.base, plan.source)]
    ids = torch.tensor(prompts, device=model.device)
    net: Any = model.model

    def work() -> None:
        with torch.no_grad():
            net(input_ids=ids, use_cache=False, logits_to_keep=1)

    return work


def _waited(work: Work, device: str) -> Work:
    def waited() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return waited


def capital_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of countries for the built-in model."""
    names = vw.load("capitals", device="cpu").tokenizer.get_vocab()
    countries = [name for name in sorted(names) if name.startswith("Ġ") and name[1:2].isupper()]
    words = [name.replace("Ġ", " ") for name in countries[:160]]
    every = permutations(words, 2)
    return [
        {
            "base": f"The capital of{one} is",
            "source": f"The capital of{other} is",
            "targets": (other, one),
        }
        for one, other in [next(every) for _ in range(count)]
    ]


def _capitals(quick: bool) -> Iterator[Row]:
    """Maps per second of the built-in model, and how memory grows with the number of pairs."""
    model, pairs = vw.load("capitals", device="cpu"), capital_pairs(CAPITALS)
    times = in_turns(
        2 if quick else 7, {"pairs": lambda: vw.sweep_pairs(model, pairs, controls=())}
    )
    yield Row.of("pairs", f"cpu, built-in model, {CAPITALS} pairs: maps",
                 [CAPITALS / t for t in times["pairs"]], "maps/s")  # fmt: skip
    if not Path("/proc/self/status").exists():  # Linux tells; the peak that others give is shared
        return
    few, many = (_peak(count) for count in (CAPITALS, 5 * CAPITALS))
    yield Row.of("pairs", f"peak memory of {5 * CAPITALS} pairs / of {CAPITALS}", [many / few], "×",
                 yardstick="a fresh process each", most=1.1)  # fmt: skip


def _peak(count: int) -> float:
    """Peak memory of a process that sweeps some pairs, in MB."""
    code = (
        "import json, pathlib, sys; sys.path.insert(0, sys.argv[1]); import bench_pairs; "
        "import vene_widgets as vw; model = vw.load('capitals', device='cpu'); "
        "vw.sweep_pairs(model, bench_pairs.capital_pairs(int(sys.argv[2])), controls=()); "
        "lines = pathlib.Path('/proc/self/status').read_text().splitlines(); "
        "print(json.dumps([int(line.split()[1]) / 1024 for line in lines if 'VmHWM' in line][0]))"
    )
    folder = str(__file__).rpartition("/")[0]
    ran = subprocess.run(
        [sys.executable, "-c", code, folder, str(count)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(ran.stdout.splitlines()[-1]))
