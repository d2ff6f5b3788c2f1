"""Statistics of next-token distributions, against independent formulas in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.distributions.kl import kl_divergence as reference_kl
from torch.utils._python_dispatch import TorchDispatchMode

from vene_widgets.tables import frames
from vene_widgets.tables import statistics as statistics_module
from vene_widgets.tables.followed import follow_tokens
from vene_widgets.tables.statistics import (
    KL_ROUNDING,
    MANY_TOKENS,
    CellStatistics,
    argsort_descending,
    cell_statistics,
    concatenated,
    kl_parts,
    log_probabilities,
    probabilities,
    ranks,
    ranks_of,
    top_ids,
)

INF, NAN = float("inf"), float("nan")
VOCABULARY = 100


def random_logits(seed: int, *shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tied_logits(seed: int, cells: int = 5, vocabulary: int = VOCABULARY) -> Tensor:
    """Five different values, so that nearly every logit equals many others."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, (cells, vocabulary), generator=generator).float()


def sorted_ids(row: Sequence[float]) -> list[int]:
    """Token ids by logit, largest first, then by id."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def ranks_in(row: Sequence[float], tokens: Sequence[int]) -> list[int]:
    order = sorted_ids(row)
    return [order.index(token) + 1 for token in tokens]


def softmax(row: Sequence[float]) -> list[float]:
    largest = max(row)
    weights = [math.exp(x - largest) for x in row]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def assert_equal(one: CellStatistics, other: CellStatistics, cells: slice = slice(None)) -> None:
    """Bit-equal in every field."""
    for field in fields(CellStatistics):
        mine, theirs = (getattr(each, field.name)[cells] for each in (one, other))
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True, msg=field.name)


# ---- probabilities ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "logits",
    [
        random_logits(0, 4, VOCABULARY),
        tied_logits(0),
        random_logits(1, 2, 7).to(torch.bfloat16),
        torch.tensor([[1000.0, 999.0, -1000.0]]),  # exp overflows even in float64
        torch.tensor([[0.0, -INF, 1.0]]),
    ],
    ids=["random", "tied", "bfloat16", "large", "impossible"],
)
def test_probabilities_are_softmax(logits: Tensor):
    p, log_p = probabilities(logits), log_probabilities(logits)
    assert p.dtype == log_p.dtype == torch.float64
    for row, ps, logs in zip(logits.tolist(), p.tolist(), log_p.tolist(), strict=True):
        assert ps == pytest.approx(softmax(row), abs=1e-15)
        # ln P = x - ln Σ exp x, also where P itself underflows to 0.
        largest = max(row)
        norm = largest + math.log(math.fsum(math.exp(x - largest) for x in row))
        assert logs == pytest.approx([x - norm for x in row], rel=1e-13, abs=1e-13)


def test_probabilities_need_no_gradient_and_keep_the_logits():
    logits = random_logits(2, 3, 5).requires_grad_()
    before = logits.detach().clone()
    assert not log_probabilities(logits).requires_grad
    assert torch.equal(logits.detach(), before)


# ---- ranks and top tokens -----------------------------------------------------------------------

FEW = [0, VOCABULARY - 1, 7, 7]
MANY = [*range(VOCABULARY - 1, VOCABULARY - 1 - MANY_TOKENS, -1)]


@pytest.mark.parametrize("tokens", [[], FEW, MANY[1:], MANY], ids=["none", "few", "below", "at"])
@pytest.mark.parametrize("make", [tied_logits, lambda seed: random_logits(seed, 5, VOCABULARY)])
def test_ranks_are_places_in_the_sorted_vocabulary(
    tokens: list[int], make: Callable[[int], Tensor]
):
    logits = make(3)
    wanted = [ranks_in(row, tokens) for row in logits.tolist()]
    assert ranks_of(logits, tokens).tolist() == wanted


def test_both_ways_of_ranking_agree_on_ties(monkeypatch: pytest.MonkeyPatch):
    logits = tied_logits(4)
    logits[1, ::3] = -INF
    counted = ranks_of(logits, MANY[1:])
    monkeypatch.setattr("vene_widgets.tables.statistics.MANY_TOKENS", 1)
    assert torch.equal(ranks_of(logits, MANY[1:]), counted)
    assert torch.equal(ranks(logits)[:, MANY[1:]], counted)


def test_equal_values_are_ordered_by_index():
    values = torch.tensor([1.0, 2.0, -INF, 2.0, 1.0, -INF])
    assert argsort_descending(values).tolist() == [1, 3, 0, 4, 2, 5]
    assert ranks(values).tolist() == [3, 1, 5, 2, 4, 6]


@pytest.mark.parametrize("k", [1, 10, 39, 40, 50])
def test_top_ids_are_those_of_a_stable_sort(k: int):
    logits = tied_logits(1, 4, 40)
    logits[1, 5:] = -INF  # fewer finite logits than k: the rest is a tie of -inf
    logits[2] = -INF
    wanted = [sorted_ids(row)[:k] for row in logits.tolist()]
    assert top_ids(logits, k).tolist() == wanted


@pytest.mark.parametrize("k", [1, 10])
def test_top_ids_of_nan_are_those_of_a_stable_sort(k: int):
    logits = tied_logits(1, 5, 40)
    logits[4, 3] = NAN  # the largest value, as for torch.sort
    wanted = torch.sort(logits, descending=True, stable=True).indices[:, :k]
    assert torch.equal(top_ids(logits, k), wanted)
    assert top_ids(logits, k)[4, 0] == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_top_ids_and_ranks_of_every_dtype(dtype: torch.dtype):
    logits = random_logits(5, 3, VOCABULARY).to(dtype)
    logits[:, 1::7] = logits[:, :1]
    for n, row in enumerate(logits.tolist()):
        assert top_ids(logits, 20)[n].tolist() == sorted_ids(row)[:20]
        assert ranks_of(logits, FEW)[n].tolist() == ranks_in(row, FEW)


# ---- KL divergence ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_kl_parts_sum_to_the_divergence_of_after_from_before(seed: int):
    before, after = random_logits(seed, VOCABULARY), random_logits(seed + 50, VOCABULARY)
    one, other = (Categorical(logits=logits.double()) for logits in (before, after))
    parts = kl_parts(log_probabilities(before), log_probabilities(after))
    assert parts.sum().item() == pytest.approx(reference_kl(other, one).item(), abs=1e-12)
    assert parts.sum().item() != pytest.approx(reference_kl(one, other).item(), abs=1e-3)
    by_hand = [
        q * math.log(q / p)
        for p, q in zip(softmax(before.tolist()), softmax(after.tolist()), strict=True)
    ]
    assert parts.tolist() == pytest.approx(by_hand, abs=1e-12)


def test_kl_parts_of_equal_distributions_are_zero():
    log_p = log_probabilities(torch.cat([random_logits(0, 2, 30), tied_logits(0, 2, 30)]))
    log_p[3, :5] = -INF
    assert torch.equal(kl_parts(log_p, log_p), torch.zeros_like(log_p))


def test_kl_parts_are_finite_for_tokens_that_are_impossible_afterwards():
    before = torch.tensor([0.0, 0.0, -INF, 0.0])
    after = torch.tensor([0.0, -INF, -INF, 0.0])
    parts = kl_parts(log_probabilities(before), log_probabilities(after))
    assert parts.tolist() == pytest.approx([0.5 * math.log(1.5), 0, 0, 0.5 * math.log(1.5)])
    # In the other direction the divergence is infinite, by the token that became possible.
    parts = kl_parts(log_probabilities(after), log_probabilities(before))
    assert parts.isinf().tolist() == [False, True, False, False]


# ---- cells --------------------------------------------------------------------------------------

TRACKED = [3, 0, 29]


def test_cell_statistics_are_those_of_each_row():
    logits, base = tied_logits(6, 4, 30), random_logits(7, 30)
    found = cell_statistics(logits, log_probabilities(base), TRACKED, k=5)
    p_base = softmax(base.tolist())
    assert found.ran.tolist() == [True] * 4
    for n, row in enumerate(logits.tolist()):
        p, top = softmax(row), sorted_ids(row)[:5]
        assert found.log_p[n].exp().tolist() == pytest.approx([p[t] for t in TRACKED], abs=1e-15)
        assert found.ranks[n].tolist() == ranks_in(row, TRACKED)
        kl = math.fsum(q * math.log(q / b) for q, b in zip(p, p_base, strict=True))
        assert found.kl[n].item() == pytest.approx(kl, abs=1e-12)
        assert found.top[n].tolist() == top
        assert found.top_log_p[n].exp().tolist() == pytest.approx([p[t] for t in top], abs=1e-15)
        assert found.top_logits[n].tolist() == [row[t] for t in top]


def test_the_divergence_of_the_base_itself_is_zero_and_never_below():
    base = random_logits(8, VOCABULARY)
    near = base.double() + 1e-12 * random_logits(9, 20, VOCABULARY)
    found = cell_statistics(torch.cat([base[None].double(), near]), log_probabilities(base), [0])
    assert found.kl[0].item() == 0 and (found.kl >= 0).all()


@pytest.mark.parametrize("tokens", [TRACKED, range(MANY_TOKENS)], ids=["few", "many"])
def test_a_row_with_nan_did_not_run_and_leaves_the_others_unchanged(tokens: Sequence[int]):
    logits, log_base = tied_logits(10), log_probabilities(random_logits(11, VOCABULARY))
    logits[3, 4] = -INF  # an impossible token is not a missing cell
    whole = cell_statistics(logits, log_base, tokens, k=3)
    broken = logits.clone()
    broken[2, 17] = NAN
    found = cell_statistics(broken, log_base, tokens, k=3)
    assert found.ran.tolist() == [True, True, False, True, True]
    assert_equal(found, whole, slice(None, 2))
    assert_equal(found, whole, slice(3, None))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_cell_statistics_agree_with_the_whole_distributions(dtype: torch.dtype):
    logits = (3 * random_logits(18, 6, 5000)).to(dtype)
    logits[1, :4000] = -INF
    log_base = log_probabilities(random_logits(19, 5000))
    before = logits.clone()
    found = cell_statistics(logits, log_base, TRACKED, k=3)
    assert torch.equal(logits, before) and found.top_logits.dtype == dtype
    log_p = logits.double().log_softmax(-1)
    torch.testing.assert_close(found.log_p, log_p[:, TRACKED], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found.top_log_p, log_p.gather(-1, found.top), rtol=1e-13, atol=1e-13)
    kl = kl_parts(log_base, log_p).sum(-1)
    torch.testing.assert_close(found.kl, kl, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [0, 0.01, 1, 30, 1000])
@pytest.mark.parametrize("vocabulary", [2, 1000, 50_257])
def test_the_divergence_of_equal_distributions_is_exactly_zero(scale: float, vocabulary: int):
    base = scale * random_logits(20, vocabulary)
    found = cell_statistics(base.expand(5, -1), log_probabilities(base), [0])
    assert found.kl.tolist() == [0.0] * 5


def test_a_divergence_just_above_the_rounding_error_is_kept():
    change = math.sqrt(20 * KL_ROUNDING)  # KL = change² / 8 for two equally likely tokens
    cell = torch.tensor([[change, 0.0]], dtype=torch.float64)
    kl = cell_statistics(cell, log_probabilities(torch.zeros(2)), [0]).kl.item()
    assert kl == pytest.approx(20 * KL_ROUNDING / 8, rel=0.05, abs=0)


def test_logits_without_a_distribution_give_nan_not_zero():
    """The cell ran, and what came out is no distribution."""
    logits = torch.tensor([[0.0, INF, 1.0], [-INF, -INF, -INF]])
    found = cell_statistics(logits, log_probabilities(torch.zeros(3)), [0])
    assert found.ran.all() and found.kl.isnan().all() and found.log_p.isnan().all()


@pytest.mark.parametrize("tokens", [[], TRACKED, range(MANY_TOKENS)], ids=["none", "few", "many"])
@pytest.mark.parametrize("k", [1, 4])
def test_a_device_finds_what_the_cpu_finds(device: torch.device, tokens: Sequence[int], k: int):
    logits, log_base = tied_logits(21), log_probabilities(random_logits(22, VOCABULARY))
    log_source = log_probabilities(random_logits(23, VOCABULARY))
    wanted = cell_statistics(logits, log_base, tokens, k, log_source)
    homes = [torch.device("cpu")] if device.type == "mps" else [torch.device("cpu"), device]
    for home in homes:
        found = cell_statistics(logits.to(device), log_base.to(home), tokens, k, log_source)
        for field in fields(CellStatistics):
            mine, theirs = getattr(found, field.name), getattr(wanted, field.name)
            assert mine.device.type == "cpu" and mine.dtype == theirs.dtype
            torch.testing.assert_close(
                mine, theirs, rtol=1e-12, atol=1e-14, msg=field.name, equal_nan=True
            )


class Operators(TorchDispatchMode):
    """Records torch's operators: names, copies from `device`, and sizes of new tensors."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device.type
        self.names: list[str] = []
        self.copies_to_cpu = 0
        self.largest = 0  # bytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.names.append(func.name())
        inputs = [arg for arg in args if isinstance(arg, Tensor)]
        known = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        for tensor in (made,) if isinstance(made, Tensor) else made:
            if tensor.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
            moved = bool(inputs) and inputs[0].device.type == self._device != tensor.device.type
            self.copies_to_cpu += moved
        return made


