"""Statistics over pairs, against scipy, statsmodels, formulas by hand, and data of known truth."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vene_widgets.errors import RequestError
from vene_widgets.tables import pair_statistics as pair_statistics_module
from vene_widgets.tables.pair_statistics import FEW_UNITS, CellEstimates, estimate_cells

NAN, INF = float("nan"), float("inf")
FAST: dict[str, Any] = {"bootstraps": 199, "permutations": 199}


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def assert_equal(one: CellEstimates, other: CellEstimates, cells: Any = slice(None)) -> None:
    """Equal to rounding in every field, of these cells of `one`."""
    for field in fields(CellEstimates):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        mine = mine if field.name == "units" else mine[cells]
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12, err_msg=field.name)


def enumerated(units: int) -> np.ndarray:
    """All patterns of signs, `(2**units, units)`."""
    return np.array(list(itertools.product([1, -1], repeat=units)))


def t_by_hand(samples: np.ndarray) -> np.ndarray:
    """|t| of samples `(..., units, cells)`."""
    error = samples.std(-2, ddof=1) / np.sqrt(samples.shape[-2])
    return np.abs(samples.mean(-2)) / error


# ---- p ------------------------------------------------------------------------------------------


def scipy_p(sample: np.ndarray, permutations: int, seed: int = 0) -> Any:
    result = stats.permutation_test(
        (sample,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=permutations,
        rng=np.random.default_rng(seed),
    )
    return result.pvalue


@pytest.mark.parametrize("pairs", [2, 3, 8, 13])
def test_exact_p_is_that_of_scipy(pairs: int):
    values = normal(pairs, pairs, 6) + np.linspace(-1, 1, 6)
    values[:, 0] = np.round(values[:, 0])  # ties
    np.testing.assert_allclose(estimate_cells(values).p, scipy_p(values, 9999), rtol=1e-12)


def test_exact_p_of_integers_is_that_of_integer_sums():
    values = np.random.default_rng(0).integers(-7, 8, (11, 30))
    sums = np.abs(enumerated(11) @ values)
    expected = (sums >= np.abs(values.sum(0))).mean(0)
    np.testing.assert_allclose(estimate_cells(values / 10).p, expected, rtol=1e-12)


def test_p_is_exact_only_if_all_patterns_are_allowed():
    values = np.ones((5, 1))
    assert estimate_cells(values, permutations=2**5).p[0] == 2 / 2**5
    assert estimate_cells(values, permutations=2**5 - 1).p[0] >= 1 / 2**5
    p = estimate_cells(values, permutations=2**5 - 1).p[0] * 2**5
    assert p == round(p), "(1 + count) / (1 + permutations)"


def test_random_p_agrees_with_scipy_within_monte_carlo_error():
    values = normal(1, 40, 5) + np.array([0, 0.1, 0.2, 0.35, 2])
    ours, theirs = estimate_cells(values).p, scipy_p(values, 9999)
    # Two-sided, scipy doubles the smaller tail, whose error is then twice that of its count.
    error = np.sqrt(ours * (1 - ours) / 9999 + 2 * ours / 9999)
    assert np.all(np.abs(ours - theirs) <= 4 * error + 2 / 9999)
    assert ours[-1] == 1 / 10_000, "no random p is 0"


def test_p_tests_the_difference_from_the_reference():
    values, reference = normal(2, 10, 3), normal(3, 10, 1)
    one = estimate_cells(values, reference=reference)
    assert np.array_equal(one.p, estimate_cells(values - reference).p)
    np.testing.assert_allclose(one.mean, values.mean(0))
    assert_equal(estimate_cells(values, reference=np.repeat(reference, 3, axis=1)), one)
    assert np.all(estimate_cells(values, reference=values).p == 1)


def test_rounding_does_not_break_ties():
    """0.1 + 0.2 - 0.3 is 5.6e-17 in one order of the terms and 0 in another."""
    values = np.array([[0.1, 0.7], [0.2, 0.1], [-0.3, -0.8]])
    assert estimate_cells(values).p.tolist() == [1, 1]
    values = np.tile([0.1, 0.3, 0.2, 0.1, 0.3, 0.2], (2, 1)).T
    assert estimate_cells(values).p.tolist() == [2 / 2**6] * 2


def test_rounding_does_not_break_ties_of_a_cell_with_few_of_many_pairs():
    values = normal(27, 3000, 2)
    values[2:, 1], values[:2, 1] = NAN, 0.1
    assert abs(estimate_cells(values, permutations=999, bootstraps=1).p[1] - 0.5) < 0.07


@pytest.mark.parametrize("factor", [1e-200, 1e-9, -1, 1e200])
def test_p_does_not_depend_on_the_unit(factor: float):
    values = normal(4, 12, 3) + 0.4
    one, other = estimate_cells(values), estimate_cells(factor * values)
    assert np.array_equal(one.p, other.p) and np.array_equal(one.p_max, other.p_max)


# ---- corrections over the cells ------------------------------------------------------------------


def test_q_is_that_of_statsmodels():
    values = normal(5, 30, 12) + np.linspace(0, 0.8, 12)
    result = estimate_cells(values)
    expected: Any = multipletests(result.p, method="fdr_bh")[1]
    np.testing.assert_allclose(result.q, expected, rtol=1e-12)
    assert np.any(result.q > result.p)


def test_a_cell_without_pairs_is_no_test():
    values = normal(6, 30, 4) + np.array([0.2, 0.3, 0.4, 0.5])
    empty = np.column_stack([np.full(30, NAN), values])
    result = estimate_cells(empty)
    assert_equal(result, estimate_cells(values), slice(1, None))
    assert result.n[0] == 0
    assert all(np.isnan(getattr(result, f.name)[0]) for f in fields(result)[2:])


def test_p_max_is_that_of_all_patterns():
    values = normal(7, 8, 5) * np.array([1, 10, 0.1, 1, 1]) + np.array([0, 8, 0.05, 0.9, 0])
    flipped = t_by_hand(enumerated(8)[:, :, None] * values)
    largest = flipped.max(1)
    expected = [(largest >= t * (1 - 1e-9)).mean() for t in t_by_hand(values)]
    result = estimate_cells(values)
    np.testing.assert_allclose(result.p_max, expected, rtol=1e-12)
    assert np.any(result.p_max > result.p)


def test_p_max_compares_cells_of_different_numbers_of_pairs_by_t():
    values = normal(8, 9, 4) + 0.6
    values[5:, 1] = values[7:, 2] = NAN
    with np.errstate(invalid="ignore", divide="ignore"):
        flipped = np.stack(
            [t_by_hand(enumerated(9)[:, :k, None] * values[:k, [c]])[:, 0]
             for c, k in enumerate([9, 5, 7, 9])], axis=1
        )  # fmt: skip
    expected = [(flipped.max(1) >= t * (1 - 1e-9)).mean() for t in flipped[0]]
    np.testing.assert_allclose(estimate_cells(values).p_max, expected, rtol=1e-12)


def test_one_cell_needs_no_correction():
    result = estimate_cells(normal(9, 50, 1) + 0.3)
    assert result.p == result.q == result.p_max


def test_p_max_is_no_smaller_than_p():
    result = estimate_cells(normal(10, 60, 20) + np.linspace(0, 1, 20))
    assert np.all(result.p_max >= result.p) and np.all(result.p_max[1:4] > result.p[1:4])


# ---- intervals ----------------------------------------------------------------------------------


def scipy_interval(sums: np.ndarray, weights: np.ndarray, method: str, seed: int) -> list[float]:
    result = stats.bootstrap(
        (sums, weights),
        lambda s, w, axis: s.sum(axis) / w.sum(axis),
        paired=True,
        n_resamples=1999,
        method=method,
        rng=np.random.default_rng(seed),
    )
    return list(result.confidence_interval)


@pytest.mark.parametrize(("pairs", "method"), [(2, "BCa"), (30, "BCa"), (FEW_UNITS, "BCa"),
                                               (FEW_UNITS + 1, "percentile")])  # fmt: skip
def test_interval_is_that_of_scipy(pairs: int, method: str):
    values = np.exp(normal(pairs, pairs, 3))
    result = estimate_cells(values, seed=5)
    for cell in range(3):
        expected = scipy_interval(values[:, cell], np.ones(pairs), method, 5)
        np.testing.assert_allclose([result.low[cell], result.high[cell]], expected, rtol=1e-12)


def test_interval_of_a_ratio_is_that_of_scipy():
    values, scales = normal(11, 40, 2) + 1, normal(12, 40) + 3
    result = estimate_cells(values, scales=scales, seed=3)
    for cell in range(2):
        expected = scipy_interval(values[:, cell], scales, "BCa", 3)
        np.testing.assert_allclose([result.low[cell], result.high[cell]], expected, rtol=1e-12)


@pytest.mark.parametrize("pairs", [60, 400])
def test_batches_change_nothing(pairs: int, monkeypatch: pytest.MonkeyPatch):
    values = normal(13, pairs, 3)
    whole = estimate_cells(values, permutations=500)
    monkeypatch.setattr(pair_statistics_module, "BATCH_BYTES", 7 * 8 * pairs)
    assert_equal(estimate_cells(values, permutations=500), whole)


def test_a_wider_confidence_gives_a_wider_interval():
    values = normal(14, 50, 2)
    narrow, wide = (estimate_cells(values, confidence=c) for c in (0.5, 0.99))
    assert np.all(wide.low < narrow.low) and np.all(narrow.high < wide.high)


def test_the_seed_decides_the_estimates():
    values = normal(15, 50, 4)
    one, same, other = (estimate_cells(values, **FAST, seed=seed) for seed in (1, 1, 2))
    assert_equal(one, same)
    assert np.all(one.low != other.low) and np.any(one.p != other.p)


def test_tied_resamples_do_not_shift_the_interval():
    """Rounding must not put resamples that equal the mean above or below it."""
    values = np.tile([0.0, 1.0], 15)[:, None]
    whole, tenths = estimate_cells(values), estimate_cells(0.1 * values + 0.7)
    np.testing.assert_allclose(tenths.low, 0.1 * whole.low + 0.7, rtol=1e-12)
    np.testing.assert_allclose(tenths.high, 0.1 * whole.high + 0.7, rtol=1e-12)


def test_bca_falls_back_to_the_percentiles_of_its_resamples():
    result = estimate_cells([[1.0], [2.0], [4.0]], bootstraps=1)
    assert result.low == result.high
    assert np.isclose(3 * result.low[0], np.arange(3, 13)).any()


# ---- constant cells, single units, missing pairs -------------------------------------------------


@pytest.mark.parametrize("pairs", [2, 5, 60, 500])
@pytest.mark.parametrize("has_scales", [False, True])
def test_constant_cells_have_no_width(pairs: int, has_scales: bool):
    values = np.column_stack([np.zeros(pairs), np.full(pairs, 0.1), normal(16, pairs)])
    result = estimate_cells(values, scales=np.full(pairs, 3.0) if has_scales else None, **FAST)
    assert np.array_equal(result.low[:2], result.mean[:2])
    assert np.array_equal(result.high[:2], result.mean[:2])
    np.testing.assert_allclose(result.mean[:2], [0, 0.1 / 3 if has_scales else 0.1], rtol=1e-12)
    assert result.low[2] < result.high[2]
    assert result.p[0] == result.p_max[0] == result.q[0] == 1
    assert result.p[1] == (2 / 2**pairs if pairs <= 5 else 1 / 200)


def test_one_unit_has_no_interval():
    for clusters, values in ((None, [[1.0, 0.0]]), ("aaa", [[1, 0], [2, 0], [0, 0.0]])):
        result = estimate_cells(values, clusters=clusters)
        assert result.mean.tolist() == [1, 0] and result.units == 1
        assert np.isnan([result.low, result.high]).all()
        assert result.p.tolist() == result.q.tolist() == result.p_max.tolist() == [1, 1]


def test_a_cell_of_one_unit_does_not_spoil_p_max():
    values = np.column_stack([normal(17, 12) + 1, np.full(12, NAN)])
    values[0, 1] = 5
    result = estimate_cells(values)
    assert result.p_max[0] == result.p[0] < 0.2
    assert result.n.tolist() == [12, 1] and np.isnan(result.low[1]) and result.p[1] == 1


@pytest.mark.parametrize("pairs", [4, 20, 50])
def test_missing_pairs_are_as_if_never_asked(pairs: int):
    values, scales = normal(18, pairs, 3) + 1, normal(19, pairs) + 4
    values[::3, 1] = NAN
    values[1::3, 2] = INF
    kept = np.arange(pairs) % 3 != 0
    for rows, mine in ((kept, scales), (kept, None)):
        result = estimate_cells(values, scales=mine)
        alone = estimate_cells(values[rows, 1:2], scales=None if mine is None else mine[rows])
        assert result.n.tolist() == [pairs, kept.sum(), np.isfinite(values[:, 2]).sum()]
        for name in ("mean", "low", "high"):
            np.testing.assert_allclose(getattr(result, name)[1], getattr(alone, name)[0])
        if pairs == 4:
            assert result.p[1] == alone.p[0]
    by_hand = values[kept, 1].sum() / scales[kept].sum()
    np.testing.assert_allclose(estimate_cells(values, scales=scales).mean[1], by_hand)


def test_a_missing_reference_is_a_missing_pair():
    values, reference = normal(20, 8, 2), np.zeros((8, 2))
    reference[3, 1] = values[5, 0] = reference[5, 0] = INF
    gone = values.copy()
    gone[3, 1] = gone[5, 0] = NAN
    assert_equal(estimate_cells(values, reference=reference), estimate_cells(gone))


def test_pairs_without_any_value_are_no_units():
    values = normal(21, 6, 2)
    padded = np.vstack([[NAN, NAN], values, np.full((20, 2), NAN)])
    result = estimate_cells(padded)
    assert result.units == 6
    assert_equal(result, estimate_cells(values))
    assert estimate_cells([[NAN]]).units == 0


def test_many_pairs_with_some_missing_agree_with_those_alone():
    values = normal(22, 1500, 2)
    values[::2, 1] = NAN
    result, alone = estimate_cells(values), estimate_cells(values[1::2, 1:])
    width = alone.high[0] - alone.low[0]
    for name in ("low", "high"):
        assert abs(getattr(result, name)[1] - getattr(alone, name)[0]) < 0.1 * width
    np.testing.assert_allclose(width, 2 * 1.96 * values[1::2, 1].std() / 750**0.5, rtol=0.1)


# ---- clusters and scales -------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [7, 30, 250])
def test_clusters_of_one_pair_are_pairs(pairs: int):
    values = normal(23, pairs, 3)
    names = [f"prompt {i}" for i in range(pairs)]
    for scales in (None, normal(24, pairs) + 3):
        one, other = (
            estimate_cells(values, scales=scales, clusters=c, **FAST) for c in (None, names)
        )
        assert_equal(one, other)


LABELS: list[Callable[[], Any]] = [
    lambda: ["a", "b", "a", "c", "b", "a"],
    lambda: np.array([3, 1, 3, 7, 1, 3]),
    lambda: torch.tensor([3, 1, 3, 7, 1, 3]),
    lambda: [("x", 1), None, ("x", 1), 2.5, None, ("x", 1)],
    lambda: iter("xyxzyx"),
]


@pytest.mark.parametrize("labels", LABELS)
def test_clusters_by_hand(labels: Callable[[], Any]):
    """Rows 0, 2 and 5 are a unit, so are 1 and 4; row 3 is one of its own."""
    values = np.array([[1, 2], [3, -1], [2, NAN], [5, 1], [-4, 2], [1, 1.0]])
    units, counts = np.array([[4, 3], [-1, 1], [5, 1.0]]), np.array([[3, 2], [2, 2], [1, 1]])
    result = estimate_cells(values, clusters=labels())
    assert result.units == 3 and result.n.tolist() == [6, 5]
    np.testing.assert_allclose(result.mean, [8 / 6, 5 / 5])
    for cell in range(2):
        expected = scipy_interval(units[:, cell], counts[:, cell], "BCa", 0)
        np.testing.assert_allclose([result.low[cell], result.high[cell]], expected)
    # All 8 patterns of ±4 ±1 ±5 against |8|, and of ±3 ±1 ±1 against |5|.
    assert result.p.tolist() == [4 / 8, 2 / 8]


def test_scales_by_hand():
    values, reference = np.array([[3.0], [5], [2]]), np.array([[1.0], [1], [0]])
    result = estimate_cells(values, reference=reference, scales=[2, 1, 5])
    assert result.mean == (2 + 4 + 2) / (2 + 1 + 5)
    assert result.p == estimate_cells(values - reference).p == 2 / 8
    no_mean = estimate_cells(values, scales=[1, -1, 0])
    assert np.isnan([no_mean.mean, no_mean.low, no_mean.high]).all()


def test_scales_of_one_give_the_mean_difference():
    values, reference = normal(25, 12, 3), normal(26, 12, 1)
    one = estimate_cells(values, reference=reference, scales=np.ones(12))
    assert_equal(one, estimate_cells(values - reference))


# ---- known truth --------------------------------------------------------------------------------


def within(rate: float, tests: int, errors: float = 4) -> float:
    """How far the observed rate of some independent tests may lie from the true one."""
    return errors * np.sqrt(rate * (1 - rate) / tests)


def skewed(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.exponential(size=shape) - 1


def gaussian(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape)


@pytest.mark.parametrize(("draw", "pairs", "expected"), [
    (gaussian, 30, 0.93), (gaussian, 200, 0.947), (gaussian, 300, 0.947),
    (skewed, 30, 0.922), (skewed, 200, 0.945), (skewed, 300, 0.946),
])  # fmt: skip
def test_coverage(draw: Callable[..., np.ndarray], pairs: int, expected: float):
    """Each cell is a data set of its own, with mean 0. A bootstrap of 30 knows too little of the
    tails, so that it falls short of 0.95 by about what the normal quantile does of Student's."""
    data_sets = 1000
    result = estimate_cells(draw(np.random.default_rng(1), pairs, data_sets), permutations=1)
    covered = np.mean((result.low <= 0) & (result.high >= 0))
    assert abs(covered - expected) < within(expected, data_sets)


