"""The facts in a family's component table, against plain forward passes."""

from __future__ import annotations

import pytest
import torch

import vene_widgets as vw
from vene_widgets.engine.running import record_states

ONE, OTHER = "The capital of Spain is", " Rome Madrid of Spain is"  # equal from position 2 on
MIDDLE = 3
FAMILIES = ["tiny_gpt2", "tiny_llama"]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return request.getfixturevalue(request.param)


def names(model: vw.LanguageModel) -> list[str]:
    return [name for name in model.sites.components if model.sites.head_count(name) is None]


def test_before_attention_means_that_other_tokens_have_no_say(model: vw.LanguageModel):
    """In the first block: the state at a position is the same after other earlier tokens."""
    sites = [model.sites.site(0, name) for name in names(model)]
    one, other = (record_states(model, prompt, sites) for prompt in (ONE, OTHER))
    for site in sites:
        component = model.sites.architecture.components[site.component]
        difference = (one[site][0, MIDDLE] - other[site][0, MIDDLE]).abs().max().item()
        assert (difference < 1e-6) == component.before_attention, site


def test_reaching_later_positions_means_within_the_last_block(model: vw.LanguageModel):
    plain = vw.run(model, vw.Experiment(base=ONE)).logits[-1]
    last = model.sites.layers - 1
    for name in names(model):
        slot = vw.Slot(layer=last, position=MIDDLE, component=name, intervention="noise", scale=5)
        run = vw.run(model, vw.Experiment(base=ONE, slots=[slot]))
        component = model.sites.architecture.components[name]
        assert run.record[0].fired
        assert torch.equal(run.logits[-1], plain) != component.reaches_later_positions, name


def test_what_writes_to_the_residual_stream_sums_to_it(model: vw.LanguageModel):
    """The block's input, attention's output and the MLP's add up to the block's output."""
    names = ("block_input", "attention_output", "mlp_output", "block_output")
    sites = [model.sites.site(1, name) for name in names]
    states = record_states(model, ONE, sites)
    total = sum(states[site] for site in sites[:-1])
    assert torch.allclose(torch.as_tensor(total), states[sites[-1]], atol=1e-5)


def test_a_head_shares_the_facts_of_the_whole_that_it_is_part_of(model: vw.LanguageModel):
    components = model.sites.architecture.components
    for name, component in components.items():
        if not name.startswith("head_"):
            continue
        whole = components[name.removeprefix("head_")]
        assert component.before_attention == whole.before_attention
        assert component.reaches_later_positions == whole.reaches_later_positions