@pytest.mark.parametrize("tokens", [TRACKED, range(MANY_TOKENS)], ids=["few", "many"])
@pytest.mark.parametrize("k", [1, 4])
def test_the_host_waits_only_for_the_results(device: torch.device, tokens: Sequence[int], k: int):
    """The operators do not depend on the number of cells, and none needs a value on the host."""
    recorded: list[Operators] = []
    for cells in (2, 200):
        logits = tied_logits(23, cells).to(device)
        logits[1, 5] = NAN
        log_base = log_probabilities(random_logits(24, VOCABULARY))
        with Operators(device) as operators:
            cell_statistics(logits, log_base, tokens, k)
        recorded.append(operators)
    few, many = recorded
    assert few.names == many.names and len(few.names) <= 120
    stalls = {
        "aten::_local_scalar_dense",
        "aten::nonzero",
        "aten::masked_select",
        "aten::index.Tensor",
    }
    assert not stalls & set(many.names)
    assert many.copies_to_cpu == (0 if device.type == "cpu" else 2)


@pytest.mark.parametrize("tokens", [TRACKED, range(MANY_TOKENS)], ids=["few", "many"])
@pytest.mark.parametrize("k", [1, 4])
def test_temporary_tensors_are_bounded_and_slices_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tokens: Sequence[int], k: int
):
    logits, log_base = random_logits(25, 300, VOCABULARY), log_probabilities(tied_logits(26)[0])
    with Operators(logits.device) as whole:
        wanted = cell_statistics(logits, log_base, tokens, k)
    limit = 20 * 8 * VOCABULARY  # below the smallest of the tensors that hold a number per logit
    assert whole.largest >= 8 * logits.numel() > 10 * limit
    monkeypatch.setattr(statistics_module, "CPU_SLICE_BYTES", limit)
    with Operators(logits.device) as sliced:
        found = cell_statistics(logits, log_base, tokens, k)
    results = 8 * (2 * len(tokens) + 2 * k + 2) * len(logits)
    assert sliced.largest <= max(limit, results)
    assert_equal(found, wanted)


