"""The table of means over pairs: against the frame it comes from, and against known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pairs_testing import capital_pairs, word_pairs

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.sweeps.pairs.effects import PAIR_METRICS
from vene_widgets.sweeps.pairs.results import PairSweep
from vene_widgets.tables.columns import COLUMNS, FRAMES
from vene_widgets.tables.pair_statistics import estimate_cells


@pytest.fixture(scope="module")
def found(capitals: vw.LanguageModel) -> PairSweep:
    """Thirty pairs that are no capitals in part, so that effects differ from pair to pair."""
    controls = ["shuffled_pairs", "matched_noise"]
    return vw.sweep_pairs(capitals, word_pairs(), controls=controls)


def column(found: PairSweep, name: str, **where: Any) -> np.ndarray:
    frame = found.frame
    for key, value in where.items():
        frame = frame[frame[key] == value]
    return frame[name].to_numpy()


@pytest.mark.parametrize("metric", ["probability", "delta", "log_ratio", "logit_difference"])
@pytest.mark.parametrize("role", ["target", "contrast"])
def test_means_are_those_of_the_frame(found: PairSweep, metric: str, role: str) -> None:
    summary = found.summarize(metric)
    assert list(summary.columns) == list(FRAMES["pair_summary"])
    means = found.frame.groupby(["layer", "place", "role"])[metric].mean()
    for _, row in summary[summary["role"] == role].iterrows():
        assert row["mean"] == pytest.approx(means[row["layer"], row["place"], role], abs=1e-12)
        assert row["n"] == 30
        assert row["units"] == 6  # distinct bases
        assert row["low"] <= row["mean"] <= row["high"]


def test_recovery_is_a_ratio_of_sums(found: PairSweep) -> None:
    difference = found.frame.groupby(["layer", "place", "role"])["logit_difference"].sum()
    summary = found.summary
    base, source = (
        found.summarize("logit_difference").iloc[0][name] * 30
        for name in ("base_mean", "source_mean")
    )
    for _, row in summary[summary["role"] == "target"].iterrows():
        total = difference[row["layer"], row["place"], "target"]
        assert row["mean"] == pytest.approx((total - base) / (source - base), abs=1e-9)
    assert (summary["base_mean"] == 0).all()
    assert (summary["source_mean"] == 1).all()


def test_intervals_and_p_are_those_of_the_statistics(found: PairSweep) -> None:
    summary = found.summarize("delta", confidence=0.9, bootstraps=499, permutations=63)
    live = summary[(summary["role"] == "target") & summary["effect_possible"]]
    values = np.stack(
        [
            column(found, "delta", layer=row["layer"], place=row["place"], role="target")
            for _, row in live.iterrows()
        ],
        axis=1,
    )
    own = estimate_cells(
        values, clusters=found.pairs["base"].tolist(), confidence=0.9, bootstraps=499,
        permutations=63, seed=0,
    )  # fmt: skip
    for name in ("low", "high", "p", "q", "p_max"):
        assert np.allclose(live[name], getattr(own, name), equal_nan=True), name
    assert summary.attrs["confidence"] == 0.9


def test_cells_that_cannot_change_anything_are_not_tested(found: PairSweep) -> None:
    dead = found.summary[~found.summary["effect_possible"]]
    assert set(dead["place"]) >= {"0", "1", "2"}
    assert dead[["p", "q", "p_max", "control_p"]].isna().all(axis=None)
    assert (dead["mean"] == 0).all()
    assert dead["explained"].all()


def test_a_real_effect_is_beyond_its_controls(capitals: vw.LanguageModel) -> None:
    """In the built-in model the country carries the answer in layer 0, and nothing in layer 5."""
    names = sorted(
        word.removeprefix("Ġ")
        for word in capitals.tokenizer.get_vocab()
        if word.startswith("Ġ") and word[1:2].isupper()
    )
    answers = {}
    for name in names:
        prompt = f"The capital of {name} is"
        top = vw.run(capitals, vw.Experiment(base=prompt)).top(1)
        if top["probability"][0] > 0.9:
            answers[name] = top["token"][0]
        if len(answers) == 12:
            break
    pairs = [
        {
            "base": f"The capital of {one} is",
            "source": f"The capital of {other} is",
            "targets": (answers[other], answers[one]),
        }
        for one in answers
        for other in answers
        if answers[one] != answers[other]
    ]
    found = vw.sweep_pairs(
        capitals, pairs, controls=["shuffled_pairs", "random_source", "matched_noise"]
    )
    summary = found.summary.query("role == 'target' and place == '3'").set_index("layer")
    rows: Any = summary.to_dict("index")
    carries, empty = rows[0], rows[4]
    assert carries["mean"] > 0.9
    assert carries["q"] < 0.001
    assert carries["control"] in ("shuffled_pairs", "random_source")
    assert 0.3 < carries["control_mean"] < 0.7  # the base's answer goes, the source's does not come
    assert not carries["explained"]
    assert empty["explained"]
    assert abs(empty["mean"]) < 0.05


def test_clusters(found: PairSweep) -> None:
    from dataclasses import replace

    alone = replace(found, cluster=None).summary
    assert alone["units"].iloc[0] == 30
    assert found.summary["units"].iloc[0] == 6
    assert not np.allclose(alone["low"], found.summary["low"])
    assert (alone["mean"] == found.summary["mean"]).all()


def test_controls_are_compared_pair_by_pair(found: PairSweep) -> None:
    """The p of no difference is that of the differences, whatever the spread between pairs."""
    shuffled = found._controls["shuffled_pairs"]
    mine = found.answers.log_p[..., 0] - found.answers.log_p[..., 1]
    other = shuffled.log_p[..., 0] - shuffled.log_p[..., 1]
    possible = found.answers.effect_possible.reshape(30, -1).any(0)
    own = estimate_cells(
        (mine - other).reshape(30, -1)[:, possible], clusters=found.pairs["base"].tolist(), seed=0
    )
    from dataclasses import replace

    only = replace(found, _controls={"shuffled_pairs": shuffled}).summarize("logit_difference")
    rows = only[(only["role"] == "target") & only["effect_possible"]]
    assert np.allclose(rows["control_p"], own.p)


def test_pairs_that_a_control_lacks_do_not_count_in_it(capitals: vw.LanguageModel) -> None:
    alone = {"base": "The capital of Rome Spain is", "source": "The capital of Italy is"}
    pairs = [{**alone, "targets": (" Rome", " Madrid")}, *word_pairs()]
    options: dict[str, Any] = {"positions": ["changed", "last"], "metric": "delta"}
    with_it = vw.sweep_pairs(capitals, pairs, **options)
    assert with_it._controls["shuffled_pairs"].pairs.tolist() == list(range(1, 31))
    summary = with_it.summary
    live = summary["effect_possible"]
    controls = with_it._controls["shuffled_pairs"]
    effect = np.exp(controls.log_p) - np.exp(controls.base_log_p)[:, None, None, None]
    means = effect.mean(0)[0].flatten()
    assert np.allclose(summary["control_mean"][live], means[live.to_numpy()])
    assert (summary["n"] == 31).all()


def test_without_controls(capitals: vw.LanguageModel) -> None:
    summary = vw.sweep_pairs(capitals, capital_pairs(), controls=()).summary
    assert summary["control"].isna().all()
    assert summary[["control_mean", "control_p", "control_q"]].isna().all(axis=None)
    live = summary["effect_possible"]
    assert not summary[live]["explained"].any()
    assert summary[live]["p"].notna().all()


def test_attributes_say_how_it_was_made(found: PairSweep) -> None:
    attributes = found.summary.attrs
    assert attributes["metric"] == "recovery"
    assert attributes["pairs"] == 30
    assert attributes["units"] == 6
    assert attributes["left_out"] == 0
    assert attributes["controls"] == ("shuffled_pairs", "matched_noise")
    assert attributes["correction"] == "Benjamini-Hochberg"


def test_every_column_is_described() -> None:
    for name in ("pair_frame", "pair_summary"):
        assert set(FRAMES[name]) <= set(COLUMNS)


def test_an_unknown_metric_names_the_valid_ones(found: PairSweep) -> None:
    with pytest.raises(RequestError, match=f"Valid: {', '.join(map(repr, PAIR_METRICS))}"):
        found.summarize("kl")
    with pytest.raises(RequestError, match="confidence"):
        found.summarize(confidence=2.0)


def test_the_seed_decides(capitals: vw.LanguageModel) -> None:
    tables = [
        vw.sweep_pairs(capitals, word_pairs(), controls=(), seed=seed).summary for seed in (0, 0, 1)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not np.allclose(tables[0]["low"], tables[2]["low"])
