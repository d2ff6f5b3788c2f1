"""`vw.sweep` as a whole, compared with pyvene's loop, with a hook per block written by hand, and
with the matrix products that it needs; on the CPU, and on a CUDA device where there is one."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gpt2 import SEED_PAIR, Ids, apart, gpt2_small, gpt2_xl, on_device, plain_run
from measuring import Work, in_turns, ratios, seconds
from products import bare_products
from scaling import cost_rows
from table import Row

import vene_widgets as vw
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.experiments.sweep_request import SweepRequest
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.pairs.maps import pair_maps
from vene_widgets.sweeps.planning import SweepPlan, plan_sweep

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from counting import operators

LOOP = "pyvene's loop, one call per cell"
BOUND = "its bare matrix products + 2 plain passes"
HAND = "one batch of all cells with a hook per block, by hand"


def rows(quick: bool) -> Iterator[Row]:
    """Measure the seed pair, longer prompts, how the time scales, and what a CUDA device does."""
    model = gpt2_small()
    yield from _pair(model, "5 tokens", SEED_PAIR, 1 if quick else 3, quick, (45, 85))
    yield from _pair(model, "16 tokens", apart(16), 0 if quick else 1, quick, (30, None))
    yield from _heads(model, quick)
    for name, pair in (("5", SEED_PAIR), ("16", apart(16)), ("64", apart(64))):
        yield from _counts(model, f"{name} tokens", pair)
    yield from cost_rows(model, quick)
    if torch.cuda.is_available():
        yield from _cuda(on_device(model, "cuda"), quick)


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
        "cold": lambda: vw.sweep(model, *pair),
        "known": lambda: vw.sweep(model, *pair, cache=cache),
        "tables": lambda: vw.sweep(model, *pair, cache=cache).frame,
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
        yardstick=BOUND, most=1.2,
    )  # fmt: skip
    cells = f"{len(plan.layers)} layers × {len(plan.positions)} tokens"
    for work, label in (
        ("cold", "nothing known"),
        ("known", "prompts known"),
        ("tables", "prompts known, with its table"),
    ):
        milliseconds = [1000 * t for t in times[work]]
        yield Row.of("sweep", f"{name}: map, {label}", milliseconds, "ms", yardstick=cells)
    yield Row.of(
        "sweep", f"{name}: largest logit difference", [worst_difference(model, *pair)], "",
        yardstick="single runs of 12 cells", most=1e-4,
    )  # fmt: skip


def _heads(model: LanguageModel, quick: bool) -> Iterator[Row]:
    """12 x 12 heads at the last token, and a map with fixed noise and windows of layers."""
    z = "head_attention_value_output"
    noise = vw.Slot(layer=0, component="block_input", position=3, intervention="noise")
    plan = plan_sweep(model, *SEED_PAIR, SweepRequest(component=z, head=0, positions=-1))
    count = model.sites.heads
    works: dict[str, Work] = {
        "heads": lambda: vw.sweep(model, *SEED_PAIR, z, head="all", positions=-1),
        "bare": bare_products(plan, heads=count),
        "plain": plain_run(model, SEED_PAIR[0]),
        "map": lambda: vw.sweep(model, *SEED_PAIR),
        "fixed": lambda: vw.sweep(model, *SEED_PAIR, fixed=[noise]),
        "window": lambda: vw.sweep(model, *SEED_PAIR, "mlp_output", window=5),
    }
    times = in_turns(4 if quick else 15, works)
    bound = [bare + 2 * plain for bare, plain in zip(times["bare"], times["plain"], strict=True)]
    yield Row.of(
        "sweep", f"{count} heads × {model.sites.layers} layers: map / least work",
        ratios(times["heads"], bound), "×", yardstick=BOUND, most=1.5,
    )  # fmt: skip
    for work, label in (("fixed", "with fixed noise"), ("window", "windows of 5 layers")):
        yield Row.of(
            "sweep", f"5 tokens: map, {label} / map", ratios(times[work], times["map"]), "×",
            yardstick="the map of single layers without",
        )  # fmt: skip


def _counts(model: LanguageModel, name: str, pair: tuple[str, str]) -> Iterator[Row]:
    """Operators of a sweep, as an accelerator would have to launch them."""
    vw.sweep(model, *pair)  # what is measured once per model is known then
    net: Any = model.model
    ids = torch.tensor([Ids()(pair[0])["input_ids"]])
    with torch.no_grad():
        plain = operators(lambda: net(input_ids=ids, use_cache=False))
    swept = operators(lambda: vw.sweep(model, *pair))
    yield Row.of(
        "sweep", f"{name}: operators of a map / of a plain pass", [swept.count / plain.count], "×",
        yardstick="counted, views too; nothing known", most=4,
    )  # fmt: skip
    yield Row.of("sweep", f"{name}: reads by the host", [swept.reads], "", most=12)


def _cuda(model: LanguageModel, quick: bool) -> Iterator[Row]:
    """The same on a CUDA device; every call waits for it."""
    card = torch.cuda.get_device_name()
    repeats = 5 if quick else 15
    for name, pair in (("5", SEED_PAIR), ("16", apart(16)), ("64", apart(64))):
        plan = plan_sweep(model, *pair)
        works = {
            "cold": lambda pair=pair: vw.sweep(model, *pair),
            "tables": lambda pair=pair: vw.sweep(model, *pair).frame,
            "hand": hooked_batch(model, plan),
            "bare": bare_products(plan, "cuda"),
            "plain": plain_run(model, pair[0]),
        }
        times = in_turns(repeats, {label: _waited(work) for label, work in works.items()})
        bound = [b + 2 * p for b, p in zip(times["bare"], times["plain"], strict=True)]
        yield Row.of(
            "sweep", f"cuda, {name} tokens: map / least work", ratios(times["cold"], bound), "×",
            yardstick=BOUND, most=3,
        )  # fmt: skip
        yield Row.of(
            "sweep", f"cuda, {name} tokens: map / hooks by hand",
            ratios(times["cold"], times["hand"]), "×", yardstick=HAND, most=1,
        )  # fmt: skip
        for label, what in (("cold", "map"), ("tables", "map with its table"), ("hand", HAND)):
            milliseconds = [1000 * t for t in times[label]]
            yield Row.of("sweep", f"cuda, {name} tokens: {what}", milliseconds, "ms",
                         yardstick=card)  # fmt: skip
    yield from _many_pairs(model, card, repeats)
    yield from _large(card)


def _many_pairs(model: LanguageModel, card: str, repeats: int) -> Iterator[Row]:
    """64 pairs of 5 tokens that differ from position 3 on, two targets each."""
    for dtype, least in ((torch.float32, 1500), (torch.bfloat16, None)):
        own = on_device(model, "cuda", dtype)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(0, own.sites.vocabulary, (64, 7), generator=generator)
        texts = [[str(int(token)) for token in row] for row in drawn]
        plans = [
            plan_sweep(own, " ".join(row[:5]), " ".join([*row[:3], *row[5:]])) for row in texts
        ]
        work = _waited(lambda plans=plans: pair_maps(plans, [[5, 900]] * 64))
        work()
        rates = [64 / seconds(work) for _ in range(repeats)]
        label = f"cuda, 64 pairs of 5 tokens, {str(dtype).removeprefix('torch.')}"
        yield Row.of("sweep", label, rates, "maps/s", yardstick=card, least=least)


def _large(card: str) -> Iterator[Row]:
    """GPT-2 XL's shape, 64 tokens: time and peak memory beyond the weights."""
    model = on_device(gpt2_xl(), "cuda")
    pair = apart(64)
    _waited(lambda: vw.sweep(model, *apart(5)))()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    took = seconds(_waited(lambda: vw.sweep(model, *pair)))
    peak = torch.cuda.max_memory_allocated() - before
    yield Row.of("sweep", "cuda, GPT-2 XL, 64 tokens: map", [1000 * took], "ms", yardstick=card)
    yield Row.of("sweep", "cuda, GPT-2 XL, 64 tokens: peak memory beyond the weights",
                 [peak / 2**20], "MB", yardstick=card)  # fmt: skip


