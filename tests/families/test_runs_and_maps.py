"""Every family: runs and maps against hooks by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from by_hand import distance, plain_logits, token_ids
from families import CONFIGS, PartByHand, blocker_of, family_of
from families_testing import (
    BASE,
    ITALY,
    LONGER,
    TOLERANCE,
    Models,
    seen,
    slot_at,
    states,
    whole_components,
)

import vene_widgets as vw
from vene_widgets.engine.running import record_states
from vene_widgets.models import wrap
from vene_widgets.models.architectures import ARCHITECTURES

CELLS = ((0, 3), (1, 1), (2, 4))
"""Layer and column."""


def test_every_family_is_tested():
    assert {family_of(name) for name in CONFIGS} == set(ARCHITECTURES)


def test_every_component_is_what_a_hook_by_hand_gives(model: vw.LanguageModel):
    """Cells of a map and runs of their own, between prompts that differ in every token."""
    plain = plain_logits(model, BASE)
    cache = vw.ActivationCache()
    changed = 0
    for name in whole_components(model):
        swept = vw.sweep(model, BASE, LONGER, name, cache=cache)
        hand = PartByHand(model, BASE, LONGER, name)
        for layer, column in CELLS:
            position, partner = swept.plan.positions[column], swept.plan.source_positions[column]
            own = hand.logits(layer, position, partner)
            where = f"{name}, layer {layer}, position {position}"
            assert distance(swept.logits[layer, column], own[-1], own) <= TOLERANCE, where
            changed += distance(own, plain) > 100 * TOLERANCE
        slot = slot_at(name, layer, swept, column)
        single = vw.run(model, vw.Experiment(base=BASE, sources=LONGER, slots=[slot]), cache=cache)
        assert distance(single.logits, own) <= TOLERANCE, name
    assert changed == len(CELLS) * len(whole_components(model)), "a patch that changed nothing"


def test_every_head_is_what_a_hook_by_hand_gives(model: vw.LanguageModel):
    for name in model.sites.components:
        if (count := model.sites.head_count(name)) is None:
            continue
        swept = vw.sweep(model, BASE, LONGER, name, head="all", layers=(0, 2))
        assert swept.heads == tuple(range(count))
        for head in range(count):
            hand = PartByHand(model, BASE, LONGER, name, head)
            plan = swept.sweeps[head].plan
            for row, layer, column in ((0, 0, 2), (1, 2, 4)):
                own = hand.logits(layer, plan.positions[column], plan.source_positions[column])
                cell = swept.logits[row, head, column]
                assert distance(cell, own[-1], own) <= TOLERANCE, (name, head, layer)


def test_a_data_set_is_what_hooks_by_hand_give(model: vw.LanguageModel):
    """Pairs of several lengths, swapped at named positions."""
    pairs = [(BASE, ITALY), (BASE, LONGER), (LONGER, ITALY), (ITALY, BASE), (LONGER, BASE)]
    found = vw.sweep_pairs(model, pairs, positions=["changed", "last"], controls=())
    ids = found.answers.targets
    for number, (base, source) in enumerate(pairs):
        hand = PartByHand(model, base, source, "block_output")
        row = found.plan.rows[number]
        for column in (0, 1):
            for layer in (0, model.sites.layers - 1):
                own = hand.logits(layer, row.positions[column], row.source_positions[column])
                expected = own[-1].double().log_softmax(-1)[ids[number].tolist()].cpu()
                cell = found.answers.log_p[number, 0, layer, column]
                error = (torch.from_numpy(cell) - expected).abs().max()
                assert error <= TOLERANCE * float(own.max() - own.min()), (number, layer, column)


def test_a_map_is_its_single_runs(model: vw.LanguageModel):
    """Between prompts that differ in one token: every column before it is the base itself."""
    for name in ("block_output", "value_output"):
        swept = vw.sweep(model, BASE, ITALY, name)
        cache = vw.ActivationCache()
        for layer in range(model.sites.layers):
            for column in (0, 3, 4):
                slot = slot_at(name, layer, swept, column)
                experiment = vw.Experiment(base=BASE, sources=ITALY, slots=[slot])
                own = vw.run(model, experiment, cache=cache, logits_to_keep=1).logits[-1]
                where = (name, layer, column)
                assert distance(swept.logits[layer, column], own) <= TOLERANCE, where


def test_plain_runs_are_the_models_own(model: vw.LanguageModel):
    for prompt in (BASE, LONGER):
        own = plain_logits(model, prompt)
        run = vw.run(model, vw.Experiment(base=prompt))
        assert distance(run.logits, own) <= TOLERANCE
        last = vw.run(model, vw.Experiment(base=prompt), logits_to_keep=1).logits
        assert last.shape == (1, own.shape[-1])
        assert distance(last[0], own[-1], own) <= TOLERANCE
        head = model.model.get_submodule(model.sites.unembedding)
        with seen(head, "input") as found:
            plain_logits(model, prompt)
        assert distance(run.last_hidden_state, found[0][0]) <= TOLERANCE


def test_a_batch_of_prompts_is_each_prompt_alone(model: vw.LanguageModel):
    """Two prompts of different lengths, padded on the left, patched with each other's states."""
    from vene_widgets.intervenable import IntervenableModel

    prompts = [BASE, " Madrid of Italy"]
    ids = [token_ids(model, prompt)[0] for prompt in prompts]
    missing = len(ids[0]) - len(ids[1])
    padding = torch.zeros(missing, dtype=torch.long, device=ids[0].device)
    batch = torch.stack([ids[0], torch.cat([padding, ids[1]])])
    mask = torch.ones_like(batch)
    mask[1, :missing] = 0
    last = len(ids[0]) - 1
    for component in ("key_output", "mlp_activation"):
        face = IntervenableModel({"layer": 1, "component": component}, model.model)
        original, changed = face(
            {"input_ids": batch, "attention_mask": mask},
            [{"input_ids": batch.flip(0), "attention_mask": mask.flip(0)}],
            {"sources->base": last},
            output_original_output=True,
        )
        for row, (prompt, other) in enumerate(zip(prompts, prompts[::-1], strict=True)):
            own = plain_logits(model, prompt)
            assert distance(original.logits[row, -len(own) :], own) <= TOLERANCE
            hand = PartByHand(model, prompt, other, component)
            own = hand.logits(1, len(ids[row]) - 1, len(ids[1 - row]) - 1)
            assert distance(changed.logits[row, -len(own) :], own) <= TOLERANCE, component


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_both_attention_functions(plain_variant: vw.LanguageModel, models: Models, kind: str):
    root: Any = plain_variant.model
    if kind == "sdpa" and not root._supports_sdpa:
        pytest.skip(f"{plain_variant.name} has no SDPA attention")
    names = [name for name in CONFIGS if family_of(name) == plain_variant.name]
    model = models(names[-1], kind)  # with a short window, where the family has windows
    assert model.model.config._attn_implementation == kind
    swept = vw.sweep(model, BASE, LONGER, "key_output")
    hand = PartByHand(model, BASE, LONGER, "key_output")
    for layer, column in CELLS:
        own = hand.logits(layer, swept.plan.positions[column], swept.plan.source_positions[column])
        assert distance(swept.logits[layer, column], own[-1], own) <= TOLERANCE, (layer, column)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(plain_variant: vw.LanguageModel, tiny_tokenizer: Any, dtype: torch.dtype):
    """Within the rounding of the model's own dtype; float64 far closer than float32 could be."""
    model = wrap(copy.deepcopy(plain_variant.model).to(dtype), tiny_tokenizer, plain_variant.name)
    # Norms, scores and rotary angles are in float32 in most families, whatever the dtype.
    tolerance = 1e-6 if dtype == torch.float64 else 8 * torch.finfo(dtype).eps
    for name in ("block_output", "key_output", "mlp_activation"):
        swept = vw.sweep(model, BASE, ITALY, name)
        hand = PartByHand(model, BASE, ITALY, name)
        for layer, column in CELLS:
            position, partner = swept.plan.positions[column], swept.plan.source_positions[column]
            own = hand.logits(layer, position, partner)
            where = f"{name}, layer {layer}, position {position}"
            assert distance(swept.logits[layer, column], own[-1], own) <= tolerance, where


def test_states_that_a_model_overwrites_are_recorded_before(models: Models):
    """OLMo clips queries, keys and values in place; the recorded ones are as they were computed."""
    model = models("olmo-clipped")
    for name in ("query_output", "key_output", "value_output"):
        found = record_states(model, BASE, [model.sites.site(1, name)])
        own = states(model, BASE, name, 1)
        assert torch.equal(found[model.sites.site(1, name)][0], own), name
        assert own.abs().max() > model.model.config.clip_qkv


def test_passes_are_resumed_in_every_family_but_one(model: vw.LanguageModel):
    assert model.resume_blocker == blocker_of(model.name)
    assert model.behaviour.is_family_code, "its batches would be checked"
