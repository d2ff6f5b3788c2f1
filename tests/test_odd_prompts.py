"""Prompts of any text: split, run, swept, shown, written to files and code, never interpreted."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from bad_values import check_wire
from explorer_testing import SilentPainter, ask
from figure_testing import drawn, texts
from matplotlib.cbook import is_math_text
from odd_texts import ODD_TEXTS
from request_testing import refusal

import vene_widgets as vw
from vene_widgets import figures
from vene_widgets.explorer.export import panel_tables, share_token
from vene_widgets.explorer.export.page import page

LONGEST = 1024
"""Positions of the model, in which every byte and every word of the tokenizer is one token."""

DRAWN_ALWAYS = {"newlines", "emoji", "mathtext", "script"}
"""Texts whose figures are drawn in every run of the tests; the others are a long attack."""

FORMULA = re.compile(r"[\t\r\n]*[=+\-@]")
PAGE = ("scene", "map", "answer", "past", "steps")


@pytest.fixture(scope="module")
def long_model(tiny_gpt2: vw.LanguageModel, tiny_tokenizer: Any) -> vw.LanguageModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    net: Any = tiny_gpt2.model
    config = GPT2Config(**{**net.config.to_dict(), "n_positions": LONGEST})
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model: Any = GPT2LMHeadModel(config).eval()
    return vw.wrap(model.to(tiny_gpt2.device), tiny_tokenizer)


@pytest.fixture(scope="module")
def opened(long_model: vw.LanguageModel) -> Iterator[vw.Explorer]:
    """One explorer for all texts."""
    with pytest.MonkeyPatch.context() as patch:
        from vene_widgets.explorer.painter import shared

        painter = SilentPainter()
        patch.setattr(shared, "acquire", lambda client: painter)
        patch.setattr(shared, "release", lambda client: None)
        explorer = vw.explore("The capital", "The capital", long_model).wait(60)
        yield explorer
        explorer.close()


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_any_text_is_a_prompt_and_nothing_else(
    long_model: vw.LanguageModel, opened: vw.Explorer, text: str
) -> None:
    tokens = long_model.tokens(text)
    name = text[:80]
    sent = {
        "base": text,
        "sources": [[name, f"The {text}"]],
        "slots": [{"layer": 1, "position": len(tokens) - 1, "source_position": -1}],
    }
    opened.receive({"id": "r", "kind": "cancel"})
    reply = ask(opened, kind="experiment", experiment=sent)
    assert reply["ok"], reply
    assert not opened.status["error"]
    experiment = opened.experiment
    assert (experiment.base, dict(experiment.sources)) == (text, {name: f"The {text}"})
    for trait in PAGE:
        check_wire(getattr(opened, trait))

    # tables and code give the same numbers and texts again
    run = opened.run
    expected = vw.run(long_model, experiment)
    assert torch.equal(run.logits, expected.logits[-len(run.logits) :])
    for table in opened.tables().values():
        data = panel_tables.csv(table)
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
        assert len(rows) == len(table) + 1 and {len(row) for row in rows} == {len(rows[0])}
        for column in table.select_dtypes(exclude=["number", "bool"]):
            at = rows[0].index(str(column))
            assert not [row[at] for row in rows[1:] if FORMULA.match(row[at])]
    names: dict[str, Any] = {"hf_model": long_model.model, "tokenizer": long_model.tokenizer}
    exec(compile(opened.code(), "code", "exec"), names)  # noqa: S102
    assert names["experiment"] == experiment
    assert share_token.decode(opened.state()).experiment == experiment

    # a page and reprs are markup of ours alone
    state = {**{trait: getattr(opened, trait) for trait in PAGE}, "picture": {}}
    written = page(state, opened.answer["sentence"], text)
    assert written.count("<script") == 2 and written.count("<img") == 0
    assert f"<title>{html.escape(text)}</title>" in written
    [embedded] = re.findall(r'data-vene-state="kept">(.*?)</script>', written, re.S)
    assert json.loads(embedded)["scene"]["experiment"]["base"] == text
    assert not re.search(r"<(?!/?(p|table|thead|tbody|tr|th|td)\b)", run._repr_html_())


@pytest.mark.filterwarnings("ignore:Glyph")  # of a title, which `figures.png` accepts
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=name, marks=() if name in DRAWN_ALWAYS else pytest.mark.torture)
        for name, text in ODD_TEXTS.items()
    ],
)
def test_a_figure_draws_a_prompt_as_it_is(long_model: vw.LanguageModel, text: str) -> None:
    frame = vw.sweep(long_model, text, f"The {text}", layers=[0]).frame
    figure = drawn(figures.sweep_map(frame, title=text))
    assert not any(is_math_text(t.get_text()) for t in texts(figure))


def test_prompts_at_the_limit_of_the_model(long_model: vw.LanguageModel) -> None:
    longest = "The" + " capital" * (LONGEST - 1)
    run = vw.run(long_model, vw.Experiment(base=longest))
    assert torch.isfinite(run.logits[-1]).all()
    sweep = vw.sweep(long_model, longest, "The capital", positions=[LONGEST - 1], layers=[1])
    assert len(sweep.frame)
    for make in (
        lambda: vw.run(long_model, vw.Experiment(base=f"{longest} is")),
        lambda: vw.run(long_model, vw.Experiment(base="The", sources=f"{longest} is")),
        lambda: vw.sweep(long_model, f"{longest} is", "The"),
        lambda: vw.explore(f"{longest} is", "The", long_model),
    ):
        assert re.search(r"1025 tokens.*1024|1024.*1025", refusal(make))


@pytest.mark.parametrize("text", ["", "a\ud800b", "\udfff"])
def test_what_is_no_prompt_is_refused_everywhere(long_model: vw.LanguageModel, text: str) -> None:
    for make in (
        lambda: vw.run(long_model, vw.Experiment(base=text)),
        lambda: vw.sweep(long_model, text, "The"),
        lambda: vw.sweep(long_model, "The", text),
        lambda: vw.explore(text, "The", long_model),
        lambda: vw.explore("The", text, long_model),
    ):
        assert re.search("is empty|no tokens|lone surrogate", refusal(make))


def test_one_token_against_many(long_model: vw.LanguageModel) -> None:
    """Prompts of unequal lengths: every base position has a partner."""
    many = "The capital of Italy is"
    for base, source in ((" capital", many), (many, " capital")):
        frame = vw.sweep(long_model, base, source).frame
        assert set(frame["position"]) == set(range(len(base.split())))
        assert frame["source_position"].between(0, len(source.split()) - 1).all()
