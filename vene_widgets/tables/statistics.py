"""Statistics of next-token distributions: log-probabilities, ranks, KL divergence, top tokens.

Everything is computed from the logits in float64, whatever the model's dtype: the cells of a sweep
on the device of their logits, or on the CPU if that device has no float64; everything else on the
CPU. Logarithms are natural. Equal logits rank by token id, lower first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vene_widgets.errors import RequestError

MANY_TOKENS = 64
"""From this many on, ranking the whole vocabulary is cheaper than counting for each token."""

MANY_TOKENS_ACCELERATOR = 4
"""The same on an accelerator, where sorting is cheap and each operator has its price."""

SLICE_BYTES = 128 * 2**20
"""Largest size of the temporary tensors on an accelerator; more cells are computed in slices."""

CPU_SLICE_BYTES = 8 * 2**20
"""The same on the CPU: small blocks of memory are reused and stay in the cache, and new pages cost
more than the arithmetic."""

SOURCE_ROUNDING = 1e-13
"""KL divergences from the source below this many nats count as 0: each is a sum of two terms."""

KL_ROUNDING = 1e-14
"""KL divergences below this many nats count as 0: they are within the rounding error of float64,
which is the spacing of numbers near 1, 2.2e-16, times terms as large as ln(vocabulary)."""


@dataclass(frozen=True, eq=False)
class CellStatistics:
    """Statistics of the cells of a sweep: next-token distributions over one vocabulary.

    Attributes:
        ran: whether the cell was run, `(cells,)`; False if its logits hold a NaN. The other fields
            of such a cell have no meaning.
        log_p: ln P of the tracked tokens, `(cells, tokens)`.
        ranks: of the tracked tokens, from 1, over the whole vocabulary, `(cells, tokens)`.
        kl, kl_source: KL(cell ‖ base) and KL(cell ‖ source) in nats, `(cells,)`; the latter is NaN
            if there is no source.
        top: ids of the most likely tokens, `(cells, k)`, most likely first.
        top_log_p: their ln P, `(cells, k)`.
        top_logits: their logits, `(cells, k)`.
    """

    ran: Tensor
    log_p: Tensor
    ranks: Tensor
    kl: Tensor
    kl_source: Tensor
    top: Tensor
    top_log_p: Tensor
    top_logits: Tensor

    def first_tokens(self, count: int) -> CellStatistics:
        """The same cells with the first `count` of their tracked tokens."""
        return replace(self, log_p=self.log_p[:, :count], ranks=self.ranks[:, :count])

    def take(self, indices: Sequence[int]) -> CellStatistics:
        """The cells at these indices, in this order; an index may occur more than once."""
        chosen = torch.tensor(list(indices), dtype=torch.long, device="cpu")
        return CellStatistics(
            **{field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        )


def cell_statistics(
    logits: Tensor,
    log_base: Tensor,
    tokens: Sequence[int],
    k: int = 1,
    log_source: Tensor | None = None,
) -> CellStatistics:
    """Compute the statistics of some cells, on the device of their logits.

    On an accelerator the number of operators does not depend on the number of cells, except that
    cells whose temporary tensors exceed `SLICE_BYTES` are computed in slices; the host waits only
    for the results, in two copies.

    Args:
        logits: `(cells, vocabulary)`; a cell with NaN counts as not run.
        log_base: ln P in the base run, float64, on any device: `(vocabulary,)`, or `(cells,
            vocabulary)` if each cell has a base of its own.
        tokens: ids of the tokens to track.
        k: number of most likely tokens to list; at most the vocabulary.
        log_source: ln P in the source run, as `log_base`; None if there is none.

    Returns:
        On the CPU.
    """
    logits = logits.detach()
    if logits.device.type == "mps":  # no float64
        logits = logits.cpu()
    apart = None if log_source is None else to_float64(log_base) - to_float64(log_source)
    is_finite = apart is not None and bool(apart.isfinite().all())
    apart = _moved(apart, logits.device) if apart is not None and is_finite else None
    log_base = _moved(log_base.detach(), logits.device)
    ids = _moved(torch.tensor(list(tokens), dtype=torch.long, device="cpu"), logits.device)
    top = top_ids(logits, k)
    # NaN if the cell has any, because it counts as the largest value.
    largest = logits.gather(-1, top[:, :1]).double()
    slices = _row_slices(logits, 3 * 8)
    size = len(slices[0])
    peaks = torch.split(largest, size)
    bases = [log_base] * len(slices) if log_base.ndim == 1 else torch.split(log_base, size)
    found = [
        _log_sum_and_kl(rows, peak, base, apart)
        for rows, peak, base in zip(slices, peaks, bases, strict=True)
    ]
    log_sum, kl, kl_source = (torch.cat(parts) for parts in zip(*found, strict=True))
    if log_source is not None and not is_finite:  # tokens that cannot come: one by one
        other = _moved(log_source.detach(), logits.device)
        kl_source = torch.cat(
            [
                _log_sum_and_kl(rows, peak, other, None)[1]
                for rows, peak in zip(slices, peaks, strict=True)
            ]
        )
    top_logits = logits.gather(-1, top).double()
    log_p = logits.index_select(-1, ids).double() - largest - log_sum
    top_log_p = top_logits - largest - log_sum
    # One copy for each dtype; float64 holds the logits of every other dtype exactly.
    numbers = torch.cat([log_p, kl, kl_source, top_log_p, top_logits], -1).cpu()
    integers = torch.cat([(~largest.isnan()).long(), ranks_of(logits, tokens), top], -1).cpu()
    tracked, listed = len(ids), top.shape[-1]
    sizes = [tracked, 1, 1, listed, listed]
    log_p, kl, kl_source, top_log_p, top_logits = torch.split(numbers, sizes, -1)
    ran, places, top = torch.split(integers, [1, tracked, listed], -1)
    return CellStatistics(
        ran=ran[:, 0].bool(),
        log_p=log_p,
        ranks=places,
        kl=kl[:, 0],
        kl_source=kl_source[:, 0],
        top=top,
        top_log_p=top_log_p,
        top_logits=top_logits.to(logits.dtype),
    )


def _log_sum_and_kl(
    logits: Tensor, largest: Tensor, log_base: Tensor, apart: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The normaliser of each cell, ln Σ exp(logit - largest), and its KL from base and source.

    With one exponential per logit, and in place: these are the largest tensors of a sweep's tables.

    Args:
        logits: `(cells, vocabulary)`.
        largest: logit of each cell, `(cells, 1)`, float64.
        log_base: `(vocabulary,)` or `(cells, vocabulary)`, float64.
        apart: ln (P base / P source), `(vocabulary,)`, float64 and finite; None without a source.

    Returns:
        `(cells, 1)` each, float64, in nats; NaN if the logits hold NaN or +inf, or nothing but
        -inf, and the last one without a source.
    """
    shifted = logits.to(torch.float64, copy=True).sub_(largest)
    weights = shifted.exp()
    total = weights.sum(-1, keepdim=True)
    log_sum = total.log()
    log_ratio = shifted.sub_(log_sum).sub_(log_base)
    # P · ln (P / P base) is NaN where P is 0 and its logarithm infinite; the limit is 0.
    kl = log_ratio.mul_(weights).nansum(-1, keepdim=True) / total
    source = torch.full_like(total, torch.nan)
    if apart is not None:
        # KL(cell ‖ source) = KL(cell ‖ base) + Σ P · ln (P base / P source).
        source = kl + weights.mul_(apart).sum(-1, keepdim=True) / total
        source.masked_fill_(source < SOURCE_ROUNDING, 0)
    return log_sum, kl.masked_fill_(kl < KL_ROUNDING, 0), source


