"""One finding under every choice: each specification against the run that it stands for."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from pairs_testing import capital_pairs, unequal_pairs

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.experiments.pairs import read_pairs
from vene_widgets.sweeps.specification_runs import NOISE
from vene_widgets.sweeps.specification_templates import as_template, pairs_in_templates
from vene_widgets.sweeps.specifications import SpecificationCurve
from vene_widgets.sweeps.sweep import Cancelled

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"


@pytest.fixture(scope="module")
def curve(capitals: vw.LanguageModel) -> SpecificationCurve:
    return vw.specification_curve(capitals, (BASE, SOURCE), 0, "changed")


def metrics(
    model: vw.LanguageModel, *slots: vw.Slot, base: str, **sources: str
) -> dict[str, float]:
    ran = vw.run(model, vw.Experiment(base=base, sources=sources, slots=slots))
    log_p = ran.logits[-1].double().log_softmax(-1)
    rome, madrid = (float(log_p[model.token_id(word)]) for word in (" Rome", " Madrid"))
    return {
        "logit_difference": rome - madrid,
        "probability": math.exp(rome),
        "log_probability": rome,
    }


def test_every_choice_is_there_once(curve: SpecificationCurve) -> None:
    frame = curve.frame
    assert len(frame) == 2 * 4 * 2 * 3 == curve.agreement[1]
    names = ["direction", "wrong", "window", "metric"]
    assert not frame.duplicated(names).any()
    assert [frame[name].nunique() for name in names] == [2, 4, 2, 3]
    assert frame["effect"].is_monotonic_increasing
    assert curve.left_out == ()


SITE: dict[str, Any] = {"layer": 0, "position": 3}


@pytest.mark.parametrize(
    ("direction", "wrong", "base", "slots"),
    [
        ("restore", "swap", BASE, [vw.Slot(**SITE, source="other")]),
        ("corrupt", "swap", SOURCE, [vw.Slot(**SITE, source="other")]),
        ("corrupt", "zero", SOURCE, [vw.Slot(**SITE, intervention="zero")]),
        ("corrupt", "mean", SOURCE, [vw.Slot(**SITE, intervention="mean", prompts=[BASE, SOURCE])]),
        (
            "restore",
            "zero",
            SOURCE,
            [
                vw.Slot(**SITE, component="block_input", intervention="zero"),
                vw.Slot(**SITE, source="other"),
            ],
        ),
        (
            "restore",
            "mean",
            SOURCE,
            [
                vw.Slot(
                    **SITE, component="block_input", intervention="mean", prompts=[BASE, SOURCE]
                ),
                vw.Slot(**SITE, source="other"),
            ],
        ),
    ],
)
def test_each_effect_is_that_of_its_run(
    capitals: vw.LanguageModel,
    curve: SpecificationCurve,
    direction: str,
    wrong: str,
    base: str,
    slots: list[vw.Slot],
) -> None:
    low, high = (metrics(capitals, base=prompt) for prompt in (BASE, SOURCE))
    other = BASE if (direction, wrong) == ("corrupt", "swap") else SOURCE
    after = metrics(capitals, *slots, base=base, other=other)
    before = low if base == BASE else high
    if direction == "restore" and wrong != "swap":
        before = metrics(capitals, slots[0], base=base)
    found = curve.frame.query("direction == @direction and wrong == @wrong and window == 1")
    for _, row in found.iterrows():
        metric = row["metric"]
        change = after[metric] - before[metric]
        share = (change if direction == "restore" else -change) / (high[metric] - low[metric])
        assert row["effect"] == pytest.approx(share, abs=1e-6)


def test_a_window_changes_its_neighbours_too(capitals: vw.LanguageModel) -> None:
    found = vw.specification_curve(capitals, (BASE, SOURCE), 2, "last", windows=[3]).frame
    slots = [vw.Slot(layer=layer, position=4, source="other") for layer in (1, 2, 3)]
    low, high = (metrics(capitals, base=prompt) for prompt in (BASE, SOURCE))
    after = metrics(capitals, *slots, base=BASE, other=SOURCE)
    name = "probability"
    row = found.query("direction == 'restore' and wrong == 'swap' and metric == @name")
    share = (after[name] - low[name]) / (high[name] - low[name])
    assert row["effect"].item() == pytest.approx(share, abs=1e-6)


def test_noise_is_three_standard_deviations(
    capitals: vw.LanguageModel, curve: SpecificationCurve
) -> None:
    from vene_widgets.engine.running import record_states

    site = capitals.sites.site(0, "block_output")
    scale = NOISE * float(record_states(capitals, SOURCE, [site])[site].std())
    slot = vw.Slot(**SITE, intervention="noise", scale=scale, seed=0)
    low, high = (metrics(capitals, base=prompt) for prompt in (BASE, SOURCE))
    after = metrics(capitals, slot, base=SOURCE)
    row = curve.frame.query(
        "direction == 'corrupt' and wrong == 'noise' and window == 1 and metric == 'probability'"
    )
    share = (high["probability"] - after["probability"]) / (
        high["probability"] - low["probability"]
    )
    assert row["effect"].item() == pytest.approx(share, abs=1e-6)


def test_the_built_in_models_structure_is_agreed_on(
    capitals: vw.LanguageModel, curve: SpecificationCurve
) -> None:
    """Country in the lower half, last token in the upper half; nothing where it has left."""
    assert curve.agreement == (48, 48)
    assert "same sign in 48 of 48 specifications" in curve.sentence
    assert "␣Spain after block 0" in repr(curve)
    late = vw.specification_curve(capitals, (BASE, SOURCE), 5, "last")
    assert late.agreement == (48, 48)
    gone = vw.specification_curve(capitals, (BASE, SOURCE), 5, "changed", windows=[1])
    swaps = gone.frame.query("wrong == 'swap'")["effect"]
    assert swaps.abs().max() < 0.01
    assert gone.agreement[0] < 16


def test_pairs_of_a_table_and_named_places(capitals: vw.LanguageModel) -> None:
    seen: list[tuple[int, int]] = []
    found = vw.specification_curve(
        capitals, capital_pairs().head(2), 0, "subject", windows=[1],
        progress=lambda *at: seen.append(at),
    )  # fmt: skip
    assert found.frame["pair"].value_counts().to_dict() == {0: 24, 1: 24}
    assert seen[-1] == (16, 16)
    assert found.agreement == (48, 48)


def test_a_mean_needs_prompts_of_one_length(tiny_gpt2: vw.LanguageModel) -> None:
    found = vw.specification_curve(tiny_gpt2, unequal_pairs()[1:2], 1, "changed", windows=[1])
    assert set(found.frame["wrong"]) == {"swap", "zero", "noise"}
    assert found.left_out == (
        "restore × mean: a mean needs two prompts as long as the source",
        "corrupt × mean: a mean needs two prompts as long as the source",
    )


def test_one_head(capitals: vw.LanguageModel) -> None:
    found = vw.specification_curve(capitals, (BASE, SOURCE), 3, "last", "z", head=2, windows=[1])
    assert found.site == "␣is in head 2 of layer 3 (attention output)"
    slot = vw.Slot(layer=3, position=4, component="z", head=2, source="other")
    low, high = (metrics(capitals, base=prompt) for prompt in (BASE, SOURCE))
    after = metrics(capitals, slot, base=BASE, other=SOURCE)
    row = found.frame.query(
        "direction == 'restore' and wrong == 'swap' and metric == 'probability'"
    )
    share = (after["probability"] - low["probability"]) / (high["probability"] - low["probability"])
    assert row["effect"].item() == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (((BASE, SOURCE), 9, "changed"), {}, "layer 9 is out of range"),
        (((BASE, SOURCE), 0, "nowhere"), {}, "position 'nowhere' does not occur"),
        (((BASE, SOURCE), 0, 3, "nothing"), {}, r"component .* 'nothing' is not known"),
        (((BASE, SOURCE), 0, 3), {"windows": [2]}, "windows must be odd numbers of layers from 1"),
        (([{"base": BASE}], 0, 3), {}, "row 0: source is missing"),
        (
            ((BASE, BASE), 0, 3),
            {},
            "no specification could be run: .* the plain runs do not differ",
        ),
        (([], 0, 3), {}, "at least one pair"),
    ],
)
def test_bad_input(capitals: vw.LanguageModel, arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        vw.specification_curve(capitals, *arguments, **options)


def test_it_can_be_cancelled(capitals: vw.LanguageModel) -> None:
    stop = threading.Event()
    with pytest.raises(Cancelled, match="stopped after 3 of 16 runs"):
        vw.specification_curve(
            capitals, (BASE, SOURCE), 0, 3, cancel=stop,
            progress=lambda done, _: stop.set() if done == 3 else None,
        )  # fmt: skip


def test_the_words_that_differ_go_into_other_templates(capitals: vw.LanguageModel) -> None:
    pair = ("The capital of Spain is", "The capital of Italy is")
    other = "The language of {} is"
    curve = vw.specification_curve(capitals, pair, 0, "changed", templates=[other, other])
    plain = vw.specification_curve(capitals, pair, 0, "changed")
    there = ("The language of Spain is", "The language of Italy is")
    alone = vw.specification_curve(capitals, there, 0, 3)
    for template, wanted in (("The capital of {} is", plain), (other, alone)):
        rows = curve.frame[curve.frame["template"] == template]
        assert rows["effect"].tolist() == pytest.approx(wanted.frame["effect"].tolist())
    assert curve.agreement[1] == 96 and plain.frame["template"].unique().tolist() == [""]


def test_a_template_without_a_question_is_left_out(capitals: vw.LanguageModel) -> None:
    pair = ("The capital of Spain is", "The capital of Italy is")
    curve = vw.specification_curve(capitals, pair, 0, "changed", templates="The continent of {} is")
    assert curve.left_out == ("The continent of {} is: both plain runs answer ␣Europe",)
    assert len(curve.frame) == 48


@pytest.mark.parametrize(
    ("base", "source", "template", "words", "others"),
    [
        ("John, go", "Jane, go", "{}, go", "John", "Jane"),
        ("in South Korea is", "in Spain is", "in {} is", "South Korea", "Spain"),
        ("red", "blue", "{}", "red", "blue"),
        ("the Spaniards", "the Spanish", "the {}", "Spaniards", "Spanish"),
    ],
)
def test_a_template_has_whole_words(
    base: str, source: str, template: str, words: str, others: str
) -> None:
    assert as_template(base, source) == (template, words, others)
    assert template.replace("{}", words) == base and template.replace("{}", others) == source


def test_a_site_finds_its_counterpart_from_the_end_of_the_words(
    tiny_gpt2: vw.LanguageModel,
) -> None:
    base, source = "The capital of Spain is", "The capital of Liechtenstein is"
    tokens = {text: [t.text for t in tiny_gpt2.tokens(text)] for text in (base, source)}
    assert len(tokens[source]) > len(tokens[base])  # so the words have several tokens
    pair = read_pairs([(base, source)])[0]
    for place in ("changed", "last"):
        ((_, found),) = pairs_in_templates(tiny_gpt2, pair, place, ["In {} is"])
        one, other = (
            [t.text for t in tiny_gpt2.tokens(text)]
            for text in ("In Spain is", "In Liechtenstein is")
        )
        back = {"changed": -2, "last": -1}[place]
        assert found.places["site"] == len(one) + back
        assert found.source_places["site"] == len(other) + back


@pytest.mark.parametrize(
    ("templates", "pair", "position", "words"),
    [
        ("The capital is", ("a b", "a c"), "last", "must have {} once"),
        ("{} and {}", ("a b", "a c"), "last", "must have {} once"),
        ("is {} ", ("a b", "a c"), "last", "must not end with a space"),
        (["x {}"] * 17, ("a b", "a c"), "last", "16 at most, got 17"),
        ("x {}", ("a b", "a b"), "last", "one has none"),
        ("x {}", ("The capital of Spain is", "The capital of Italy is"), 1, "no counterpart"),
    ],
)
def test_bad_templates(
    capitals: vw.LanguageModel, templates: Any, pair: Any, position: Any, words: str
) -> None:
    with pytest.raises(vw.RequestError, match=words.replace("{", r"\{")):
        vw.specification_curve(capitals, pair, 0, position, templates=templates)
