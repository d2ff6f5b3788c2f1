"""Controls: what takes the place of the source, pair by pair, and that it is nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pairs_testing import capital_pairs, swap_of, unequal_pairs, word_pairs
from running_testing import plain

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.sweeps.pairs.controls import CONTROLS, control_rows, shuffled_twin
from vene_widgets.sweeps.pairs.results import PairSweep


def swept(model: vw.LanguageModel, pairs: Any = None, **options: Any) -> PairSweep:
    return vw.sweep_pairs(model, capital_pairs() if pairs is None else pairs, **options)


def test_the_default_control_is_the_source_of_another_pair(tiny_gpt2: vw.LanguageModel) -> None:
    assert swept(tiny_gpt2).controls == ("shuffled_pairs",)
    assert swept(tiny_gpt2, intervention="zero").controls == ("matched_noise",)
    assert swept(tiny_gpt2, controls=()).controls == ()


def test_shuffled_pairs_have_another_pairs_source(tiny_gpt2: vw.LanguageModel) -> None:
    plan = swept(tiny_gpt2, word_pairs() + unequal_pairs(), controls=()).plan
    rows = control_rows(plan, "shuffled_pairs", 0)
    # The unequal pairs have nobody of their lengths, or nobody with another source.
    assert [row.pair for row in rows][:30] == list(range(30))
    sources = {row.source for row in plan.rows}
    moved = 0
    for row in rows:
        own = plan.rows[row.pair]
        assert row.source not in (own.source, own.base)
        assert row.source in sources
        assert replace(row, source=own.source, source_positions=own.source_positions) == own
        moved += 1
    assert moved >= 30
    assert control_rows(plan, "shuffled_pairs", 0) == rows
    assert control_rows(plan, "shuffled_pairs", 1) != rows


def test_a_shuffled_source_is_read_where_its_own_pair_reads_it(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    """Sources of one length that differ from their bases in other places."""
    pairs = [
        ("The capital of Spain is", "The capital of Italy is"),
        ("The capital of Spain is", "The Rome of Spain is"),
    ]
    plan = swept(tiny_gpt2, pairs, positions="changed", targets=[3, 4], controls=()).plan
    assert [row.source_positions for row in plan.rows] == [(3,), (1,)]
    found = {row.pair: row for row in control_rows(plan, "shuffled_pairs", 0)}
    assert found[0].source_positions == (1,)
    assert found[1].source_positions == (3,)
    assert [found[n].positions for n in (0, 1)] == [(3,), (1,)]


def test_random_sources_differ_where_the_source_did(tiny_gpt2: vw.LanguageModel) -> None:
    plan = swept(tiny_gpt2, word_pairs() + unequal_pairs(), controls=()).plan
    rows = control_rows(plan, "random_source", 0)
    special = set(tiny_gpt2.tokenizer.all_special_ids)
    drawn: set[int] = set()
    for row in rows:
        own = plan.rows[row.pair]
        assert len(row.source) == len(own.source)
        changed = [
            n
            for n, (one, other) in enumerate(zip(row.source, own.source, strict=True))
            if one != other
        ]
        if row.pair < 30:
            assert set(changed) <= {3}
        drawn |= {row.source[n] for n in changed}
    assert len(drawn) > 20
    assert not drawn & special


def test_a_shuffled_source_gives_what_a_sweep_of_that_source_gives(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    found = swept(tiny_gpt2, word_pairs(), controls=["shuffled_pairs", "random_source"])
    for name in found.controls:
        answers = found._controls[name]
        rows = control_rows(found.plan, name, 0)
        for n in (0, 11, 29):
            row = rows[n]
            base = word_pairs()[n]["base"]
            source = tiny_gpt2.tokenizer.decode(list(row.source))
            if tuple(token.id for token in tiny_gpt2.tokens(source)) != row.source:
                continue  # random tokens that make up another text
            log_p = swap_of(tiny_gpt2, base, source, 1, 3, 3)[answers.targets[n].tolist()]
            assert np.abs(answers.log_p[n, 0, 1, 3] - log_p.numpy()).max() < 1e-5


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
@pytest.mark.parametrize("head", [None, 1])
def test_matched_noise_has_the_norm_of_the_change(
    family: str, head: int | None, request: pytest.FixtureRequest
) -> None:
    """The state that a cell writes, seen at the site: its distance from the base's, its angle."""
    from vene_widgets.sweeps.changes import changed_states
    from vene_widgets.sweeps.pairs.chunks import _plan
    from vene_widgets.sweeps.preparing import prepare_sweeps

    model: vw.LanguageModel = request.getfixturevalue(family)
    component = "block_output" if head is None else "head_attention_value_output"
    plan = swept(model, component=component, head=head, controls=()).plan
    chunk = next(iter(plan.chunks(control_rows(plan, "matched_noise", 0), "", plan.chunk_sizes())))
    own = next(iter(plan.chunks(plan.rows, "", plan.chunk_sizes())))
    changes = []
    for one in (own, chunk):
        prepared = prepare_sweeps([_plan(model, one, row, head) for row in one.rows])
        cells = [cell for sweep in prepared for cell in sweep.live_cells()]
        base = torch.stack(
            [c.sweep.runs.base_states[c.row, c.sweep.pair, c.position] for c in cells]
        )
        changes.append(changed_states(cells) - base)
    swap, noise = (change.cpu() for change in changes)
    assert torch.allclose(swap.norm(dim=-1), noise.norm(dim=-1), rtol=1e-4)
    assert swap.norm(dim=-1).min() > 0
    # Random directions: of all cells together, no correlation with the change, nor with each other.
    assert torch.nn.functional.cosine_similarity(swap, noise, dim=-1).mean().abs() < 0.2
    units = noise / noise.norm(dim=-1, keepdim=True)
    assert (units @ units.T - torch.eye(len(units))).abs().mean() < 0.5


