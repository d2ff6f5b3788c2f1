"""Kept runs: resumed numbers are those of full runs, bit for bit, in no more bytes than allowed."""

from __future__ import annotations

import copy

import pytest
import torch
from engine_testing import in_use
from hypothesis import given, settings
from hypothesis import strategies as st

import vene_widgets as vw
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.forward import ForwardResult, forward, resume_forward
from vene_widgets.engine.hooks import Edit
from vene_widgets.models import wrap

PROMPT = "The capital of Spain is"
FAMILIES = ["tiny_gpt2", "tiny_llama", "capitals"]


def ids(model: vw.LanguageModel, prompt: str = PROMPT) -> list[int]:
    return [token.id for token in model.tokens(prompt)]


def equal(one: ForwardResult, other: ForwardResult) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("family", FAMILIES)
def test_resumed_runs_are_full_runs(family: str, request: pytest.FixtureRequest) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    cache = ActivationCache()
    names = [name for name in model.sites.components if model.sites.head_count(name) is None]
    places = st.tuples(st.sampled_from(names), st.integers(0, 2), st.integers(0, 4))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(places, min_size=1, max_size=3))
    def check(slots: list[tuple[str, int, int]]) -> None:
        zero = torch.tensor([0], device=model.device)
        edits = [
            Edit(model.sites.site(layer, name), zero, zero + p, lambda x: x * 2 + 1)
            for name, layer, p in slots
        ]
        with in_use(model):
            kept = cache.plain_run(model, model.tokens(PROMPT))
            assert equal(
                resume_forward(model, ids(model), kept.result, edits),
                forward(model, ids(model), edits),
            )

    check()