def _waited(work: Work) -> Work:
    """A function that also waits until the device is done."""

    def waited() -> None:
        work()
        torch.cuda.synchronize()

    return waited


def hooked_batch(model: LanguageModel, plan: SweepPlan) -> Work:
    """All cells as one batch of full passes with a hook per block: what one writes in ten lines."""
    net: Any = model.model
    base, source = (
        torch.tensor([[token.id for token in tokens]], device=model.device)
        for tokens in (plan.base, plan.source)
    )
    columns = [n for n, p in enumerate(plan.positions) if p >= plan.first_difference]
    count = len(columns)
    positions = torch.tensor([plan.positions[n] for n in columns], device=model.device)
    partners = torch.tensor([plan.source_positions[n] for n in columns], device=model.device)
    blocks = list(model.model.get_submodule(model.sites.architecture.blocks).children())

    def work() -> None:
        states: list[Any] = []
        handles = [b.register_forward_hook(lambda _m, _i, o: states.append(o)) for b in blocks]
        with torch.no_grad():
            net(input_ids=source, use_cache=False)
        for handle in handles:
            handle.remove()

        def swapping(layer: int) -> Any:
            rows = torch.arange(layer * count, (layer + 1) * count, device=base.device)

            def swap(_module: Any, _inputs: Any, output: Any) -> Any:
                new = output.clone()
                new[rows, positions] = states[layer][0, partners]
                return new

            return swap

        handles = [b.register_forward_hook(swapping(layer)) for layer, b in enumerate(blocks)]
        with torch.no_grad():
            batch = base.expand(len(blocks) * count, -1)
            net(input_ids=batch, use_cache=False, logits_to_keep=1).logits.float().softmax(-1)
        for handle in handles:
            handle.remove()

    return work


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
