"""Statistics over pairs of prompts: mean, interval and p-values of each cell of a map.

Each pair gives one number per cell, for instance the logit difference with layer 5 patched at
position 3. An interval says how far the mean would move with other pairs of the same kind. What is
resampled are independent units, pairs or clusters of pairs. A unit has a sum and a weight in each
cell; the mean is Σ sums / Σ weights, in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vene_widgets.errors import RequestError, shown

Floats, Ints, Bools = NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]

FEW_UNITS = 200
"""Up to this many units an interval is BCa; with more it is a percentile interval."""

BATCH_BYTES = 32 * 2**20
"""Size of a temporary array of resamples or signs; more of them are computed in batches."""

ROUNDING = 1e-12
"""Numbers that differ by less, relative to their size, count as equal."""


@dataclass(frozen=True, eq=False)
class CellEstimates:
    """Estimates of some cells over the pairs; NaN in a cell without pairs.

    Attributes:
        n: number of pairs with a finite value, `(cells,)`.
        units: number of independent units, pairs or clusters of pairs, with any finite value.
        mean: mean value, or with `scales` the ratio of sums, `(cells,)`.
        low, high: bootstrap interval of `mean`, `(cells,)`; NaN in a cell with one unit.
        p: two-sided sign-flip p-value of "the cell changes nothing on average", `(cells,)`.
        q: p adjusted for the false discovery rate over the cells, `(cells,)`.
        p_max: p corrected for the family-wise error rate over the cells, `(cells,)`.
    """

    n: Ints
    units: int
    mean: Floats
    low: Floats
    high: Floats
    p: Floats
    q: Floats
    p_max: Floats


def estimate_cells(
    values: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    scales: ArrayLike | None = None,
    clusters: Iterable[Hashable] | None = None,
    confidence: float = 0.95,
    bootstraps: int = 1999,
    permutations: int = 9999,
    seed: int = 0,
) -> CellEstimates:
    """Estimate the mean of each cell over the pairs, its uncertainty, and whether it differs.

    The interval resamples the units of a cell (Efron & Tibshirani 1993; whole clusters: Cameron,
    Gelbach & Miller 2008). Up to `FEW_UNITS` units it is BCa (Efron 1987), which corrects for bias
    and skewness; of 30 units a 95 % interval covers about 93 %. With more it is a percentile one:
    BCa's jackknife is quadratic in the units, and corrects by a few hundredths of the width only.

    p flips the signs of the units' sums of `values - reference`, which is exact if these are
    symmetric about 0, and approximate if only their mean is 0. If there are at most `permutations`
    patterns of signs, 2**units, all are enumerated; otherwise p = (1 + as extreme) / (1 + drawn)
    (Phipson & Smyth 2010). q is by Benjamini & Hochberg (1995). p_max compares each cell with the
    largest |t| of all cells under the same signs (Westfall & Young 1993; Nichols & Holmes 2002);
    t is the mean over its standard error, so that cells of different spread count alike.

    Args:
        values: `(pairs, cells)`, in the metric's unit. NaN where a pair has no such cell, for
            instance no such position; infinite values are left out too.
        reference: the value without an intervention, `(pairs, 1)` or `(pairs, cells)`; None for 0.
        scales: what counts as 1, `(pairs,)`, for instance metric(source) - metric(base). The mean
            is then Σ (values - reference) / Σ scales over the pairs of the cell, a ratio estimator
            (Cochran 1977, chapter 6); TransformerLens, too, averages logit differences before it
            normalises them. In a mean of ratios, pairs with a scale near 0 outweigh all others.
            The interval is of that ratio, the p-values of its numerator.
        clusters: a label for each pair, `(pairs,)`; pairs with equal labels, for instance of the
            same prompt, are one unit. None if all pairs are independent.
        confidence: probability that the interval covers the true mean, above 0 and below 1.
        bootstraps: number of resamples.
        permutations: number of random patterns of signs.
        seed: of both; the same arguments give the same estimates.

    Raises:
        RequestError: an argument is out of range, or its shape does not match `values`.
    """
    _check_settings(confidence, bootstraps, permutations, seed)
    values = _array(values, "values")
    if values.ndim != 2 or not values.size:
        raise RequestError(f"values must have a pair and a cell at least, got shape {values.shape}")
    pairs, cells = values.shape
    base = np.zeros((pairs, 1)) if reference is None else reference
    base = _array(base, "reference", (pairs, 1), (pairs, cells))
    codes = _codes(clusters, pairs)
    with np.errstate(invalid="ignore"):  # infinite minus infinite
        changes = values - base
    is_finite = np.isfinite(changes)
    counts = _unit_sums(is_finite.astype(float), codes)
    changes = _unit_sums(np.where(is_finite, changes, 0), codes)
    if scales is None:
        sums, weights = _unit_sums(np.where(is_finite, values, 0), codes), counts
    else:
        scale = _array(scales, "scales", (pairs,))
        if not np.isfinite(scale).all():
            raise RequestError(f"scales must be finite, got {scale[~np.isfinite(scale)][0]}")
        sums, weights = changes, _unit_sums(is_finite * scale[:, None], codes)

    kept = counts.any(1)
    sums, weights, changes, counts = (x[kept] for x in (sums, weights, changes, counts))
    mean, low, high = _ratios(sums, weights, counts > 0, confidence, bootstraps, seed)
    p, p_max = _sign_flip_p(changes, counts > 0, permutations, seed)
    n, q = counts.sum(0).astype(np.int64), false_discovery_rates(p)
    return CellEstimates(n, len(counts), mean, low, high, p, q, p_max)


def _unit_sums(terms: Floats, codes: Ints) -> Floats:
    """Sum the rows `(pairs, cells)` of each unit, `(units, cells)`."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.add.reduceat(terms[order], starts, axis=0)


