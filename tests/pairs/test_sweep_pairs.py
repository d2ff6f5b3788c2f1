"""Sweeps over data sets give, pair by pair, what sweeps and runs of one pair give."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pairs_testing import capital_pairs, swap_of, unequal_pairs, word_pairs

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.explorer.wire.data_set_views import own_values
from vene_widgets.sweeps.pairs import chunks, maps
from vene_widgets.sweeps.pairs.effects import effects
from vene_widgets.sweeps.sweep import Cancelled

CLOSE = 1e-5


def sweep_pairs(model: vw.LanguageModel, pairs: Any, *arguments: Any, **options: Any) -> Any:
    return vw.sweep_pairs(model, pairs, *arguments, **{"controls": (), **options})


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama", "capitals"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"component": "mlp_output", "layers": [1, 0], "positions": [-1, 3]},
        {"component": "head_attention_value_output", "head": 1, "intervention": "addition"},
        {"intervention": "zero", "positions": ["changed", "last"]},
        {"intervention": "noise", "layers": 1},
    ],
    ids=str,
)
def test_a_data_set_has_the_frames_of_its_pairs(
    family: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    pairs = capital_pairs()
    frame = sweep_pairs(model, pairs, **options).frame
    positions = options.get("positions")
    names = {"changed": 3, "last": 4}
    one = {**options, "positions": positions and [names.get(p, p) for p in positions]}
    for number, row in pairs.iterrows():
        alone = vw.sweep(model, row.base, row.source, targets=list(row.targets), **one).frame
        found = frame[frame["pair"] == number].reset_index(drop=True)
        shared = [c for c in alone.columns if c in found.columns]
        assert len(shared) >= 17
        pd.testing.assert_frame_equal(found[shared], alone[shared], atol=CLOSE, rtol=CLOSE)
        source = vw.run(model, vw.Experiment(base=row.source)).logits[-1].double().softmax(-1)
        p = source[found["target_id"].tolist()].cpu().numpy()
        assert np.abs(found["source_probability"] - p).max() < CLOSE


def test_recovery_is_relative_to_both_plain_runs(capitals: vw.LanguageModel) -> None:
    frame = sweep_pairs(capitals, capital_pairs()).frame
    first = frame[(frame["pair"] == 0) & (frame["role"] == "target")]
    odds = {}
    for name in ("base", "source"):
        prompt = capital_pairs()[name][0]
        log_p = vw.run(capitals, vw.Experiment(base=prompt)).logits[-1].log_softmax(-1)
        odds[name] = float(log_p[capitals.token_id(" Rome")] - log_p[capitals.token_id(" Madrid")])
    expected = (first["logit_difference"] - odds["base"]) / (odds["source"] - odds["base"])
    assert np.allclose(first["recovery"], expected, atol=1e-5)
    assert first[(first["layer"] == 5) & (first["place"] == "4")]["recovery"].item() == (
        pytest.approx(1, abs=1e-5)
    )


def test_a_pair_whose_plain_runs_do_not_differ_has_no_recovery(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    base, source = "The capital of Spain is", "The capital of Italy is"
    pairs = [{"base": base, "source": base}, {"base": base, "source": source}]
    found = sweep_pairs(
        tiny_gpt2, pairs, intervention="addition", targets=[" Rome", " Madrid"], controls=()
    )
    wanted = vw.sweep(
        tiny_gpt2, base, base, intervention="addition", targets=[" Rome", " Madrid"]
    ).frame
    assert wanted["recovery"].isna().all() and wanted["log_ratio"].abs().max() > 1e-3
    recovery = found.frame.groupby("pair")["recovery"]
    assert recovery.count().tolist() == [0, len(wanted)]
    values = found.values(0, "3")
    assert np.isnan(values[0]) and np.isfinite(values[1])
    own = own_values(effects(found.answers, "recovery"))
    assert np.isnan(own[0]).all() and np.isfinite(own[1]).all()


@pytest.mark.parametrize("family", ["tiny_gpt2", "tiny_llama"])
def test_pairs_of_unequal_lengths(family: str, request: pytest.FixtureRequest) -> None:
    model: vw.LanguageModel = request.getfixturevalue(family)
    pairs = unequal_pairs()
    for options, places in (({}, ["changed", "last"]), ({"positions": ["subject", -1]}, None)):
        found = sweep_pairs(model, pairs, **options)
        if places:
            assert list(found.plan.places) == places
        frame = found.frame
        for number, pair in enumerate(pairs):
            own = frame[(frame["pair"] == number) & (frame["role"] == "target")]
            assert len(own) == 2 * model.sites.layers
            for _, cell in own.iterrows():
                log_p = swap_of(
                    model, pair["base"], pair["source"],
                    cell["layer"], cell["position"], cell["source_position"],
                )  # fmt: skip
                assert abs(log_p[cell["target_id"]].exp() - cell["probability"]) < CLOSE


def test_every_head_of_a_data_set(tiny_gpt2: vw.LanguageModel) -> None:
    pairs = capital_pairs()
    found = sweep_pairs(tiny_gpt2, pairs, "z", head="all", positions="last")
    frame = found.frame
    for number in (0, 5):
        alone = vw.sweep(
            tiny_gpt2, pairs["base"][number], pairs["source"][number], "z",
            head="all", positions=-1, targets=list(pairs["targets"][number]),
        ).frame  # fmt: skip
        own = frame[frame["pair"] == number].reset_index(drop=True)
        columns = ["head", "layer", "probability", "base_probability", "logit_difference"]
        pd.testing.assert_frame_equal(own[columns], alone[columns], atol=CLOSE)
    assert list(found.summary["head"].drop_duplicates()) == list(range(tiny_gpt2.sites.heads))


def test_the_mean_over_prompts(tiny_gpt2: vw.LanguageModel) -> None:
    prompts = ["The capital of Rome is", "The capital of Paris is"]
    pairs = capital_pairs()
    found = sweep_pairs(tiny_gpt2, pairs, intervention="mean", prompts=prompts)
    alone = vw.sweep(
        tiny_gpt2, pairs["base"][2], pairs["source"][2],
        intervention="mean", prompts=prompts, targets=list(pairs["targets"][2]),
    ).frame  # fmt: skip
    own = found.frame[found.frame["pair"] == 2].reset_index(drop=True)
    assert np.allclose(own["probability"], alone["probability"], atol=CLOSE)
    assert (own["source_position"] == alone["source_position"]).all()
    # An experiment of its own does the same.
    run = vw.run(tiny_gpt2, found.pair(2, layer=1, place="3"))
    cell = own[(own["layer"] == 1) & (own["place"] == "3") & (own["role"] == "target")]
    p = run.logits[-1].double().softmax(-1)[cell["target_id"].item()]
    assert float(p) == pytest.approx(cell["probability"].item(), abs=CLOSE)


def test_the_mean_over_prompts_of_another_length(tiny_gpt2: vw.LanguageModel) -> None:
    prompts = ["The capital of Rome Paris is", "The capital of Paris is"]
    base, source = "The capital of Spain is", "The capital of Italy is"
    options: dict[str, Any] = {"intervention": "mean", "prompts": prompts, "targets": [3, 4]}
    found = sweep_pairs(tiny_gpt2, [(base, source)], **options).frame
    alone = vw.sweep(tiny_gpt2, base, source, **options).frame
    assert found["source_position"].tolist() == alone["source_position"].tolist()
    assert np.allclose(found["probability"], alone["probability"], atol=CLOSE)


def test_the_models_own_answers_are_followed_without_targets(capitals: vw.LanguageModel) -> None:
    pairs = capital_pairs()
    found = sweep_pairs(capitals, pairs.drop(columns="targets"))
    expected = [[capitals.token_id(token) for token in row] for row in pairs["targets"]]
    assert found.answers.targets.tolist() == expected
    assert found.metric == "recovery"


def test_targets_for_every_pair(capitals: vw.LanguageModel) -> None:
    found = sweep_pairs(capitals, capital_pairs(), targets=" Rome", metric="probability")
    assert set(found.answers.targets.flatten()) == {capitals.token_id(" Rome")}
    assert sweep_pairs(capitals, capital_pairs(), targets=" Rome").metric == "delta"


def test_without_sources(capitals: vw.LanguageModel) -> None:
    pairs = capital_pairs()[["base", "targets"]]
    found = sweep_pairs(capitals, pairs, intervention="zero")
    assert found.metric == "delta"
    assert (found.frame["source_probability"] == found.frame["base_probability"]).all()
    assert found.pair(0).sources == {}


def test_chunks_of_any_size_give_the_same(tiny_gpt2: vw.LanguageModel) -> None:
    pairs = word_pairs() + unequal_pairs()
    whole = sweep_pairs(tiny_gpt2, pairs, positions=["changed", "last"])
    for size in (1, 7):
        parts = sweep_pairs(tiny_gpt2, pairs, positions=["changed", "last"], pairs_per_chunk=size)
        assert parts.answers.pairs.tolist() == list(range(len(pairs)))
        assert np.abs(parts.answers.log_p - whole.answers.log_p).max() < CLOSE
        assert (parts.answers.effect_possible == whole.answers.effect_possible).all()


def test_one_pair_is_an_ordinary_experiment(capitals: vw.LanguageModel) -> None:
    found = sweep_pairs(capitals, capital_pairs())
    assert found.pair(1) == vw.Experiment(
        base="The capital of Spain is", sources="The capital of France is"
    )
    run = vw.run(capitals, found.pair(1, layer=0, place=3))
    assert run.top(1)["token"][0] == " Paris"
    cell = found.frame.query("pair == 1 and layer == 0 and place == '3' and role == 'target'")
    p = run.logits[-1].double().softmax(-1)[capitals.token_id(" Paris")]
    assert float(p) == pytest.approx(cell["probability"].item(), abs=CLOSE)
    values = found.values(0, 3)
    assert values.is_monotonic_decreasing
    assert values[1] == pytest.approx(cell["recovery"].item())


def test_which_pairs_count(capitals: vw.LanguageModel) -> None:
    pairs = pd.concat([capital_pairs(), capital_pairs().head(2)], ignore_index=True)
    # Wrong: the source's answer is Rome; the base's answer is Madrid.
    pairs["targets"] = [*pairs["targets"][:6], (" Paris", " Madrid"), (" Paris", " Rome")]
    found = sweep_pairs(capitals, pairs)
    assert found.left_out == 0
    for keep in ("preferred", "top"):
        own = found.counting(keep)
        assert (
            own.answers.pairs.tolist() == [0, 1, 2, 3, 4, 5, 7][: 7 if keep == "preferred" else 6]
        )
        assert own.left_out == len(pairs) - len(own.answers.pairs)
        assert own.summary["n"].max() == len(own.answers.pairs)
        assert f"{own.left_out} left out" in repr(own)
    wrong = sweep_pairs(capitals, pairs.iloc[6:], keep="top")
    with pytest.raises(RequestError, match="no pair is left of 2: keep='top' counts pairs"):
        _ = wrong.summary


def test_progress_and_cancel(tiny_gpt2: vw.LanguageModel) -> None:
    seen: list[tuple[int, int]] = []
    sweep_pairs(tiny_gpt2, word_pairs(), pairs_per_chunk=8, progress=lambda *at: seen.append(at))
    assert seen == [(8, 30), (16, 30), (24, 30), (30, 30)]
    stop = threading.Event()
    with pytest.raises(Cancelled, match="stopped after 8 of 60 pairs"):
        vw.sweep_pairs(
            tiny_gpt2, word_pairs(), pairs_per_chunk=8, cancel=stop,
            progress=lambda *_: stop.set(),
        )  # fmt: skip


def test_a_model_changed_between_two_chunks_gives_no_mixed_numbers(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    import copy

    import torch

    own = vw.wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)

    def train(*_: object) -> None:
        with torch.no_grad():
            own.model.transformer.h[1].mlp.c_fc.weight[0, 0] += 1

    with pytest.raises(RequestError, match="changed while it ran"):
        sweep_pairs(own, word_pairs(), pairs_per_chunk=10, progress=train)
    assert sweep_pairs(own, word_pairs(), pairs_per_chunk=10).answers.log_p.shape[0] == 30


def test_memory_is_that_of_a_chunk(tiny_gpt2: vw.LanguageModel) -> None:
    """Between chunks, only the numbers that are kept of each pair are added."""
    import gc

    import torch

    sizes: list[int] = []

    def count(*_: object) -> None:
        gc.collect()
        alive = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
        sizes.append(sum(o.numel() for o in alive))

    sweep_pairs(tiny_gpt2, word_pairs(), pairs_per_chunk=5, progress=count)
    cells = tiny_gpt2.sites.layers * 5
    kept = 5 * (2 * cells + cells + 8)  # two targets, what is possible, the plain runs
    assert len(sizes) == 6
    assert all(after - before <= kept for before, after in pairwise(sizes))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"component": "nothing"}, "component 'nothing' is not known"),
    ({"layers": 7}, "layer 7 is out of range"),
    ({"positions": []}, "positions must name at least one place"),
    ({"positions": ["subject", "last", -1]}, "row 0: positions 'last' and -1 are both position 4"),
    ({"positions": ["nowhere"]}, "row 0: position 'nowhere' does not occur in the base"),
    ({"positions": [9]}, "row 0: position 9 is out of range"),
    ({"intervention": "nothing"}, "intervention 'nothing' is not known"),
    ({"targets": [" nothing at all"]}, "is 3 tokens|are several|expected exactly one"),
    ({"targets": [" Rome", " Rome"]}, "row 0: targets name the token ' Rome' twice"),
    ({"targets": list(range(17))}, "at most 16 tokens, got 17"),
    ({"metric": "kl"}, "metric 'kl' is not known"),
    ({"targets": " Rome", "metric": "recovery"}, "metric 'recovery' needs two targets"),
    ({"targets": " Rome", "keep": "top"}, "keep='top' needs two targets"),
    ({"keep": "right"}, "keep 'right' is not known"),
    ({"controls": "shuffle"}, "control 'shuffle' is not known"),
    ({"intervention": "zero", "controls": "random_source"}, "which this intervention does not"),
    ({"cluster": "bases"}, "cluster 'bases' is not known. Did you mean 'base'"),
    ({"seed": 1.5}, "expected an int, got 1.5"),
    ({"seed": -1}, "seed must be 0 or more, got -1"),
    ({"pairs_per_chunk": 0}, "pairs_per_chunk must be at least 1, got 0"),
    ({"client": 3}, "client must be a dask.distributed.Client or an executor"),
]


@pytest.mark.parametrize(("options", "words"), BAD, ids=[str(options) for options, _ in BAD])
def test_bad_input_is_one_sentence_before_anything_runs(
    tiny_gpt2: vw.LanguageModel,
    options: dict[str, Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something ran")

    monkeypatch.setattr(chunks, "pair_maps", refuse)
    monkeypatch.setattr(maps, "prepare_sweeps", refuse)
    with pytest.raises(RequestError, match=words):
        sweep_pairs(tiny_gpt2, capital_pairs(), **options)


def test_bad_pairs_are_named_by_their_row(tiny_gpt2: vw.LanguageModel) -> None:
    for change, words in (
        ({"source": None}, "pairs, row 4: source is missing: intervention 'vanilla' reads"),
        ({"targets": (" Rome",)}, "pairs, row 4: targets are 1 tokens, but row 0 has 2"),
        ({"base": "is " * 200}, "pairs, row 4: prompt .* has .* tokens|takes at most"),
        ({"targets": (" xyzzy", " Rome")}, "pairs, row 4: token ' xyzzy' is .* tokens"),
    ):
        pairs = capital_pairs().to_dict("records")
        pairs[4].update(change)
        with pytest.raises(RequestError, match=words):
            sweep_pairs(tiny_gpt2, pairs)
    with pytest.raises(RequestError, match="model must come from"):
        sweep_pairs("gpt2", capital_pairs())  # pyright: ignore[reportArgumentType]


def test_a_plain_run_without_a_distribution(tiny_gpt2: vw.LanguageModel) -> None:
    import copy

    import torch

    own = copy.deepcopy(tiny_gpt2.model)
    with torch.no_grad():
        own.transformer.wte.weight[tiny_gpt2.token_id(" Italy")] = torch.nan
    broken = vw.wrap(own, tiny_gpt2.tokenizer)
    with pytest.raises(RequestError, match=r"pairs 0 to 5: .* logits of pair .: .* NaN"):
        sweep_pairs(broken, capital_pairs())