def test_matched_noise_does_not_depend_on_chunks(tiny_gpt2: vw.LanguageModel) -> None:
    found = [
        swept(tiny_gpt2, word_pairs(), controls="matched_noise", pairs_per_chunk=size, seed=seed)
        for size, seed in ((None, 0), (4, 0), (None, 1))
    ]
    one, other, third = (each._controls["matched_noise"].log_p for each in found)
    assert np.abs(one - other).max() < 1e-5
    assert np.abs(one - third).max() > 1e-4


def test_shuffled_weights_keep_shapes_and_norms(capitals: vw.LanguageModel) -> None:
    before = {name: weight.clone() for name, weight in capitals.model.named_parameters()}
    twin = shuffled_twin(capitals, 0)
    for name, weight in twin.model.named_parameters():
        own = before[name]
        if own.ndim < 2:
            assert torch.equal(weight, own)
            continue
        assert not torch.equal(weight, own)
        assert torch.equal(weight.flatten().sort().values, own.flatten().sort().values)
    assert twin.model.lm_head.weight is twin.model.transformer.wte.weight
    assert all(torch.equal(w, before[n]) for n, w in capitals.model.named_parameters())
    again = shuffled_twin(capitals, 0).model.state_dict()
    assert all(torch.equal(w, again[n]) for n, w in twin.model.state_dict().items())


def test_shuffled_weights_are_swept_on_the_twin(capitals: vw.LanguageModel) -> None:
    found = swept(capitals, controls="shuffled_weights", seed=3)
    twin = shuffled_twin(capitals, 3)
    answers, pairs = found._controls["shuffled_weights"], capital_pairs()
    log_p = swap_of(twin, pairs["base"][1], pairs["source"][1], 2, 3, 3)
    assert np.abs(answers.log_p[1, 0, 2, 3] - log_p[answers.targets[1]].numpy()).max() < 1e-5
    own = plain(twin, pairs["base"][1])[-1].double().log_softmax(-1)[answers.targets[1]]
    assert np.abs(answers.base_log_p[1] - own.cpu().numpy()).max() < 1e-5


def test_a_control_that_no_pair_can_have(tiny_gpt2: vw.LanguageModel) -> None:
    with pytest.raises(RequestError, match="control 'shuffled_pairs' needs the source of another"):
        swept(tiny_gpt2, capital_pairs().head(1))
    assert set(CONTROLS) == {
        "shuffled_pairs", "random_source", "matched_noise", "shuffled_weights",
    }  # fmt: skip
