"""What a swap means, as identities that hold on every model."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from running_testing import (
    EVERYWHERE,
    ITALY,
    SPAIN,
    differ,
    everywhere,
    ids_of,
    plain,
    swap,
    swapped,
)
from torch import Tensor

from vene_widgets.engine.running import record_states, run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel

# ---- nothing to do -------------------------------------------------------------------------------


def test_an_empty_experiment_is_the_plain_forward_pass(model: LanguageModel):
    result = run(model, Experiment(base=SPAIN))
    # Transformers leaves hooks on a model that was asked for its hidden states: ask a copy.
    hf: Any = copy.deepcopy(model.model)
    with torch.no_grad():
        output = hf(input_ids=ids_of(model, SPAIN), output_hidden_states=True)
    assert torch.equal(result.logits, output.logits[0])
    assert torch.equal(result.last_hidden_state, output.hidden_states[-1][0])
    # Hugging Face gives the last block's output only after the final norm.
    for layer in range(model.sites.layers - 1):
        assert torch.equal(result.states[layer], output.hidden_states[layer + 1][0])
    assert result.states.shape == (model.sites.layers, 5, model.sites.d_model)
    assert result.source_runs == 0 and result.record == ()


def test_swapping_a_run_into_itself_changes_nothing(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    layers = sorted({0, 1, model.sites.layers - 1})
    for layer in layers:
        for slot in everywhere(model, layer):
            result = run(model, swapped(slot, source=SPAIN))
            assert torch.equal(result.logits, base.logits), slot
            assert torch.equal(result.states, base.states), slot
            assert result.record[0].fired
    at_once = [slot for layer in layers for slot in everywhere(model, layer)]
    assert torch.equal(run(model, swapped(*at_once, source=SPAIN)).logits, base.logits)


def test_every_single_slot_changes_something(tiny: LanguageModel):
    """The other side of the self-swap: from another run, each site at position 3 matters."""
    base = run(tiny, Experiment(base=SPAIN))
    for layer in range(3):
        for slot in everywhere(tiny, layer):
            result = run(tiny, swapped(slot.model_copy(update={"position": 3})))
            assert differ(result, base), slot


def test_skipped_slots_change_nothing(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    slots = tuple(swap(layer, 3, skip=True) for layer in range(3))
    result = run(model, swapped(*slots))
    assert torch.equal(result.logits, base.logits) and result.source_runs == 0
    assert not result.receipts.fired.any()


# ---- what a swap brings --------------------------------------------------------------------------


def test_all_positions_of_the_first_input_give_the_sources_logits(model: LanguageModel):
    result = run(model, swapped(swap(0, EVERYWHERE, "block_input")))
    assert torch.equal(result.logits, plain(model, ITALY))


def test_all_positions_of_any_block_give_the_sources_logits(tiny: LanguageModel):
    for layer, component in itertools.product(range(3), ("block_input", "block_output")):
        result = run(tiny, swapped(swap(layer, EVERYWHERE, component)))
        assert torch.equal(result.logits, plain(tiny, ITALY))


def test_positions_before_the_swap_cannot_see_it(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    for position in (3, 4):
        result = run(model, swapped(swap(0, position, source_position=3)))
        assert torch.equal(result.logits[:position], base.logits[:position])
        assert torch.equal(result.states[:, :position], base.states[:, :position])
        assert not torch.equal(result.logits[position], base.logits[position])


def test_the_last_blocks_output_reaches_its_own_position_only(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    result = run(model, swapped(swap(-1, 3)))
    assert result.record[0].fired
    others = [0, 1, 2, 4]
    assert torch.equal(result.logits[others], base.logits[others])
    assert not torch.equal(result.logits[3], base.logits[3])


def test_source_position_i_goes_to_base_position_j(tiny: LanguageModel):
    source = "The capital of France is Paris"
    states = run(tiny, Experiment(base=source)).states
    slot = swap(1, [4, 1, 2], source_position=[2, -1, 2])
    result = run(tiny, swapped(slot, source=source))
    assert torch.equal(result.states[1, [4, 1, 2]], states[1, [2, 5, 2]])
    base = run(tiny, Experiment(base=SPAIN))
    assert torch.equal(result.states[1, [0, 3]], base.states[1, [0, 3]])
    assert result.receipts.base_positions[0] == (4, 1, 2)
    assert result.receipts.source_positions[0] == (2, 5, 2)


def test_negative_and_text_positions_are_the_same_places(tiny: LanguageModel):
    results = [
        run(tiny, swapped(swap(layer, position)))
        for layer, position in ((1, 3), (-2, -2), (1, " Spain"), (1, [3]))
    ]
    assert all(torch.equal(result.logits, results[0].logits) for result in results)


def test_a_list_of_positions_is_as_good_as_one_slot_each(tiny: LanguageModel):
    for component in tiny.sites.components:
        head = None if tiny.sites.head_count(component) is None else 0
        together = run(tiny, swapped(swap(1, [3, 4], component, head=head)))
        apart = run(tiny, swapped(*(swap(1, p, component, head=head) for p in (4, 3))))
        assert torch.equal(together.logits, apart.logits)


def test_all_heads_of_a_component_are_the_whole_component(tiny: LanguageModel):
    for component in tiny.sites.components:
        count = tiny.sites.head_count(component)
        if count is None:
            continue
        slots = [swap(1, 3, component, head=head) for head in range(count)]
        whole = run(tiny, swapped(swap(1, 3, component.removeprefix("head_"))))
        assert torch.equal(run(tiny, swapped(*slots)).logits, whole.logits)
        single = [run(tiny, swapped(slot)) for slot in slots]
        assert all(differ(one, whole) for one in single)
        assert all(differ(one, other) for one, other in itertools.pairwise(single))


def test_a_head_slot_touches_its_head_only(tiny_gpt2: LanguageModel):
    """Position 4 attends anew, so each head's mixed values show whether that head was touched."""
    slot = swap(1, 3, "head_value_output", head=1)
    sites = [tiny_gpt2.sites.site(1, "head_attention_value_output", head) for head in range(3)]
    before = record_states(tiny_gpt2, SPAIN, sites)
    model = LanguageModel("copy", copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    seen: list[Tensor] = []
    module = model.model.get_submodule("transformer.h.1.attn.c_proj")
    module.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    run(model, swapped(slot))
    for head, site in enumerate(sites):
        after = seen[-1][..., site.start : site.stop]
        assert torch.equal(after, before[site]) == (head != 1)
