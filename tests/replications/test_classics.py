"""vw.classics(): the table, runs and their verdicts, the scripts, and what is said when not run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pandas as pd
import pytest
import torch

import vene_widgets as vw
from vene_widgets.errors import RequestError
from vene_widgets.models import wrap
from vene_widgets.replications import Expected, classic
from vene_widgets.replications.catalogue import CLASSICS

NAMES = [one.name for one in CLASSICS]
BUILT_IN = [one.name for one in CLASSICS if one.forms[0].name == "built_in"]
SMOLLM2 = [one.name for one in CLASSICS if "smollm2" in [form.name for form in one.forms]]


def test_a_table_of_classics() -> None:
    found = vw.classics()
    assert len(found) == len(found.frame) == 9
    assert [one.name for one in found] == found.names == list(found.frame["name"])
    assert found["causal_tracing"] is found[3]
    assert vw.classics("causal_tracing").names == found[3:4].names == ["causal_tracing"]
    for one in found:
        assert one.question.endswith("?") and one.paper.url.startswith("https://")
        assert one.forms[-1].name == "published" and one.forms[-1].expected
        assert all(form.expected for form in one.forms)
        assert one.name in repr(found) and one.name in repr(one)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_form_agrees(name: str) -> None:
    result = vw.classics()[name].run()
    assert result.agrees is True, result.frame
    assert result.expected.keys() == result.tolerance.keys() <= result.measured.keys()
    assert list(result.frame["value"]) == list(result.measured)
    assert result.said.endswith("Agrees.") and result.model == "capitals"
    assert result.figure().labels is not None


@pytest.mark.parametrize("name", SMOLLM2)
def test_the_form_of_smollm2_agrees(smollm2: vw.LanguageModel, name: str) -> None:
    result = vw.classics()[name].run(smollm2)
    assert result.form.name == "smollm2"
    assert result.agrees is True, result.frame


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_code_gives_the_same_values(
    capitals: vw.LanguageModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = vw.classics()[name]
    script = one.code()
    assert script == one.run(capitals).code()
    assert "vene_widgets.replications" not in script and "Reading" not in script
    monkeypatch.setattr(vw, "load", lambda _name: capitals)
    names: dict[str, Any] = {}
    exec(compile(script, "script", "exec"), names)  # noqa: S102
    measured = one.run(capitals).measured
    assert {name: pytest.approx(value) for name, value in names["values"].items()} == measured


def test_every_published_form_has_a_script() -> None:
    for one in CLASSICS:
        form = one.forms[-1]
        if form.blocker is None:
            compile(one.code("published"), one.name, "exec")
            assert f'vw.load("{form.model}")' in one.code("published")


def test_a_check_of_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classic, "cached_models", list)
    found = vw.classics(["causal_tracing", "subspace_illusion"]).check()
    assert list(found["verdict"]) == [
        "agrees",
        "not run here: needs openai-community/gpt2-xl",
        "agrees",
        "not run here: its direction was trained on 2,000 prompts and is not published",
    ]
    assert "0.9424 ± 0.001" in found["expected"][0] and "0.9424" in found["measured"][0]
    assert pd.isna(found["measured"][1]) and "0.9764 ± 0.002" in found["expected"][1]
    assert list(vw.classics().check("published")["form"]) == ["published"] * 9


def test_another_figure_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    one = vw.classics()["causal_tracing"]
    form = replace(one.forms[0], expected={"clean probability": Expected(0.9, 0.04)})
    result = replace(one, forms=(form,)).run()
    assert result.agrees is False and result.verdict == "differs"
    assert result.said.endswith("(expected 0.9 ± 0.04). Differs.")


@pytest.mark.parametrize(
    ("value", "tolerance", "measured", "agrees"),
    [
        (1.0, 0.1, 1.09, True),
        (1.0, 0.1, 1.11, False),
        (1.0, 0.1, float("nan"), False),
        (2, 0.0, 2.0, True),
        (" war", 0.0, " war", True),
        (" war", 0.0, " love", False),
        (1.0, 0.1, "1.0", False),
    ],
)
def test_agreement(value: Any, tolerance: float, measured: Any, agrees: bool) -> None:
    assert Expected(value, tolerance).agrees(measured) is agrees


@pytest.mark.parametrize(
    ("name", "is_own"),
    [("openai-community/gpt2", True), ("gpt2", True), ("someone/gpt2", False), ("gpt2-xl", False)],
)
def test_a_model_of_another_owner_has_no_expected_figures(
    capitals: vw.LanguageModel, name: str, is_own: bool
) -> None:
    copy = wrap(capitals.model, capitals.tokenizer, name)
    copy.recipe = f'load("{name}")'
    copy.path = None
    one = vw.classics()["copy_suppression"]
    form = replace(one.forms[-1], arguments=one.forms[0].arguments)
    result = replace(one, forms=(form,)).run(copy)
    assert result.is_own_model is is_own and (result.agrees is None) is not is_own


def test_another_model_has_no_expected_figures(capitals: vw.LanguageModel) -> None:
    own = wrap(capitals.model, capitals.tokenizer, "mine")
    result = vw.classics()["causal_tracing"].run(own, form="built_in")
    assert result.agrees is None and result.expected == {} and result.model == "mine"
    assert "no figures for this model" in result.said.lower()
    assert result.measured["clean probability"] == pytest.approx(0.9424, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: vw.classics("rome"), "classic 'rome' is not known. Valid: 'indirect_objects', "),
        (lambda: vw.classics()["causal"], "classic 'causal' is not known."),
        (lambda: vw.classics()[0].run(form="gpt2"), "form of indirect_objects 'gpt2' is not known"),
        (lambda: vw.classics()[0].code("gpt2"), "Valid: 'built_in', 'smollm2', 'published'"),
        (lambda: vw.classics().check("gpt2"), "form 'gpt2' is not known"),
        (lambda: vw.classics(cast("Any", 3)), "expected a list of names of classics, got 3"),
        (lambda: vw.classics().check(cast("Any", 3)), "expected a list of names of forms, got 3"),
        (
            lambda: vw.classics()[0].run(form="published"),
            "needs openai-community/gpt2; pass ",
        ),
        (lambda: vw.classics()["probe_and_patch"].run(form="published"), "not run here: its inter"),
        (lambda: vw.classics()["probe_and_patch"].code("published"), "not run here: its inter"),
        (
            lambda: vw.classics()[0].run(cast("Any", 3)),
            "model must be from vw.load or vw.wrap",
        ),
    ],
)
def test_what_cannot_be_run_says_so(call: Any, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classic, "cached_models", list)
    with pytest.raises(RequestError) as raised:
        call()
    assert text in str(raised.value) and "\n" not in str(raised.value)


# Without greater_than: SmolLM2's tokenizer, which stands in here, has no years of two digits.
@pytest.mark.parametrize(
    "name",
    [c.name for c in CLASSICS if c.forms[-1].blocker is None and c.name != "greater_than"],
)
def test_published_forms_run_on_a_model_of_that_shape(smollm2: vw.LanguageModel, name: str) -> None:
    """Random weights: every published figure has a measured value, of no meaning."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    tokenizer = smollm2.tokenizer
    width = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=32,
        n_embd=48,
        n_layer=12,
        n_head=12,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    model = wrap(GPT2LMHeadModel(width).eval(), tokenizer, "shape")
    one = vw.classics()[name]
    result = one.run(model, form="published")
    assert result.agrees is None
    assert one.form("published").expected.keys() <= result.measured.keys()
    if "cells" in result.measured:
        assert result.measured["cells"] == 3 * 12 * len(model.tokens(NAMES_OF_TL))


NAMES_OF_TL = "<|endoftext|>When John and Mary went to the shops, Mary gave the bag to"
