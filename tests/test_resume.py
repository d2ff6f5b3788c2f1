"""Resumed runs: the numbers of full runs, and an honest no where the model cannot resume."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from engine_testing import full_passes, in_use
from families import CONFIGS, blocker_of, build
from hypothesis import given, settings
from hypothesis import strategies as st

import vene_widgets as vw
from vene_widgets.engine import behaviour, resume
from vene_widgets.engine import cache as engine_cache
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.forward import forward_prompts
from vene_widgets.engine.resume import (
    BaseTrace,
    Cells,
    ResumedBatch,
    base_trace,
    sites_to_resume,
)
from vene_widgets.models import wrap
from vene_widgets.models.sites import module_at
from vene_widgets.sweeps import cells, preparing
from vene_widgets.sweeps.planning import plan_sweep

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
    assert model.resume_blocker is None  # else both ways would be the slow one

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


def test_a_map_that_fills_holds_no_more_rows_than_a_chunk_may(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    """However many cells there are."""
    held: list[int] = []
    logits = ResumedBatch.logits

    def watched(self: ResumedBatch, order: Sequence[int] | None = None) -> torch.Tensor:
        found = logits(self, order)
        held.append(max(self.rows))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ResumedBatch, "logits", watched)
        patched.setattr(cells, "FULL_ROWS", 0)
        for device in ("CPU", "GPU"):
            patched.setattr(cells, f"{device}_ROWS", 200)
        for length in (8, 16, 31):
            plan = plan_sweep(tiny_gpt2, " Spain" * length, " Italy" * length)
            list(cells.sweep_rows(preparing.prepare_sweep(plan)))
    assert len(held) > 6
    assert 0 < max(held) <= 200


def test_a_trace_counts_its_bytes(tiny_gpt2: vw.LanguageModel) -> None:
    def traced(count: int) -> BaseTrace:
        ids = [token.id for token in tiny_gpt2.tokens(" Spain" * count)]
        sites = sites_to_resume(tiny_gpt2)
        runs = forward_prompts(tiny_gpt2, [ids], sites, with_heads=True)
        assert runs.heads is not None
        return base_trace(tiny_gpt2, runs.states, runs.heads)

    with in_use(tiny_gpt2):
        short, long = (traced(n).bytes for n in (4, 8))
    sites = tiny_gpt2.sites
    # Every block's input and the last one's output; keys and values of every block.
    assert (long - short) / 4 == (sites.layers + 1 + 2 * sites.layers) * sites.d_model * 4


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
        own.model(input_ids=torch.tensor([[1, 2]], device=own.device), output_hidden_states=True)
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
        with in_use(model):
            together = forward_prompts(model, ids, sites, with_heads=True)
            for n, one in enumerate(ids):
                alone = forward_prompts(model, [one], sites, with_heads=True)
                assert (together.logits[n] - alone.logits[0]).abs().max() < 1e-4
                assert together.lengths[n] == len(one)
                pairs = [(together.states[site], alone.states[site]) for site in sites]
                assert together.heads is not None
                assert alone.heads is not None
                pairs += zip(together.heads.keys, alone.heads.keys, strict=True)
                pairs += zip(together.heads.values, alone.heads.values, strict=True)
                for several, own in pairs:
                    assert (several[n, : len(one)] - own[0]).abs().max() < 1e-4

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

    monkeypatch.setattr(preparing, "forward_prompts", run_again)
    monkeypatch.setattr(engine_cache, "forward", run_again)
    known = vw.sweep(model, *pair, "mlp_output", cache=cache).logits
    assert len(cache) == 2
    assert (known - fresh).abs().max() < 1e-5


def test_the_gelu_in_one_pass_is_the_models_own(capitals: vw.LanguageModel) -> None:
    rows = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) * 3
    with in_use(capitals):
        activation = module_at(capitals.block(2), "mlp.act")
        own = activation(rows)
        with resume._fused_activations(capitals):
            fused = activation(rows)
        assert torch.equal(activation(rows), own)  # afterwards it is the model's own again
    assert not torch.equal(fused, own)  # it was another operator
    assert (fused - own).abs().max() < 1e-6
    assert (torch.nn.functional.gelu(rows) - own).abs().max() > 1e-4  # another GELU would be seen


@pytest.mark.parametrize("component", ["block_output", "mlp_output", "attention_value_output"])
def test_a_change_that_nothing_reads_leaves_the_base(
    tiny_llama: vw.LanguageModel, component: str
) -> None:
    """In the last block, before the last position: such a cell never runs in a sweep."""
    model, site = tiny_llama, tiny_llama.sites.site(2, component)
    ids = [token.id for token in model.tokens("The capital of Spain is")]
    with in_use(model):
        runs = forward_prompts(model, [ids], sites_to_resume(model), with_heads=True)
        assert runs.heads is not None
        trace = base_trace(model, runs.states, runs.heads)
        states = torch.ones(3, site.width, device=model.device)
        cells_there = Cells([site] * 3, [0] * 3, [0, 4, 2], states)
        found = ResumedBatch(model, trace, cells_there).logits()
    for n, changed in enumerate([False, True, False]):
        assert torch.allclose(found[n], runs.logits[0], atol=1e-5) != changed


# ---- families ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CONFIGS if not name.startswith("bloom")])
def test_noting_keys_and_values_changes_no_number(name: str, tiny_tokenizer: Any) -> None:
    """A cached run is the plain run, bit for bit."""
    if blocker_of(name):
        pytest.skip("passes of this family are not resumed with this version of transformers")
    model = wrap(build(name, len(tiny_tokenizer)), tiny_tokenizer, name)
    ids = [token.id for token in model.tokens("The capital of Spain is Madrid")]
    sites = sites_to_resume(model)
    with in_use(model):
        noted = forward_prompts(model, [ids, ids[::-1]], sites, with_heads=True)
        alone = forward_prompts(model, [ids, ids[::-1]], sites)
    assert noted.heads is not None
    assert torch.equal(noted.logits, alone.logits)
    for site in sites:
        assert torch.equal(noted.states[site], alone.states[site])
    key = model.sites.site(0, "key_output")
    shape = noted.heads.keys[0].shape
    assert shape == (2, len(ids), model.sites.key_value_heads, key.width // shape[2])


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_prompts_whose_positions_depend_on_their_length(kind: str, tiny_tokenizer: Any) -> None:
    """Beyond the length of training; a batch of two lengths would have the wrong frequencies."""
    from transformers import LlamaConfig, LlamaForCausalLM

    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 100.0, "factor": 4.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
        rope["original_max_position_embeddings"] = 8
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer),
        max_position_embeddings=8,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        rope_parameters=rope,
    )
    model = wrap(LlamaForCausalLM(config), tiny_tokenizer, kind)
    assert model.resume_blocker is None
    pair = " Spain" + " is capital of" * 3, " Italy" + " of" * 6
    assert [len(model.tokens(text)) for text in pair] == [10, 7]
    for base, source in (pair, pair[::-1]):
        swept = vw.sweep(model, base, source)
        for layer, column in ((0, 0), (1, 0), (0, 5), (1, len(swept.plan.positions) - 1)):
            slot = vw.Slot(
                layer=layer,
                position=swept.plan.positions[column],
                source_position=swept.plan.source_positions[column],
            )
            alone = vw.run(model, vw.Experiment(base=base, sources=source, slots=[slot]))
            assert (swept.logits[layer, column] - alone.logits[-1].cpu()).abs().max() < 1e-4


@pytest.mark.parametrize(
    "replacement",
    [lambda q, k, cos, sin: (q, k), functools.partial(min)],
    ids=["function", "partial"],
)
def test_a_replaced_function_of_the_familys_file_is_not_resumed(
    tiny_llama: vw.LanguageModel, replacement: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = wrap(copy.deepcopy(tiny_llama.model), tiny_llama.tokenizer)
    assert own.resume_blocker is None
    from transformers.models.llama import modeling_llama

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", replacement)
    again = wrap(copy.deepcopy(tiny_llama.model), tiny_llama.tokenizer)
    expected = "function apply_rotary_pos_emb of modeling_llama was replaced"
    assert again.resume_blocker == expected


def test_cells_that_differ_when_they_are_resumed_together_block_resuming(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions of transformers give several rows the mask of one."""
    plain = behaviour.ResumedBatch

    class Mixed(plain):
        def logits(self, order: Sequence[int] | None = None) -> torch.Tensor:
            found = super().logits(order)
            return found if len(found) == 1 else found + 0.1 * found.roll(1, 0)

    own = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    assert own.resume_blocker is None
    monkeypatch.setattr(behaviour, "ResumedBatch", Mixed)
    again = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    assert "resumed passes differ from full ones" in str(again.resume_blocker)


