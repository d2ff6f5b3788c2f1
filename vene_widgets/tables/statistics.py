"""Statistics of next-token distributions: log-probabilities, ranks, KL divergence, top tokens.

Everything is computed from the logits in float64, whatever the model's dtype, and on the CPU, as
not every device has float64. Logarithms are natural. Equal logits rank by token id, lower first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vene_widgets.errors import RequestError

MANY_TOKENS = 64
"""From this many on, ranking the whole vocabulary is cheaper than counting for each token."""


@dataclass(frozen=True, eq=False)
class CellStatistics:
    """Statistics of the cells of a sweep: next-token distributions over one vocabulary.

    Attributes:
        ran: whether the cell was run, `(cells,)`; False if its logits hold a NaN. The other fields
            of such a cell have no meaning.
        log_p: ln P of the tracked tokens, `(cells, tokens)`.
        ranks: of the tracked tokens, from 1, over the whole vocabulary, `(cells, tokens)`.
        kl: KL(cell ‖ base) in nats, `(cells,)`.
        top: ids of the most likely tokens, `(cells, k)`, most likely first.
        top_log_p: their ln P, `(cells, k)`.
        top_logits: their logits, `(cells, k)`.
    """

    ran: Tensor
    log_p: Tensor
    ranks: Tensor
    kl: Tensor
    top: Tensor
    top_log_p: Tensor
    top_logits: Tensor

    def first_tokens(self, count: int) -> CellStatistics:
        """The same cells with the first `count` of their tracked tokens."""
        return replace(self, log_p=self.log_p[:, :count], ranks=self.ranks[:, :count])


def cell_statistics(
    logits: Tensor, log_base: Tensor, tokens: Sequence[int], k: int = 1
) -> CellStatistics:
    """Compute the statistics of some cells.

    Args:
        logits: `(cells, vocabulary)`; a cell with NaN counts as not run.
        log_base: ln P in the base run, `(vocabulary,)`, float64.
        tokens: ids of the tokens to track.
        k: number of most likely tokens to list; at most the vocabulary.
    """
    logits = logits.detach().cpu()
    log_p = log_probabilities(logits)
    top = top_ids(logits, k)
    return CellStatistics(
        ran=~logits.isnan().any(-1),
        log_p=log_p[:, list(tokens)],
        ranks=ranks_of(logits, tokens),
        # Rounding may make the sum of equal distributions a tiny negative number.
        kl=kl_parts(log_base, log_p).sum(-1).clamp(min=0),
        top=top,
        top_log_p=log_p.gather(-1, top),
        top_logits=logits.gather(-1, top),
    )


def concatenated(parts: Sequence[CellStatistics]) -> CellStatistics:
    """Join the cells of several statistics, which must track equally many tokens."""
    names = CellStatistics.__dataclass_fields__
    return CellStatistics(**{n: torch.cat([getattr(part, n) for part in parts]) for n in names})


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
    """Rank of every entry along the last dimension, from 1; same shape as `values`, on the CPU."""
    indices = argsort_descending(values)
    places = torch.arange(1, values.shape[-1] + 1, device=indices.device).expand_as(indices)
    # The inverse permutation: the entry at `indices[n]` has rank n + 1.
    return torch.empty_like(indices).scatter_(-1, indices, places)


def ranks_of(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """Compute the ranks of some tokens over the whole vocabulary, from 1.

    Args:
        logits: `(cells, vocabulary)`, on the CPU.
        tokens: ids of the tokens.

    Returns:
        `(cells, tokens)`.
    """
    if len(tokens) >= MANY_TOKENS:
        return ranks(logits)[:, list(tokens)]
    if not tokens:
        return torch.empty(len(logits), 0, dtype=torch.long, device=logits.device)
    counts: list[Tensor] = []
    for token in tokens:
        own = logits[:, token, None]
        # int32 halves the time of counting.
        larger = (logits > own).sum(-1, dtype=torch.int32)
        equal_before = (logits[:, :token] == own).sum(-1, dtype=torch.int32)
        counts.append(larger + equal_before)
    return torch.stack(counts, -1).long() + 1


def top_ids(logits: Tensor, k: int) -> Tensor:
    """Find the largest logits of each row, largest first, lower id first if equal.

    Sorts only the candidates above a threshold, not the whole vocabulary.

    Args:
        logits: `(cells, vocabulary)`.
        k: number of ids per row; at most the vocabulary.

    Returns:
        `(cells, k)`.
    """
    k = min(k, logits.shape[-1])
    # topk leaves the order of equal values open, so only its smallest value is used. Not `>=`: NaN
    # counts as the largest value, as it does for torch.sort.
    threshold = logits.topk(k, dim=-1).values[:, -1:]
    top: list[Tensor] = []
    for row, likely in zip(logits, ~(logits < threshold), strict=True):
        ids = likely.nonzero()[:, 0]
        top.append(ids[argsort_descending(row[ids])[:k]])
    return torch.stack(top)


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
        raise RequestError(
            f"{name}: {bad} of {len(values)} values are NaN or infinite, so there is no "
            "distribution. Half precision overflows this way: load the model in float32."
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
