"""A token is accepted as it is shown, parts of characters too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from request_testing import ITALY, SPAIN, refusal, slot, untyped

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.experiments import Experiment
from vene_widgets.models import LanguageModel
from vene_widgets.tables.token_text import visible

# ---- tokens as they are shown --------------------------------------------------------------------


@pytest.fixture(scope="module")
def metaspace() -> LanguageModel:
    """A tiny Llama with a SentencePiece-like tokenizer: `▁` for spaces, bytes as fallback."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["▁The", "▁capital", "▁of", "▁Spain", "▁Rome", "Rome", "▁", "▁▁", "R", "o", "m", "e"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {text: i for i, text in enumerate(["<unk>", "<s>", *bytes_, *words, "\n"])}
    merges = [("▁", "R"), ("▁R", "o"), ("▁Ro", "m"), ("▁Rom", "e")]
    for left, right in merges[:-1]:
        vocabulary[left + right] = len(vocabulary)
    merges += [("R", "o"), ("Ro", "m"), ("Rom", "e")]
    vocabulary |= {"Ro": len(vocabulary), "Rom": len(vocabulary) + 1}
    core = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    # As Llama 2's: a space before every text, whether or not it begins with one.
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return vw.wrap(LlamaForCausalLM(config).eval(), tokenizer, "metaspace")


def test_every_shown_text_of_a_metaspace_vocabulary_is_accepted(metaspace: LanguageModel) -> None:
    ids = metaspace.tokenizer.get_vocab()
    assert len(metaspace.tokenizer(" Rome", add_special_tokens=False)["input_ids"]) != 1
    assert metaspace.token_text(ids["▁Rome"]) == " Rome"
    assert metaspace.token_id(" Rome") == metaspace.token_id("␣Rome") == ids["▁Rome"]
    # The tokenizer's own encoding of "Rome" is `▁Rome`, but that is shown as " Rome".
    assert metaspace.token_id("Rome") == ids["Rome"]
    assert metaspace.token_text(ids["▁▁"]) == "  " and metaspace.token_id("  ") == ids["▁▁"]
    shown_once = 0
    for token_id in range(metaspace.sites.vocabulary):
        text = metaspace.token_text(token_id)
        found = [i for i in range(metaspace.sites.vocabulary) if metaspace.token_text(i) == text]
        if len(found) == 1:
            assert metaspace.token_id(text) == token_id
            shown_once += 1
    assert shown_once > 256
    swept = vw.sweep(metaspace, "The capital", "The Rome", targets=untyped([" Rome", np.int64(3)]))
    assert swept.targets == (ids["▁Rome"], 3)


def test_two_ids_with_one_text_are_listed(metaspace: LanguageModel) -> None:
    ids = metaspace.tokenizer.get_vocab()
    assert metaspace.token_text(ids["<0x0A>"]) == metaspace.token_text(ids["\n"]) == "\n"
    assert len(metaspace.tokenizer("\n", add_special_tokens=False)["input_ids"]) != 1
    text = refusal(lambda: metaspace.token_id("\n"))
    assert f"is the text of 2 ids, [{ids['<0x0A>']}, {ids[chr(10)]}]: give the id" in text


def test_a_text_that_no_vocabulary_holds(tiny_gpt2: LanguageModel) -> None:
    text = refusal(lambda: tiny_gpt2.token_id("Spain"))
    assert "expected exactly one" in text and "Did you mean ' Spain'?" in text
    assert "Did you mean" not in refusal(lambda: tiny_gpt2.token_id(""))
    assert "at most 1000 characters" in refusal(lambda: tiny_gpt2.token_id("x" * 10**7))
    assert "a lone surrogate" in refusal(lambda: tiny_gpt2.token_id("\ud800"))


def test_an_unknown_token_stands_for_no_text() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"[UNK]": 0, "Rome": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
    config = GPT2Config(vocab_size=2, n_positions=4, n_embd=4, n_layer=1, n_head=1)
    model = vw.wrap(GPT2LMHeadModel(config), tokenizer, "words")
    assert model.token_id("Rome") == 1 and model.token_id("[UNK]") == 0
    assert "expected exactly one" in refusal(lambda: model.token_id("Madrid"))


@pytest.mark.parametrize("token", [True, 1.5, None, "x" * 2000, 10**30, -1, [1]])
def test_targets_that_are_no_token(tiny_gpt2: LanguageModel, token: Any) -> None:
    assert "target" in refusal(lambda: tiny_gpt2.resolve_token(token, "target")) or isinstance(
        token, str
    )