def test_special_forms_of_older_pythons_replace_no_function(
    tiny_llama: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Python 3.10 `Unpack` is a callable object of typing_extensions."""
    from transformers.models.llama import modeling_llama

    form = type("Form", (), {"__module__": "typing_extensions", "__call__": lambda _: None})
    monkeypatch.setattr(modeling_llama, "Unpack", form())
    own = wrap(copy.deepcopy(tiny_llama.model), tiny_llama.tokenizer)
    assert own.resume_blocker is None


def test_another_familys_modules_are_not_resumed(tiny_tokenizer: Any) -> None:
    """The block of a Qwen 2 in a Llama: its code was written for other attention."""
    own: Any = build("llama", len(tiny_tokenizer))
    other: Any = build("qwen2", len(tiny_tokenizer))
    own.model.layers[0].input_layernorm = other.model.layers[0].input_layernorm
    blocker = wrap(own, tiny_tokenizer, "mixed").resume_blocker
    assert "Qwen2RMSNorm" in str(blocker)


def test_a_transformers_without_an_attention_interface_is_not_resumed(
    tiny_gpt2: vw.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions kept the functions in a plain dict, or in each model."""
    from transformers import modeling_utils

    from vene_widgets.models.resume_blocker import code_blocker

    own, family = tiny_gpt2.model, tiny_gpt2.sites.architecture
    assert code_blocker(own, family) is None
    plain = dict(modeling_utils.ALL_ATTENTION_FUNCTIONS)
    monkeypatch.setattr(modeling_utils, "ALL_ATTENTION_FUNCTIONS", plain)
    expected = "this version of transformers has no attention interface"
    assert code_blocker(own, family) == expected
