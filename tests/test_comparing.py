"""Verdicts are computed from exact runs: bit-equal, allclose, different, and where they part."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vene_widgets.engine.comparing import commute, compare
from vene_widgets.engine.running import Run, run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


@pytest.fixture(params=["tiny_gpt2", "tiny_llama", "capitals"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def plain(tiny_gpt2: LanguageModel) -> Run:
    return run(tiny_gpt2, Experiment(base=SPAIN))


def swapped(model: LanguageModel, *slots: Slot, base: str = SPAIN) -> Run:
    return run(model, Experiment(base=base, sources={"italy": ITALY}, slots=slots))


def shifted(result: Run, by: float, states: float = 0.0, layer: int = 0) -> Run:
    """A run whose last logit, and one state of a layer, are other numbers."""
    logits, kept = result.logits.clone(), result.states.clone()
    logits[-1, -1] += by
    kept[layer, -1, 0] += states
    return dataclasses.replace(result, logits=logits, states=kept)


# ---- verdicts ------------------------------------------------------------------------------------


def test_equal_experiments_are_bit_equal(model: LanguageModel):
    slot = Slot(layer=1, position=3)
    found = compare(swapped(model, slot), swapped(model, slot))
    assert (found.verdict, found.max_abs, found.first_divergence) == ("bit-equal", 0.0, None)
    assert found.kl == 0 and found.scope == "all positions"
    assert found.words.startswith("Bit-equal")


def test_grouped_and_ungrouped_are_bit_equal(model: LanguageModel):
    slots = Slot(layer=0, position=3, group="g"), Slot(layer=1, position=4, group="g")
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots)
    ungrouped = run(model, experiment.ungrouped(), share_sources=False)
    assert compare(run(model, experiment), ungrouped).verdict == "bit-equal"


def test_a_small_difference_is_allclose_and_its_size_is_told(plain: Run):
    found = compare(plain, shifted(plain, 2**-20))
    assert found.verdict == "allclose" and 0 < found.max_abs < 2e-6
    assert found.first_divergence is None and "identical after every block" in found.words
    size = f"{found.max_abs:.2e}".replace("e-0", "e−")
    assert f"max abs logit difference {size};" in found.words and "within 1e−5" in found.words


def test_a_larger_difference_is_different(plain: Run):
    found = compare(plain, shifted(plain, 0.5))
    assert found.verdict == "different" and found.max_abs == pytest.approx(0.5)
    assert found.words.startswith("Different: max abs logit difference 0.5;")


def test_the_tolerance_decides(plain: Run):
    other = shifted(plain, 0.01)
    size = compare(plain, other).max_abs
    scale = 1 + other.logits[-1, -1].abs().item()  # absolute and relative at once
    assert compare(plain, other, tolerance=1.01 * size / scale).verdict == "allclose"
    assert compare(plain, other, tolerance=0.99 * size / scale).verdict == "different"
    assert compare(plain, other, tolerance=0).verdict == "different"
    assert compare(plain, plain, tolerance=0).verdict == "bit-equal"


def test_equal_logits_with_other_states_are_not_bit_equal(plain: Run):
    found = compare(plain, shifted(plain, 0, states=1.0, layer=1))
    assert (found.verdict, found.max_abs, found.first_divergence) == ("allclose", 0.0, 1)
    assert "first differs at layer 1" in found.words


@pytest.mark.parametrize("tolerance", [-1e-9, -math.inf, math.inf, math.nan])
def test_tolerances_that_mean_nothing_are_refused(plain: Run, tolerance: float):
    with pytest.raises(RequestError, match=f"tolerance must be .*0 or more, got {tolerance}"):
        compare(plain, plain, tolerance=tolerance)


# ---- where runs part -----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_swap_at_a_layer_is_where_the_runs_part(model: LanguageModel, layer: int):
    base = run(model, Experiment(base=SPAIN))
    for component in ("block_output", "block_input", "mlp_output"):
        found = compare(base, swapped(model, Slot(layer=layer, position=4, component=component)))
        # The last token is the same in both prompts, so that the very first input does not differ.
        if (layer, component) == (0, "block_input"):
            assert found.verdict == "bit-equal"
            continue
        assert (found.verdict, found.first_divergence) == ("different", layer), component
        assert f"first differs at layer {layer}" in found.words
        assert found.max_abs > 0 and found.kl >= 0


def test_a_difference_at_a_position_that_the_answer_cannot_see_still_counts(
    tiny_gpt2: LanguageModel, plain: Run
):
    other = swapped(tiny_gpt2, Slot(layer=2, position=1, source_position=2))
    assert torch.equal(plain.logits[-1], other.logits[-1])
    assert compare(plain, other).verdict == "different"
    assert compare(plain, other).first_divergence == 2


def test_prompts_of_unequal_length_are_compared_at_the_last_position(model: LanguageModel):
    short, long = (run(model, Experiment(base=p)) for p in (SPAIN, "of The capital of Spain is"))
    found = compare(short, long)
    assert found.scope == "last position" and found.scope in found.words
    assert found.verdict == "different" and found.first_divergence == 0
    expected = (short.logits[-1].double() - long.logits[-1].double()).abs().max().item()
    assert found.max_abs == expected


def test_unequal_lengths_can_be_bit_equal_at_the_last_position(plain: Run):
    cut = dataclasses.replace(plain, logits=plain.logits[1:], states=plain.states[:, 1:])
    found = compare(plain, cut)
    assert (found.verdict, found.scope) == ("bit-equal", "last position")
    assert "last position" in found.words


def test_a_comparison_has_no_direction_but_for_kl(tiny_gpt2: LanguageModel, plain: Run):
    other = swapped(tiny_gpt2, Slot(layer=1, position=3))
    one, two = compare(plain, other), compare(other, plain)
    assert (one.verdict, one.max_abs, one.first_divergence) == (
        *(two.verdict, two.max_abs, two.first_divergence),
    )
    assert one.kl != two.kl


def test_models_of_different_shape_cannot_be_compared(
    tiny_gpt2: LanguageModel, tiny_llama: LanguageModel, plain: Run
):
    with pytest.raises(RequestError, match=r"runs of tiny-gpt2 .* and tiny-llama .* one shape"):
        compare(plain, run(tiny_llama, Experiment(base=SPAIN)))


def test_number_types_are_compared_by_value(plain: Run):
    wide = dataclasses.replace(plain, logits=plain.logits.double(), states=plain.states.double())
    assert compare(plain, wide).verdict == compare(wide, plain).verdict == "bit-equal"
    half = dataclasses.replace(plain, logits=plain.logits.half(), states=plain.states.half())
    found = compare(plain, half)
    assert found.verdict == compare(half, plain).verdict == "different"
    assert found.first_divergence == 0 and 0 < found.max_abs < 0.1


# ---- numbers -------------------------------------------------------------------------------------


def kl(before: Tensor, after: Tensor) -> float:
    """KL(after || before) in nats, by torch's own distributions."""
    p, q = (torch.distributions.Categorical(logits=x.double()) for x in (after, before))
    return torch.distributions.kl_divergence(p, q).item()