def test_coverage_of_a_ratio():
    rng, data_sets, covered = np.random.default_rng(2), 200, 0
    for _ in range(data_sets):
        scales = rng.normal(2, 1, 60)
        values = 0.8 + rng.normal(0, 0.1, (60, 1))  # what varies is mostly the scale
        result = estimate_cells(values, scales=scales, bootstraps=499, permutations=1)
        covered += bool(result.low[0] <= 0.4 <= result.high[0])
    assert abs(covered / data_sets - 0.94) < within(0.94, data_sets)


@pytest.mark.parametrize("pairs", [12, 40])
def test_p_is_uniform_if_nothing_changes(pairs: int):
    cells = 2000
    p = estimate_cells(gaussian(np.random.default_rng(3), pairs, cells), bootstraps=1).p
    for level in (0.01, 0.05, 0.2, 0.5):
        assert abs(np.mean(p <= level) - level) < within(level, cells)


def rejections(column: str, *, data_sets: int, effect: float) -> np.ndarray:
    """Which cells are rejected at 0.1, `(data_sets, 40)`; the first 8 have the effect."""
    rng, found = np.random.default_rng(4), []
    shift = np.where(np.arange(40) < 8, effect, 0)
    for _ in range(data_sets):
        shared = rng.normal(size=(25, 1))  # cells of a map go together
        values = 0.6 * shared + 0.8 * rng.normal(size=(25, 40)) + shift
        result = estimate_cells(values, bootstraps=1, permutations=499)
        found.append(getattr(result, column) <= 0.1)
    return np.array(found)


