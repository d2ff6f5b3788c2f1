"""Several slots: groups, skipped slots, and the order in which slots act."""

from __future__ import annotations

import itertools

import torch
from running_testing import FRANCE, ITALY, SPAIN, differ, swap, swapped

from vene_widgets.engine.running import run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel


def test_grouped_is_ungrouped(model: LanguageModel, three: tuple[Slot, ...]):
    groups = (("g", "g", "g"), ("g", None, "g"), ("a", "b", "a"), (None, None, None))
    results = [
        run(
            model,
            swapped(
                *(s.model_copy(update={"group": g}) for s, g in zip(three, names, strict=True))
            ),
            share_sources=share,
        )
        for names in groups
        for share in (True, False)
    ]
    assert all(torch.equal(result.logits, results[0].logits) for result in results)
    assert [result.source_runs for result in results] == [1, 1, 1, 2, 1, 2, 1, 3]


def test_any_one_of_three_equal_slots_gives_the_same(model: LanguageModel):
    one = run(model, swapped(swap(0, 3)))
    for live in range(3):
        slots = [swap(0, 3, skip=index != live) for index in range(3)]
        result = run(model, swapped(*slots))
        assert torch.equal(result.logits, one.logits)
        assert result.receipts.fired.tolist() == [index == live for index in range(3)]
        assert result.receipts.slot.tolist() == [0, 1, 2]
        assert result.receipts.skipped.tolist() == [index != live for index in range(3)]


def test_a_skipped_slot_is_as_if_it_were_not_there(model: LanguageModel, three: tuple[Slot, ...]):
    for skipped in range(3):
        slots = [s.model_copy(update={"skip": i == skipped}) for i, s in enumerate(three)]
        without = [s for i, s in enumerate(three) if i != skipped]
        result = run(model, swapped(*slots))
        assert torch.equal(result.logits, run(model, swapped(*without)).logits)
        fired = result.receipts.set_index("slot").fired
        assert fired.to_dict() == {i: i != skipped for i in range(3)}


def test_different_sites_act_in_network_order(model: LanguageModel):
    slots = (
        swap(0, 3),
        swap(1, 3, "block_input", source_position=4),  # right after the first: it has the last word
        swap(1, 4, "query_output"),
        swap(1, 4, "mlp_output"),
    )
    results = [run(model, swapped(*order)) for order in itertools.permutations(slots)]
    assert all(torch.equal(result.logits, results[0].logits) for result in results)
    later = run(model, swapped(*slots[1:]))
    assert torch.equal(results[0].states[1:], later.states[1:])
    assert differ(results[0], run(model, swapped(slots[0], *slots[2:])))


def test_slots_at_one_site_act_in_list_order(model: LanguageModel):
    two = {"italy": ITALY, "france": FRANCE}
    italy, france = (swap(0, 3, source=name) for name in two)
    single = [run(model, swapped(slot, base=SPAIN, **two)) for slot in (italy, france)]
    assert differ(*single)
    assert torch.equal(run(model, swapped(france, italy, **two)).logits, single[0].logits)
    assert torch.equal(run(model, swapped(italy, france, **two)).logits, single[1].logits)


def test_each_slot_sees_what_the_one_before_left(tiny: LanguageModel):
    """The second swap of one site finds the source's vectors there already: no change is left."""
    result = run(tiny, swapped(swap(0, [2, 3]), swap(0, 3)))
    sizes = result.receipts["size"].tolist()
    assert sizes[0] > 0 and sizes[1] == 0
    assert result.record[1].fired and result.record[1].idle


def test_a_slot_downstream_reads_the_sources_own_run_not_the_changed_base(tiny: LanguageModel):
    states = run(tiny, Experiment(base=ITALY)).states
    result = run(tiny, swapped(swap(0, 3), swap(2, 4)))
    assert torch.equal(result.states[2, 4], states[2, 4])
