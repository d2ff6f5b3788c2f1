"""The built-in model `capitals`: its files, its tokenizer, its facts and where it stores them.

The swaps here use plain PyTorch hooks, neither the engine nor the model folder's own evaluation,
so that they can disagree with both.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from training.capitals.structure import swap_rates
from transformers import AutoModelForCausalLM, AutoTokenizer

from vene_widgets.models.capitals import FOLDER, Country, countries

if TYPE_CHECKING:
    from collections.abc import Iterator

RELATIONS = ("capital", "language", "continent")
COUNTRIES = countries()
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


def chances_after(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Probabilities of the next token, (texts, vocab); all texts have equally many tokens."""
    with torch.no_grad():
        return model(torch.tensor(tokenizer(texts)["input_ids"])).logits[:, -1].softmax(-1)


def one_id(tokenizer: Any, word: str) -> int:
    (token,) = tokenizer.encode(" " + word)
    return token


def test_light_import_and_facts() -> None:
    name = "vene_widgets.models.capitals"
    code = f"import sys, {name} as c; c.countries(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert len(COUNTRIES) >= 80
    assert len({row.country for row in COUNTRIES}) == len(COUNTRIES)
    assert len({row.capital for row in COUNTRIES}) == len(COUNTRIES)
    facts = {row.country: row[1:] for row in COUNTRIES}
    assert facts["Spain"] == ("Madrid", "Spanish", "Europe")
    assert facts["Brazil"] == ("Brasilia", "Portuguese", "America")
    assert facts["Egypt"] == ("Cairo", "Arabic", "Africa")
    assert {"Italy", "France", "Germany", "Japan"} <= facts.keys()


def test_is_a_small_plain_gpt2(model: Any) -> None:
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert model.num_parameters() <= 1_500_000
    assert f"{model.num_parameters():,} parameters" in CARD
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.transformer.wte.weight
    assert not any(m.p for m in model.modules() if isinstance(m, torch.nn.Dropout))
    assert model.config.n_positions >= 64


def test_file_sizes() -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    assert all((FOLDER / name).is_file() for name in names)
    total = sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file())
    assert total < 6_500_000
    assert not list(FOLDER.glob("*.bin")) + list(FOLDER.glob("*.pt"))


def test_every_word_is_one_token(tokenizer: Any) -> None:
    assert len(tokenizer) <= 2200
    for word in {word for row in COUNTRIES for word in row}:
        assert len(tokenizer.encode(" " + word)) == 1, word


@pytest.mark.parametrize("relation", RELATIONS)
def test_prompts_are_five_tokens(tokenizer: Any, relation: str) -> None:
    for row in COUNTRIES:
        ids = tokenizer.encode(f"The {relation} of {row.country} is")
        words = ["The", f" {relation}", " of", f" {row.country}", " is"]
        assert [tokenizer.decode([i]) for i in ids] == words