def concatenated(parts: Sequence[CellStatistics]) -> CellStatistics:
    """Join the cells of several statistics, which must track equally many tokens."""
    names = CellStatistics.__dataclass_fields__
    return CellStatistics(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names})


def default_targets(p_base: Tensor, p_source: Tensor) -> tuple[int, int]:
    """The two tokens that a map is about if none are named.

    The target is the token that the source raises most: in most pairs its answer, so that the map
    shows where the source's answer comes through. If both runs have the same answer, it is the
    token whose probability differs most: the one raised most, or, if another falls by more than
    twice as much, that one. If nothing differs, it is the base's likeliest token. The other token
    is the base's likeliest but for the target.

    Args:
        p_base, p_source: probabilities `(vocabulary,)` in the plain runs.

    Returns:
        Ids of target and other token; equal if the vocabulary has one token.
    """
    change = p_source - p_base
    rise, fall = int(change.argmax()), int(change.argmin())
    has_one_answer = int(p_base.argmax()) == int(p_source.argmax())
    target = fall if has_one_answer and 2 * change[rise] < -change[fall] else rise
    if change[target] == 0:
        target = int(p_base.argmax())
    others = p_base.clone()
    others[target] = -1
    return target, int(others.argmax())


def log_p_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """Compute ln P of a few tokens of each distribution, in float64.

    Args:
        logits: `(cells, vocabulary)`.
        tokens: ids, `(cells, tokens)`, on the same device.

    Returns:
        `(cells, tokens)` on the device of the logits; on the CPU if that has no float64.
    """
    if logits.device.type == "mps":
        logits, tokens = logits.cpu(), tokens.cpu()
    logits = logits.detach()
    largest = logits.amax(-1, keepdim=True).double()
    slices = _row_slices(logits, 2 * 8)
    peaks = torch.split(largest, len(slices[0]))
    sums = [
        rows.to(torch.float64, copy=True).sub_(peak).exp_().sum(-1, keepdim=True)
        for rows, peak in zip(slices, peaks, strict=True)
    ]
    return logits.gather(-1, tokens).double() - largest - torch.cat(sums).log()


