"""Sets of targets in data sets: pair by pair what `sweep` gives with the same sets."""

from __future__ import annotations

import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pairs_testing import capital_pairs, swap_of, unequal_pairs

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.sweeps.pairs.results import PairSweep
from vene_widgets.sweeps.sweep import Cancelled

CLOSE = 1e-5

SETS = {"right": [" Rome", " Italy", " Paris"], "wrong": [" Madrid"]}

Own = tuple[str, ...] | str

OWN: list[tuple[Own, Own]] = [
    ((" Rome", " Italy"), (" Madrid", " Spain", " Paris")),
    ((" Paris",), (" Madrid", " Spain")),
    (" Madrid", (" Rome", " Italy")),
    ((" Paris", " France"), " Rome"),
    ((" Madrid", " Spain"), (" Paris", " France")),
    (" Rome", " Paris"),
]
"""Target and contrast of each pair: sets of several sizes, and lone tokens."""


def set_pairs() -> Any:
    pairs: Any = capital_pairs().drop(columns="targets")
    pairs["target"], pairs["contrast"] = zip(*OWN, strict=True)
    return pairs


def swept(model: vw.LanguageModel, pairs: Any, *arguments: Any, **options: Any) -> PairSweep:
    return vw.sweep_pairs(model, pairs, *arguments, **{"controls": (), **options})


def ids_of(model: vw.LanguageModel, target: Own) -> list[int]:
    several = (target,) if isinstance(target, str) else target
    return [model.token_id(token) for token in several]


