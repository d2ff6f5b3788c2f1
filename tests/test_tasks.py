"""Tasks: balanced pairs that a tokenizer allows, one differing token, the same ones every time."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import vene_widgets as vw
from vene_widgets import tasks
from vene_widgets.errors import RequestError
from vene_widgets.tasks.words import EVENTS, FEMALE, MALE, OBJECTS, PEOPLE, PLACES, THINGS


class Words:
    """A tokenizer with one token for each word and its space, and for two digits of a number.

    Args:
        split: words that are two tokens each.
        by_digit: whether each digit is a token, as in SmolLM2 and Llama.
    """

    def __init__(self, split: tuple[str, ...] = (), *, by_digit: bool = False) -> None:
        self._ids: dict[str, int] = {}
        self._split = split
        self._number = r"\d" if by_digit else r" ?\d\d|\d"
        # Every text at once: what an id stands for must not change later.
        nouns = [word for pair in (*PEOPLE, *THINGS) for word in pair]
        every = (*FEMALE, *MALE, *PLACES, *OBJECTS, *EVENTS, *nouns, "she", "he", "is", "are")
        for word in every:
            self(word)
            self(f" {word}")
        for number in range(100):
            self(f"{number:02d}")
            self(f" {number:02d}")
        for task in tasks.TASKS.values():
            for template in task.templates:
                self(re.sub(r"{\w+}", "", template))

    def __call__(self, text: str, **_more: object) -> dict[str, list[int]]:
        found: list[str] = []
        for part in re.findall(rf" ?[^\W\d]+|{self._number}| |[^\w\s]", text):
            halves = part.strip() in self._split
            found += [part[:-1], part[-1]] if halves else [part]
        return {"input_ids": [self._ids.setdefault(part, len(self._ids)) for part in found]}

    def decode(self, ids: list[int], **_more: object) -> str:
        texts = list(self._ids)
        return "".join(texts[n] if n < len(texts) else f"<{n}>" for n in ids)

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return self.decode([token_id])


def english(split: tuple[str, ...] = (), *, by_digit: bool = False) -> vw.LanguageModel:
    """A model that reads English words."""
    config = GPT2Config(
        vocab_size=2000, n_positions=64, n_embd=8, n_layer=1, n_head=1, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return vw.wrap(GPT2LMHeadModel(config).eval(), Words(split, by_digit=by_digit), "english")


@pytest.fixture(scope="module")
def words() -> vw.LanguageModel:
    return english()


OF_ENGLISH = ["indirect_objects", "greater_than", "agreement", "pronouns"]


@pytest.mark.parametrize("name", OF_ENGLISH)
def test_pairs_differ_in_one_token_and_have_answers_of_one(
    words: vw.LanguageModel, name: str
) -> None:
    pairs = tasks.TASKS[name](words, 80, seed=3)
    assert len(pairs) == 80
    assert not pairs.duplicated(["base", "source"]).any()
    lengths: dict[str, set[int]] = {}
    for row in pairs.to_dict("records"):
        base, source = (words.tokens(row[side]) for side in ("base", "source"))
        lengths.setdefault(row["template"], set()).update((len(base), len(source)))
        differing = [n for n, (a, b) in enumerate(zip(base, source, strict=True)) if a != b]
        assert len(differing) == 1
        for side, own in (("subject", base), ("source_subject", source)):
            where = row[side]
            at = [t.text for t in own].index(where) if isinstance(where, str) else where
            assert at == differing[0]
        assert all(isinstance(words.token_id(token), int) for token in row["targets"])
        assert row["targets"][0] != row["targets"][1]
    assert all(len(several) == 1 for several in lengths.values())
    assert len({type(value) for value in (*pairs["subject"], *pairs["source_subject"])}) == 1
    # The sweep reads them: named positions, targets and all.
    found = vw.sweep_pairs(words, pairs.head(6), positions=["subject", "last"], controls=())
    assert found.answers.log_p.shape == (6, 1, 1, 2, 2)


def test_indirect_objects_are_balanced_and_right(words: vw.LanguageModel) -> None:
    pairs = tasks.indirect_objects(words, 120)
    assert pairs["template"].value_counts().tolist() == [40, 40, 40]
    orders: Counter[str] = Counter()
    for row in pairs.to_dict("records"):
        names = [w for w in re.findall(r"\w+", row["base"]) if w in (*FEMALE, *MALE)]
        first, second, giver = names
        assert row["kind"] == ("ABBA" if giver == second else "BABA")
        orders[row["kind"]] += 1
        other = first if giver == second else second
        assert row["targets"] == (f" {giver}", f" {other}")
        assert (
            row["source"]
            == row["base"][: row["base"].rindex(giver)]
            + other
            + (row["base"][row["base"].rindex(giver) + len(giver) :])
        )
        assert isinstance(row["subject"], int)  # the giver's name occurs twice
    assert orders == {"ABBA": 60, "BABA": 60}


def test_greater_than_has_answers_right_for_one_and_wrong_for_the_other(
    words: vw.LanguageModel,
) -> None:
    pairs = tasks.greater_than(words, 60)
    earlier = 0
    for row in pairs.to_dict("records"):
        base, source = (int(re.findall(r"\d+", row[side])[0][2:]) for side in ("base", "source"))
        of_source, of_base = map(int, row["targets"])
        assert base < of_base
        assert source < of_source
        later_answer = of_source if base < source else of_base
        earlier_answer = of_base if base < source else of_source
        assert earlier_answer <= max(base, source) < later_answer
        earlier += base < source
    assert earlier == 30


def test_greater_than_by_digits_follows_the_tens() -> None:
    """Both years end alike; the earlier one's answer is wrong after the later one."""
    words = english(by_digit=True)
    pairs = tasks.greater_than(words, 200)
    assert pairs.attrs == {"task": "greater_than", "left_out": {}}
    assert not pairs.duplicated(["base", "source"]).any()
    earlier, ends = 0, set[str]()
    for row in pairs.to_dict("records"):
        base, source = (re.findall(r"\d+", row[side]) for side in ("base", "source"))
        assert base[0][:2] == source[0][:2] == base[1] == source[1]
        assert base[0][3] == source[0][3]
        tens = {"base": int(base[0][2]), "source": int(source[0][2])}
        of_source, of_base = map(int, row["targets"])
        assert (of_base, of_source) == (tens["base"] + 1, tens["source"] + 1)
        early, late = sorted(tens.values())
        # Whatever follows, the one is before the later start and the other after both.
        assert 10 * (early + 1) + 9 < 10 * late
        assert late + 1 <= 9
        tokens = [words.tokens(row[side]) for side in ("base", "source")]
        differing = [n for n, (a, b) in enumerate(zip(*tokens, strict=True)) if a != b]
        assert [t[differing[0]].text for t in tokens] == [base[0][2], source[0][2]]
        assert len(differing) == 1
        earlier += tens["base"] < tens["source"]
        ends.add(base[0][3])
    assert earlier == 100
    assert ends == set("0123456789")
    found = vw.sweep_pairs(words, pairs.head(6), positions=["subject", "last"], controls=())
    assert found.answers.log_p.shape == (6, 1, 1, 2, 2)


