"""What each operator does at its site."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from running_testing import FRANCE, ITALY, SPAIN, act, differ, swap, swapped

from vene_widgets.engine.running import run
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.models import LanguageModel


@pytest.mark.parametrize("name", ["zero", "noise", "mean", "collect"])
def test_operators_without_a_source_need_none(model: LanguageModel, name: str):
    slot = act(name, position=(3, 4), prompts=(ITALY, FRANCE) if name == "mean" else ())
    result = run(model, Experiment(base=SPAIN, slots=[slot]))
    assert result.source_runs == 0 and result.record[0].fired
    beside = run(model, Experiment(base=SPAIN, sources={"a": ITALY, "b": FRANCE}, slots=[slot]))
    assert torch.equal(result.logits, beside.logits) and beside.source_runs == 0
    assert differ(result, run(model, Experiment(base=SPAIN))) is (name != "collect")


def test_zero_addition_and_subtraction_are_what_they_say(tiny: LanguageModel):
    base, source = (run(tiny, Experiment(base=prompt)).states[1, 3] for prompt in (SPAIN, ITALY))
    for name, wanted in (
        ("zero", torch.zeros_like(base)),
        ("addition", base + source),
        ("subtraction", base - source),
    ):
        state = run(tiny, swapped(act(name))).states[1, 3]
        assert torch.equal(state, wanted), name


def test_the_mean_is_over_the_prompts_at_the_same_place(tiny: LanguageModel):
    prompts = (ITALY, FRANCE, "of The capital of Spain is")
    slot = act("mean", position=(3, -1), source_position=(2, -1), prompts=prompts)
    state = run(tiny, Experiment(base=SPAIN, slots=[slot])).states[1]
    states = [run(tiny, Experiment(base=prompt)).states[1].double() for prompt in prompts]
    for position, other in ((3, 2), (-1, -1)):
        wanted = sum(state[other] for state in states) / 3
        assert (state[position].double() - wanted).abs().max() < 1e-6
    alone = slot.model_copy(update={"prompts": (ITALY,)})
    swap_in = swap(1, (3, -1), source_position=(2, -1))
    mean = run(tiny, Experiment(base=SPAIN, slots=[alone]))
    assert torch.equal(mean.logits, run(tiny, swapped(swap_in)).logits)


def test_collect_keeps_the_values_and_changes_nothing(model: LanguageModel):
    base = run(model, Experiment(base=SPAIN))
    result = run(model, Experiment(base=SPAIN, slots=[act("collect", position=(4, 2))]))
    assert torch.equal(result.logits, base.logits) and torch.equal(result.states, base.states)
    (receipt,) = result.record
    assert receipt.stats is not None and not receipt.idle
    assert torch.equal(receipt.stats.before, base.states[1, [4, 2]])
    assert torch.equal(receipt.stats.after, receipt.stats.before)
    assert receipt.stats.rows == 2 and receipt.stats.size == 0


def test_collect_sees_what_slots_before_it_left(tiny: LanguageModel):
    slots = [act("collect"), act("zero"), act("collect")]
    first, _, last = run(tiny, Experiment(base=SPAIN, slots=slots)).record
    assert first.stats is not None and last.stats is not None
    assert first.stats.before.abs().max() > 0 and last.stats.before.abs().max() == 0


def test_strength_goes_from_the_base_to_the_source(tiny: LanguageModel):
    base, source = (run(tiny, Experiment(base=prompt)).states[1, 3] for prompt in (SPAIN, ITALY))
    plain_run, full = run(tiny, Experiment(base=SPAIN)), run(tiny, swapped(act("vanilla")))
    none = run(tiny, swapped(act("vanilla", strength=0)))
    assert torch.equal(none.logits, plain_run.logits) and not none.record[0].idle
    one = run(tiny, swapped(act("vanilla", strength=1)))
    assert torch.equal(one.logits, full.logits) and differ(one, plain_run)
    half = run(tiny, swapped(act("vanilla", strength=0.5)))
    assert torch.allclose(half.states[1, 3], (base + source) / 2, atol=1e-6)
    size = half.record[0].stats
    assert size is not None and full.record[0].stats is not None
    assert size.size == pytest.approx(full.record[0].stats.size / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "dims"),
    [
        ({"subspace": [0, 5]}, [0, 5]),
        ({"subspace": "0:2"}, [0, 1]),
        ({"subspace": [0, 2]}, [0, 2]),
        ({"subspace": "left", "partition": {"left": (0, 1), "right": (1, 2)}}, [0]),
        ({"subspace": "right", "partition": {"left": (0, 1), "right": (1, 2)}}, [1]),
    ],
)
def test_a_subspace_names_the_only_coordinates_that_change(
    tiny: LanguageModel, fields: dict[str, Any], dims: list[int]
):
    for name in ("vanilla", "zero", "noise", "addition"):
        (receipt,) = run(tiny, swapped(act(name, **fields))).record
        assert receipt.stats is not None
        changed = (receipt.stats.before != receipt.stats.after)[0].nonzero()[:, 0]
        assert changed.tolist() == dims, name
        assert receipt.stats.others_equal


def test_noise_is_the_same_in_every_run_and_another_for_another_seed(tiny: LanguageModel):
    runs = [run(tiny, Experiment(base=SPAIN, slots=[act("noise", seed=s)])) for s in (1, 1, 2)]
    assert torch.equal(runs[0].logits, runs[1].logits) and differ(runs[0], runs[2])
    before = torch.get_rng_state()
    run(tiny, swapped(act("noise"), act("rotated_space")))
    assert torch.equal(before, torch.get_rng_state())