def test_kl_and_frame_speak_of_the_last_position(model: LanguageModel):
    left, right = run(model, Experiment(base=SPAIN)), swapped(model, Slot(layer=1, position=3))
    found = compare(left, right)
    assert found.kl == pytest.approx(kl(left.logits[-1], right.logits[-1]), rel=1e-6)
    frame: Any = found.frame
    assert len(frame) == model.sites.vocabulary
    assert frame.kl.sum() == pytest.approx(found.kl, rel=1e-6, abs=1e-12)
    before, after = (x.logits[-1].double().softmax(-1) for x in (left, right))
    for row in frame.head(5).itertuples():
        assert row.before == pytest.approx(before[row.token_id].item(), rel=1e-6)
        assert row.after == pytest.approx(after[row.token_id].item(), rel=1e-6)


def test_repr_is_the_verdict(plain: Run):
    assert repr(compare(plain, plain)) == f"<Comparison {compare(plain, plain).words}>"


# ---- slots that commute --------------------------------------------------------------------------


def ordered(*slots: Slot) -> Experiment:
    sources = {"italy": ITALY, "france": "The capital of France is"}
    return Experiment(base=SPAIN, sources=sources, slots=slots)


def act(intervention: str, layer: int = 1, source: str = "italy", **more: Any) -> Slot:
    fields: dict[str, Any] = {"position": 3, "source": source, **more}
    return Slot(layer=layer, intervention=intervention, **fields)