def test_years_that_are_partly_tokens_are_taken_by_two_digits() -> None:
    """A tokenizer without some of the two digits counts those as left out, as before."""
    pairs = tasks.greater_than(english(split=("44",)), 40)
    assert pairs.attrs["left_out"] == {"years of a century that are not one token each": 1}
    assert not pairs["base"].str.contains(r"\d\d44").any()


def test_agreement_and_pronouns_are_balanced(words: vw.LanguageModel) -> None:
    pairs = tasks.agreement(words, 80)
    assert pairs["targets"].value_counts().to_dict() == {(" is", " are"): 40, (" are", " is"): 40}
    pairs = tasks.pronouns(words, 60)
    assert pairs["targets"].value_counts().to_dict() == {(" she", " he"): 30, (" he", " she"): 30}
    for row in pairs.to_dict("records"):
        name = row["subject"].strip()
        assert (name in FEMALE) == (row["targets"][1] == " she")


@pytest.mark.parametrize(
    ("name", "count", "fact"),
    [
        ("capitals", 119 * 118, "capital"),
        ("languages", 13_400, "language"),
        ("continents", 10_704, "continent"),
    ],
)
def test_relations_are_all_pairs_with_different_answers(
    capitals: vw.LanguageModel, name: str, count: int, fact: str
) -> None:
    from vene_widgets.models.capitals import countries

    pairs = tasks.TASKS[name](capitals)
    assert len(pairs) == count
    assert pairs.attrs == {"task": name, "left_out": {}}
    known = {country.country: country for country in countries()}
    for row in pairs.sample(50, random_state=0).to_dict("records"):
        words = [known[row[side].strip()] for side in ("source_subject", "subject")]
        assert row["targets"] == tuple(f" {getattr(word, fact)}" for word in words)


