"""Memory of a data set: its numbers are held once, and little else of each pair."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from pairs_testing import WORDS, unequal_pairs, word_pairs

import vene_widgets as vw
from vene_widgets.sweeps.pairs.chunks import PairAnswers, PairRow, run_chunk
from vene_widgets.sweeps.pairs.gathering import GatheredAnswers
from vene_widgets.sweeps.pairs.sweep_pairs import prepare_pairs

BESIDE_ANSWERS = 360
"""Bytes of each pair beside its answers: row, texts and tokens to follow."""


def many_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of few prompts, as a template makes them."""
    every = [*permutations((*WORDS, " Japan", " Tokyo"), 2)]
    return [
        {
            "base": f"The capital of{one} is",
            "source": f"The capital of{other} is",
            "targets": (other, one),
        }
        for one, other in (every[n % len(every)] for n in range(count))
    ]


def held(answers: PairAnswers) -> int:
    return sum(getattr(answers, name).nbytes for name in PairAnswers.FIELDS)


def test_a_pair_holds_its_answers_and_little_else(capitals: vw.LanguageModel) -> None:
    prepare_pairs(capitals, many_pairs(50), controls=())
    found: list[int] = []
    for count in (500, 2500):
        pairs = many_pairs(count)
        gc.collect()
        tracemalloc.start()
        run = prepare_pairs(capitals, pairs, controls=())
        gc.collect()
        found.append(
            tracemalloc.get_traced_memory()[0]
            - held(run.store.read(run.all_chunks, run.runner.run_one))
        )
        tracemalloc.stop()
    assert (found[1] - found[0]) / 2000 < BESIDE_ANSWERS


def test_equal_prompts_and_positions_are_one_object(capitals: vw.LanguageModel) -> None:
    plan = prepare_pairs(capitals, many_pairs(200), controls=()).plan
    of_rows = [row.base for row in plan.rows] + [row.source for row in plan.rows]
    assert len({id(ids) for ids in of_rows}) == len({*of_rows}) == 8
    for field in ("positions", "source_positions", "targets"):
        values = [getattr(row, field) for row in plan.rows]
        assert len({id(one) for one in values}) == len({*values}), field
    texts = [pair.base for pair in plan.pairs] + [pair.source or "" for pair in plan.pairs]
    assert len({id(text) for text in texts}) == 8
    assert not hasattr(plan.rows[0], "__dict__")
    assert not hasattr(plan.pairs[0], "__dict__")


@pytest.mark.parametrize("pairs", [word_pairs(), unequal_pairs()], ids=["equal", "unequal"])
def test_gathered_answers_are_those_of_the_chunks(
    capitals: vw.LanguageModel, pairs: list[dict[str, Any]]
) -> None:
    """In the data set's order, whatever the order of the chunks; all of them without a copy."""
    positions = ["first", "last"]
    run = prepare_pairs(capitals, pairs, positions=positions, controls=(), pairs_per_chunk=2)
    parts = [*run.runner.steps(run.all_chunks)]
    gathered = GatheredAnswers(run.plan, run.plan.rows)
    for _, part in reversed(parts):
        gathered.put(part)
    whole = gathered.read(run.all_chunks)
    assert whole is gathered.read(run.all_chunks[::-1])
    assert whole.pairs.tolist() == list(range(len(pairs)))
    for _, part in parts:
        for name in PairAnswers.FIELDS:
            ours, theirs = getattr(whole, name), getattr(part, name)
            assert np.array_equal(ours[part.pairs], theirs), name
            assert ours.dtype == theirs.dtype, name
    some = run.all_chunks[::-2]
    rows = sorted(row.pair for chunk in some for row in chunk.rows)
    found = gathered.read(some)
    assert found.pairs.tolist() == rows
    assert np.array_equal(found.log_p, whole.log_p[rows])
    assert not np.shares_memory(found.log_p, whole.log_p)


def test_the_results_of_a_sweep_in_memory_are_no_copy(capitals: vw.LanguageModel) -> None:
    run = prepare_pairs(capitals, word_pairs(), controls="matched_noise", pairs_per_chunk=7)
    run.runner.run(run.all_chunks, None, None)
    found = run.result()
    for name, answers in (("", found._answers), *found._controls.items()):
        assert answers is run.store.read(run.chunks[name], run.runner.run_one)
    # Read twice, they are the same: nothing was given away.
    assert run.result()._answers is found._answers


def test_a_control_that_lacks_pairs_is_gathered_by_their_numbers(
    capitals: vw.LanguageModel,
) -> None:
    plan = prepare_pairs(capitals, word_pairs(), controls=()).plan
    rows: list[PairRow] = [plan.rows[n] for n in (3, 8, 21)]
    gathered = GatheredAnswers(plan, rows)
    sizes = plan.chunk_sizes(2)
    chunks = list(plan.chunks(rows, "", sizes))
    for chunk in chunks:
        gathered.put(run_chunk(capitals, chunk))
    assert gathered.read(chunks).pairs.tolist() == [3, 8, 21]
    assert (gathered.read(chunks).log_p < 0).all()