def test_no_cells_have_no_statistics():
    log_base = log_probabilities(random_logits(27, VOCABULARY))
    for k in (1, 3):
        found = cell_statistics(torch.empty(0, VOCABULARY), log_base, TRACKED, k)
        assert found.ran.shape == found.kl.shape == (0,)
        assert found.log_p.shape == found.ranks.shape == (0, 3)
        assert found.top.shape == found.top_logits.shape == (0, k)


def test_taken_cells_are_the_statistics_of_their_rows():
    logits, log_base = tied_logits(28, 6), log_probabilities(random_logits(29, VOCABULARY))
    logits[4, 0] = NAN
    found = cell_statistics(logits, log_base, TRACKED, k=4)
    chosen = [0, 5, 0, 4, 1, 0]
    assert_equal(found.take(chosen), cell_statistics(logits[chosen], log_base, TRACKED, k=4))
    assert found.take([]).log_p.shape == (0, 3)


def test_first_tokens_are_the_statistics_of_fewer_tokens():
    logits, log_base = tied_logits(12), log_probabilities(random_logits(13, VOCABULARY))
    found = cell_statistics(logits, log_base, TRACKED, k=4)
    for count in range(len(TRACKED) + 1):
        fewer = cell_statistics(logits, log_base, TRACKED[:count], k=4)
        assert_equal(found.first_tokens(count), fewer)