def test_the_built_in_model_gets_its_pairs_right(capitals: vw.LanguageModel) -> None:
    for name in ("capitals", "languages", "continents"):
        pairs = tasks.TASKS[name](capitals, 100)
        found = vw.sweep_pairs(capitals, pairs, layers=0, positions="last", controls=())
        assert found.counting("top").left_out == 0


def test_smollm2_prefers_the_right_answers(smollm2: vw.LanguageModel) -> None:
    for name, most in (
        ("languages", 4),
        ("continents", 21),
        ("indirect_objects", 3),
        ("agreement", 4),
        ("pronouns", 1),
        ("greater_than", 3),
    ):
        pairs = tasks.TASKS[name](smollm2, 60, seed=1)
        found = vw.sweep_pairs(smollm2, pairs, layers=0, positions="last", controls=())
        assert found.counting("preferred").left_out <= most


@pytest.mark.parametrize("name", [*OF_ENGLISH])
def test_the_seed_decides(words: vw.LanguageModel, name: str) -> None:
    one, again, other = (tasks.TASKS[name](words, 20, seed=seed) for seed in (5, 5, 6))
    assert one.equals(again)
    assert not one["base"].equals(other["base"])


def test_words_that_the_tokenizer_splits_are_left_out_and_counted() -> None:
    pairs = tasks.pronouns(english(split=("Mary", "John", "James")), 40)
    assert pairs.attrs["left_out"] == {"names that are not one token each": 3}
    assert not pairs["base"].str.contains("Mary|John|James").any()
    pairs = tasks.agreement(english(split=("gate",)), 60)
    assert pairs.attrs["left_out"].keys() == {
        "pairs with prompts of another length than their template's others"
    }
    assert not pairs["base"].str.contains("gate").any()


def test_the_commonest_length_of_a_template_counts() -> None:
    """Also if the first word is the one that is longer."""
    pairs = tasks.agreement(english(split=("building",)), template=0)
    assert not pairs["base"].str.endswith(" building").any()
    assert len(pairs) == 20 * 2 * (2 * len(THINGS) - 1)  # subjects, their number, attractors


def test_an_answer_that_melts_into_its_prompt_is_left_out() -> None:
    class Melting(Words):
        """Reads “said that she” as one token more or less than its parts."""

        def __call__(self, text: str, **more: object) -> dict[str, list[int]]:
            found = super().__call__(text, **more)["input_ids"]
            return {"input_ids": found[:-1] if text.endswith("that she") else found}

    model = english()
    melting = vw.wrap(model.model, Melting(), "melting")
    with pytest.raises(RequestError, match="is not the prompt's tokens and one more"):
        tasks.pronouns(melting, template=0)


def test_prompts_that_repeat_are_given_once(words: vw.LanguageModel) -> None:
    """Without the attractor in the template, every attractor gives the same prompt."""
    pairs = tasks.agreement(words, template="The {subject}")
    assert not pairs.duplicated(["base", "source"]).any()
    assert len(pairs) == 2 * 20


def test_a_template_of_the_users_own(capitals: vw.LanguageModel, words: vw.LanguageModel) -> None:
    pairs = tasks.languages(capitals, 10, template="People in {country} speak")
    assert pairs["base"].str.fullmatch(r"People in \w+ speak").all()
    own = "{first} met {second}. {giver} wrote to"
    pairs = tasks.indirect_objects(words, 10, template=own)
    assert pairs["base"].str.fullmatch(r"\w+ met \w+\. \w+ wrote to").all()
    only = tasks.agreement(words, 10, template=1)
    assert set(only["template"]) == {"The {subject} behind the {attractor}"}


RELATIONS = {
    "capitals": ("The capital of {country} is", "The capital of {country} is"),
    "languages": ("The language of {country} is", "The official language of {country} is"),
    "continents": ("The continent of {country} is", "The continent where {country} lies is"),
}
"""The templates of the built-in model, and of other models."""


