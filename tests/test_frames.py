"""Frames: statistics against independent formulas, exact ranks, and the table of columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs_testing import capital_pairs
from torch.distributions import Categorical
from torch.distributions.kl import kl_divergence as reference_kl

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.sweeps.pairs.pair_frame import pair_frame
from vene_widgets.sweeps.pairs.summary import summarize
from vene_widgets.tables import frames
from vene_widgets.tables.attention_frame import attention_frame
from vene_widgets.tables.attribution import attribution_check_frame, attribution_frame
from vene_widgets.tables.followed import follow_tokens
from vene_widgets.tables.generated import generated_token, generation_frame
from vene_widgets.tables.lens_frames import lens_frame
from vene_widgets.tables.metrics import MetricName
from vene_widgets.tables.placebo import placebo_frame
from vene_widgets.tables.statistics import cell_statistics

NAN = float("nan")
TEXTS = [" Rome", " Rome", " $x$", "\n", "", "中", "<b>", "_%", "a", "b", "c", "d"]
text = TEXTS.__getitem__


@dataclass(frozen=True)
class Token:
    index: int
    id: int
    text: str


def logits(seed: int, size: int = 12, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))).to(dtype)


def rows_of(frame: pd.DataFrame) -> Any:
    """Rows as named tuples, whose columns have no types."""
    return frame.itertuples()


def example_sweep(seed: int = 7) -> tuple[torch.Tensor, torch.Tensor, pd.DataFrame]:
    """2 layers x 3 positions over 12 tokens, of which cell (1, 2) was not run."""
    grid = torch.stack([torch.stack([logits(seed + 3 * i + j) for j in range(3)]) for i in (0, 1)])
    grid[1, 2] = NAN
    base = logits(99)
    tokens = [Token(1, 2, " $x$"), Token(2, 3, "\n"), Token(4, 2, " $x$")]
    frame = frames.sweep_frame(
        grid, base, [0, 5], tokens, [1, 2, 3], [0, 1, 7], text, source_logits=logits(9)
    )
    return grid, base, frame


def every_frame() -> dict[str, pd.DataFrame]:
    a, b = logits(1), logits(2)
    return {
        "top_frame": frames.top_frame(a, text),
        "token_frame": frames.token_frame({"base": a, "source": b}, text, k=3),
        "difference_frame": frames.difference_frame(a, b, text, k=None),
        "sweep_frame": example_sweep()[2],
    }


# ---- the tables ---------------------------------------------------------------------------------


def test_every_frame_has_the_columns_and_dtypes_of_the_table():
    pairs = vw.sweep_pairs(vw.load(device="cpu"), capital_pairs().head(3))
    lens = {
        name: vw.lens(vw.load(device="cpu"), "The capital of Spain is", targets=targets).frame
        for name, targets in (("lens_frame", ()), ("lens_target_frame", " Rome"))
    }
    made = {**every_frame(), **lens, "pair_frame": pairs.frame, "pair_summary": pairs.summary}
    made["attention_frame"] = vw.attention(vw.load(device="cpu"), "The capital", layer=0).frame
    made["generation_frame"] = generation_frame(
        [generated_token(logits(1), 3, text, "base", step=0, position=5)]
    )
    model, prompts = vw.load(device="cpu"), ("The capital of Spain is", "The capital of Italy is")
    found = vw.attribute(model, *prompts, layers=[1])
    check = found.against(vw.sweep(model, *prompts, layers=[1]))
    made |= {"attribution_frame": found.frame, "attribution_check_frame": check.frame}
    made["path_frame"] = vw.paths(model, *prompts, senders="all").frame
    several = vw.paths(model, prompts, prompts[::-1], senders="all")
    made["path_means_frame"] = several.frame
    made["circuit_frame"] = vw.circuit(model, *prompts, heads=["3.2"]).frame
    swept = vw.sweep(model, *prompts, layers=[1])
    made["placebo_frame"] = vw.placebo(swept, controls=["random_source"], draws=1).frame
    assert set(made) == set(frames.FRAMES)
    for name, frame in made.items():
        assert tuple(frame.columns) == frames.FRAMES[name]
        wanted = {column: frames.COLUMNS[column].dtype for column in frame.columns}
        assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == wanted, name


def test_every_column_is_used_and_every_docstring_names_its_columns():
    assert {column for columns in frames.FRAMES.values() for column in columns} == set(
        frames.COLUMNS
    )
    elsewhere: dict[str, Any] = {"pair_frame": pair_frame, "pair_summary": summarize}
    elsewhere |= {"lens_frame": lens_frame, "lens_target_frame": lens_frame}
    elsewhere |= {"generation_frame": generation_frame, "placebo_frame": placebo_frame}
    elsewhere |= {
        "attribution_frame": attribution_frame,
        "attribution_check_frame": attribution_check_frame,
        "attention_frame": attention_frame,
    }
    elsewhere |= {
        "path_frame": vw.Paths.frame,
        "path_means_frame": vw.PathMeans.frame,
        "circuit_frame": vw.Circuit.frame,
    }
    for name, columns in frames.FRAMES.items():
        function: Callable[..., pd.DataFrame] = elsewhere.get(name) or getattr(frames, name)
        assert [c for c in columns if f"`{c}`" not in (function.__doc__ or "")] == [], name


def test_metrics_name_columns_of_the_sweep_and_hold_their_range():
    frame = example_sweep()[2]
    assert list(frames.METRICS) == list(get_args(MetricName))
    for name, metric in frames.METRICS.items():
        assert metric.name == name and metric.formula and metric.about
        assert metric.column in frames.FRAMES["sweep_frame"]
        values = frame[metric.column].dropna().astype(float)
        low, high = metric.range
        assert low is None or values.min() >= low
        assert high is None or values.max() <= high
        assert not metric.diverging or low is None or low == -(high or 0)


def test_logit_difference_sets_each_target_against_the_first_other_one():
    cells, tokens = torch.stack([logits(3)])[None].double(), [Token(0, 0, "a")]
    frame = frames.sweep_frame(cells, logits(1), [0], tokens, [0], [4, 7, 4], text)
    z = cells[0, 0]
    assert frame.contrast_id.tolist() == [7, 4, 7]
    lead = (z[4] - z[7]).item()
    assert frame.logit_difference.tolist() == pytest.approx([lead, -lead, lead], abs=1e-12)
    alone = frames.sweep_frame(cells, logits(1), [0], tokens, [0], [4], text)
    assert alone.contrast_id.isna().all() and alone.logit_difference.isna().all()


# ---- visible ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        (" Rome", "␣Rome"),
        ("  ", "␣␣"),
        ("\n\n", "↵↵"),
        ("\t", "⇥"),
        ("", "∅"),
        ("\r", "\\x0d"),
        ("\x1b[0m", "\\x1b[0m"),
        ("\x85", "\\x85"),
        ("\u202e", "\\u202e"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("\ufffd", "\\ufffd"),
        ("\ud83d", "\\ud83d"),
        ("\xa0", "\\xa0"),
        ("\u3000", "\\u3000"),
        ("\u2028", "\\u2028"),
        ("\U000e0001", "\\U000e0001"),
        (" $x$", "␣$x$"),
        ("<b>%_", "<b>%_"),
        ("中文", "中文"),
        ("🎉", "🎉"),
    ],
)
def test_visible(hidden: str, shown: str):
    assert frames.visible(hidden) == shown


@given(st.text(st.characters()))
def test_visible_text_is_never_empty_and_fits_a_screen(anything: str):
    shown = frames.visible(anything)
    assert shown and shown == frames.visible(shown)
    assert shown.isprintable() and " " not in shown
    shown.encode()  # no surrogate is left


# ---- top_frame ----------------------------------------------------------------------------------


def test_top_frame_against_torch_distributions():
    values = logits(3)
    frame = frames.top_frame(values, text, k=5)
    p = Categorical(logits=values.double()).probs
    assert frame["token_id"].tolist() == p.topk(5).indices.tolist()
    assert torch.allclose(torch.tensor(frame["probability"].to_numpy()), p.topk(5).values)
    assert frame["logit"].tolist() == values[frame["token_id"].tolist()].tolist()
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5]
    assert frame["token"].tolist() == [TEXTS[i] for i in frame["token_id"]]


def test_ties_go_to_the_lower_id():
    values = torch.tensor([1.0, 2.0, 2.0, 0.0, 2.0], dtype=torch.bfloat16)
    assert frames.top_frame(values, text).token_id.tolist() == [1, 2, 4, 0, 3]


def test_statistics_are_computed_in_double():
    """In float32 these probabilities sum to 1 only within 1e-7."""
    frame = frames.top_frame(torch.linspace(-9, 9, 5000), str, k=5000)
    assert abs(math.fsum(frame["probability"]) - 1) < 1e-12


def test_k_is_cut_to_the_vocabulary():
    assert len(frames.top_frame(logits(1), text, k=100)) == len(TEXTS)


# ---- token_frame --------------------------------------------------------------------------------


def test_token_frame_is_the_union_of_the_top_tokens():
    runs = {"base": logits(1), "source": logits(2), "a run": logits(3)}
    frame = frames.token_frame(runs, text, k=3)
    tops = [set(frames.top_frame(values, text, 3).token_id) for values in runs.values()]
    assert set(frame.token_id) == set().union(*tops)
    assert len(frame) == frame.token_id.nunique() * 3
    assert frame["run"].cat.categories.tolist() == list(runs) and frame["run"].cat.ordered
    assert frame["run"].tolist() == list(runs) * frame.token_id.nunique()
    largest = frame.groupby("token_id", sort=False).probability.max()
    assert largest.is_monotonic_decreasing


def test_token_frame_takes_more_tokens():
    runs = {"base": logits(1), "source": logits(2)}
    plain = frames.token_frame(runs, text, k=2)
    unlikely = int(logits(1).argmin())
    assert unlikely not in set(plain["token_id"])
    more = frames.token_frame(runs, text, k=2, also=[unlikely, unlikely])
    assert set(more["token_id"]) == {*plain["token_id"], unlikely}
    assert len(more) == len(plain) + len(runs)
    # Also of the added ones, the order is that of the largest probability.
    largest = more.groupby("token_id", sort=False)["probability"].max()
    assert largest.is_monotonic_decreasing
    for outside in (-1, 12):
        with pytest.raises(RequestError, match=rf"token {outside} of `also` is out of range.*11"):
            frames.token_frame(runs, text, k=2, also=[outside])


def test_token_frame_against_torch_distributions():
    runs = {"base": logits(1), "source": logits(2)}
    for row in rows_of(frames.token_frame(runs, text)):
        values = runs[row.run].double()
        distribution = Categorical(logits=values)
        log_p = distribution.log_prob(torch.tensor(row.token_id)).item()
        assert row.log_probability == pytest.approx(log_p, abs=1e-12)
        assert row.probability == pytest.approx(math.exp(log_p), abs=1e-12)
        assert row.logit == values[row.token_id].item()


@settings(max_examples=50)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_ranks_are_exact_with_ties(whole: list[int]):
    """Few different numbers, so almost everything ties."""
    values = torch.tensor(whole, dtype=torch.float32)
    frame = frames.token_frame({"run": values}, text, k=12)
    by_hand = sorted(range(len(whole)), key=lambda i: (-whole[i], i))
    for row in rows_of(frame):
        assert by_hand[frame["rank"].loc[row.Index] - 1] == row.token_id


def test_rank_counts_the_whole_vocabulary():
    values = torch.arange(1000.0)
    frame = frames.token_frame({"up": values, "down": -values}, str, k=1)
    # In either order: the two largest probabilities may differ in their last bit.
    ranks = {(row.run, row.token_id): row.rank for row in frame.itertuples()}
    assert ranks == {("up", 0): 1000, ("down", 0): 1, ("up", 999): 1, ("down", 999): 1000}


def test_tokens_with_one_text_stay_apart():
    values = torch.tensor([5.0, 4.0] + [0.0] * 10)
    frame = frames.token_frame({"base": values, "source": values}, text, k=2)
    assert frame["token"].tolist() == [" Rome"] * 4
    assert frame.token_id.tolist() == [0, 0, 1, 1]
    assert len(frames.difference_frame(values, values.flip(0), text, k=None)) == 12


# ---- difference_frame ---------------------------------------------------------------------------


def test_kl_against_torch_distributions():
    before, after = logits(1).double(), logits(2).double()
    wanted = reference_kl(Categorical(logits=after), Categorical(logits=before)).item()
    assert frames.kl_divergence(before, after) == pytest.approx(wanted, abs=1e-12)
    frame = frames.difference_frame(before, after, text, k=None)
    assert math.fsum(frame["kl"]) == pytest.approx(wanted, abs=1e-12)


def test_kl_goes_from_after_to_before():
    """P before = (1/2, 1/2) and P after = (1/4, 3/4), by hand."""
    before, after = torch.zeros(2), torch.tensor([0.0, math.log(3)], dtype=torch.double)
    wanted = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert frames.kl_divergence(before, after) == pytest.approx(wanted, abs=1e-15)
    assert frames.kl_divergence(after, before) != pytest.approx(wanted, abs=1e-3)
    row = frames.difference_frame(before, after, text, k=None).set_index("token_id").loc[1]
    assert row.before == 0.5 and row.after == pytest.approx(0.75)
    assert row.delta == pytest.approx(0.25)
    assert row.log_ratio == pytest.approx(math.log(1.5))
    assert row.kl == pytest.approx(0.75 * math.log(1.5))
    assert (row.rank_before, row.rank_after) == (2, 1)


def test_differences_are_ordered_by_the_change_of_probability():
    frame = frames.difference_frame(logits(1), logits(2), text, k=None)
    assert frame["delta"].abs().is_monotonic_decreasing
    assert frame["delta"].min() < 0 < frame["delta"].max()  # so the order is that of magnitudes
    short = frames.difference_frame(logits(1), logits(2), text, k=4)
    pd.testing.assert_frame_equal(short, frame.head(4))


def test_a_token_that_falls_to_nothing_comes_first():
    """P falls from .94 to 1e-9; its part of the KL divergence is the smallest of all."""
    before = torch.tensor([0.02, 0.94, 0.03, 0.01], dtype=torch.double)
    after = torch.tensor([0.5, 1e-9, 0.3, 0.2 - 1e-9], dtype=torch.double)
    frame = frames.difference_frame(before.log(), after.log(), text, k=2)
    assert frame.token_id.tolist() == [1, 0]
    assert frame.before[0] == pytest.approx(0.94) and frame.delta[0] == pytest.approx(-0.94)
    assert frame.kl.abs().argmin() == 0


def test_equal_changes_are_ordered_by_token_id_and_unchanged_tokens_by_probability():
    before = torch.tensor([0.125, 0.25, 0.0625, 0.5, 0.0625], dtype=torch.double).log()
    after = before[[0, 3, 2, 1, 4]]
    frame = frames.difference_frame(before, after, text, k=None)
    assert frame.token_id.tolist() == [1, 3, 0, 2, 4]
    assert frame.delta.tolist()[2:] == [0, 0, 0]


def test_nothing_changed():
    frame = frames.difference_frame(logits(1), logits(1), text, k=3)
    assert frames.kl_divergence(logits(1), logits(1)) == 0
    assert (frame[["delta", "log_ratio", "kl"]] == 0).to_numpy().all()
    assert frame.token_id.tolist() == frames.top_frame(logits(1), text, 3).token_id.tolist()


def test_impossible_tokens_add_nothing_to_the_kl_divergence():
    before = torch.tensor([0.0, 0.0, -float("inf")])
    after = torch.tensor([0.0, -float("inf"), -float("inf")])
    assert frames.kl_divergence(before, after) == pytest.approx(math.log(2))
    assert frames.kl_divergence(after, before) == float("inf")


# ---- sweep_frame --------------------------------------------------------------------------------


def test_sweep_frame_against_one_cell_at_a_time():
    grid, base, frame = example_sweep()
    assert len(frame) == 2 * 3 * 3
    p_base = Categorical(logits=base.double()).probs
    for row in rows_of(frame[frame.probability.notna()]):
        i, j = {0: 0, 5: 1}[row.layer], {1: 0, 2: 1, 4: 2}[row.position]
        cell = grid[i, j].double()
        p = Categorical(logits=cell).probs
        t = row.target_id
        assert row.probability == pytest.approx(p[t].item(), abs=1e-12)
        assert row.base_probability == pytest.approx(p_base[t].item(), abs=1e-12)
        assert row.delta == pytest.approx((p[t] - p_base[t]).item(), abs=1e-12)
        assert row.log_ratio == pytest.approx((p[t].log() - p_base[t].log()).item(), abs=1e-11)
        assert frame["rank"].loc[row.Index] == 1 + int((cell > cell[t]).sum())
        assert row.kl == pytest.approx(frames.kl_divergence(base, cell), abs=1e-12)
        assert row.best_id == int(cell.argmax()) and row.best == TEXTS[int(cell.argmax())]
        assert row.best_probability == pytest.approx(p.max().item(), abs=1e-12)


def test_sweep_frame_places():
    frame = example_sweep()[2]
    first = frame[(frame.layer == 0) & (frame.target_id == 0)]
    assert first.position.tolist() == [1, 2, 4] and first.source_position.tolist() == [1, 2, 3]
    assert first.token_id.tolist() == [2, 3, 2] and first.label.tolist() == ["␣$x$", "↵", "␣$x$"]
    assert frame.target_id.drop_duplicates().tolist() == [0, 1, 7]
    assert frame[frame.target_id < 2].target_label.unique().tolist() == ["␣Rome"]
    assert set(frame.component) == {"block_output"}
    assert frame["head"].isna().all()


def test_cells_that_were_not_run_are_missing():
    frame = example_sweep()[2]
    missing = frame[(frame.layer == 5) & (frame.position == 4)]
    empty = ["probability", "delta", "log_ratio", "rank", "kl", "best_id", "best"]
    assert missing[[*empty, "best_probability"]].isna().to_numpy().all()
    rest = frame.drop(missing.index)
    assert rest[[*empty, "best_probability", "base_probability"]].notna().to_numpy().all()
    assert missing.base_probability.notna().all()


def test_texts_are_exact_objects_and_read_once_per_token():
    """A null character at the end is lost in numpy's own strings."""
    asked: list[int] = []

    def odd(token: int) -> str:
        asked.append(token)
        return f"{token}\ud83d\0"

    grid = logits(4).repeat(2, 3, 1)
    grid[0, 1, 5], grid[1, 0] = 50.0, NAN
    tokens = [Token(n, n, "\0" * n) for n in range(3)]
    frame = frames.sweep_frame(grid, logits(1), [0, 1], tokens, [0, 1, 2], [2, 3], odd)
    best = [None if i != i else f"{int(i)}\ud83d\0" for i in frame.best_id.astype(float)]
    assert frame.best.tolist() == best and best.count(None) == 2 and len(set(best)) == 3
    assert frame.token.tolist() == ["", "", "\0", "\0", "\0\0", "\0\0"] * 2
    assert frame.target.tolist() == ["2\ud83d\0", "3\ud83d\0"] * 6
    assert {type(text) for column in ("token", "label", "target") for text in frame[column]} == {
        str
    }
    assert sorted(asked) == sorted([2, 3, 5, int(logits(4).argmax())])


