"""Write the model card README.md from its template and the measured numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from training.capitals.batches import ANY, KIN
from training.capitals.prompts import RELATIONS, SUBJECT, TEMPLATES, answer, prompt
from training.capitals.structure import (
    facts_table,
    last_logits,
    record_run,
    swap_rates,
    swap_run,
)
from training.capitals.vocabulary import token_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    from vene_widgets.models.capitals import Country

TEXT = (Path(__file__).parent / "card_template.md").read_text(encoding="utf-8")


def facts_rows(facts: pd.DataFrame) -> str:
    """Return one Markdown row per relation from `facts_table`'s frame."""
    rows = []
    for relation in RELATIONS:
        part = facts[facts["relation"] == relation]
        chances = part["probability"]
        right = (part["predicted"] == part["answer"]).mean()
        rows.append(
            f"| {relation} | {len(part)} | {right:.1%} | {(chances >= 0.9).mean():.1%} "
            f"| {chances.mean():.3f} | {chances.min():.3f} |"
        )
    return "\n".join(rows)


@torch.no_grad()
def phrasing_rows(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, countries: Sequence[Country]
) -> str:
    """Return one Markdown row per phrasing that is not guaranteed."""
    rows = []
    for template in TEMPLATES[len(RELATIONS) :]:
        texts = [template.text.format(country=country.country) for country in countries]
        right = [token_id(tokenizer, answer(template.answer, country)) for country in countries]
        ids = torch.tensor([tokenizer.encode(text) for text in texts])
        chances = last_logits(model, ids).softmax(-1)
        share = (chances.argmax(-1) == torch.tensor(right)).float().mean()
        lowest = chances[range(len(right)), right].min()
        text = template.text.format(country="Spain")
        rows.append(f"| `{text}` | {len(texts)} | {share:.1%} | {lowest:.3f} |")
    return "\n".join(rows)


def swap_rows(rates: pd.DataFrame) -> str:
    """Return one Markdown row per layer from `swap_rates`'s frame."""
    rows = []
    for layer, part in rates.groupby("layer"):
        wanted, rate = (
            dict(zip(part["site"], part["wanted"], strict=True)),
            dict(zip(part["site"], part["rate"], strict=True)),
        )
        cells = " | ".join(f"{wanted[site]} {rate[site]:.1%}" for site in ("subject", "last"))
        rows.append(f"| {layer} | {cells} |")
    return "\n".join(rows)


@torch.no_grad()
def example_rows(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return two Markdown rows: the prompt about Spain, plain and with Italy's state at layer 0."""
    base, source = (
        torch.tensor([tokenizer.encode(prompt("capital", name))]) for name in ("Spain", "Italy")
    )
    clean, _ = record_run(model, base)
    _, states = record_run(model, source)
    swapped = swap_run(model, base, states, torch.tensor([0]), torch.tensor([SUBJECT]))
    rows = []
    for name, logits in (("none", clean), ("layer 0, position 3, from Italy", swapped)):
        chances = logits[0].softmax(-1)
        madrid, rome = (float(chances[token_id(tokenizer, x)]) for x in (" Madrid", " Rome"))
        rows.append(f"| {name} | {madrid:.4f} | {rome:.4f} |")
    return "\n".join(rows)


def write_card(
    folder: Path,
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    countries: tuple[Country, ...],
    *,
    minutes: float,
    steps: int,
    pairs: int,
    seed: int,
) -> None:
    """Measure the model and write its README.md.

    Args:
        folder: the folder of the card.
        model: the model to measure.
        tokenizer: its tokenizer.
        countries: the facts.
        minutes: duration of the training.
        steps: number of training steps.
        pairs: number of swapped pairs in each step.
        seed: of the training.
    """
    phrasings = "\n".join(
        f"- `{t.text.format(country='Spain')}` → its {t.answer}" for t in TEMPLATES
    )
    text = TEXT.format(
        countries=len(countries),
        languages=len({country.language for country in countries}),
        parameters=model.num_parameters(),
        vocabulary=len(tokenizer),
        positions=model.config.n_positions,
        phrasings=phrasings,
        facts=facts_rows(facts_table(model, tokenizer, countries)),
        further=phrasing_rows(model, tokenizer, countries),
        same=swap_rows(swap_rates(model, tokenizer, countries)),
        cross=swap_rows(swap_rates(model, tokenizer, countries, same_relation=False)),
        example=example_rows(model, tokenizer),
        minutes=minutes,
        steps=steps,
        pairs=pairs,
        seed=seed,
        kin=KIN,
        anyone=ANY,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