@pytest.mark.parametrize("name", RELATIONS)
def test_the_built_in_model_keeps_its_own_template(capitals: vw.LanguageModel, name: str) -> None:
    """It knows no other; a model that was wrapped or loaded from a folder gets the clearer one."""
    wrapped = vw.wrap(capitals.model, capitals.tokenizer, "capitals")
    of_folder = vw.LanguageModel(
        "capitals", capitals.model, capitals.tokenizer, 'load("./capitals")', "./capitals"
    )
    for model, which in ((capitals, 0), (wrapped, 1), (of_folder, 1)):
        pairs = tasks.TASKS[name](model, 8)
        assert set(pairs["template"]) == {RELATIONS[name][which]}
    before, after = RELATIONS[name][1].split("{country}")
    written = tasks.TASKS[name](wrapped, 8)["base"]
    assert written.str.startswith(before).all() and written.str.endswith(after).all()


def test_several_templates_have_equally_many_pairs(capitals: vw.LanguageModel) -> None:
    own = "They say that {country} speaks"
    pairs = tasks.languages(capitals, 30, template=[0, own, 2, 0])
    chosen = [tasks.languages.templates[0], own, tasks.languages.templates[2]]
    assert pairs["template"].value_counts().to_dict() == dict.fromkeys(chosen, 10)
    for row in pairs.to_dict("records"):
        assert row["base"] == row["template"].format(country=row["subject"].strip())


@pytest.mark.parametrize("name", tasks.TASKS)
def test_every_kind_has_equally_many_pairs(
    capitals: vw.LanguageModel, words: vw.LanguageModel, name: str
) -> None:
    of_countries = name in RELATIONS
    pairs = tasks.TASKS[name](capitals if of_countries else words, 24)
    kinds = {
        "indirect_objects": {"ABBA", "BABA"},
        "greater_than": {"earlier base", "later base"},
        "agreement": {
            f"{one}, {other} attractor"
            for one in ("singular", "plural")
            for other in ("singular", "plural")
        },
        "pronouns": {"she", "he"},
    }.get(name, {"countries"})
    assert pairs["kind"].value_counts().to_dict() == dict.fromkeys(kinds, 24 // len(kinds))


def test_the_tasks_are_listed() -> None:
    listed = tasks.available()
    assert list(listed.columns) == ["name", "about", "models", "templates", "reference"]
    assert list(listed["name"]) == list(tasks.TASKS)
    for row in listed.to_dict("records"):
        task = tasks.TASKS[row["name"]]
        assert (row["about"], row["models"]) == (task.about, task.models)
        assert (row["templates"], row["reference"]) == (task.templates, task.reference)


@pytest.mark.parametrize(
    ("name", "options", "words_of_error"),
    [
        ("capitals", {"n": 0}, "n must be at least 1, got 0"),
        ("capitals", {"n": 15_000}, "capitals has 14042 pairs for capitals, not 15000"),
        ("capitals", {"n": 1.5}, "expected an int, got 1.5"),
        ("capitals", {"template": 3}, "template 3 is out of range: capitals has 2, "),
        ("capitals", {"template": ()}, "template must name at least one, got none: capitals has 2"),
        ("capitals", {"template": [0, None]}, "expected an int, got None"),
        ("capitals", {"template": "The capital is"}, r"has no field '\{country\}'. Valid fields"),
        ("capitals", {"template": "{country} {x} is"}, r"has an unknown field '\{x\}'"),
        ("capitals", {"template": "{country} {country}"}, "2 times: expected it once"),
        ("capitals", {"template": "{country} is "}, "must not end with white space"),
        ("capitals", {"template": "{country is"}, "is malformed"),
        ("pronouns", {}, "pronouns has no pairs for capitals: token ' Mary' is 2 tokens"),
        ("greater_than", {}, "It is meant for GPT-2, whose tokenizer has two digits"),
    ],
)
def test_bad_input(
    capitals: vw.LanguageModel, name: str, options: Any, words_of_error: str
) -> None:
    with pytest.raises(RequestError, match=words_of_error):
        tasks.TASKS[name](capitals, **options)


def test_a_model_is_needed() -> None:
    with pytest.raises(RequestError, match="model must come from"):
        tasks.capitals("capitals")  # pyright: ignore[reportArgumentType]


def test_every_task_says_what_it_is() -> None:
    for name, task in tasks.TASKS.items():
        assert getattr(vw.tasks, name) is task
        assert task.name == name
        assert task.about.endswith(".")
        assert task.reference
        assert name in repr(task)