def test_targets_of_any_kind(tiny_gpt2: LanguageModel) -> None:
    rome = tiny_gpt2.token_id(" Rome")
    for one in (" Rome", rome, np.int64(rome), torch.tensor(rome), np.str_(" Rome")):
        assert tiny_gpt2.resolve_tokens(untyped(one)) == (rome,)
    assert tiny_gpt2.resolve_tokens(untyped(np.array([rome, 3]))) == (rome, 3)
    assert tiny_gpt2.resolve_tokens(untyped(torch.tensor([rome, 3]))) == (rome, 3)
    swept = vw.sweep(tiny_gpt2, SPAIN, ITALY, layers=0, targets=untyped(np.int64(rome)))
    assert swept.targets == (rome,)
    assert "expected at most 10000" in refusal(
        lambda: vw.sweep(tiny_gpt2, SPAIN, ITALY, layers=0, targets=range(10**9))
    )


@pytest.mark.parametrize("outside", [-1, 10**9])
def test_a_token_id_outside_the_vocabulary_is_named(tiny_gpt2: vw.LanguageModel, outside: int):
    with pytest.raises(vw.RequestError, match=f"token id {outside} is out of range: ids go from 0"):
        tiny_gpt2.token_text(outside)


# ---- parts of characters -------------------------------------------------------------------------


def test_a_character_is_written_over_the_tokens_that_make_it(tiny_gpt2: LanguageModel) -> None:
    prompt = "The 🙂 西 ש is"
    tokens = tiny_gpt2.tokens(prompt)
    texts = [token.text for token in tokens]
    assert [f"🙂({part}/4)" for part in (1, 2, 3, 4)] == texts[texts.index("🙂(1/4)") :][:4]
    assert "西(3/3)" in texts and "ש(2/2)" in texts
    assert "\ufffd" not in "".join(texts)
    assert all(visible(text) == text.replace(" ", "␣") for text in texts)
    at = texts.index("西(1/3)")
    experiment = Experiment(base=prompt, sources=prompt, slots=slot(["西(1/3)", "西(2/3)"]))
    planned = plan_experiment(tiny_gpt2, experiment).slots[0]
    assert planned.base_positions == (at, at + 1)
    message = refusal(
        lambda: plan_experiment(tiny_gpt2, experiment.replace(slots=slot("西", source_position=0)))
    )
    assert "Did you mean ['西(1/3)', '西(2/3)', '西(3/3)']?" in message


@pytest.mark.parametrize("family", ["tiny_gpt2", "metaspace", "capitals"])
def test_a_part_alone_is_shown_by_its_bytes_and_comes_back(
    family: str, request: pytest.FixtureRequest
) -> None:
    model: LanguageModel = request.getfixturevalue(family)
    texts = [model.token_text(token_id) for token_id in range(model.sites.vocabulary)]
    assert not any("\ufffd" in text for text in texts)
    parts = [text for text in texts if text.startswith("<0x")]
    assert "<0xF0>" in parts and len(parts) > 100 and len(set(parts)) == len(parts)
    for text in parts:
        assert texts[model.token_id(text)] == text


def test_bytes_that_make_no_character_stay_bytes(metaspace: LanguageModel) -> None:
    from vene_widgets.models.token_pieces import Piece, texts_in_prompt

    head, tail = Piece("<0xE8>", b"\xe8"), Piece("<0xBF>is", b"\xbfis")
    assert texts_in_prompt([head, Piece(" a", None), tail]) == ["<0xE8>", " a", "<0xBF>is"]
    two = [Piece("", b"\xe8\xa5"), Piece("", b"\xbf\xe7"), Piece("", b"\x8f\xad!")]
    assert texts_in_prompt(two) == ["西(1/2)", "西(2/2)班(1/2)", "班(2/2)!"]
    assert [t.text for t in metaspace.tokens("The é")][-2:] == ["é(1/2)", "é(2/2)"]


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (
            {" Rome": [" Milan"], " Madrid": [" Paris"]},
            r"must be one token each here, got the sets",
        ),
        ({" Rome", " Madrid"}, r"have no order: write a list"),
    ],
)
def test_targets_without_an_order_are_refused(
    capitals: vw.LanguageModel, targets: Any, words: str
) -> None:
    """Names of sets would be read as tokens, and which of a set's tokens is the first is chance."""
    pair = "The capital of Spain is", "The capital of Italy is"
    calls: list[Any] = [
        lambda: vw.attribute(capitals, *pair, targets=targets),
        lambda: vw.paths(capitals, *pair, targets=targets),
        lambda: vw.circuit(capitals, *pair, heads=["3.2"], targets=targets),
        lambda: vw.lens(capitals, pair[0], targets=targets),
        lambda: capitals.resolve_tokens(targets),
    ]
    if not isinstance(targets, dict):
        calls.append(lambda: vw.sweep(capitals, *pair, targets=targets))
    for call in calls:
        with pytest.raises(vw.RequestError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_named_set_may_be_one_of_python(capitals: vw.LanguageModel) -> None:
    pair = "The capital of Spain is", "The capital of Italy is"
    sets: Any = {"right": {" Rome", " Paris"}, "wrong": frozenset({" Madrid"})}
    found = vw.sweep(capitals, *pair, targets=sets)
    listed = vw.sweep(capitals, *pair, targets={"right": [" Paris", " Rome"], "wrong": " Madrid"})
    assert found.frame.equals(listed.frame)