def _ratios(
    sums: Floats, weights: Floats, is_present: Bools, confidence: float, bootstraps: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Σ sums / Σ weights with bootstrap bounds; sums, weights and presence `(units, cells)`.

    A cell with few units resamples those; all cells with more resample the units of the map, once.
    """
    own, total_weight = is_present.sum(0), weights.sum(0)
    mean = sums.sum(0) / np.where(total_weight == 0, np.nan, total_weight)
    low, high = (np.where(own > 1, mean, np.nan) for _ in range(2))
    is_open = (own > 1) & ~np.isnan(mean)

    few, many = (np.flatnonzero(is_open & which) for which in (own <= FEW_UNITS, own > FEW_UNITS))
    patterns, pattern_of = np.unique(is_present[:, few], axis=1, return_inverse=True)
    groups = [(units, few[pattern_of.ravel() == i]) for i, units in enumerate(patterns.T)]
    for units, cells in [*groups, (np.full(len(sums), True), many)]:
        if len(cells):
            method = "BCa" if own[cells[0]] <= FEW_UNITS else "percentile"
            s, w = sums[np.ix_(units, cells)], weights[np.ix_(units, cells)]
            low[cells], high[cells] = _bootstrap(s, w, method, confidence, bootstraps, seed)
    return mean, low, high


def _bootstrap(
    sums: Floats, weights: Floats, method: str, confidence: float, bootstraps: int, seed: int
) -> tuple[Floats, Floats]:
    """Interval of each cell by `scipy.stats.bootstrap`, from `(units, cells)`.

    scipy's sample are the units' indices, which is what its `paired=True` resamples too. A resample
    is then a row of counts, and its sums are a matrix product.
    """
    stats: Any = import_module("scipy.stats")  # slow to import
    units, total_weight = len(sums), weights.sum(0)
    estimate = (sums.sum(0) / total_weight)[:, None]
    spacing = (ROUNDING * np.abs(sums).sum(0) / np.abs(total_weight))[:, None]

    def ratios_of(indices: Ints, axis: int = -1) -> Floats:
        """From indices `(..., resampled units)` to ratios `(cells, ...)`."""
        flat = indices.reshape(-1, indices.shape[axis])
        places = flat + units * np.arange(len(flat))[:, None]
        counts = np.bincount(places.ravel(), minlength=units * len(flat))
        counts = counts.reshape(len(flat), units).astype(float)
        ratios = ((counts @ sums) / (counts @ weights)).T
        # BCa counts the resamples below the estimate, where rounding must not break ties; and a
        # constant cell must have no width.
        ratios = np.where(np.abs(ratios - estimate) <= spacing, estimate, ratios)
        return ratios.reshape(-1, *indices.shape[:-1])

    with warnings.catch_warnings():
        # The weights of a resample may sum to 0, and BCa has no interval of a constant cell, or if
        # all resamples lie on one side.
        warnings.simplefilter("ignore", RuntimeWarning)
        result = stats.bootstrap(
            (np.arange(units),),
            ratios_of,
            n_resamples=bootstraps,
            batch=max(1, BATCH_BYTES // (8 * units)),
            confidence_level=confidence,
            method=method,
            random_state=np.random.default_rng(seed),
        )
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        percentiles = np.nanquantile(result.bootstrap_distribution, tails, axis=-1)
    bounds = np.stack(result.confidence_interval)
    low, high = np.where(np.isnan(bounds).any(0), percentiles, bounds)
    return low, high


def _sign_flip_p(
    changes: Floats, is_present: Bools, permutations: int, seed: int
) -> tuple[Floats, Floats]:
    """Compute p and p_max of each cell from the units' sums and their presence, `(units, cells)`.

    With T the sum and Q the sum of squares of the n units of a cell, r² = T² / (n Q) and
    t² = (n - 1) r² / (1 - r²). Signs change T only. What is compared is t² / (N - 1 + t²), N the
    number of all units: it rises with |t|, and stays within 0 and 1 where t is infinite.
    """
    units, own = len(changes), is_present.sum(0)
    size = np.abs(changes).max(0, initial=0)
    changes = changes / np.where(size > 0, size, 1)  # squares must not underflow
    total, squares = changes.sum(0), (changes**2).sum(0)
    # Of a single unit the spread is not known: t = 0, as in a cell of zeros.
    is_open = (own > 1) & (size > 0)
    power, degrees = np.where(is_open, own * squares, 1), np.where(is_open, own - 1, 0)

    def extremeness(sums: Floats) -> Floats:
        r2 = np.minimum(sums**2 / power, 1)
        return degrees * r2 / np.where(is_open, (units - 1) * (1 - r2) + degrees * r2, 1)

    # Sums in another order are no less extreme; N / n enlarges their rounding error.
    observed = extremeness(total) - 100 * ROUNDING
    is_exact = 2**units <= permutations
    drawn, counts = (0, 0) if is_exact else (1, 1)  # the observed signs are one of all patterns
    for is_plus in _sign_batches(units, None if is_exact else permutations, seed):
        flipped = extremeness(2 * (is_plus @ changes) - total)
        drawn += len(flipped)
        pair = flipped, flipped.max(1, keepdims=True)
        counts = counts + np.stack([(each >= observed).sum(0) for each in pair])
    p, p_max = np.where(own > 0, counts / drawn, np.nan)
    return p, p_max


def _sign_batches(units: int, permutations: int | None, seed: int) -> Iterator[Floats]:
    """Patterns of signs `(batch, units)`, 1 for plus and 0 for minus; None for all 2**units."""
    rng = np.random.default_rng(seed)
    patterns = 2**units if permutations is None else permutations
    batch = max(1, BATCH_BYTES // (8 * max(1, units)))
    for start in range(0, patterns, batch):
        rows = min(batch, patterns - start)
        if permutations is None:
            bits = np.arange(start, start + rows)[:, None] >> np.arange(units) & 1
        else:
            words = rng.integers(0, 2**64, (rows, -(-units // 64)), dtype=np.uint64)
            bits = np.unpackbits(words.view(np.uint8), axis=1, count=units)
        yield bits.astype(float)


def false_discovery_rates(p: Floats) -> Floats:
    """Adjust p by Benjamini & Hochberg; NaN stays NaN and does not count as a test."""
    stats: Any = import_module("scipy.stats")
    q, is_known = p.copy(), ~np.isnan(p)
    q[is_known] = stats.false_discovery_control(p[is_known], method="bh")
    return q


def _check_settings(confidence: Any, bootstraps: Any, permutations: Any, seed: Any) -> None:
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise RequestError(f"confidence must be a float in (0, 1), got {shown(confidence)}")
    least = {"bootstraps": 1, "permutations": 1, "seed": 0}
    for (name, lowest), number in zip(least.items(), (bootstraps, permutations, seed), strict=True):
        if not isinstance(number, (int, np.integer)) or number < lowest:
            got = shown(cast("object", number))
            raise RequestError(f"{name} must be an integer of at least {lowest}, got {got}")


def _array(value: object, name: str, *shapes: tuple[int, ...]) -> Floats:
    """Convert to float64, and check the shape unless any is allowed."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise RequestError(f"{name} must be an array of numbers, got {shown(value)}") from None
    if shapes and array.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise RequestError(f"{name} must have the shape {wanted}, got {array.shape}")
    return array


def _codes(clusters: Any, pairs: int) -> Ints:
    """The number of each pair's unit, `(pairs,)`."""
    if clusters is None:
        return np.arange(pairs)
    numbers: dict[Hashable, int] = {}
    try:  # elements of an array or tensor may hash by identity
        labels = list(clusters.tolist() if hasattr(clusters, "tolist") else clusters)
        codes = [numbers.setdefault(label, len(numbers)) for label in labels]
    except TypeError:
        raise RequestError(f"clusters must be hashable labels, got {shown(clusters)}") from None
    if len(codes) != pairs:
        raise RequestError(f"clusters must be {pairs} labels, one for each pair, got {len(codes)}")
    if any(label != label for label in numbers):
        raise RequestError("clusters must be labels that equal themselves, got NaN")
    return np.asarray(codes, dtype=np.int64)
