"""Paths over several pairs: means of the paths of each, and of what hooks by hand give."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paths_by_hand import BASE, SOURCE, Hand, close, difference

import vene_widgets as vw

FRANCE, LONG = "The capital of France is", "The capital of Spain Rome is"
PAIRS = [(BASE, SOURCE), (SOURCE, FRANCE), (LONG, LONG.replace("Spain", "Italy")), (FRANCE, BASE)]
"""One of them is a token longer than the others."""

TOKENS = (" Rome", " Madrid")


def means(model: vw.LanguageModel, *arguments: Any, **options: Any) -> vw.PathMeans:
    found = vw.paths(model, *arguments, **options)
    assert isinstance(found, vw.PathMeans)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"senders": "all"},
        {"senders": "all", "norms": "frozen"},
        {"receivers": [("2.1", "k"), "mlp1"], "norms": "frozen"},
        {"receivers": ["mlp1"], "positions": " is"},
        {"mlps": "recomputed", "metric": "probability", "targets": TOKENS[:1]},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
def test_means_are_of_the_paths_of_each_pair(
    family: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    options = {"targets": TOKENS, **options}
    found = means(model, *zip(*PAIRS, strict=True), **options)
    alone = [vw.paths(model, base, source, **options) for base, source in PAIRS]
    frames = [one.frame for one in alone]
    names = ["sender_name", "sender", "sender_layer", "sender_head", "receiver"]
    pd.testing.assert_frame_equal(found.frame[names], frames[0][names])
    whole = np.mean([one.source_metric - one.base_metric for one in alone])
    assert found.source_metric - found.base_metric == pytest.approx(whole)
    for column in ("effect", "effect_frozen", "contribution"):
        each = np.stack([frame[column] for frame in frames])
        assert np.allclose(found.frame[column], each.mean(0), equal_nan=True, atol=1e-12), column
    counts = found.ranked_by
    assert counts == ("effect_frozen" if options.get("norms") else "effect")
    each = np.stack([frame[counts] for frame in frames])
    assert np.allclose(found.frame["share"], each.mean(0) / whole)
    assert (found.frame["n"] == len(PAIRS)).all()
    # By the formula: the root of the squared deviations over n (n − 1).
    error = np.sqrt(((each - each.mean(0)) ** 2).sum(0) / (len(PAIRS) * (len(PAIRS) - 1)))
    assert np.allclose(found.frame["standard_error"], error, atol=1e-12)
    assert error.max() > 1e-4
    for one, own in zip(found.pairs, alone, strict=True):
        pd.testing.assert_frame_equal(one.frame, own.frame, check_exact=True)


def test_means_are_those_of_hooks_by_hand(tiny_gpt2: vw.LanguageModel) -> None:
    frame = means(tiny_gpt2, *zip(*PAIRS, strict=True), targets=TOKENS).frame
    ids = (tiny_gpt2.token_id(" Rome"), tiny_gpt2.token_id(" Madrid"))
    for sender in ("0.1", "2.0"):
        effects: list[float] = []
        for base, source in PAIRS:
            hand = Hand(tiny_gpt2, base, source)
            plain = difference(hand.run({}), ids)
            effects.append(difference(hand.to_logits(sender), ids) - plain)
        row = frame.set_index("sender_name").loc[sender]
        assert close(row["effect"], float(np.mean(effects)), tiny_gpt2)
        assert close(row["standard_error"], float(np.std(effects, ddof=1)) / 2, tiny_gpt2)


def test_one_pair_in_a_list_is_that_pair(tiny_gpt2: vw.LanguageModel) -> None:
    alone = vw.paths(tiny_gpt2, BASE, SOURCE, senders="all")
    listed = vw.paths(tiny_gpt2, [BASE], [SOURCE], senders="all")
    table = vw.paths(tiny_gpt2, [{"base": BASE, "source": SOURCE}], senders="all")
    for one in (listed, table):
        assert isinstance(one, vw.Paths)
        pd.testing.assert_frame_equal(one.frame, alone.frame, check_exact=True)
        assert one.setup == alone.setup and repr(one) == repr(alone)
    assert "n" not in alone.frame and "standard_error" not in alone.frame


def test_a_table_has_the_targets_of_each_pair(tiny_gpt2: vw.LanguageModel) -> None:
    """As for `sweep_pairs`, the first is the source's answer; without any, the model's own."""
    rows = [
        {"base": BASE, "source": SOURCE, "target": " Rome", "contrast": " Madrid"},
        {"base": SOURCE, "source": FRANCE, "target": " Paris", "contrast": " Rome"},
    ]
    found = means(tiny_gpt2, pd.DataFrame(rows))
    ids = [[tiny_gpt2.token_id(row[n]) for n in ("target", "contrast")] for row in rows]
    assert [[*one.metric.tokens] for one in found.pairs] == ids
    assert "logit(target) − logit(contrast)" in found.setup
    one = means(tiny_gpt2, rows, metric="logit")
    assert [[*each.metric.tokens] for each in one.pairs] == [[own[0]] for own in ids]
    # For all pairs.
    same = means(tiny_gpt2, rows, targets=TOKENS)
    assert {each.metric.tokens for each in same.pairs} == {tuple(ids[0])}
    assert "“␣Rome”" in same.setup
    free = means(tiny_gpt2, [(row["base"], row["source"]) for row in rows])
    alone = [vw.paths(tiny_gpt2, row["base"], row["source"]).metric.tokens for row in rows]
    assert [each.metric.tokens for each in free.pairs] == alone


def test_figures_and_words(tiny_gpt2: vw.LanguageModel) -> None:
    found = means(tiny_gpt2, *zip(*PAIRS, strict=True), targets=TOKENS, senders="all")
    best = found.strongest(3)
    assert best["effect"].abs().tolist() == sorted(found.frame["effect"].abs())[: -3 - 1 : -1]
    assert repr(found).startswith("<PathMeans over 4 pairs: 13 paths") and " ± " in repr(found)
    for part in ("4 pairs, such as", BASE, "all tokens", "mean effect on", "n = 4"):
        assert part in found.setup
    bars: Any = found.plot(strongest=3)
    error = best["standard_error"]
    assert bars.data["low"].tolist() == pytest.approx((best["effect"] - error).tolist())
    assert bars.data["high"].tolist() == pytest.approx((best["effect"] + error).tolist())
    assert bars.data["text"][0] == (f"{best['effect'][0]:+.3g} ± {error[0]:.2g}".replace("-", "−"))
    assert bars.labels.x == "mean effect ± standard error → logits"
    plot: Any = found.plot()
    assert plot.data["note"].str.contains(" ± ").all()
    assert vw.figures.png(plot, dpi=30) and vw.figures.png(bars, dpi=30)
    last = means(tiny_gpt2, *zip(*PAIRS, strict=True), positions=-1, senders="all")
    assert "senders patched at tokens of each pair" in last.setup


def test_with_norms_held_contributions_add_up_in_the_mean(tiny_gpt2: vw.LanguageModel) -> None:
    found = means(tiny_gpt2, *zip(*PAIRS, strict=True), senders="all", targets=TOKENS)
    total = found.frame["contribution"].sum() + found.bias
    assert found.frozen_blocker is None
    assert total == pytest.approx(found.base_metric, abs=1e-4)


def test_they_can_be_copied_and_pickled(tiny_gpt2: vw.LanguageModel) -> None:
    found = means(tiny_gpt2, *zip(*PAIRS, strict=True), targets=TOKENS)
    pickled = pickle.loads(pickle.dumps(found))  # noqa: S301  # its own
    for again in (pickled, copy.deepcopy(found), copy.copy(found)):
        pd.testing.assert_frame_equal(again.frame, found.frame, check_exact=True)
        assert repr(again) == repr(found)
    assert len(pickle.dumps(found)) < 1_000_000


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([BASE], [SOURCE, BASE]), {}, "base has 1 prompts and source 2"),
        (([], []), {}, "base has 0 prompts"),
        ((BASE,), {}, "source is missing: paths need"),
        (([{"base": BASE, "source": SOURCE}, {"base": BASE}],), {}, "row 1: source is missing"),
        (([BASE, BASE], [SOURCE, LONG]), {}, "row 1: base has 5 tokens and source 6"),
        (([BASE, LONG], [SOURCE, LONG]), {"positions": " Spain "}, "row 0: .*' Spain '"),
        (
            ([{"base": BASE, "source": SOURCE, "targets": [" Rome"]}] * 2,),
            {},
            "row 0: targets .* must be two tokens",
        ),
        (
            ([{"base": BASE, "source": SOURCE, "targets": [[" Rome", " Italy"], " Madrid"]}] * 2,),
            {},
            "row 0: targets must be one token each here",
        ),
        ((7,), {}, "pairs must be a DataFrame or a list of dicts"),
        (([BASE, BASE],), {}, "row 0: expected a dict with base, source and targets"),
    ],
)
def test_bad_pairs_are_one_sentence_before_any_run(
    arguments: Any,
    options: dict[str, Any],
    words: str,
    tiny_gpt2: vw.LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: Any) -> None:
        raise AssertionError("a model ran")

    monkeypatch.setattr("vene_widgets.methods.path_request.record_residual", run)
    with pytest.raises(vw.RequestError, match=words):
        vw.paths(tiny_gpt2, *arguments, **options)


def test_numbers_that_are_not_finite_name_their_pair(request: pytest.FixtureRequest) -> None:
    import torch
    from by_hand import own_copy

    model = own_copy("tiny_gpt2", request)
    with torch.no_grad():
        model.model.transformer.wpe.weight[5] = torch.nan  # the longer pair alone has it
    with pytest.raises(vw.RequestError, match=r"pairs, row 2: .*NaN"):
        vw.paths(model, *zip(*PAIRS, strict=True), targets=TOKENS)