def test_a_frame_of_which_no_cell_was_run():
    frame = frames.sweep_frame(
        torch.full((1, 2, 12), NAN), logits(1), [0], TOKEN * 2, [0, 0], [3], text, head=2
    )
    assert frame[["probability", "rank", "kl", "best_id", "best"]].isna().all(axis=None)
    assert frame["head"].tolist() == [2, 2] and frame.best.tolist() == [None, None]


def test_changing_a_frame_leaves_the_statistics_as_they_are():
    log_base = logits(1).double().log_softmax(-1)
    cells = cell_statistics(logits(3)[None], log_base, [4]).take([0])

    def frame() -> pd.DataFrame:
        return frames.cells_frame(cells, log_base, [0], TOKEN, [0], follow_tokens([4]), text)

    first, second = frame(), frame()
    for column in ("rank", "best_id", "kl", "probability", "best_probability"):
        first.loc[:, column] = 0
    pd.testing.assert_frame_equal(frame(), second, check_exact=True)


def test_ranks_and_best_of_ties_go_to_the_lower_id():
    cell = torch.tensor([1.0, 2.0, 2.0, 2.0])
    frame = frames.sweep_frame(
        cell[None, None], cell, [0], [Token(0, 0, "a")], [0], [0, 1, 2, 3], text
    )
    assert frame["rank"].tolist() == [4, 1, 2, 3]
    assert frame.best_id.tolist() == [1] * 4
    assert frame["kl"].tolist() == [0.0] * 4