def test_concatenated_statistics_are_those_of_all_rows_at_once():
    logits, log_base = tied_logits(14, 7), log_probabilities(random_logits(15, VOCABULARY))
    logits[4, 0] = NAN
    parts = [cell_statistics(rows, log_base, TRACKED, k=4) for rows in logits.split([2, 1, 4])]
    assert_equal(concatenated(parts), cell_statistics(logits, log_base, TRACKED, k=4))


# ---- frames -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    index: int
    id: int
    text: str


@pytest.mark.parametrize("targets", [[2], [2, 5, 2], [0, 29]])
def test_a_frame_from_statistics_is_the_frame_from_logits(targets: list[int]):
    layers, tokens, source_positions = [0, 4], [Token(1, 7, " a"), Token(3, 8, "b")], [1, 2]
    logits, base = tied_logits(16, 4, 30).unflatten(0, (2, 2)), random_logits(17, 30)
    logits[1, 0, 9] = NAN
    logits[0, 1, 5] = -INF
    wanted = frames.sweep_frame(
        logits, base, layers, tokens, source_positions, targets, str, component="query_output"
    )
    log_base = log_probabilities(base)
    # More tracked tokens and most likely ones than the frame has room for.
    found = cell_statistics(logits.flatten(0, 1), log_base, [*targets, 11], k=6)
    frame = frames.cells_frame(
        found.first_tokens(len(targets)),
        log_base,
        layers,
        tokens,
        source_positions,
        follow_tokens(targets),
        str,
        component="query_output",
    )
    pd.testing.assert_frame_equal(frame, wanted, check_exact=True)
    assert wanted[["probability", "kl"]].isna().sum().tolist() == 2 * [len(targets)]


