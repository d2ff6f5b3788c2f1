"""Serial mode: each source run is changed by the one before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from running_testing import CHAIN, FRANCE, ITALY, SPAIN, act, chain, differ, ids_of, swap, swapped
from torch import Tensor

from vene_widgets.engine.running import run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel


def by_hand(model: LanguageModel, layer: int, first: tuple[int, int], second: tuple[int, int]):
    """italy -> france -> base by plain hooks: logits of the base's run.

    Block outputs `layer` and `layer + 1`; `first` and `second` are pairs of positions, from and to.
    """
    blocks: Any = model.model.get_submodule(model.sites.architecture.blocks)

    def forward(prompt: str, block: int, place: tuple[int, Tensor] | None, keep: int) -> Any:
        kept: list[Tensor] = []

        def write(_module: Any, _args: Any, output: Any) -> Any:
            if place is None:
                return output
            state = (output[0] if isinstance(output, tuple) else output).clone()
            state[0, place[0]] = place[1]
            return (state, *output[1:]) if isinstance(output, tuple) else state

        def read(_module: Any, _args: Any, output: Any) -> None:
            kept.append((output[0] if isinstance(output, tuple) else output).clone())

        handles = [blocks[block].register_forward_hook(write)]
        handles.append(blocks[keep].register_forward_hook(read))
        try:
            with torch.no_grad():
                logits = model.model(input_ids=ids_of(model, prompt)).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return kept[0][0], logits

    italy, _ = forward(ITALY, layer, None, layer)
    france, _ = forward(FRANCE, layer, (first[1], italy[first[0]]), layer + 1)
    _, logits = forward(SPAIN, layer + 1, (second[1], france[second[0]]), layer)
    return logits


@pytest.mark.parametrize(("first", "second"), [((3, 3), (4, 4)), ((3, 2), (3, 4))])
def test_a_serial_chain_is_what_hooks_by_hand_give(
    model: LanguageModel, first: tuple[int, int], second: tuple[int, int]
):
    slots = (
        swap(0, first[1], source="italy", source_position=first[0]),
        swap(1, second[1], source="france", source_position=second[0]),
    )
    serial = run(model, chain(*slots))
    assert torch.equal(serial.logits, by_hand(model, 0, first, second))
    assert serial.source_runs == 2
    assert differ(serial, run(model, chain(*slots, mode="parallel")))
    assert differ(serial, run(model, chain(slots[1], mode="parallel")))


def test_the_receipt_of_a_slot_on_a_source_run_is_about_that_run(tiny: LanguageModel):
    slots = (swap(0, 3, source="italy"), swap(1, 4, source="france"))
    on_france, on_base = run(tiny, chain(*slots)).record
    assert on_france.planned.target == "france" and on_base.planned.target is None
    france = run(tiny, Experiment(base=FRANCE)).states
    assert on_france.stats is not None and on_base.stats is not None
    assert torch.equal(on_france.stats.before[0], france[0, 3])
    assert torch.equal(on_base.stats.before[0], run(tiny, Experiment(base=SPAIN)).states[1, 4])
    moved = run(tiny, swapped(swap(0, 3), base=FRANCE)).states[1, 4]
    assert torch.equal(on_base.stats.after[0], moved)


def test_a_slot_on_a_source_run_that_nobody_reads_says_that_it_did_not_fire(tiny: LanguageModel):
    slots = (swap(0, 3, source="italy"), swap(1, 4, source="france", skip=True))
    result = run(tiny, chain(*slots))
    assert not result.record[0].fired and result.record[0].idle
    assert torch.equal(result.logits, run(tiny, Experiment(base=SPAIN)).logits)


def test_the_order_of_sources_is_the_order_of_the_chain(tiny: LanguageModel):
    slots = (swap(1, 4, source="france"), swap(0, 3, source="italy"))
    one = run(tiny, chain(*slots))
    assert torch.equal(one.logits, run(tiny, chain(*slots[::-1])).logits)
    turned = dict(reversed(CHAIN.items()))
    assert differ(one, run(tiny, chain(*slots).replace(sources=turned)))


def test_serial_with_one_source_is_parallel(model: LanguageModel):
    slots = (swap(0, 3), act("addition", 1, 4), act("zero", 1, 2))
    one = run(model, swapped(*slots))
    two = run(model, swapped(*slots).replace(mode="serial"))
    assert torch.equal(one.logits, two.logits) and torch.equal(one.states, two.states)


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_groups_change_no_result_in_either_mode(tiny: LanguageModel, mode: str):
    slots = (
        swap(0, 3, source="italy", group="i"),
        swap(1, 2, source="italy", group="i", source_position=4),
        swap(1, 4, source="france", group="f"),
        swap(2, 4, "mlp_output", source="france", group="f"),
    )
    grouped = chain(*slots, mode=mode)
    one = run(tiny, grouped)
    for share in (True, False):
        other = run(tiny, grouped.ungrouped(), share_sources=share)
        assert torch.equal(one.logits, other.logits) and torch.equal(one.states, other.states)
    assert all(receipt.fired and not receipt.idle for receipt in one.record)