def check_equal(found: pd.DataFrame, wanted: pd.DataFrame, columns: list[str]) -> None:
    """One pair's rows are those of its sweep, recovery as the numerator that it stands for."""
    runs = found.drop_duplicates("role")[["source_probability", "base_probability"]]
    source, base = np.log(runs.to_numpy()).T
    size = abs(float(source[0] - source[1] - base[0] + base[1]))
    apart = float((found["recovery"] - wanted["recovery"]).abs().max()) * size
    assert apart < CLOSE * max(1, float(wanted["recovery"].abs().max()) * size)
    rest = [name for name in columns if name != "recovery"]
    pd.testing.assert_frame_equal(found[rest], wanted[rest], atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama", "capitals"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"component": "head_attention_value_output", "head": [1, 0], "positions": [-1]},
        {"intervention": "zero", "positions": ["changed", "last"]},
    ],
    ids=str,
)
def test_named_sets_give_the_frames_of_the_pairs(
    family: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    pairs = capital_pairs()
    frame = swept(model, pairs, targets=SETS, **options).frame
    assert list(frame["target"][:2]) == list(frame["target_label"][:2]) == ["right", "wrong"]
    names = {"changed": 3, "last": 4}
    places = options.get("positions")
    one = {**options, "positions": places and [names.get(p, p) for p in places]}
    heads = one.pop("head", [None])
    for number, row in pairs.iterrows():
        alone = pd.concat(
            [
                vw.sweep(model, row.base, row.source, targets=SETS, head=head, **one).frame
                for head in heads
            ],
            ignore_index=True,
        )
        found = frame[frame["pair"] == number].reset_index(drop=True)
        shared = [name for name in alone.columns if name in found.columns]
        assert {"target_id", "contrast_id", "recovery", "log_ratio"} <= {*shared}
        check_equal(found, alone, shared)


@pytest.mark.parametrize("size", [None, 1, 4])
def test_each_pair_has_sets_of_its_own(tiny_gpt2: vw.LanguageModel, size: int | None) -> None:
    """Of unequal sizes, beside lone tokens; in one chunk or several."""
    pairs = set_pairs()
    frame = swept(tiny_gpt2, pairs, pairs_per_chunk=size).frame
    for number, (right, wrong) in enumerate(OWN):
        sets: Any = {"target": right, "contrast": wrong}
        alone = vw.sweep(tiny_gpt2, pairs["base"][number], pairs["source"][number], targets=sets)
        found = frame[frame["pair"] == number].reset_index(drop=True)
        columns = [
            *("layer", "position", "probability", "base_probability", "delta", "log_ratio"),
            *("logit_difference", "recovery", "effect_possible"),
        ]
        check_equal(found, alone.frame, columns)
    # A lone token keeps its id and its text; a set has neither.
    first = frame.drop_duplicates(["pair", "role"])
    for row in first.to_dict("records"):
        number = ("target", "contrast").index(row["role"])
        own = OWN[row["pair"]][number]
        if isinstance(own, str):
            assert (row["target"], row["target_id"]) == (own, tiny_gpt2.token_id(own))
        else:
            assert row["target"] == row["target_label"] == row["role"]
            assert row["target_id"] == -1 - number


def test_a_set_of_one_token_is_that_token(tiny_gpt2: vw.LanguageModel) -> None:
    pairs: Any = capital_pairs()
    tokens = swept(tiny_gpt2, pairs).answers
    pairs["targets"] = [tuple([token] for token in row) for row in pairs["targets"]]
    sets = swept(tiny_gpt2, pairs).answers
    for name in ("log_p", "base_log_p", "source_log_p", "base_best", "effect_possible"):
        assert np.array_equal(getattr(sets, name), getattr(tokens, name)), name


def test_numbers_are_those_of_runs_by_hand(tiny_gpt2: vw.LanguageModel) -> None:
    """Pairs of unequal lengths, against one run for each cell."""
    pairs = [
        {
            **{name: pair[name] for name in ("base", "source")},
            "targets": [[" Rome", " Italy"], [" Madrid", " Spain", " Paris"]],
        }
        for pair in unequal_pairs()
    ]
    frame = swept(tiny_gpt2, pairs).frame
    assert frame["pair"].nunique() == len(pairs)
    for row in frame[frame["role"] == "target"].to_dict("records"):
        pair = pairs[row["pair"]]
        at = row["layer"], row["position"], row["source_position"]
        log_p = swap_of(tiny_gpt2, pair["base"], pair["source"], *at)
        right, wrong = (log_p[ids_of(tiny_gpt2, tuple(own))].exp().sum() for own in pair["targets"])
        assert row["probability"] == pytest.approx(float(right), abs=CLOSE)
        assert row["logit_difference"] == pytest.approx(float((right / wrong).log()), abs=1e-4)


@pytest.mark.parametrize("keep", ["preferred", "top"])
def test_which_pairs_count(capitals: vw.LanguageModel, keep: str) -> None:
    pairs = set_pairs()
    pairs["target"] = [
        *(pairs["target"][:4]),
        # Not the source's answer: Madrid, Paris.
        *((" Madrid", " Spain"), (" Italy", " Spain")),
    ]
    pairs["source"] = [*pairs["source"][:4], *["The capital of Italy is"] * 2]
    pairs["contrast"] = [*pairs["contrast"][:4], (" Paris", " France"), (" Paris", " Rome")]
    expected: list[int] = []
    for number, row in pairs.iterrows():
        p, best = {}, {}
        for name in ("base", "source"):
            logits = vw.run(capitals, vw.Experiment(base=row[name])).logits[-1].double()
            p[name], best[name] = logits.softmax(-1), int(logits.argmax())
        right, wrong = (ids_of(capitals, row[name]) for name in ("target", "contrast"))
        odds = {name: float(one[right].sum() - one[wrong].sum()) for name, one in p.items()}
        is_top = best["base"] in wrong and best["source"] in right
        if is_top if keep == "top" else odds["base"] < 0 < odds["source"]:
            expected.append(int(str(number)))
    found = swept(capitals, pairs, keep=keep)
    assert 0 < len(expected) < len(pairs)
    assert found.answers.pairs.tolist() == expected
    # Without a source, the base's answer must be in the target.
    zeroed = swept(capitals, pairs.drop(columns="source"), intervention="zero", keep=keep)
    assert len(zeroed.answers.pairs) == 0


def test_means_controls_and_figures(tiny_gpt2: vw.LanguageModel) -> None:
    """The mean recovery is a ratio of sums; controls follow the same sets."""
    pairs = set_pairs()
    names = ["shuffled_pairs", "random_source", "matched_noise", "shuffled_weights"]
    found = swept(tiny_gpt2, pairs, controls=names)
    summary, frame = found.summary, found.frame
    cell = "layer == 1 and place == '3' and role == 'target'"
    own = frame.query(cell)
    sizes = {
        run: np.log(own[f"{run}_probability"].to_numpy())
        - np.log(
            frame.query(cell.replace("'target'", "'contrast'"))[f"{run}_probability"].to_numpy()
        )
        for run in ("base", "source")
    }
    moved = own["logit_difference"].to_numpy() - sizes["base"]
    wanted = moved.sum() / (sizes["source"] - sizes["base"]).sum()
    assert summary.query(cell)["mean"].item() == pytest.approx(wanted, abs=1e-6)
    assert set(summary["control"].dropna()) <= {*names} and found.controls == tuple(names)
    noise = found._controls["shuffled_pairs"]
    assert (noise.targets < 0).sum() == sum(isinstance(one, tuple) for own in OWN for one in own)
    for metric in vw_metrics():
        assert len(found.summarize(metric)) == len(summary)
        assert np.isfinite(found.values(1, 3)).all()
    assert found.plot() is not None


def vw_metrics() -> list[str]:
    from vene_widgets.sweeps.pairs.effects import PAIR_METRICS

    return [*PAIR_METRICS]


def test_a_folder_keeps_them(tiny_gpt2: vw.LanguageModel, tmp_path: Path) -> None:
    """A stopped sweep goes on; other sets are another sweep, another order of a set is not."""
    pytest.importorskip("pyarrow")
    pairs, stop = set_pairs(), threading.Event()
    whole = swept(tiny_gpt2, pairs, pairs_per_chunk=2).answers
    with pytest.raises(Cancelled):
        swept(
            tiny_gpt2, pairs, pairs_per_chunk=2, folder=tmp_path, cancel=stop,
            progress=lambda *_: stop.set(),
        )  # fmt: skip
    turned = pairs.copy()
    turned["target"] = [own if isinstance(own, str) else own[::-1] for own in pairs["target"]]
    again = swept(tiny_gpt2, turned, folder=tmp_path).answers
    for name in whole.FIELDS:
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    pairs["target"] = [(" Rome", " France"), *pairs["target"][1:]]
    with pytest.raises(RequestError, match="holds another sweep: its digest of the pairs"):
        swept(tiny_gpt2, pairs, folder=tmp_path)


def test_another_process_gives_the_same(device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("a worker has no simulated device")
    model, pairs = vw.load(device=device), set_pairs()
    here = swept(model, pairs, pairs_per_chunk=3).answers
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = swept(model, pairs, pairs_per_chunk=3, client=pool).answers
    assert np.array_equal(here.targets, there.targets)
    assert np.abs(here.log_p - there.log_p).max() < CLOSE


def test_on_the_screen_a_pair_of_sets_opens(tiny_gpt2: vw.LanguageModel) -> None:
    found = swept(tiny_gpt2, set_pairs())
    explorer = found.explore()
    try:
        shown = explorer.data_set
        assert (shown["metric"]["name"], shown["counted"]) == ("recovery", 6)
        assert "recovery" in shown["metric"]["title"] and len(shown["shown"]) == 6
        summary = found.summary.query("role == 'target'")
        assert [tile["mean"] for tile in shown["tiles"]] == [
            float(f"{mean:.6g}") for mean in summary["mean"]
        ]
    finally:
        explorer.close()


def test_a_specification_adds_the_probabilities_of_a_set(tiny_gpt2: vw.LanguageModel) -> None:
    row = set_pairs().iloc[0]
    pair = {name: row[name] for name in ("base", "source", "target", "contrast")}
    curve = vw.specification_curve(tiny_gpt2, [pair], 1, 3).frame
    one = curve.query("direction == 'restore' and wrong == 'swap'")
    one = one[one["metric"] == "logit_difference"].sort_values("window")["effect"].iloc[0]
    sets: Any = {"target": row["target"], "contrast": row["contrast"]}
    swap = vw.sweep(tiny_gpt2, row["base"], row["source"], layers=1, positions=3, targets=sets)
    assert one == pytest.approx(swap.frame["recovery"][0], abs=1e-4)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([[" Rome", " Italy"], []], r"row 1: targets\[1\] must name at least one token"),
        ([[" Rome", " Italy"], [" Italy"]], "row 1: target and contrast both have ' Italy'"),
        ([[" Rome", " xyzzy"], [" Italy"]], "row 1: token ' xyzzy' is"),
        ([[" Rome", 1.5], [" Italy"]], "row 1: expected an int, got 1.5"),
        ([[[" Rome"]], [" Italy"]], "row 1: expected an int"),
        ([[" Rome"]], "row 1: targets are 1 tokens, but row 0 has 2"),
        ({"right": " Rome", "wrong": " Italy"}, "row 1: targets must be tokens or lists of tokens"),
        ([range(10**6), " Italy"], "row 1: expected at most 10000 tokens of targets"),
    ],
    ids=str,
)
def test_bad_sets_are_one_sentence(tiny_gpt2: vw.LanguageModel, targets: Any, words: str) -> None:
    good = {"base": "The capital of Spain is", "source": "The capital of Italy is"}
    pairs = [{**good, "targets": [[" Rome"], [" Madrid"]]}, {**good, "targets": targets}]
    with pytest.raises(RequestError, match=words):
        swept(tiny_gpt2, pairs)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ({}, "at least one set"),
        ({"right": [" Rome"], "wrong": [" Rome"]}, "a token belongs to one set"),
        ({f"set {n}": [n] for n in range(17)}, "at most 16"),
        ({"right": [" Rome"]}, None),
    ],
    ids=["none", "twice", "17", "one"],
)
def test_bad_named_sets(tiny_gpt2: vw.LanguageModel, targets: Any, words: str | None) -> None:
    if words is None:  # one set has no contrast
        found = swept(tiny_gpt2, capital_pairs(), targets=targets)
        assert found.metric == "delta" and found.frame["logit_difference"].isna().all()
        return
    with pytest.raises(RequestError, match=words):
        swept(tiny_gpt2, capital_pairs(), targets=targets)


def test_a_circuit_says_that_it_follows_tokens(tiny_gpt2: vw.LanguageModel) -> None:
    with pytest.raises(RequestError, match="row 0: targets must be one token each here, got the"):
        vw.circuit(tiny_gpt2, set_pairs(), heads=["0.1"])
