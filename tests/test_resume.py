"""Resumed runs: the numbers of full runs, and an honest no where the model cannot resume."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from engine_testing import full_passes, in_use
from hypothesis import given, settings
from hypothesis import strategies as st

import vene_widgets as vw
from vene_widgets.engine import blocks
from vene_widgets.engine import cache as engine_cache
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.forward import forward_prompts
from vene_widgets.engine.resume import BaseTrace, ResumedBatch, base_trace, sites_to_resume
from vene_widgets.models import wrap
from vene_widgets.models.sites import module_at
from vene_widgets.sweeps import cells

WORDS = ["The", " capital", " of", " Spain", " Italy", " France", " is", " Rome", " Madrid"]
prompts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map("".join)


def both_ways(*args: Any, **more: Any) -> list[torch.Tensor]:
    """A sweep resumed, and the same sweep with full forward passes."""
    found = [vw.sweep(*args, **more).logits]
    with full_passes(args[0]):
        found.append(vw.sweep(*args, **more).logits)
    return found


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
def test_any_component_of_any_prompts(family: str, request: pytest.FixtureRequest) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)

    @settings(max_examples=60, deadline=None)
    @given(prompts, prompts, st.sampled_from(model.sites.components), st.integers(0, 1))
    def check(base: str, source: str, component: str, head: int) -> None:
        chosen = head if model.sites.head_count(component) else None
        fast, slow = both_ways(model, base, source, component, head=chosen)
        assert torch.isfinite(fast).all()
        assert (fast - slow).abs().max() < 1e-4

    check()


def test_chunks_do_not_change_the_numbers(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = "The capital of Spain is", " Madrid of Italy is Rome"
    whole = vw.sweep(tiny_gpt2, *pair).logits
    monkeypatch.setattr(cells, "CPU_ROWS", 1)
    assert (vw.sweep(tiny_gpt2, *pair).logits - whole).abs().max() < 1e-5


def test_memory_does_not_grow_with_the_number_of_cells(tiny_gpt2: vw.LanguageModel) -> None:
    """Bytes held by the front: never more rows than a chunk may have, however many the cells."""
    held: list[int] = []
    advance = ResumedBatch.advance

    def watched(self: ResumedBatch, layer: int) -> None:
        advance(self, layer)
        held.append(sum(rows.numel() * rows.element_size() for rows in self.rows.values()))

    most = cells.CPU_ROWS * tiny_gpt2.sites.d_model * 4
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ResumedBatch, "advance", watched)
        for length in (8, 16, 31):
            vw.sweep(tiny_gpt2, " Spain" * length, " Italy" * length)
    assert 0 < max(held) <= most


def test_a_trace_counts_its_bytes(tiny_gpt2: vw.LanguageModel) -> None:
    def traced(count: int) -> BaseTrace:
        ids = [token.id for token in tiny_gpt2.tokens(" Spain" * count)]
        return base_trace(
            tiny_gpt2, ids, *forward_prompts(tiny_gpt2, [ids], sites_to_resume(tiny_gpt2))[0]
        )

    short, long = (traced(n).bytes for n in (4, 8))
    per_token = (long - short) / 4
    sites = tiny_gpt2.sites
    # Five recorded vectors per layer, and keys and values once more in the shape attention wants.
    assert per_token == sites.layers * (5 + 2) * sites.d_model * 4


@pytest.fixture
def own(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    return wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)


def test_a_models_own_hooks_take_the_slow_path_and_are_obeyed(own: vw.LanguageModel) -> None:
    assert own.resume_blocker is None
    plain = vw.sweep(own, "The capital", " Rome capital").logits
    block = own.model.get_submodule("transformer.h.1.mlp")
    handle = block.register_forward_hook(lambda _m, _a, out: out * 0)
    assert own.resume_blocker == "the model carries hooks of its own"
    hooked = vw.sweep(own, "The capital", " Rome capital").logits
    assert not torch.allclose(plain, hooked)
    handle.remove()
    assert own.resume_blocker is None


def test_hooks_that_transformers_leaves_behind_do_not_count(own: vw.LanguageModel) -> None:
    with torch.no_grad():
        own.model(input_ids=torch.tensor([[1, 2]]), output_hidden_states=True)
    assert own.resume_blocker is None


def test_a_replaced_forward_takes_the_slow_path(own: vw.LanguageModel) -> None:
    module = own.model.get_submodule("transformer.h.0.mlp")
    module.forward = lambda hidden_states: hidden_states
    assert "was replaced" in str(own.resume_blocker)


@pytest.mark.parametrize("name", ["add_cross_attention", "reorder_and_upcast_attn"])
def test_unusual_attention_takes_the_slow_path(own: vw.LanguageModel, name: str) -> None:
    setattr(own.model.config, name, True)
    assert own.resume_blocker is not None


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
def test_prompts_of_one_pass_are_runs_of_their_own(
    family: str, request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    sites = sites_to_resume(model)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(prompts, min_size=1, max_size=3))
    def check(texts: list[str]) -> None:
        ids = [[token.id for token in model.tokens(text)] for text in texts]
        for alone, (states, logits) in zip(ids, forward_prompts(model, ids, sites), strict=True):
            [(own_states, own_logits)] = forward_prompts(model, [alone], sites)
            assert (logits - own_logits).abs().max() < 1e-4
            for site in sites:
                assert states[site].shape == own_states[site].shape
                assert (states[site] - own_states[site]).abs().max() < 1e-4

    check()


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
def test_a_sweep_from_cache_runs_no_prompt_again(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    pair, cache = ("The capital of Spain is", " Madrid of Italy"), ActivationCache()
    fresh = vw.sweep(model, *pair, "mlp_output").logits
    for prompt in pair:
        vw.run(model, vw.Experiment(base=prompt), cache=cache, logits_to_keep=1)

    def run_again(*_: object) -> None:
        raise AssertionError("a cached prompt ran again")

    monkeypatch.setattr(cells, "forward_prompts", run_again)
    monkeypatch.setattr(engine_cache, "forward", run_again)
    known = vw.sweep(model, *pair, "mlp_output", cache=cache).logits
    assert len(cache) == 2
    assert (known - fresh).abs().max() < 1e-5


def test_the_gelu_in_one_pass_is_the_models_own(capitals: vw.LanguageModel) -> None:
    width = capitals.sites.d_model
    rows = torch.randn(50, width, generator=torch.Generator().manual_seed(0)) * 3
    mlp: Any = module_at(capitals.model, "transformer.h.2.mlp")
    with in_use(capitals):
        assert (blocks.mlp(capitals, 2, rows) - mlp(rows)).abs().max() < 1e-4
        exact = mlp.c_proj(torch.nn.functional.gelu(mlp.c_fc(rows)))
        assert (
            blocks.mlp(capitals, 2, rows) - exact
        ).abs().max() > 1e-4  # another GELU would be seen