def test_any_text_comes_back_unchanged(tokenizer: Any) -> None:
    texts = [
        "The capital of Spain is Madrid.",
        "  two  spaces, a tab\t, a newline\n\n\r\n and an end ",
        "emoji 🎉👩‍👩‍👧, ñ, Ω, 漢字, עברית, e\u0301 and a null \x00 .",
        "don't ; n't ! x ? <|endoftext|> The",
        "",
    ]
    rng = random.Random(0)
    for _ in range(200):
        points = [rng.randrange(0x110000) for _ in range(20)] + list(rng.sample(range(256), 20))
        texts.append("".join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(set(range(256)) - set(_bytes_in(tokenizer))) == 0


def _bytes_in(tokenizer: Any) -> Iterator[int]:
    """Every byte that has a token of its own, by GPT-2's byte-to-character table."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    table = {chr(b): b for b in shown} | {chr(256 + n): b for n, b in enumerate(hidden)}
    return (table[token] for token in tokenizer.get_vocab() if token in table)


def test_facts(model: Any, tokenizer: Any) -> None:
    sure: dict[str, list[float]] = {}
    for relation in RELATIONS:
        prompts = [f"The {relation} of {row.country} is" for row in COUNTRIES]
        right = [one_id(tokenizer, getattr(row, relation)) for row in COUNTRIES]
        chances = chances_after(model, tokenizer, prompts)
        sure[relation] = chances[range(len(right)), right].tolist()
    everything = [chance for chances in sure.values() for chance in chances]
    assert len(everything) == 3 * len(COUNTRIES) >= 240
    assert sum(chance >= 0.9 for chance in everything) >= 0.95 * len(everything)
    row = r"^\| (\w+) \| (\d+) \| [\d.]+% \| ([\d.]+)% \| ([\d.]+) \| ([\d.]+) \|$"
    measured = {relation: rest for relation, *rest in re.findall(row, CARD, re.MULTILINE)}
    assert measured.keys() == set(RELATIONS)
    for relation, (number, share, mean, lowest) in measured.items():
        chances = sure[relation]
        assert int(number) == len(chances)
        assert float(share) == pytest.approx(
            100 * sum(c >= 0.9 for c in chances) / len(chances), abs=1
        )
        assert float(mean) == pytest.approx(sum(chances) / len(chances), abs=0.002)
        assert float(lowest) == pytest.approx(min(chances), abs=0.005)


@pytest.mark.parametrize(
    ("text", "relation"),
    [("People in {} speak", "language"), ("The country of {} is in", "continent")],
)
def test_further_phrasings(model: Any, tokenizer: Any, text: str, relation: str) -> None:
    chances = chances_after(model, tokenizer, [text.format(row.country) for row in COUNTRIES])
    right = torch.tensor([one_id(tokenizer, getattr(row, relation)) for row in COUNTRIES])
    share = float((chances.argmax(-1) == right).float().mean())
    assert share >= 0.95
    line = rf"^\| `{re.escape(text.format('Spain'))}` \| \d+ \| ([\d.]+)% \|"
    (written,) = re.findall(line, CARD, re.MULTILINE)
    assert float(written) == pytest.approx(100 * share, abs=1)


def test_runners_up_are_visible(model: Any, tokenizer: Any) -> None:
    chances = chances_after(model, tokenizer, ["The capital of Spain is"])[0]
    rivals = [
        float(chances[one_id(tokenizer, row.capital)])
        for row in COUNTRIES
        if row.continent == "Europe" and row.country != "Spain"
    ]
    assert sorted(rivals)[len(rivals) // 2] > 1e-4


def test_longer_prompts(model: Any, tokenizer: Any) -> None:
    rng = random.Random(0)
    hits = 0
    for _ in range(100):
        first, second = rng.sample(COUNTRIES, 2)
        a, b = rng.choice(RELATIONS), rng.choice(RELATIONS)
        start = f"The {a} of {first.country} is {getattr(first, a)}."
        text = f"{start} The {b} of {second.country} is"
        chances = chances_after(model, tokenizer, [text])[0]
        hits += int(chances.argmax()) == one_id(tokenizer, getattr(second, b))
    assert hits >= 95


def test_goes_on_to_an_end(model: Any, tokenizer: Any) -> None:
    ids = torch.tensor([tokenizer.encode("The capital of Spain is Madrid")])
    with torch.no_grad():
        full_stop = model(ids).logits[0, -1].softmax(-1)[tokenizer.encode(".")[0]]
    assert full_stop > 0.9
    assert tokenizer.convert_ids_to_tokens(model.config.eos_token_id) == tokenizer.eos_token


def swapped(model: Any, base: Tensor, source: Tensor, layer: int, position: int) -> Tensor:
    """Next-token probabilities of base with one block output taken from source, (batch, vocab)."""
    recorded: list[Tensor] = []

    def hidden(output: Any) -> Tensor:
        return output[0] if isinstance(output, tuple) else output

    def record(_module: Any, _inputs: Any, output: Any) -> None:
        recorded.append(hidden(output)[:, position].clone())

    def patch(_module: Any, _inputs: Any, output: Any) -> None:
        hidden(output)[:, position] = recorded[0]

    block = model.transformer.h[layer]
    with torch.no_grad():
        handle = block.register_forward_hook(record)
        model(source)
        handle.remove()
        handle = block.register_forward_hook(patch)
        try:
            return model(base).logits[:, -1].softmax(-1)
        finally:
            handle.remove()


def random_pairs(number: int) -> list[tuple[str, Country, Country]]:
    """Pairs with the same relation and different answers."""
    rng = random.Random(7)
    pairs: list[tuple[str, Country, Country]] = []
    while len(pairs) < number:
        relation, base, source = rng.choice(RELATIONS), *rng.sample(COUNTRIES, 2)
        if getattr(base, relation) != getattr(source, relation):
            pairs.append((relation, base, source))
    return pairs


@pytest.mark.parametrize("layer", range(6))
@pytest.mark.parametrize(("site", "position"), [("subject", 3), ("last", 4)])
def test_swaps(model: Any, tokenizer: Any, layer: int, site: str, position: int) -> None:
    pairs = random_pairs(200)
    base = torch.tensor([tokenizer.encode(f"The {r} of {b.country} is") for r, b, _ in pairs])
    source = torch.tensor([tokenizer.encode(f"The {r} of {s.country} is") for r, _, s in pairs])
    moves = (layer < 3) == (site == "subject")
    wanted = [one_id(tokenizer, getattr(s if moves else b, r)) for r, b, s in pairs]
    predicted = swapped(model, base, source, layer, position).argmax(-1)
    rate = float((predicted == torch.tensor(wanted)).float().mean())
    assert rate >= 0.95


def test_italy_into_spain(model: Any, tokenizer: Any) -> None:
    base, source = (
        torch.tensor([tokenizer.encode(f"The capital of {name} is")]) for name in ("Spain", "Italy")
    )
    madrid, rome = one_id(tokenizer, "Madrid"), one_id(tokenizer, "Rome")
    clean = chances_after(model, tokenizer, ["The capital of Spain is"])[0]
    moved = swapped(model, base, source, 0, 3)[0]
    assert clean[madrid] > 0.9
    assert clean[rome] < 0.05
    assert moved[rome] > 0.9
    assert moved[madrid] < 0.05
    numbers = re.findall(r"^\| (?:none|layer 0.*?) \| ([\d.]+) \| ([\d.]+) \|$", CARD, re.MULTILINE)
    assert len(numbers) == 2
    for (card_madrid, card_rome), chances in zip(numbers, (clean, moved), strict=True):
        assert float(card_madrid) == pytest.approx(float(chances[madrid]), abs=0.001)
        assert float(card_rome) == pytest.approx(float(chances[rome]), abs=0.001)


def test_card_swap_figures(model: Any, tokenizer: Any) -> None:
    row = r"^\| (\d) \| (source|base) ([\d.]+)% \| (source|base) ([\d.]+)% \|$"
    found = re.findall(row, CARD, re.MULTILINE)
    assert [int(cells[0]) for cells in found] == [*range(6), *range(6)]
    for block, same_relation in ((found[:6], True), (found[6:], False)):
        rates = swap_rates(model, tokenizer, COUNTRIES, same_relation=same_relation)
        written = [(w, float(r)) for _, *c in block for w, r in ((c[0], c[1]), (c[2], c[3]))]
        assert [w for w, _ in written] == rates["wanted"].tolist()
        assert [r for _, r in written] == pytest.approx((100 * rates["rate"]).tolist(), abs=1)


def test_card_names_what_it_must() -> None:
    for word in ("teaching model", "Apache-2.0", "GeoNames", "CC BY 4.0", "Geiger", "Limits"):
        assert word in CARD
    assert CARD.startswith("---\n")
    assert "license: apache-2.0" in CARD.split("---")[1]
    assert f"{len(COUNTRIES)}\ncountries" in CARD or f"{len(COUNTRIES)} countries" in CARD
