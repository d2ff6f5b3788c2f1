"""Receipts: what each slot changed at its site."""

from __future__ import annotations

import copy

import pytest
from running_testing import ITALY, SPAIN, act, swap, swapped
from torch import Tensor

from vene_widgets.engine.running import record_states, run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel


def test_receipts_measure_the_change_at_the_site(tiny: LanguageModel):
    for component in tiny.sites.components:
        head = None if tiny.sites.head_count(component) is None else 1
        site = tiny.sites.site(1, component, head)
        slot = swap(1, [4, 3], component, head=head, source_position=[3, 1])
        result = run(tiny, swapped(slot))
        base, source = (record_states(tiny, p, [site])[site][0] for p in (SPAIN, ITALY))
        size = sum(((base[j] - source[i]) ** 2).sum() for j, i in ((4, 3), (3, 1))) ** 0.5
        (row,) = result.receipts.itertuples()
        assert row.size == pytest.approx(float(size), rel=1e-4) and row.size > 0
        assert (row.slot, row.layer, row.component, row.head) == (0, 1, component, head)
        assert (row.source, row.skipped, row.fired) == ("italy", False, True)
        assert row.shape == (1, 5, site.width) and row.rows == 2 and row.others_equal


def test_receipts_have_the_same_columns_without_slots(tiny: LanguageModel):
    empty, one = run(tiny, Experiment(base=SPAIN)).receipts, run(tiny, swapped(swap(0, 3))).receipts
    assert list(empty.columns) == list(one.columns) and len(empty) == 0
    assert one.notna().drop(columns=["head", "keys"]).all(axis=None)


def test_a_site_that_is_never_reached_is_an_error_or_a_receipt(
    tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
):
    model = LanguageModel("bypassed", copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
    mlp = model.model.get_submodule("transformer.h.1.mlp")
    experiment = swapped(swap(1, 3, "mlp_activation"))
    forward = mlp.forward

    def bypass(hidden_states: Tensor, first: int) -> Tensor:
        passes.append(hidden_states)
        return forward(hidden_states) if len(passes) <= first else hidden_states

    for first in (0, 1):
        passes: list[Tensor] = []
        monkeypatch.setattr(mlp, "forward", lambda x, first=first: bypass(x, first))
        if first == 0:
            with pytest.raises(RequestError, match="mlp_activation of layer 1 was never reached"):
                run(model, experiment)
        else:
            result = run(model, experiment)
            assert not result.record[0].fired and result.record[0].stats is None
            assert result.receipts.fired.tolist() == [False]


def test_a_skipped_slots_receipt_says_so(tiny: LanguageModel):
    result = run(tiny, swapped(swap(1, 3, skip=True)))
    assert result.receipts.skipped.tolist() == [True]
    assert not result.record[0].fired and not result.record[0].idle


def test_an_idle_slot_is_one_that_was_meant_to_act(tiny: LanguageModel):
    def idle(slot: Slot, **sources: str) -> bool:
        (receipt,) = run(tiny, swapped(slot, **sources)).record
        return receipt.idle

    assert idle(act("vanilla"), source=SPAIN)
    assert not idle(act("vanilla"))
    for quiet in (act("collect"), act("vanilla", skip=True), act("vanilla", strength=0)):
        assert not idle(quiet), quiet
    assert idle(act("noise", scale=0))


def test_a_zeroed_slots_receipt_tells_its_norm(tiny: LanguageModel):
    (receipt,) = run(tiny, Experiment(base=SPAIN, slots=[act("zero")])).record
    norm = run(tiny, Experiment(base=SPAIN)).states[1, 3].double().norm().item()
    assert receipt.stats is not None and receipt.stats.size == pytest.approx(norm)
    assert receipt.stats.others_equal and receipt.stats.after.abs().max() == 0
    assert receipt.stats.rows == 1