def log_probabilities(logits: Tensor) -> Tensor:
    """Compute ln P from logits `(..., vocabulary)`, in float64 on the CPU."""
    return to_float64(logits).log_softmax(-1)


def probabilities(logits: Tensor) -> Tensor:
    """Compute P from logits `(..., vocabulary)`, in float64 on the CPU."""
    return log_probabilities(logits).exp()


def to_float64(values: Tensor) -> Tensor:
    """Convert to float64 on the CPU, detached from the graph."""
    return values.detach().cpu().double()


def kl_parts(log_before: Tensor, log_after: Tensor) -> Tensor:
    """Each token's part of KL(after ‖ before): P after · ln (P after / P before), in nats.

    The parts sum to the divergence over the vocabulary (Kullback & Leibler 1951, "On Information
    and Sufficiency"). A part is 0 if P after is 0, and infinite if only P before is.

    Args:
        log_before, log_after: ln P, shapes that broadcast to `(..., vocabulary)`.
    """
    p = log_after.exp()
    # Without the condition, 0 · (-inf) would be NaN; the limit of p ln p at 0 is 0.
    return torch.where(p == 0, 0.0, p * (log_after - log_before))


def argsort_descending(values: Tensor) -> Tensor:
    """Indices along the last dimension, largest value first, lower index first if equal."""
    return torch.sort(values, dim=-1, descending=True, stable=True).indices


def ranks(values: Tensor) -> Tensor:
    """Rank of every entry along the last dimension, from 1; same shape and device as `values`."""
    indices = argsort_descending(values)
    places = torch.arange(1, values.shape[-1] + 1, device=indices.device).expand_as(indices)
    # The inverse permutation: the entry at `indices[n]` has rank n + 1.
    return torch.empty_like(indices).scatter_(-1, indices, places)


