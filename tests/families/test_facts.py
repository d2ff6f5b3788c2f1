"""The facts of each family's table: what reaches a tensor, norms, the block's sum."""

from __future__ import annotations

import re
from typing import Any

import families
import pytest
import torch
from by_hand import evaluation, token_ids
from families import PartByHand, family_of
from families_testing import BASE, seen, states, whole_components
from torch import Tensor

import vene_widgets as vw
from vene_widgets.models.architectures import ARCHITECTURES

ONE, OTHER = BASE, " Rome Madrid Madrid Spain is"  # equal from position 3 on
MIDDLE = 3


def before(run: vw.Run, slot: int) -> Tensor:
    """What a slot's hook found, `(positions, width)`."""
    stats = run.record[slot].stats
    assert stats is not None
    return stats.before


def test_before_attention_means_that_other_tokens_have_no_say(model: vw.LanguageModel):
    """In the first block: the state at a position is the same after other earlier tokens."""
    for name in whole_components(model):
        one, other = (states(model, prompt, name, 0)[MIDDLE] for prompt in (ONE, OTHER))
        is_equal = float((one - other).abs().max()) < 1e-5
        assert is_equal == model.sites.architecture.components[name].before_attention, name


def test_reaching_later_positions_means_within_the_last_block(model: vw.LanguageModel):
    """At the position before the last one, which every window reaches."""
    plain = vw.run(model, vw.Experiment(base=ONE)).logits[-1]
    last = model.sites.layers - 1
    for name in whole_components(model):
        slot = vw.Slot(layer=last, position=MIDDLE, component=name, intervention="noise", scale=5)
        run = vw.run(model, vw.Experiment(base=ONE, slots=[slot]))
        component = model.sites.architecture.components[name]
        assert run.record[0].fired
        assert torch.equal(run.logits[-1], plain) != component.reaches_later_positions, name


def test_a_head_shares_the_facts_of_the_whole_that_it_is_part_of():
    for architecture in ARCHITECTURES.values():
        for table in (architecture, *(variant.architecture for variant in architecture.variants)):
            for name, component in table.components.items():
                if name.startswith("head_"):
                    whole = table.components[name.removeprefix("head_")]
                    assert component.before_attention == whole.before_attention
                    assert component.reaches_later_positions == whole.reaches_later_positions
                    assert (component.module, component.part) == (whole.module, whole.part)


