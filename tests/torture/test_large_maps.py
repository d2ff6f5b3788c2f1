"""Clicks while a large map fills: answered before it is done, and the map is right."""

from __future__ import annotations

import random
import statistics
import threading
import time
from typing import Any

import pytest
import torch
from explorer_testing import BASE, SOURCE, SilentPainter, setting, slot

import vene_widgets as vw
from vene_widgets.explorer import Explorer
from vene_widgets.models import wrap

WAIT = 600
PAUSE = 0.2  # seconds between an answer and the next click


def model_of(
    tokenizer: Any, device: torch.device, layers: int, tokens: int, width: int = 32
) -> vw.LanguageModel:
    """A GPT-2 with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=tokens,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(20)
        model: Any = GPT2LMHeadModel(config).eval()
    return wrap(model.to(device), tokenizer, "tiny")


def prompts(tokens: int) -> tuple[str, str]:
    """Base and source of this many tokens, which differ in the fourth."""
    words = ["Madrid", "capital", "of", "France", "is"]
    more = "".join(f" {words[n % 5]}" for n in range(tokens - 5))
    return BASE + more, SOURCE + more


@pytest.mark.parametrize(
    ("layers", "tokens"),
    [
        (6, 40),
        pytest.param(12, 64, marks=pytest.mark.torture),
        pytest.param(12, 200, marks=pytest.mark.torture),
        pytest.param(48, 24, marks=pytest.mark.torture),
        pytest.param(48, 64, marks=pytest.mark.torture),
        pytest.param(48, 200, marks=pytest.mark.torture),
    ],
)
def test_clicks_are_answered_while_a_large_map_fills(
    tiny_tokenizer: Any,
    silent_painter: SilentPainter,
    device: torch.device,
    layers: int,
    tokens: int,
) -> None:
    """At least one before the map is full; none fails; sampled cells are those of `vw.run`."""
    model = model_of(tiny_tokenizer, device, layers, tokens)
    base, source = prompts(tokens)
    assert len(model.tokens(base)) == len(model.tokens(source)) == tokens
    explorer = Explorer(model, vw.Experiment(base=base, sources=source))
    errors: list[str] = []
    explorer.observe(
        lambda change: errors.append(change["new"]["error"]) if change["new"]["error"] else None,
        "status",
    )
    explorer.send = lambda content, buffers=None: errors.extend(
        [] if content["ok"] else [content["error"]]
    )
    explorer.worker.wait("answer", WAIT)
    generator, start = random.Random(3), time.monotonic()
    waits: list[float] = []
    before_full = 0
    answered = threading.Event()
    explorer.observe(lambda _change: answered.set(), "answer")
    while explorer.worker.is_busy("sweep") or len(waits) < 3:
        cell = (generator.randrange(layers), generator.randrange(3, tokens))
        clicked = time.monotonic()
        answered.clear()
        one = {"layer": cell[0], "position": cell[1]}
        explorer.receive({"id": "r", **setting(slot(**one), base=base, source=source)})
        assert answered.wait(WAIT)
        waits.append(time.monotonic() - clicked)
        before_full += explorer.worker.is_busy("sweep")
        assert explorer.answer["revision"] == explorer.revision
        time.sleep(PAUSE)
    seconds = time.monotonic() - start
    explorer.wait(WAIT)
    print(
        f"{layers} layers x {tokens} tokens: map in {seconds:.1f} s, {before_full} clicks answered "
        f"before it was full, wait median {statistics.median(waits):.3f} s, most {max(waits):.3f} s"
    )
    shown = explorer.map
    assert errors == []
    assert before_full >= 1
    assert shown["done"] == shown["total"] == layers * tokens == len(shown["cells"])
    targets = [target["token_id"] for target in shown["targets"]]
    for cell in generator.sample(shown["cells"], 12):
        one = vw.Slot(
            layer=cell["layer"],
            position=cell["position"],
        )
        p = vw.run(model, vw.Experiment(base=base, sources=source, slots=[one]))
        wanted = p.logits[-1].softmax(-1)[targets].tolist()
        assert cell["probabilities"] == pytest.approx(wanted, abs=1e-5)
    explorer.close()
