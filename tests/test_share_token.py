"""Share tokens: an explorer's state there and back, and what is refused."""

from __future__ import annotations

import base64
import copy
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from explorer_testing import ask
from hypothesis import given, settings
from hypothesis import strategies as st

import vene_widgets as vw
from vene_widgets.explorer.export import share_token
from vene_widgets.explorer.export.share_token import Shared, SharedEntry, decode, encode

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
texts = st.text(min_size=1, max_size=30)
slots = st.builds(
    vw.Slot,
    layer=st.integers(0, 30),
    position=st.one_of(st.integers(0, 40), st.lists(st.integers(0, 40), min_size=1, unique=True)),
    strength=st.floats(0, 1),
    group=st.none() | texts,
    skip=st.booleans(),
)
experiments = st.builds(
    vw.Experiment,
    base=texts,
    sources=st.dictionaries(texts, texts, min_size=1, max_size=1),
    slots=st.lists(slots, max_size=4),
)
states = st.builds(
    Shared,
    model=st.none() | texts,
    experiment=experiments,
    component=texts,
    head=st.none() | st.integers(0, 30),
    source=st.none() | texts,
    figure=st.sampled_from(["result", "sweep_map"]),
    history=st.lists(
        st.builds(
            SharedEntry,
            name=st.none() | texts,
            experiment=experiments,
            sentence=texts,
            token_id=st.integers(0, 60_000),
            probability=st.floats(0, 1),
        ),
        max_size=4,
    ).map(tuple),
)


@settings(deadline=None)
@given(states)
def test_a_state_comes_back_from_its_token(state: Shared) -> None:
    token = encode(state)
    assert decode(token) == state
    assert decode(f"  {token[:20]}\n{token[20:]} ") == state  # as a mail breaks it
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@settings(deadline=None, max_examples=60)
@given(states, st.data())
def test_any_damage_is_noticed(state: Shared, data: st.DataObject) -> None:
    token = encode(state)
    at = data.draw(st.integers(len("vene1."), len(token) - 1))
    other = data.draw(st.sampled_from("aZ7-_").filter(lambda c: c != token[at]))
    for damaged in (token[:at] + other + token[at + 1 :], token[:at]):
        whole = len(damaged) == len(token)
        if whole and at == len(token) - 1 and decoded(damaged) == decoded(token):
            assert decode(damaged) == state  # bits of the last character that mean nothing
            continue
        with pytest.raises(vw.RequestError, match="damaged"):
            decode(damaged)


def decoded(token: str) -> bytes:
    body = token.removeprefix("vene1.")
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "not a vene_widgets token, which begins with 'vene1.'"),
        (None, "not a vene_widgets token"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.x", "not a vene_widgets token"),
        ("vene2.AAAA", "has version 2; this vene_widgets reads version 1"),
        ("vene1.", "damaged"),
        ("vene1.ÄÖ", "damaged"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(token: Any, words: str) -> None:
    with pytest.raises(vw.RequestError, match=words):
        decode(token)


def signed(content: bytes) -> str:
    packed = zlib.compress(content)
    whole = hashlib.sha256(packed).digest()[: share_token.CHECKSUM_BYTES] + packed
    return "vene1." + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def test_foreign_content_and_floods_are_refused() -> None:
    with pytest.raises(vw.RequestError, match="holds no explorer state"):
        decode(signed(b'{"model": "capitals", "experiment": {"base": 1}, "component": "x"}'))
    with pytest.raises(vw.RequestError, match="holds no explorer state"):
        decode(signed(b'{"model": null, "code": "import os"}'))
    with pytest.raises(vw.RequestError, match="more than 4 MB"):
        decode(signed(b" " * (share_token.MAX_JSON_BYTES + 1)))


@pytest.fixture
def open_one(capitals: vw.LanguageModel) -> Iterator[Callable[[Any], vw.Explorer]]:
    opened: list[vw.Explorer] = []

    def keep(explorer: vw.Explorer) -> vw.Explorer:
        opened.append(explorer)
        return explorer

    yield keep
    for explorer in opened:
        explorer.close()


def test_an_explorer_comes_back_whole(open_one: Any, capitals: vw.LanguageModel) -> None:
    slot = vw.Slot(layer=0, position=3, group="A")
    first = open_one(vw.explore(BASE, {"italy": SOURCE}, capitals, [slot], component="mlp_output"))
    first.wait()
    first.checkpoint("mine")
    for layer in (1, 2):  # the one on the screen is answered anew; the one before must travel
        first.experiment = first.experiment.replace(
            slots=(slot.model_copy(update={"layer": layer}),)
        )
        first.wait()
    token = first.state()
    assert len(token) < 1500
    second = open_one(vw.from_state(token, capitals))
    assert second.wait().experiment == first.experiment
    assert second.history == first.history and second.history[0].name == "mine"
    assert second.map["component"] == "mlp_output"
    assert second.answer["sentence"] == first.answer["sentence"]
    assert second.state() == token


def test_the_built_in_model_is_named_and_a_folder_is_not(
    capitals: vw.LanguageModel, tiny_gpt2: vw.LanguageModel, tmp_path: Path
) -> None:
    assert share_token.shared_name(capitals) == "capitals"
    assert share_token.shared_name(tiny_gpt2) is None  # wrapped
    folder = copy.copy(capitals)
    folder.name, folder.recipe = str(tmp_path), f"load({str(tmp_path)!r})"
    assert share_token.shared_name(folder) is None
    shared = Shared(model=None, experiment=vw.Experiment(base=BASE), component="block_output")
    with pytest.raises(vw.RequestError, match="cannot be loaded by name: pass your own"):
        vw.from_state(encode(shared))
    path = shared.model_copy(update={"model": str(tmp_path)})
    with pytest.raises(vw.RequestError, match="is not built in, and nothing is loaded"):
        vw.from_state(encode(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment": {"layer": 99, "position": 0}}, "layer 99"),
        ({"component": "block"}, "'block' is not known"),
        ({"source": "france"}, "source 'france'"),
        ({"history": 99_999}, "token id 99999; capitals has"),
    ],
)
def test_a_token_that_does_not_fit_the_model_opens_nothing(
    capitals: vw.LanguageModel, change: dict[str, Any], words: str
) -> None:
    experiment = vw.Experiment(base=BASE, sources=SOURCE)
    fields: dict[str, Any] = {"component": "block_output", "source": "source"}
    if "history" in change:
        past = SharedEntry(experiment=experiment, sentence="x", token_id=99_999, probability=0.5)
        change = {"history": (past,)}
    if "experiment" in change:
        experiment = experiment.replace(slots=[vw.Slot(**change["experiment"])])
        change = {}
    shared = Shared(model="capitals", experiment=experiment, **{**fields, **change})
    with pytest.raises(vw.RequestError, match=words):
        vw.from_state(encode(shared), capitals)


def test_a_map_of_any_operator_and_of_heads_comes_back(
    open_one: Any, capitals: vw.LanguageModel
) -> None:
    first = open_one(vw.explore(BASE, SOURCE, capitals))
    asked = {"component": "head_value_output", "head": "all", "layer": 2, "intervention": "mean"}
    assert ask(first, kind="sweep", **asked)["ok"]
    again = vw.from_state(first.state(), capitals).wait(30)
    try:
        assert again.map == {**first.map, "revision": again.map["revision"]}
        assert (again.map["head"], again.map["layer"]) == ("all", 2)
    finally:
        again.close()