def ranks_of(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """Compute the ranks of some tokens over the whole vocabulary, from 1.

    Args:
        logits: `(cells, vocabulary)`.
        tokens: ids of the tokens.

    Returns:
        `(cells, tokens)`, on the device of the logits.
    """
    if not tokens:
        return torch.empty(len(logits), 0, dtype=torch.long, device=logits.device)
    is_on_cpu = logits.device.type == "cpu"
    if len(tokens) >= (MANY_TOKENS if is_on_cpu else MANY_TOKENS_ACCELERATOR):
        ids = _moved(torch.tensor(list(tokens), dtype=torch.long, device="cpu"), logits.device)
        slices = _row_slices(logits, 4 * 8)
        return torch.cat([ranks(rows).index_select(-1, ids) for rows in slices])
    slices = _row_slices(logits, 6)
    return torch.cat([torch.stack([_rank(rows, t) for t in tokens], -1) for rows in slices])


def _rank(logits: Tensor, token: int) -> Tensor:
    """Rank of one token in each row of `(cells, vocabulary)`, by counting the tokens ahead."""
    own = logits[:, token, None]
    # int32 halves the time of counting.
    before = (logits[:, :token] >= own).sum(-1, dtype=torch.int32)
    after = (logits[:, token + 1 :] > own).sum(-1, dtype=torch.int32)
    return (before + after).long() + 1


def top_ids(logits: Tensor, k: int) -> Tensor:
    """Find the largest logits of each row, largest first, lower id first if equal.

    Sorts only candidates, not the whole vocabulary. NaN counts as the largest value, as it does for
    `torch.sort`.

    Args:
        logits: `(cells, vocabulary)`.
        k: number of ids per row; at most the vocabulary.

    Returns:
        `(cells, k)`, on the device of the logits.
    """
    k = min(k, logits.shape[-1])
    if k == 1:
        return logits.argmax(-1, keepdim=True)  # the first of equal values, as documented
    return torch.cat([_top_ids(rows, k) for rows in _row_slices(logits, 8)])


def _top_ids(logits: Tensor, k: int) -> Tensor:
    """`top_ids` for `k` up to the vocabulary, without waiting for the device."""
    vocabulary = logits.shape[-1]
    likely = logits.topk(k, dim=-1)
    # topk leaves open which of the values equal to the smallest one it finds, and in which order:
    # only those above it are certain. The others are replaced by a number that is no id.
    smallest = likely.values[:, -1:]
    above = likely.indices.masked_fill(likely.values <= smallest, vocabulary)
    # The lowest ids among the equal ones: the largest keys.
    key = torch.arange(vocabulary, 0, -1, dtype=torch.int32, device=logits.device)
    key = torch.where(logits == smallest, key, 0).topk(k, dim=-1).values
    ids = torch.cat([above, vocabulary - key.long()], -1).sort(-1).values
    # Candidates ascend by id, so a stable sort by value keeps equal ones in that order.
    values = logits.gather(-1, ids.clamp(max=vocabulary - 1))
    order = argsort_descending(values.masked_fill(ids == vocabulary, -torch.inf))
    return ids.gather(-1, order[:, :k])


def _row_slices(logits: Tensor, bytes_per_logit: int) -> tuple[Tensor, ...]:
    """Split `(cells, vocabulary)` so that the temporary tensors of a slice stay small.

    Args:
        logits: of any number of cells, also none.
        bytes_per_logit: size of the temporary tensors for one logit.
    """
    limit = CPU_SLICE_BYTES if logits.device.type == "cpu" else SLICE_BYTES
    return torch.split(logits, max(1, limit // (logits.shape[-1] * bytes_per_logit)))


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """Copy to a device, without waiting for an accelerator's earlier work."""
    return values.to(device, non_blocking=device.type != "cpu")


def checked_distribution(logits: Tensor, name: str = "logits") -> Tensor:
    """Check the logits of one distribution, `(vocabulary,)`, and convert them to float64.

    Args:
        logits: on any device, of any floating dtype.
        name: what the error message calls them.

    Raises:
        RequestError: another shape, NaN, +inf, or nothing but -inf.
    """
    if logits.ndim != 1 or not len(logits):
        raise RequestError(
            f"{name} must be one distribution of shape (vocabulary,), for instance "
            f"run.logits[-1], got shape {tuple(logits.shape)}."
        )
    values = to_float64(logits)
    if (values == -float("inf")).all():
        raise RequestError(f"{name}: every value is -inf, so there is no distribution.")
    if bad := int((values.isnan() | (values == float("inf"))).sum()):
        is_half = logits.dtype.itemsize < torch.float32.itemsize
        hint = " Half precision overflows this way: load the model in float32." if is_half else ""
        raise RequestError(
            f"{name}: {bad} of {len(values)} values are NaN or infinite, so there is no "
            f"distribution.{hint}"
        )
    return values


def require_one_vocabulary(logits: Mapping[str, Tensor]) -> None:
    """Check that distributions have equally large vocabularies.

    Args:
        logits: by name, `(vocabulary,)` each.

    Raises:
        RequestError: they differ; the message lists the sizes.
    """
    sizes = {name: len(values) for name, values in logits.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name!r} {size}" for name, size in sizes.items())
        raise RequestError(f"distributions must share one vocabulary, got sizes {listed}.")


def checked_count(k: int, vocabulary: int) -> int:
    """Check a number of tokens to list, and cut it to the vocabulary.

    Raises:
        RequestError: `k` below 1.
    """
    if k < 1:
        raise RequestError(f"k must be 1 to {vocabulary} tokens, got {k}.")
    return min(k, vocabulary)