def test_two_additions_at_one_place_commute_within_the_tolerance(model: LanguageModel):
    experiment = ordered(act("addition"), act("addition", source="france"))
    found = commute(model, experiment, 0, 1)
    assert found.verdict in ("bit-equal", "allclose") and found.max_abs < 1e-4
    assert torch.equal(found.left.logits, run(model, experiment).logits)
    assert [slot.source for slot in found.right.experiment.slots] == ["france", "italy"]


def test_an_interchange_and_an_addition_do_not(model: LanguageModel):
    slots = act("vanilla"), act("addition", source="france")
    found = commute(model, ordered(*slots), 0, 1)
    assert found.verdict == "different" and found.first_divergence == 1
    one, other = run(model, ordered(*slots)), run(model, ordered(*slots[::-1]))
    assert found.max_abs == (one.logits.double() - other.logits.double()).abs().max().item() > 1e-3
    # The interchange last undoes the addition, the addition last stays.
    italy, france = (
        run(model, Experiment(base=prompt)).states[1, 3]
        for prompt in (ITALY, "The capital of France is")
    )
    assert torch.equal(found.left.states[1, 3], italy + france)
    assert torch.equal(found.right.states[1, 3], italy)


@pytest.mark.parametrize(
    "other",
    [
        act("addition", layer=2, source="france"),
        act("addition", layer=0, source="france"),
        act("addition", component="mlp_output", source="france"),
        act("zero", component="block_input"),
        act("addition", position=4, source="france"),
        act("noise", component="attention_output"),
    ],
)
def test_slots_at_different_places_commute_bit_for_bit(model: LanguageModel, other: Slot):
    found = commute(model, ordered(act("vanilla"), act("zero", skip=True), other), 2, 0)
    assert (found.verdict, found.max_abs) == ("bit-equal", 0.0)
    assert all(receipt.fired for receipt in found.left.record if not receipt.planned.slot.skip)


def test_heads_of_one_tensor_commute_with_each_other_but_not_with_the_whole(tiny_gpt2: Any):
    whole = act("vanilla", component="attention_value_output")
    first = act("addition", component="head_attention_value_output", head=0, source="france")
    second = act("zero", component="head_attention_value_output", head=1)
    assert commute(tiny_gpt2, ordered(first, second), 0, 1).verdict == "bit-equal"
    assert commute(tiny_gpt2, ordered(whole, first), 0, 1).verdict == "different"


def test_slots_keep_their_own_weights_when_they_change_places(model: LanguageModel):
    slots = [
        act("low_rank_rotated_space", layer=layer, rank=2, seed=seed)
        for layer, seed in ((0, 1), (1, 2))
    ]
    assert commute(model, ordered(*slots), 0, 1).verdict == "bit-equal"
    linked = [slot.model_copy(update={"link": "l", "seed": 1}) for slot in slots]
    assert commute(model, ordered(*linked), 0, 1).verdict == "bit-equal"
    half = [linked[0], slots[1]]
    assert commute(model, ordered(*half), 0, 1).verdict == "bit-equal"


def test_linked_slots_in_different_dims_commute_within_the_tolerance(model: LanguageModel):
    def pair(*dims: list[int]) -> Experiment:
        return ordered(
            *(
                act("low_rank_rotated_space", rank=2, link="l", subspace=dim, source=source)
                for dim, source in zip(dims, ("italy", "france"), strict=True)
            )
        )

    assert commute(model, pair([0], [1]), 0, 1).verdict != "different"
    assert commute(model, pair([0], [0]), 0, 1).verdict == "different"


def test_a_slot_commutes_with_itself_and_with_a_skipped_one(tiny_gpt2: LanguageModel):
    slots = act("vanilla"), act("addition", source="france", skip=True)
    for i, j in ((0, 0), (0, 1), (1, 0)):
        assert commute(tiny_gpt2, ordered(*slots), i, j).verdict == "bit-equal"


@pytest.mark.parametrize(("i", "j", "wrong"), [(0, 2, 2), (-1, 0, -1), (3, 9, 3)])
def test_an_index_that_no_slot_has_is_refused(tiny_gpt2: LanguageModel, i: int, j: int, wrong: int):
    with pytest.raises(RequestError, match=f"slot {wrong} is out of range.* has 2 slots, from 0"):
        commute(tiny_gpt2, ordered(act("vanilla"), act("zero")), i, j)