def test_false_discovery_rate_of_q():
    found = rejections("q", data_sets=250, effect=0.9)
    false, all_found = found[:, 8:].sum(1), found.sum(1)
    rate = np.mean(false / np.maximum(all_found, 1))
    assert 0.02 < rate <= 0.1 + within(0.1, 250)
    assert found[:, :8].mean() > 0.8, "true cells are found"
    uncorrected = rejections("p", data_sets=50, effect=0.9)
    assert np.mean(uncorrected[:, 8:].sum(1) / uncorrected.sum(1)) > 0.15


def test_family_wise_error_of_p_max():
    data_sets = 300
    found = rejections("p_max", data_sets=data_sets, effect=0)
    assert abs(found.any(1).mean() - 0.1) < within(0.1, data_sets)
    assert rejections("p", data_sets=50, effect=0).any(1).mean() > 0.3
    found = rejections("p_max", data_sets=100, effect=0.9)
    assert found[:, 8:].any(1).mean() <= 0.1 + within(0.1, 100)
    assert found[:, :8].mean() > 0.6


def test_clustered_pairs_need_clusters():
    """30 prompts with 8 pairs each, whose shared part has half of the variance; each cell is a
    data set of its own."""
    data_sets, rng = 600, np.random.default_rng(5)
    labels = np.repeat(np.arange(30), 8)
    values = rng.normal(size=(30, data_sets))[labels] + rng.normal(size=(240, data_sets))
    order = rng.permutation(240)
    covered, rejected = {}, {}
    for name, clusters in (("pairs", None), ("clusters", labels[order])):
        result = estimate_cells(values[order], clusters=clusters, permutations=999)
        covered[name] = np.mean((result.low <= 0) & (result.high >= 0))
        rejected[name] = np.mean(result.p <= 0.05)
    assert abs(covered["clusters"] - 0.93) < within(0.93, data_sets)
    assert abs(rejected["clusters"] - 0.05) < within(0.05, data_sets)
    assert covered["pairs"] < 0.75 and rejected["pairs"] > 0.25