def test_the_first_token_attends_to_itself(model: vw.LanguageModel):
    """There, what a head attends to is the value of its key-value head."""
    sites = model.sites
    for layer in range(sites.layers):
        values = states(model, BASE, "value_output", layer)[0].view(sites.key_value_heads, -1)
        clip = getattr(model.model.config, "clip_qkv", None)
        values = values if clip is None else values.clamp(-clip, clip)
        attended = states(model, BASE, "attention_value_output", layer)[0].view(sites.heads, -1)
        shared = values.repeat_interleave(sites.heads // sites.key_value_heads, dim=0)
        assert torch.allclose(attended, shared, atol=1e-5)
        for head in range(sites.heads):  # what the package reads of one head
            slot = vw.Slot(
                layer=layer,
                component="head_attention_value_output",
                head=head,
                position=0,
                intervention="collect",
            )
            run = vw.run(model, vw.Experiment(base=BASE, slots=[slot]))
            assert torch.allclose(before(run, 0)[0], shared[head], atol=1e-5)


@pytest.mark.parametrize("component", ["query_output", "key_output"])
def test_zero_queries_or_keys_attend_to_everything_alike(model: vw.LanguageModel, component: str):
    """Every score is then equal, and a head attends to the mean of the values in reach."""
    if family_of(model.name) == "bloom":
        pytest.skip("ALiBi's bias stays")
    if getattr(model.model.config, "qk_layernorm", False) and family_of(model.name) == "phi":
        pytest.skip("a norm with a bias follows")
    window = families.WINDOW if model.name.endswith("-window") else families.POSITIONS
    slot = vw.Slot(layer=0, component=component, position="all", intervention="zero")
    read = vw.Slot(
        layer=0, component="attention_value_output", position="all", intervention="collect"
    )
    run = vw.run(model, vw.Experiment(base=BASE, slots=[slot, read]))
    values = states(model, BASE, "value_output", 0)
    values = values.view(len(values), model.sites.key_value_heads, -1)
    clip = getattr(model.model.config, "clip_qkv", None)
    values = values if clip is None else values.clamp(-clip, clip)
    shared = values.repeat_interleave(model.sites.heads // model.sites.key_value_heads, dim=1)
    first_layer_slides = family_of(model.name) != "gpt_neo"
    reach = window if first_layer_slides else families.POSITIONS
    for position in range(len(shared)):
        mean = shared[max(0, position + 1 - reach) : position + 1].mean(dim=0)
        found = before(run, 1)[position].view(mean.shape)
        assert torch.allclose(found, mean, atol=1e-5), position


def test_the_block_adds_what_the_table_says(model: vw.LanguageModel):
    """Output = input + attention's branch + the MLP's branch, after the norms that follow them."""
    layer, config = 1, model.model.config
    block: Any = model.model.get_submodule(f"{model.sites.architecture.blocks}.{layer}")
    one, attention, mlp, output = (
        states(model, BASE, name, layer)
        for name in ("block_input", "attention_output", "mlp_output", "block_output")
    )
    with evaluation(model.model):
        if norms := families.NORMED_BRANCHES.get(family_of(model.name)):
            attention = block.get_submodule(norms[0])(attention)
            mlp = block.get_submodule(norms[1])(mlp)
        scale = getattr(config, "residual_multiplier", 1.0)
        if not getattr(config, "do_layer_norm_before", True):
            total = block.final_layer_norm(block.self_attn_layer_norm(one + attention) + mlp)
        else:
            total = one + scale * (attention + mlp)
    assert torch.allclose(total, output, atol=1e-4)


def test_the_mlps_tensors_follow_from_its_weights(model: vw.LanguageModel):
    """The activation before gating, the output before any norm or factor."""
    block = model.model.get_submodule(f"{model.sites.architecture.blocks}.1")
    given, activation, output = (
        states(model, BASE, name, 1) for name in ("mlp_input", "mlp_activation", "mlp_output")
    )
    with evaluation(model.model):
        own = families.mlp_by_hand(model, block, given)
    assert torch.allclose(activation, own[0], atol=1e-5)
    assert torch.allclose(output, own[1], atol=1e-4)


def test_what_the_table_says_about_norms(model: vw.LanguageModel):
    """`after X` and `before X` in its first words: the output or the input of that module."""
    architecture, layer, checked = model.sites.architecture, 1, 0
    block = model.model.get_submodule(f"{architecture.blocks}.{layer}")
    for name in ("attention_input", "mlp_input", "attention_output", "mlp_output"):
        text = architecture.components[name].norm
        match = re.match(r"(after|before) (\w+)$", text)
        if match is None or (match[1] == "after") != name.endswith("input"):
            if text == "no norm before it":
                given = states(model, BASE, "block_input", layer)
                assert torch.equal(states(model, BASE, name, layer), given), name
                checked += 1
            continue
        side = "output" if match[1] == "after" else "input"
        with seen(block.get_submodule(match[2]), side) as found:
            own = states(model, BASE, name, layer)
        assert torch.equal(found[-1].view(own.shape), own), (name, text)
        checked += 1
    assert checked >= 1


def test_sites_are_named_as_the_modules_are(model: vw.LanguageModel):
    table = model.sites.table()
    assert list(table.component) == list(model.sites.components)
    assert (table.place.str.len() > 0).all()
    for name in whole_components(model):
        ids = token_ids(model, BASE)
        hand = PartByHand(model, BASE, BASE, name)
        assert hand.states(0, ids).flatten(1).shape[-1] == model.sites.width(name), name