@pytest.mark.parametrize("keep", [0, 1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_experiment_from_cache_is_the_experiment(
    family: str, keep: int, request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    cache = ActivationCache()
    last = model.sites.layers - 1
    for slots in (
        [],
        [vw.Slot(layer=0, position=3)],
        [vw.Slot(layer=last, position=-1, component="head_value_output", head=1)],
        [vw.Slot(layer=1, position=3), vw.Slot(layer=1, position=3, intervention="addition")],
        [vw.Slot(layer=2, position=[3, 4], intervention="zero", skip=True)],
    ):
        experiment = vw.Experiment(base=PROMPT, sources="The capital of Italy is", slots=slots)
        full = vw.run(model, experiment, logits_to_keep=keep)
        kept = vw.run(model, experiment, logits_to_keep=keep, cache=cache)
        assert len(full.logits) == (keep or len(full.tokens))
        assert vw.compare(full, kept).verdict == "bit-equal"
        assert torch.equal(full.last_hidden_state, kept.last_hidden_state)
        assert full.receipts.equals(kept.receipts)
    assert len(cache) == 2


def test_the_last_position_alone_is_what_the_model_says_of_it(capitals: vw.LanguageModel) -> None:
    experiment = vw.Experiment(base=PROMPT)
    alone = vw.run(capitals, experiment, logits_to_keep=1)
    with torch.no_grad():
        own = capitals.model(
            torch.tensor([ids(capitals)], device=capitals.device), logits_to_keep=1
        ).logits[0]
    assert torch.equal(alone.logits, own)
    assert vw.compare(alone, vw.run(capitals, experiment)).scope == "last position"


@pytest.mark.parametrize("keep", [-1, True])
def test_a_number_of_logits_is_needed(tiny_gpt2: vw.LanguageModel, keep: int) -> None:
    with pytest.raises(vw.RequestError, match=f"logits_to_keep must be .* 0 for all, got {keep}"):
        vw.run(tiny_gpt2, vw.Experiment(base=PROMPT), logits_to_keep=keep)


def test_runs_with_more_logits_and_fewer_are_kept_apart(tiny_gpt2: vw.LanguageModel) -> None:
    cache, experiment = ActivationCache(), vw.Experiment(base=PROMPT)
    for keep, rows in ((1, 1), (0, 5), (1, 1)):
        kept = vw.run(tiny_gpt2, experiment, cache=cache, logits_to_keep=keep)
        assert len(kept.logits) == rows


def test_what_a_run_gave_can_be_changed(tiny_gpt2: vw.LanguageModel) -> None:
    cache, experiment = ActivationCache(), vw.Experiment(base=PROMPT)
    first = vw.run(tiny_gpt2, experiment, cache=cache)
    before = first.logits.clone()
    for tensor in (first.logits, first.last_hidden_state, first.states):
        tensor.zero_()
    assert torch.equal(vw.run(tiny_gpt2, experiment, cache=cache).logits, before)


def test_an_experiment_from_cache_does_only_what_follows_its_change(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    calls: list[int] = []
    cache = ActivationCache()
    experiment = vw.Experiment(
        base=PROMPT, sources="The capital of Italy is", slots=[vw.Slot(layer=1, position=3)]
    )
    vw.run(tiny_gpt2, experiment, cache=cache)
    with in_use(tiny_gpt2):  # hooks on the tree: one on the model itself would change it
        handles = [
            tiny_gpt2.block(layer).ln_1.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[operator]
            for layer in range(tiny_gpt2.sites.layers)
        ]
    vw.run(tiny_gpt2, experiment, cache=cache)
    for handle in handles:
        handle.remove()
    assert len(calls) == tiny_gpt2.sites.layers - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_states_are_the_runs_own(family: str, request: pytest.FixtureRequest) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    with in_use(model):
        kept = ActivationCache().plain_run(model, model.tokens(PROMPT))
        assert equal(kept.result, forward(model, ids(model), []))
    for layer in range(model.sites.layers):
        site = model.sites.site(layer, "block_output")
        assert torch.equal(kept.states_at(model, site), kept.result.states[layer])
    head = model.sites.site(1, "head_value_output", 1)
    whole = kept.states_at(model, model.sites.site(1, "value_output"))
    assert torch.equal(kept.states_at(model, head), whole[:, head.width : 2 * head.width])


def test_a_prompt_runs_once(tiny_gpt2: vw.LanguageModel) -> None:
    cache = ActivationCache()
    with in_use(tiny_gpt2):
        first = cache.plain_run(tiny_gpt2, tiny_gpt2.tokens(PROMPT))
        assert cache.plain_run(tiny_gpt2, tiny_gpt2.tokens(PROMPT)) is first
    assert len(cache) == 1 and cache.bytes == first.bytes > 0
    cache.clear()
    assert len(cache) == 0 and cache.bytes == 0


def test_the_least_recently_used_is_forgotten(tiny_gpt2: vw.LanguageModel) -> None:
    with in_use(tiny_gpt2):
        one = ActivationCache().plain_run(tiny_gpt2, tiny_gpt2.tokens(PROMPT)).bytes
        cache = ActivationCache(limit=2 * one)
        spain, italy, france = (
            tiny_gpt2.tokens(f"The capital of {name} is") for name in ("Spain", "Italy", "France")
        )
        kept = cache.plain_run(tiny_gpt2, spain)
        cache.plain_run(tiny_gpt2, italy)
        cache.plain_run(tiny_gpt2, spain)
        cache.plain_run(tiny_gpt2, france)
        assert len(cache) == 2 and cache.bytes <= 2 * one
        assert cache.plain_run(tiny_gpt2, spain) is kept
        tight = ActivationCache(limit=0)
        tight.plain_run(tiny_gpt2, spain)
        assert len(tight) == 1


def test_changed_weights_are_noticed(tiny_gpt2: vw.LanguageModel) -> None:
    own = wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    cache = ActivationCache()
    with in_use(own):
        before = cache.plain_run(own, own.tokens(PROMPT))
    with torch.no_grad():
        own.model.get_submodule("transformer.h.0.mlp.c_fc").weight.mul_(2)  # pyright: ignore
    with in_use(own):
        after = cache.plain_run(own, own.tokens(PROMPT))
    assert after is not before and not equal(after.result, before.result)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(vw.RequestError, match="limit must be 0 bytes or more, got -1"):
        ActivationCache(limit=-1)


def test_a_cache_says_what_it_holds(tiny_gpt2: vw.LanguageModel):
    cache = ActivationCache(2**20)
    assert repr(cache) == "<ActivationCache of 0 plain runs: 0 of 1 MB>"
    vw.run(tiny_gpt2, vw.Experiment(base="The capital of Spain is"), cache=cache)
    assert "of 1 plain runs" in repr(cache)
