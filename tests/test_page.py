"""Saved pages: one file, nothing from anywhere else, no token of a prompt read as markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import vene_widgets as vw
from vene_widgets.explorer.export import full_vocabulary
from vene_widgets.explorer.export.page import page

BASE, SOURCE = "The capital of Spain is", "The capital of Italy is"
STATE = re.compile(r'<script type="application/json" data-vene-state="kept">(.*?)</script>', re.S)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[vw.Explorer, str]]:
    explorer = vw.explore(BASE, SOURCE, slots=[vw.Slot(layer=0, position=3)])
    file = explorer.to_html(tmp_path_factory.mktemp("page") / "map.html", title="a <b> map")
    yield explorer, file.read_text(encoding="utf-8")
    explorer.close()


def state_of(text: str) -> dict[str, object]:
    found = STATE.search(text)
    assert found
    return json.loads(found[1])


def test_a_page_holds_what_the_screen_shows(saved: tuple[vw.Explorer, str]) -> None:
    explorer, text = saved
    state = state_of(text)
    of_others = {"data_set", "specification", "placebo", "estimates", "generation"}  # empty here
    of_others |= {"lens", "attention", "circuit", "paths"}
    assert set(state) == {"scene", "map", "answer", "past", "picture", "steps"} | of_others
    assert not any(state[name] for name in of_others)
    assert state["answer"] == json.loads(json.dumps(explorer.answer))
    assert state["map"] == json.loads(json.dumps(explorer.map))
    picture = state["picture"]
    assert isinstance(picture, dict)
    assert picture["revision"] == explorer.answer["revision"]
    [image] = re.findall(r'src="data:image/png;base64,([^"]+)"', saved[1])
    assert base64.b64decode(image).startswith(b"\x89PNG")


def test_a_page_does_not_say_in_which_folder_the_model_is(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "mine"
    built_in = vw.load()
    hf_model: Any = built_in.model
    hf_model.save_pretrained(folder)
    built_in.tokenizer.save_pretrained(folder)
    slots = [vw.Slot(layer=0, position=3)]
    explorer = vw.explore(BASE, SOURCE, vw.load(folder), slots=slots)
    assert f"vw.load({json.dumps(str(folder))}" in explorer.code()
    text = explorer.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    explorer.close()
    assert r"model = vw.load(\"mine\"" in text
    assert "private" not in text and str(tmp_path) not in text


def test_a_page_of_six_layers_and_five_tokens_is_small(saved: tuple[vw.Explorer, str]) -> None:
    assert len(saved[1].encode()) < 450_000


def test_nothing_comes_from_anywhere_else(saved: tuple[vw.Explorer, str]) -> None:
    text = saved[1]
    outside = STATE.sub("", text)
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?(https?:)?//", outside)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]
    # These two are not covered by the default.
    assert "base-uri 'none'" in policy[1] and "form-action 'none'" in policy[1]
    for tag in ("script", "style"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]


def test_a_reader_without_scripts_finds_picture_and_sentence(
    saved: tuple[vw.Explorer, str],
) -> None:
    explorer, text = saved
    body = text.split("<body>")[1].split('<script type="application/json"')[0]
    assert "<img alt=" in body and "data:image/png;base64," in body
    assert explorer.answer["sentence"].split("“")[0] in body
    assert "<title>a &lt;b&gt; map</title>" in text


def test_no_text_is_read_as_markup() -> None:
    evil = "</script><script>alert(1)</script><!-- & \u2028"
    traits = {name: {"x": evil} for name in vw.Explorer.class_trait_names(page=True)}
    text = page(traits, evil, evil)
    assert state_of(text)["scene"] == {"x": evil}
    assert text.count("<script") == 2 and "alert(1)</" not in text.replace("&lt;", "")


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    explorer = vw.explore(BASE, SOURCE)
    try:
        with pytest.raises(vw.RequestError, match=r"map\.html' cannot be written: No such file"):
            explorer.to_html(tmp_path / "nowhere" / "map.html")
        assert explorer.run is not None
    finally:
        explorer.close()


def test_a_page_with_every_token_reads_any_of_them(
    capitals: vw.LanguageModel, tmp_path: Path
) -> None:
    explorer = vw.explore(BASE, SOURCE, capitals)
    try:
        few = explorer.to_html(tmp_path / "few.html")
        text = explorer.to_html(tmp_path / "all.html", every_token=True).read_text("utf-8")
        state: Any = state_of(text)
        plain: Any = state_of(few.read_text("utf-8"))
        swept = vw.sweep(capitals, BASE, SOURCE).logits
    finally:
        explorer.close()
    ids = [target["token_id"] for target in state["map"]["targets"]]
    assert sorted(ids) == list(range(capitals.sites.vocabulary))
    count = len(plain["map"]["targets"])
    for cell, before in zip(state["map"]["cells"], plain["map"]["cells"], strict=True):
        assert cell["probabilities"][:count] == before["probabilities"]
        assert cell["ranks"][:count] == before["ranks"]
        wanted = swept[cell["layer"], cell["position"]].double().softmax(-1)[ids]
        assert torch.allclose(torch.tensor(cell["probabilities"]).double(), wanted, atol=1e-6)
        assert sorted(cell["ranks"]) == list(range(1, len(ids) + 1))
        assert sum(cell["probabilities"]) == pytest.approx(1)
    assert len(text) < 4e6


def test_a_page_that_no_browser_would_open_is_refused() -> None:
    with pytest.raises(vw.RequestError, match="about 276 MB; the limit is 64 MB"):
        full_vocabulary.check_page_size(192, 50_257)
