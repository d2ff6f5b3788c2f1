"""Folders that load, and folders that are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from loading_testing import (
    PROMPT,
    WORDS,
    edit_config,
    logits,
    make_config,
    make_model,
    make_tokenizer,
)
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Model

import vene_widgets as vw
from vene_widgets.explorer.export.share_token import shared_name
from vene_widgets.models import hub

# ---- what loads ----------------------------------------------------------------------------------


def test_a_folder_loads_to_the_very_model_that_was_saved(saved: Path) -> None:
    model = vw.load(saved, device="cpu")
    ids = [token.id for token in model.tokens(PROMPT)]
    assert torch.equal(logits(model.model, ids), logits(make_model().eval(), ids))
    assert [token.text for token in model.tokens(PROMPT)] == list(WORDS[:5])
    assert not any(module.training for module in model.model.modules())
    assert model.name == saved.name and str(saved) in str(model.recipe)


def test_float32_is_the_default_whatever_was_saved(tmp_path: Path, saved: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "half"))
    make_model().bfloat16().save_pretrained(folder)
    assert "bfloat16" in (folder / "config.json").read_text()
    assert vw.load(folder, device="cpu").dtype == torch.float32
    assert vw.load(folder, device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    assert vw.load(folder, device="cpu", dtype=torch.float16).dtype == torch.float16


def test_a_home_relative_folder_loads(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("USERPROFILE", str(folder.parent))
    assert vw.load(f"~/{folder.name}", device="cpu").sites.layers == 2


# ---- folders that are refused --------------------------------------------------------------------


def test_an_unknown_architecture_is_refused_before_weights_are_read(folder: Path) -> None:
    edit_config(folder, model_type="bert")
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(vw.RequestError, match=r"architecture 'bert'.*'gpt2'.*docs/families\.md"):
        vw.load(folder)
    edit_config(folder, model_type="gpt2")  # now they are read, and that fails
    with pytest.raises(vw.RequestError, match="could not be loaded"):
        vw.load(folder)


def test_a_repository_with_code_of_its_own_runs_none_of_it(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()")
    edit_config(folder, auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})
    vw.load(folder, device="cpu")
    assert not marker.exists()


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(make_model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(vw.RequestError, match=r"no safetensors weights.*'capitals'"):
        vw.load(folder)


def test_weights_that_would_be_random_are_refused(folder: Path) -> None:
    GPT2Model(make_config(tie_word_embeddings=False)).save_pretrained(folder)
    with pytest.raises(vw.RequestError, match=r"no saved values for 1 .*lm_head\.weight.*random"):
        vw.load(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "", Path("gpt2")])
def test_a_folder_that_is_not_there_is_not_sought_on_the_hub(
    name: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "unreachable_reason", lambda: pytest.fail("the hub was asked"))
    with pytest.raises(vw.RequestError, match=r"does not exist.*'capitals'"):
        vw.load(name)


def test_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(vw.RequestError, match=r"config\.json"):
        vw.load(tmp_path)


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_folder_without_a_tokenizer_says_how_to_add_one(tmp_path: Path, model_type: str) -> None:
    sizes: dict[str, Any] = {"vocab_size": 40, "hidden_size": 8, "intermediate_size": 8}
    sizes |= {"num_hidden_layers": 1, "num_attention_heads": 1}
    config = AutoConfig.for_model(model_type, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mine")
    with pytest.raises(vw.RequestError, match=r"mine' has no tokenizer .*save_pretrained.*wrap\("):
        vw.load(tmp_path / "mine")


def test_an_empty_tokenizer_counts_as_none(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    with pytest.raises(vw.RequestError, match="has no tokenizer beside its weights"):
        vw.load(folder)


def test_a_reason_goes_on_where_its_first_line_announces_more() -> None:
    assert hub.one_line(ValueError("none of:\n(1) a file,\n\n(2) a name.\nMore.")) == (
        "none of: (1) a file, (2) a name."
    )
    assert hub.one_line(ValueError("first\nsecond")) == "first"
    assert hub.one_line(ValueError("")) == "ValueError"


@pytest.mark.parametrize("name", ["mine", "./mine", "mine/", "."])
def test_the_name_of_a_folder_is_the_last_part_of_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mine = folder.rename(folder.parent / "mine")
    monkeypatch.chdir(mine if name == "." else mine.parent)
    model = vw.load(name, device="cpu")
    assert model.name == "mine" and str(model.recipe).startswith(f'load("{name}"')
    assert vw.wrap(model.model, model.tokenizer).name == "mine"
    monkeypatch.chdir(mine.parent.parent)
    assert shared_name(model) is None


def test_a_revision_of_a_folder_is_refused(saved: Path) -> None:
    with pytest.raises(vw.RequestError, match=r"revision must be None.*'main': only hub models"):
        vw.load(saved, revision="main")


def test_a_model_is_not_a_name() -> None:
    with pytest.raises(vw.RequestError, match=r"GPT2LMHeadModel.*wrap"):
        vw.load(make_model())  # type: ignore[arg-type]


def test_a_foreign_tokenizer_is_refused(folder: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([" Paris"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(vw.RequestError, match=r"1 ids beyond.*from 9.*0 to 8"):
        vw.load(folder)


def test_a_padding_token_that_was_never_embedded_is_tolerated(folder: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    assert vw.load(folder, device="cpu").sites.vocabulary == len(WORDS)
