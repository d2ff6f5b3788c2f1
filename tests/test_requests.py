"""Requests of any form: one sentence where they are wrong, and what is shown is accepted."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import pickle
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ValidationError

import vene_widgets as vw
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.engine.positions import resolve_positions
from vene_widgets.errors import RequestError, choose, closest, shown
from vene_widgets.experiments import Experiment, Slot, SweepRequest, limits
from vene_widgets.explorer.export import share_token
from vene_widgets.explorer.session.feature_widget import REQUESTS
from vene_widgets.explorer.wire.error_text import error_text
from vene_widgets.models import LanguageModel
from vene_widgets.models.sites import Sites
from vene_widgets.sweeps.planning import plan_sweep
from vene_widgets.tables.token_text import visible

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
LONG = 450
"""Longest error of a wrong value, in characters; the list of components is most of it."""


def slot(position: Any = 3, **more: Any) -> Slot:
    return Slot(**{"layer": 0, "position": position, **more})


def untyped(value: object) -> Any:
    """A value whose type a checker is not to compare with the annotations."""
    return value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def refusal(make: Callable[[], object]) -> str:
    """The error's text, which is one short line without pydantic's words."""
    with pytest.raises(RequestError) as caught:
        make()
    text = str(caught.value)
    assert "\n" not in text and len(text) <= LONG, text
    assert "pydantic" not in text and "validation error" not in text and "type=" not in text
    assert caught.value.__cause__ is None
    return text


# ---- one error, one sentence ---------------------------------------------------------------------

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: slot(layer="0"), "layer: expected an int, got '0'"),
    (lambda: slot(layer=1.5), "layer: expected an int, got 1.5"),
    (lambda: slot(layer=np.True_), "layer: True is a bool: expected an int"),
    (lambda: slot(layer=10**5000), "layer: expected an int of less than 2**63, got <int of about"),
    (lambda: Slot.model_validate({"layer": 0}), "position is missing"),
    (lambda: slot(1.5), "position: expected an int, a list of ints and token texts, one token's"),
    (lambda: slot(nested(900)), "position: expected an int"),
    (lambda: slot(head="all"), "head: expected an int, got 'all'"),
    (lambda: slot(strength=True), "strength: expected a number, got True"),
    (lambda: slot(strength="much"), "strength: expected a number, got 'much'"),
    (lambda: slot(strength=float("nan")), "strength: expected a finite number, got nan"),
    (lambda: slot(scale=-1), "scale: expected greater than or equal to 0, got -1"),
    (lambda: slot(skip="maybe"), "skip: expected a valid boolean"),
    (lambda: slot(component=3), "component: expected a valid string, got 3"),
    (lambda: slot(intervention=[1]), "intervention: expected a valid string, got [1]"),
    (lambda: slot(subspace=1), "subspace: expected a list of dims, got 1; write [1] for one"),
    (lambda: slot(partition=5), "partition: expected a dict of names and ranges, got 5"),
    (lambda: slot(prompts=[5]), "prompts[0]: expected a prompt (a str), got 5"),
    (lambda: slot(prompts=5), "prompts: expected a list of prompts, got 5"),
    (lambda: slot(colour="red"), "field of Slot 'colour' is not known"),
    (lambda: Slot(0, 3), "Slot takes its fields by name, as in Slot(layer=0, position=...)"),  # type: ignore[call-arg]
    (lambda: Experiment(base=3), "base: expected a prompt (a str), got 3"),  # type: ignore[arg-type]
    (lambda: Experiment(base=""), "base '' is empty: expected a prompt of at least one token"),
    (lambda: Experiment(base="a\ud800"), "a lone surrogate at character 1"),
    (lambda: Experiment(base="a", sources=5), "sources: expected a prompt, or a dict of names"),  # type: ignore[arg-type]
    (lambda: Experiment(base="a", sources={"s": 3}), "sources.s: expected a prompt (a str), got 3"),  # type: ignore[dict-item]
    (lambda: Experiment(base="a", slots=5), "slots: expected a Slot or a list of Slots, got 5"),  # type: ignore[arg-type]
    (lambda: Experiment(base="a", slots="abc"), "slots: expected a Slot or a list of Slots"),  # type: ignore[arg-type]
    (
        lambda: Experiment(base="a", slots=untyped([1, 2, 3])),
        "slots[0]: expected a value of type Slot, got 1",
    ),
    (
        lambda: Experiment(base="a", mode=untyped("both")),
        "mode: expected 'parallel' or 'serial', got 'both'",
    ),
    (lambda: Experiment.model_validate(5), "expected a value of type Experiment, got 5"),
    (lambda: Experiment.model_validate_json("{"), "Invalid JSON"),
    (lambda: Experiment.model_validate_json("[" * 900), "Invalid JSON"),
    (lambda: Experiment.model_validate_json("\ud800"), "unicode"),
    (lambda: Experiment.model_validate_json(5), "expected JSON text, got 5"),  # type: ignore[arg-type]
    (lambda: Experiment(base="a").replace(base=3), "base: expected a prompt (a str), got 3"),
    (lambda: Experiment(base="a").replace(bas="b"), "Did you mean 'base'?"),
    (lambda: slot().replace(position=[]), "position [] is empty"),
    (lambda: setattr(slot(), "layer", 2), "Slot is frozen: layer cannot be changed"),
    (lambda: delattr(slot(), "layer"), "Slot is frozen"),
    (lambda: SweepRequest(layers=1.5), "layers: expected an int, got 1.5"),  # type: ignore[arg-type]
    (lambda: SweepRequest(layers="all"), "layers: expected an int or a list of ints, got 'all'"),  # type: ignore[arg-type]
    (lambda: SweepRequest(component="blok_output"), "Did you mean 'block_output'?"),
    (lambda: SweepRequest(intervention="vanila"), "Did you mean 'vanilla'?"),
]


@pytest.mark.parametrize(("make", "words"), WRONG)
def test_a_wrong_request_is_one_sentence(make: Callable[[], object], words: str) -> None:
    assert words in refusal(make)


def test_two_problems_are_reported_and_the_others_are_counted() -> None:
    text = refusal(lambda: Slot(layer="a", position=1.5, head="b", rank="c"))  # type: ignore[arg-type]
    assert text.startswith("layer: ") and "; position: " in text and "rank" not in text
    assert text.endswith("; and 2 more")


def test_a_single_slot_is_one_slot() -> None:
    one = Experiment(base=SPAIN, sources=ITALY, slots=slot())
    assert one == Experiment(base=SPAIN, sources=ITALY, slots=[slot()])
    assert one.replace(slots=slot(2)).slots == (slot(2),)


def test_inside_another_model_problems_are_pydantics_own() -> None:
    class Message(BaseModel):
        experiment: Experiment

    with pytest.raises(ValidationError) as caught:
        Message.model_validate({"experiment": {"base": "a", "slots": [{"layer": 0}]}})
    assert caught.value.errors()[0]["loc"] == ("experiment", "slots", 0, "position")


def test_numbers_of_numpy_and_torch_become_plain_ones() -> None:
    one = slot(
        [np.int64(1), torch.tensor(2)],
        layer=np.int32(1),
        strength=np.float32(0.5),
        skip=np.True_,
        seed=torch.tensor(7),
        intervention=np.str_("noise"),
        subspace=np.arange(2),
        partition={"left": np.array([0, 1])},
    )
    fields = one.model_dump()
    assert fields["position"] == (1, 2) and fields["strength"] == 0.5 and fields["skip"] is True
    plain = {int, str, float, bool, tuple, dict, type(None), type(one.partition)}
    assert {type(value) for value in fields.values()} <= plain
    assert Slot.model_validate_json(one.model_dump_json()) == one
    assert type(Experiment(base=np.str_("a")).base) is str


# ---- synonyms and guesses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "head", "ours"),
    [
        ("resid_pre", None, "block_input"),
        ("resid_post", None, "block_output"),
        ("attn_out", None, "attention_output"),
        ("mlp_out", None, "mlp_output"),
        ("post", None, "mlp_activation"),
        ("pattern", None, "attention_weight"),
        ("z", None, "attention_value_output"),
        ("z", 1, "head_attention_value_output"),
        ("q", 0, "head_query_output"),
        ("k", None, "key_output"),
        ("v", 2, "head_value_output"),
    ],
)
def test_transformer_lens_names_are_answered_with_ours(
    tiny_gpt2: LanguageModel, theirs: str, head: int | None, ours: str
) -> None:
    assert slot(component=theirs, head=head) == slot(component=ours, head=head)
    assert SweepRequest(component=theirs, head=head).component == ours
    assert slot(component=ours, head=head).replace(component=theirs).component == ours
    if ours != "attention_weight":
        assert tiny_gpt2.sites.site(0, theirs, head) == tiny_gpt2.sites.site(0, ours, head)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("swap", "vanilla"),
        ("patch", "vanilla"),
        ("interchange", "vanilla"),
        ("ablate", "zero"),
        ("knockout", "zero"),
        ("mean_ablate", "mean"),
    ],
)
def test_everyday_names_of_interventions(name: str, ours: str) -> None:
    assert slot(intervention=name, prompts=[SPAIN]).intervention == ours
    assert SweepRequest(intervention=name).intervention == ours


@pytest.mark.usefixtures("restored_registry")
def test_a_registered_name_is_no_synonym() -> None:
    vw.register("swap", lambda base, source: base + source)
    assert slot(intervention="swap").intervention == "swap"


def test_hooks_and_false_friends_of_transformer_lens_are_explained() -> None:
    text = refusal(lambda: slot(component="blocks.3.hook_resid_post"))
    assert "write layer=3, component='block_output'" in text
    assert "component='head_attention_value_output'" in refusal(
        lambda: slot(component="blocks.3.attn.hook_z", head=1)
    )
    assert "before the MLP's norm" in refusal(lambda: slot(component="mlp_in"))
    assert "Valid: 'block_input'" in refusal(lambda: slot(component="blocks.3.ln1.hook_scale"))


def test_unlike_names_are_not_suggested() -> None:
    names = ["gpt2", "llama"]
    for name in ("opt", "gpt_neox", "gemma2", "bert"):
        assert closest(name, names) is None
    assert closest("Lama", names) == "llama" and closest(" GPT2", names) == "gpt2"
    with pytest.raises(RequestError) as caught:
        choose("x" * 10**7, [f"name {i}" for i in range(1000)], "name")
    assert len(str(caught.value)) < 1000 and "(1000 in all)" in str(caught.value)


@pytest.mark.parametrize("kind", ["falcon", "gpt_bigcode", "gemma4", "mpt"])
def test_another_family_is_refused_without_a_guess(kind: str) -> None:
    module: Any = torch.nn.Linear(2, 2)
    module.config = type("Config", (), {"model_type": kind})()
    text = refusal(lambda: Sites(module))
    assert f"architecture '{kind}' is not known: the families that work are 'gpt2'" in text
    assert "Did you mean" not in text and "models/architectures/" in text


# ---- positions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "stored", "found"),
    [
        ("all", "all", (0, 1, 2, 3, 4)),
        (slice(None), "all", (0, 1, 2, 3, 4)),
        (slice(1, 4), "1:4", (1, 2, 3)),
        ("1:4", "1:4", (1, 2, 3)),
        (slice(-2, None), "-2:", (3, 4)),
        (slice(3, 99), "3:99", (3, 4)),
        (slice(None, None, -2), "::-2", (4, 2, 0)),
        (range(1, 4), (1, 2, 3), (1, 2, 3)),
        ([" Spain", " is"], (" Spain", " is"), (3, 4)),
        ([" Spain", -1, np.int64(0)], (" Spain", -1, 0), (3, 4, 0)),
        (np.array(["The"]), ("The",), (0,)),
        ("␣Spain", "␣Spain", (3,)),
    ],
)
def test_several_positions(
    tiny_gpt2: LanguageModel, written: Any, stored: Any, found: tuple[int, ...]
) -> None:
    one = slot(written)
    assert one.position == stored and type(one.position) is type(stored)
    assert Slot.model_validate_json(one.model_dump_json()) == one
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one  # noqa: S301  # our own
    assert hash(one) == hash(slot(stored))
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=one)
    (planned,) = plan_experiment(tiny_gpt2, experiment).slots
    assert planned.base_positions == planned.source_positions == found
    request = SweepRequest(positions=written)
    assert SweepRequest.model_validate_json(request.model_dump_json()) == request
    assert plan_sweep(tiny_gpt2, SPAIN, ITALY, request).positions == found
    ints = vw.run(tiny_gpt2, experiment.replace(slots=slot(list(found))))
    assert torch.equal(vw.run(tiny_gpt2, experiment).logits, ints.logits)
    script = vw.script(tiny_gpt2, experiment)
    scope: dict[str, Any] = {"vw": vw}
    start, stop = script.index("experiment = "), script.index("run = ")
    exec(script[start:stop], scope)  # noqa: S102
    assert scope["experiment"] == experiment


def test_in_a_list_a_text_is_a_tokens(tiny_gpt2: LanguageModel) -> None:
    tokens = tuple(tiny_gpt2.tokens("all:1"))
    texts = [token.text for token in tokens]
    assert resolve_positions("all", tokens, "position", "base") == tuple(range(len(tokens)))
    assert resolve_positions(":", tokens, "position", "base") == (texts.index(":"),)
    with pytest.raises(RequestError, match="'all' does not occur"):
        resolve_positions(["all"], tokens, "position", "base")
    whole = tuple(vw.models.Token(i, i, text) for i, text in enumerate(["all", " all", "1:"]))
    assert resolve_positions(["all"], whole, "position", "base") == (0,)
    assert resolve_positions(["1:"], whole, "position", "base") == (2,)


def test_all_of_prompts_of_unequal_length_is_refused(tiny_gpt2: LanguageModel) -> None:
    longer = "The capital of Italy is Rome"
    for position in ("all", slice(1, None)):
        experiment = Experiment(base=SPAIN, sources=longer, slots=slot(position))
        text = refusal(lambda e=experiment: plan_experiment(tiny_gpt2, e))
        assert "pairs" in text and "both need the same number" in text
    # What counts from the end does so in each prompt.
    for position, source in ((slice(-2, None), (4, 5)), (-1, (5,)), ([" Spain", -1], (3, 5))):
        experiment = Experiment(base=SPAIN, sources=longer, slots=slot(position))
        assert plan_experiment(tiny_gpt2, experiment).slots[0].source_positions == source
    explicit = slot("all", source_position=[0, 1, 2, 3, 5])
    experiment = Experiment(base=SPAIN, sources=longer, slots=explicit)
    assert plan_experiment(tiny_gpt2, experiment).slots[0].source_positions == (0, 1, 2, 3, 5)
    # A sweep aligns them.
    assert plan_sweep(tiny_gpt2, SPAIN, longer, SweepRequest(positions="all")).positions == (
        *range(5),
    )


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ((3, 3), "position 3 is named twice in [3, 3]"),
        ([" is", " is"], "position ' is' is named twice"),
        (slice(0, 3, 0), "a slice's step must not be 0"),
        (slice("a"), "expected an int, got 'a'"),
        ([slice(1)], "expected an int, a list of ints"),
    ],
)
def test_positions_that_mean_nothing(position: Any, words: str) -> None:
    assert words in refusal(lambda: slot(position))
    assert words.removeprefix("position") in refusal(lambda: SweepRequest(positions=position))


def test_a_source_position_may_be_read_twice(tiny_gpt2: LanguageModel) -> None:
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot([2, 3], source_position=[3, 3]))
    assert plan_experiment(tiny_gpt2, experiment).slots[0].source_positions == (3, 3)


@pytest.mark.parametrize(
    ("text", "guess"),
    [("Spain", " Spain"), (" spain", " Spain"), ("the", "The"), (" Spian", " Spain")],
)
def test_a_text_that_is_almost_a_tokens_is_guessed(
    tiny_gpt2: LanguageModel, text: str, guess: str
) -> None:
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot(text))
    message = refusal(lambda: plan_experiment(tiny_gpt2, experiment))
    assert "does not occur in the base" in message
    assert f"Did you mean {guess!r}?" in message and "3 ' Spain'" in message


def test_an_empty_slice_and_a_long_prompt_are_told_in_one_line(tiny_gpt2: LanguageModel) -> None:
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot("9:"))
    assert "'9:' has no positions in the base" in refusal(
        lambda: plan_experiment(tiny_gpt2, experiment)
    )
    tokens = tuple(vw.models.Token(i, i, f" word{i}") for i in range(5000))
    with pytest.raises(RequestError, match=r"5000 tokens.*0 ' word0'.*…, 4988 .*4999 ' word4999'"):
        resolve_positions(5000, tokens, "position", "base")


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


# ---- lengths of prompts --------------------------------------------------------------------------


def with_rope(tokenizer: Any, **rope: Any) -> LanguageModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=8,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            rope_parameters={"rope_theta": 10000.0, **rope},
        )
        return vw.wrap(LlamaForCausalLM(config).eval(), tokenizer, "rope")


@pytest.mark.parametrize("kind", ["dynamic", "linear", "yarn"])
def test_scaled_rotary_positions_have_no_end(tiny_tokenizer: Any, kind: str) -> None:
    model = with_rope(tiny_tokenizer, rope_type=kind, factor=2.0)
    base, source = ("The capital of Spain is" * 4 + end for end in (" Rome", " Madrid"))
    assert model.sites.positions is None and len(model.tokens(base)) > 8
    swept = vw.sweep(model, base, source, layers=[0], positions=[3, -1])
    ids = torch.tensor([[token.id for token in model.tokens(base)]], device=model.device)
    with torch.no_grad():
        own: Any = model.model(ids)
    assert torch.allclose(swept.base_logits, own.logits[0, -1], atol=1e-5)
    for column, position in enumerate((3, -1)):
        experiment = Experiment(base=base, sources=source, slots=slot(position))
        run = vw.run(model, experiment)
        assert torch.allclose(swept.logits[0, column], run.logits[-1], atol=1e-4)


def test_plain_rotary_and_learned_positions_end(
    tiny_tokenizer: Any, tiny_gpt2: LanguageModel
) -> None:
    model = with_rope(tiny_tokenizer, rope_type="default")
    assert model.sites.positions == 8
    assert "9 tokens; rope takes at most 8" in refusal(lambda: model.tokens("The" + " is" * 8))
    assert "33 tokens; tiny-gpt2 takes at most 32" in refusal(
        lambda: tiny_gpt2.tokens("The" + " is" * 32)
    )


# ---- models that are not what their config says --------------------------------------------------


def built(family: str) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if family == "gpt2":
        config = GPT2Config(vocab_size=300, n_positions=32, n_embd=24, n_layer=3, n_head=3)
        return GPT2LMHeadModel(config).eval()
    config = LlamaConfig(
        vocab_size=300,
        max_position_embeddings=32,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_cut_off_blocks_are_not_counted(family: str, tiny_tokenizer: Any) -> None:
    hf = built(family)
    inner: Any = hf.transformer if family == "gpt2" else hf.model
    name = "h" if family == "gpt2" else "layers"
    setattr(inner, name, getattr(inner, name)[:2])
    model = vw.wrap(hf, tiny_tokenizer, "cut")
    assert model.sites.layers == 2
    swept = vw.sweep(model, SPAIN, ITALY)
    run = vw.run(model, Experiment(base=SPAIN, sources=ITALY, slots=slot(-1, layer=-1)))
    assert torch.allclose(swept.logits[1, 4], run.logits[-1], atol=1e-4)
    experiment = Experiment(base=SPAIN, sources=ITALY, slots=slot(layer=2))
    assert "the model has 2 layers" in refusal(lambda: vw.run(model, experiment))


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        (
            "gpt2",
            lambda m: m.transformer.h.append(copy.deepcopy(m.transformer.h[0])),
            "it has 4 blocks in 'transformer.h', expected 3",
        ),
        ("gpt2", lambda m: setattr(m.transformer, "h", torch.nn.ModuleList()), "it has no blocks"),
        (
            "gpt2",
            lambda m: setattr(m.transformer.h[1].attn, "c_attn", torch.nn.Linear(24, 48)),
            "attn.c_attn of block 1 has 24 inputs and 48 outputs, expected 24 inputs and 72 outp",
        ),
        (
            "gpt2",
            lambda m: setattr(m.transformer.h[2].mlp, "c_fc", torch.nn.Linear(24, 50)),
            "mlp.c_fc of block 2 has 24 inputs and 50 outputs, expected 24 inputs and 96 outputs",
        ),
        (
            "gpt2",
            lambda m: setattr(m.transformer.h[0].attn, "num_heads", 4),
            "attn.num_heads of block 0 has 4, expected 3",
        ),
        (
            "llama",
            lambda m: setattr(m.model.layers[1].self_attn, "q_proj", torch.nn.Linear(24, 16)),
            "self_attn.q_proj of block 1 has 24 inputs and 16 outputs",
        ),
        (
            "llama",
            lambda m: setattr(m.model.layers[1].mlp, "down_proj", torch.nn.Linear(30, 24)),
            "mlp.down_proj of block 1 has 30 inputs and 24 outputs, expected 32 inputs and 24",
        ),
        ("llama", lambda m: setattr(m.config, "num_attention_heads", 6), "of block 0 has "),
    ],
)
def test_sizes_that_contradict_the_config_are_refused(
    family: str, change: Callable[[Any], None], words: str
) -> None:
    model = built(family)
    Sites(model)
    change(model)
    text = refusal(lambda: Sites(model))
    assert "is not what its config says" in text and words in text


def test_a_block_without_a_module_lacks_only_its_components(tiny_tokenizer: Any) -> None:
    hf = built("gpt2")
    hf.transformer.h[1].mlp = torch.nn.Identity()
    model = vw.wrap(hf, tiny_tokenizer, "no mlp")
    assert model.sites.site(0, "mlp_activation").width == 96
    assert model.sites.site(1, "mlp_output").width == 24
    assert "its block has no module 'mlp.act'" in refusal(
        lambda: model.sites.site(1, "mlp_activation")
    )
    assert "layer: expected an int, got 1.5" in refusal(
        lambda: model.sites.site(1.5, "block_output")  # type: ignore[arg-type]
    )


# ---- sizes of requests ---------------------------------------------------------------------------

HUGE: list[tuple[Callable[[Any], object], Callable[[], Any]]] = [
    (lambda v: slot(v), lambda: range(10**12)),
    (lambda v: slot(v), lambda: range(10**30)),
    (lambda v: slot(v), lambda: np.zeros(10**6, np.int8)),
    (lambda v: slot(v), lambda: "x" * 10**7),
    (lambda v: slot(subspace=v), lambda: "0:50000000"),
    (lambda v: slot(subspace=v), lambda: "0:" + "9" * 300),
    (lambda v: slot(subspace=v), lambda: "0:" + "9" * 70),
    (lambda v: slot(subspace=v), lambda: range(10**9)),
    (lambda v: slot(partition={"all": (0, v)}), lambda: 50_000_000),
    (lambda v: slot(partition=v), lambda: {str(i): (0, 1) for i in range(2000)}),
    (lambda v: slot(prompts=v, intervention="mean"), lambda: ("a" for _ in iter(int, 1))),
    (lambda v: slot(link=v), lambda: "x" * 10**7),
    (lambda v: slot(component=v), lambda: "x" * 10**7),
    (lambda v: slot(intervention=v), lambda: "x" * 10**7),
    (lambda v: slot(**{v: 1}), lambda: "x" * 10**7),
    (lambda v: SweepRequest(layers=v), lambda: range(10**9)),
    (lambda v: SweepRequest(layers=v), lambda: range(50_000)),
    (lambda v: SweepRequest(positions=v), lambda: range(10**9)),
    (lambda v: Experiment(base=v), lambda: "x" * 10**7),
    (lambda v: Experiment(base="a", sources=v), lambda: "x" * 10**7),
    (lambda v: Experiment(base="a", sources=v), lambda: {str(i): "b" for i in range(2000)}),
    (lambda v: Experiment(base="a", slots=v), lambda: (slot() for _ in iter(int, 1))),
    (lambda v: Experiment(base="a", slots=v), lambda: [None] * 10**6),
    (lambda v: Experiment.model_validate(v), lambda: "x" * 10**7),
    (lambda v: Experiment.model_validate_json(v), lambda: "x" * 10**7),
]


@pytest.mark.parametrize(("ask", "value"), HUGE)
def test_what_is_too_large_is_refused_before_anything_is_made_of_it(
    ask: Callable[[Any], object], value: Callable[[], Any]
) -> None:
    given = value()
    tracemalloc.start()
    start = time.perf_counter()
    refusal(lambda: ask(given))
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2 and peak < 60e6


def test_a_range_of_dims_is_compared_before_it_is_built() -> None:
    wide = slot(subspace=f"0:{limits.DIMS}")
    tracemalloc.start()
    assert "from 0 to 23" in refusal(lambda: wide.dims(24))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    assert slot(subspace="0:24").dims(24) == tuple(range(24))


def test_a_long_prompt_is_refused_before_it_is_tokenized(
    tiny_gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tokenized(*_: Any, **__: Any) -> None:
        pytest.fail("the prompt was tokenized")

    monkeypatch.setattr(tiny_gpt2, "tokenizer", tokenized)
    for prompt, words in (
        ("x" * 10**7, "at most 1000000 characters"),
        ("x" * 5000, "has 5000 characters; tiny-gpt2 takes at most 32 tokens"),
        ("a\ud800", "a lone surrogate"),
        (5, "prompt must be a str, got 5"),
    ):
        assert words in refusal(lambda p=prompt: tiny_gpt2.tokens(untyped(p)))


# ---- values in errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ("a\nb", "'a\\nb'"),
        ("\ud800", "'\\ud800'"),
        (np.str_("a"), "'a'"),
        (10**5000, "<int of about 5001 digits>"),
        (np.zeros((3, 4)), "<ndarray of shape (3, 4)>"),
        (torch.zeros(3), "<Tensor of shape (3,)>"),
        ([1] * 10**6, "[1, 1, 1, 1, 1, 1, 1, 1, ...]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_value_is_shown_in_one_short_line(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_value_whose_repr_raises_is_shown() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Broken" in shown(Broken()) and len(shown("x" * 10**8)) <= 80
    assert shown(nested(5000)) == "[[[[...]]]]"


# ---- opening -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("silent_painter")
def test_explore_without_arguments_opens_the_built_in_pair() -> None:
    explorer = vw.explore()
    try:
        experiment = explorer.wait().experiment
        assert (experiment.base, dict(experiment.sources)) == (SPAIN, {"source": ITALY})
        assert explorer.scene["model"]["name"] == "capitals"
    finally:
        explorer.close()


def test_explore_refuses_in_one_sentence() -> None:
    assert "base is missing" in refusal(lambda: vw.explore(source=ITALY))
    assert "sources: expected a prompt" in refusal(lambda: vw.explore(SPAIN, 5))  # type: ignore[arg-type]
    assert "base: expected a prompt" in refusal(lambda: vw.explore(5))  # type: ignore[arg-type]
    assert "slots: expected" in refusal(lambda: vw.explore(SPAIN, ITALY, slots=5))  # type: ignore[arg-type]


# ---- share tokens --------------------------------------------------------------------------------


def signed(content: bytes) -> str:
    return packed_token(zlib.compress(content))


def packed_token(packed: bytes) -> str:
    whole = hashlib.sha256(packed).digest()[: share_token.CHECKSUM_BYTES] + packed
    return "vene1." + base64.urlsafe_b64encode(whole).decode().rstrip("=")


@pytest.mark.parametrize("name", ["gpt2", "somebody/model", "/etc", "..", "x" * 150])
def test_a_token_loads_nothing_because_it_names_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share_token, "load", lambda *_: pytest.fail("a model was loaded"))
    shared = share_token.Shared(
        model=name, experiment=Experiment(base=SPAIN), component="block_output"
    )
    text = refusal(lambda: vw.from_state(share_token.encode(shared)))
    assert "pass it, as in from_state(token, model=" in text


@pytest.mark.parametrize(
    "token",
    [
        "vene1." + "A" * 10**7,
        "vene" + "9" * 10**5 + ".AAAA",
        "\ud800",
        "vene1.\ud800",
        b"vene1.AAAA",
        5,
        nested(900),
        signed(b"[" * 10**6),
        signed(b'{"experiment": ' * 10**5),
        signed(b'{"model": "\xed\xa0\x80"}'),
        signed(b'{"model": null, "component": "a", "experiment": {"base": "\\ud800"}}'),
        signed(
            b'{"model": null, "component": "a", "experiment": {"base": "' + b"x" * 2**21 + b'"}}'
        ),
        signed(
            b'{"model": null, "component": "a", "experiment": {"base": "a", "slots": '
            b'[{"layer": 0, "position": 0, "subspace": "0:50000000"}]}}'
        ),
        signed(
            b'{"model": null, "component": "a", "experiment": {"base": "a", "slots": ['
            + b",".join([b'{"layer": 0, "position": 0}'] * 20_000)
            + b"]}}"
        ),
    ],
    ids=lambda token: f"{type(token).__name__} {shown(token, 20)}",
)
def test_a_bad_token_is_one_sentence_and_quick(token: Any) -> None:
    start = time.perf_counter()
    refusal(lambda: share_token.decode(token))
    assert time.perf_counter() - start < 2


def test_a_stream_without_its_end_is_no_state() -> None:
    shared = share_token.Shared(
        model=None, experiment=Experiment(base=SPAIN), component="block_output"
    )
    packed = zlib.compress(shared.model_dump_json().encode())
    assert share_token.decode(packed_token(packed)) == shared
    for changed in (packed[:-4], packed + b"more"):
        assert "end too early or too late" in refusal(
            lambda p=changed: share_token.decode(packed_token(p))
        )


def test_the_browser_is_refused_in_one_sentence() -> None:
    message = {"id": "1", "kind": "experiment", "experiment": {"base": 3, "slots": {"a": 1}}}
    with pytest.raises(ValidationError) as caught:
        REQUESTS.validate_python(message)
    assert error_text(caught.value) == (
        "base: expected a prompt (a str), got 3; slots: expected a Slot or a list of Slots, got "
        "{'a': 1}"
    )


def test_sources_keep_their_order_on_the_wire_whatever_their_names() -> None:
    """In serial mode the order of the sources is the chain."""
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    sources = [["2", "The capital of Peru is"], ["1", "The capital of France is"]]
    slot = {"layer": 0, "position": 3, "source": "1", "source_position": 3}
    experiment = {
        "base": "The capital of Spain is",
        "sources": sources,
        "slots": [slot],
        "mode": "serial",
    }
    explorer.receive({"id": "r1", "kind": "experiment", "experiment": experiment})
    explorer.wait()
    assert list(explorer.experiment.sources) == ["2", "1"]
    sent = json.loads(json.dumps(explorer.scene))
    assert sent["experiment"]["sources"] == sources
    assert [source["name"] for source in sent["sources"]] == ["2", "1"]
    assert json.loads(json.dumps(explorer.past))["entries"][-1]["experiment"]["sources"] == sources
    explorer.close()


@pytest.mark.parametrize("sources", [[["a", "x"], ["a", "y"]], [["a"]], ["ab"], [[["a"], "x"]]])
def test_pairs_of_sources_that_make_no_sense_are_refused(sources: object) -> None:
    explorer = vw.explore("The capital of Spain is", "The capital of Italy is")
    replies: list[dict[str, object]] = []
    explorer.send = lambda content, buffers=None: replies.append(content)  # pyright: ignore
    experiment = {"base": "The capital of Spain is", "sources": sources}
    explorer.receive({"id": "r1", "kind": "experiment", "experiment": experiment})
    (reply,) = replies
    assert reply["ok"] is False and "sources" in str(reply["error"])
    explorer.close()