def test_an_infinite_divergence_stays_infinite():
    base = torch.tensor([0.0, 0.0, -INF])
    cells = cell_statistics(torch.tensor([[0.0, 0.0, 0.0]]), log_probabilities(base), [0])
    assert cells.kl.tolist() == [INF] and cells.ran.tolist() == [True]


@pytest.mark.parametrize("blocked", [False, True], ids=["finite", "with tokens that cannot come"])
def test_divergence_from_the_source_is_the_sum_over_the_vocabulary(blocked: bool):
    logits, base, source = (random_logits(n, 5, 30) for n in (31, 32, 33))
    if blocked:
        logits[0, 3] = base[0, 3] = source[0, 4] = -INF
        logits[1, 3:5] = -INF
    log_p, log_q = logits.double().log_softmax(-1), source[0].double().log_softmax(-1)
    wanted = torch.where(log_p.exp() == 0, 0.0, log_p.exp() * (log_p - log_q)).sum(-1)
    found = cell_statistics(
        logits, log_probabilities(base[0]), [0], log_source=log_probabilities(source[0])
    )
    torch.testing.assert_close(found.kl_source, wanted, rtol=1e-10, atol=1e-12)
    same = cell_statistics(source[:1], log_probabilities(base[0]), [0], log_source=log_q)
    assert same.kl_source.tolist() == [0.0]
    assert cell_statistics(logits, log_probabilities(base[0]), [0]).kl_source.isnan().all()


def test_cells_with_a_base_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "CPU_SLICE_BYTES", 2 * 20 * 24)  # two rows at a time
    generator = torch.Generator().manual_seed(3)
    cells, bases = torch.randn(2, 5, 20, generator=generator, device="cpu").double()
    log_bases = bases.log_softmax(-1)
    together = cell_statistics(cells, log_bases, [1])
    for row in range(5):
        alone = cell_statistics(cells[row : row + 1], log_bases[row], [1])
        assert torch.equal(together.kl[row], alone.kl[0])
        assert torch.equal(together.log_p[row], alone.log_p[0])
