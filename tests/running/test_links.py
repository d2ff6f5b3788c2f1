"""Linked slots share weights and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from running_testing import act, differ, last, low_rank, swapped

from vene_widgets.engine.running import run
from vene_widgets.engine.weights import make_weights
from vene_widgets.errors import RequestError
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel


def test_two_linked_slots_in_different_subspaces(model: LanguageModel):
    """Four comparisons: one of the pair, the other, both, both in the other order."""
    skipped = low_rank("zero", skip=True)
    second = last(model, skipped, low_rank("one"))
    first = last(model, low_rank("one"), skipped)
    both = last(model, low_rank("zero"), low_rank("one"))
    turned = last(model, low_rank("one"), low_rank("zero"))
    assert torch.equal(second, first)
    assert not torch.equal(first, both)
    assert not torch.allclose(second, both, atol=1e-5)
    assert torch.allclose(both, turned, atol=1e-5)


def test_both_halves_of_a_linked_pair_are_the_whole(tiny: LanguageModel):
    pair = last(tiny, low_rank("zero"), low_rank("one"))
    whole = last(tiny, low_rank())
    assert torch.allclose(pair, whole, atol=1e-4)
    assert not torch.allclose(whole, last(tiny), atol=1e-4)


def test_a_link_shares_weights_and_nothing_else(model: LanguageModel):
    """Linked slots at different sites each read their own base and their own source."""
    linked = swapped(low_rank("zero"), low_rank("one", layer=1))
    apart = swapped(low_rank("zero", link=None), low_rank("one", layer=1, link=None))
    weights = make_weights(model, linked)
    assert list(weights) == ["link shared"]
    shared = weights["link shared"]
    one = run(model, linked, weights=weights)
    two = run(model, apart, weights={"slot 0": shared, "slot 1": shared})
    assert torch.equal(one.logits, two.logits) and torch.equal(one.states, two.states)
    for left, right in zip(one.record, two.record, strict=True):
        assert left.stats is not None and right.stats is not None and not left.idle
        assert torch.equal(left.stats.before, right.stats.before)
    other = run(
        model,
        apart,
        weights={
            "slot 0": shared,
            "slot 1": type(shared)(dataclasses.replace(shared.options, seed=1)).to(model.device),
        },
    )
    assert differ(one, other)


def test_weights_begin_from_the_slots_seed(tiny: LanguageModel):
    one, same, other = (
        run(tiny, swapped(low_rank("zero", seed=seed))).logits for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(
    ("key", "slot", "message"),
    [
        ("slot 0", low_rank(), r"key of weights 'slot 0' is not known.*'link shared'"),
        ("link shared", act("rotated_space", link="shared"), "needs a RotatedSpace of width"),
        ("link shared", low_rank(rank=3), r"of width \d+ and rank 2; slots\[0\] needs .* rank 3"),
        ("link shared", low_rank(component="mlp_activation"), "needs a LowRankRotatedSpace of w"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tiny: LanguageModel, key: str, slot: Slot, message: str
):
    shared = make_weights(tiny, swapped(low_rank()))["link shared"]
    with pytest.raises(RequestError, match=message):
        run(tiny, swapped(slot), weights={key: shared})