# ---- errors --------------------------------------------------------------------------------------

GOOD = np.ones((3, 2))

BAD: list[tuple[str, dict[str, Any]]] = [
    ("values must have a pair and a cell at least, got shape (0, 2)", {"values": np.ones((0, 2))}),
    ("values must have a pair and a cell at least, got shape (3, 0)", {"values": np.ones((3, 0))}),
    ("values must have a pair and a cell at least, got shape (3,)", {"values": np.ones(3)}),
    ("values must be an array of numbers, got 'a map'", {"values": "a map"}),
    ("values must be an array of numbers, got [[1], [1, 2]]", {"values": [[1], [1, 2]]}),
    ("reference must have the shape (3, 1) or (3, 2), got (3,)", {"reference": np.ones(3)}),
    ("reference must have the shape (3, 1) or (3, 2), got (1, 2)", {"reference": [[1, 2]]}),
    ("scales must have the shape (3,), got (3, 1)", {"scales": np.ones((3, 1))}),
    ("scales must be finite, got nan", {"scales": [1, NAN, 2]}),
    ("clusters must be 3 labels, one for each pair, got 2", {"clusters": "ab"}),
    ("clusters must be hashable labels, got [[1], [2], [3]]", {"clusters": [[1], [2], [3]]}),
    ("clusters must be hashable labels, got 5", {"clusters": 5}),
    ("clusters must be labels that equal themselves, got NaN", {"clusters": [1.0, NAN, 2.0]}),
    *((f"confidence must be a float in (0, 1), got {c!r}", {"confidence": c})
      for c in (0, 1, 0.0, 1.0, 95, -0.1, NAN, "0.9", None)),
    *((f"{name} must be an integer of at least {least}, got {got!r}", {name: got})
      for name, least in (("bootstraps", 1), ("permutations", 1), ("seed", 0))
      for got in (least - 1, -7, 2.0, "5", None)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "arguments"), BAD)
def test_bad_arguments_are_named(message: str, arguments: dict[str, Any]):
    with pytest.raises(RequestError) as raised:
        estimate_cells(**{"values": GOOD, **arguments})
    assert str(raised.value) == message


def test_numpy_integers_are_integers():
    options = {"bootstraps": np.int64(99), "permutations": np.int32(99), "seed": np.uint8(3)}
    assert estimate_cells(GOOD, **options, confidence=float(np.float64(0.9))).n.tolist() == [3, 3]