def test_rows_of_a_sweep_join_to_the_whole():
    grid, base, frame = example_sweep()
    tokens = [Token(1, 2, " $x$"), Token(2, 3, "\n"), Token(4, 2, " $x$")]
    parts = [
        frames.sweep_frame(
            grid[i : i + 1],
            base,
            [layer],
            tokens,
            [1, 2, 3],
            [0, 1, 7],
            text,
            source_logits=logits(9),
        )
        for i, layer in enumerate([0, 5])
    ]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame)


# ---- requests that cannot be carried out --------------------------------------------------------

A, B = logits(1), logits(2, size=5)
TOKEN = [Token(0, 0, "a")]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: frames.top_frame(A[None], text), r"run.logits\[-1\], got shape \(1, 12\)"),
        (lambda: frames.top_frame(A, text, k=0), "k must be 1 to 12 tokens, got 0"),
        (lambda: frames.top_frame(A * NAN, text), "12 of 12 values are NaN"),
        (lambda: frames.top_frame(torch.full((3,), -float("inf")), text), "every value is -inf"),
        (lambda: frames.token_frame({}, text), "runs must hold at least one run"),
        (lambda: frames.token_frame({"x": A, "y": B}, text), "'x' 12, 'y' 5"),
        (lambda: frames.token_frame({"x": A * NAN}, text), "run 'x'"),
        (lambda: frames.difference_frame(A, B, text), "'before' 12, 'after' 5"),
        (lambda: frames.difference_frame(A, A, text, k=-1), "k must be 1 to 12 tokens, got -1"),
        (
            lambda: frames.kl_divergence(A, B),
            "must share one vocabulary, got sizes 'before' 12, 'after' 5",
        ),
        (
            lambda: frames.sweep_frame(A[None, None], A, [0, 1], TOKEN, [0], [0], text),
            r"logits must have shape \(2, 1, 12\).*got shape \(1, 1, 12\)",
        ),
        (
            lambda: frames.sweep_frame(A[None, None], A, [0], TOKEN, [0, 1], [0], text),
            "2 source positions",
        ),
        (
            lambda: frames.sweep_frame(A[None, None], A, [0], TOKEN, [0], [12], text),
            "target 12 .*0 to 11",
        ),
        (
            lambda: frames.sweep_frame(A[None, None], A, [0], TOKEN, [0], [], text),
            "at least one.*0 targets",
        ),
    ],
)
def test_refusals(ask: Callable[[], object], says: str):
    with pytest.raises(RequestError, match=says):
        ask()
