"""A CUDA device that is really full: a map goes on in halves, a click says so, and both recover."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from explorer_testing import ask, setting, slot
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import vene_widgets as vw
from vene_widgets.models import wrap

if TYPE_CHECKING:
    from explorer_testing import SilentPainter

pytestmark = pytest.mark.cuda

# 60 tokens that differ from the fourth on.
SPAIN, ITALY = (("The capital of " + place + " is Madrid" * 28) for place in ("Spain", "Italy"))
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def wide(tiny_tokenizer: Any) -> vw.LanguageModel:
    """A model of which a map of 60 tokens takes some hundred megabytes at once."""
    config = GPT2Config(
        vocab_size=len(tiny_tokenizer), n_positions=64, n_embd=512, n_layer=4, n_head=8,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        model = GPT2LMHeadModel(config).eval()
    return wrap(model.cuda(), tiny_tokenizer, "wide")  # pyright: ignore[reportCallIssue]


@contextmanager
def room(megabytes: int, fill: bool = False) -> Iterator[None]:
    """So much memory is left to the process; with `fill`, other tensors take all of it."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    most = torch.cuda.memory_reserved() + megabytes * MEGABYTE
    total = torch.cuda.get_device_properties("cuda").total_memory
    torch.cuda.set_per_process_memory_fraction(most / total)
    others: list[Tensor] = []
    try:
        size = 64 * MEGABYTE
        while fill and size >= 512:
            try:
                others.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                size //= 2
        yield
    finally:
        others.clear()
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def test_a_map_that_does_not_fit_goes_on_in_halves(wide: vw.LanguageModel) -> None:
    expected = vw.sweep(wide, SPAIN, ITALY).logits
    with room(48), warnings.catch_warnings():  # smaller products take workspace of their own
        warnings.simplefilter("ignore")
        vw.sweep(wide, SPAIN, ITALY)
    before = torch.cuda.memory_allocated()
    with room(48), pytest.warns(UserWarning, match=r"out of memory with \d+ cells at once"):
        found = vw.sweep(wide, SPAIN, ITALY).logits
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert torch.cuda.memory_allocated() <= before + MEGABYTE


def test_a_full_device_is_said_and_left_as_it_was(wide: vw.LanguageModel) -> None:
    expected = vw.sweep(wide, SPAIN, ITALY).logits
    before = torch.cuda.memory_allocated()
    with room(0, fill=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((vw.RequestError, torch.OutOfMemoryError), match="out of memory"):
            vw.sweep(wide, SPAIN, ITALY)
    assert torch.cuda.memory_allocated() <= before + MEGABYTE
    assert torch.equal(vw.sweep(wide, SPAIN, ITALY).logits, expected)


def test_a_click_on_a_full_device(wide: vw.LanguageModel, silent_painter: SilentPainter) -> None:
    explorer = vw.explore(SPAIN, ITALY, wide, slots=[vw.Slot(layer=1, position=3)])
    try:
        explorer.wait(60)
        good = explorer.answer
        wanted = setting(slot(2, 3), base=SPAIN, source=ITALY)
        with room(0, fill=True):
            assert ask(explorer, **wanted)["ok"]
            said = explorer.status["error"]
            assert "out of memory" in said and "\n" not in said
            assert explorer.answer is good
        assert ask(explorer, **wanted)["ok"]
        explorer.wait(60)
        assert explorer.status["error"] is None
        alone = vw.run(wide, explorer.experiment)
        assert torch.equal(explorer.run.logits, alone.logits)
    finally:
        explorer.close()
