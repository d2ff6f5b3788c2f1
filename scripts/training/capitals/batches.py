"""Random training batches: documents for the language-model loss, pairs for the swaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from training.capitals.prompts import (
    END,
    LAST,
    RELATIONS,
    SUBJECT,
    TEMPLATES,
    prompt,
    sentence,
)
from training.capitals.structure import HANDOVER, answer_ids, prompt_ids
from training.capitals.vocabulary import token_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerFast

    from vene_widgets.models.capitals import Country

KIN, ANY = 0.035, 0.015
"""Smoothing: probability moved from the correct answer to those of the same continent, and to those
of all countries."""


class Documents(NamedTuple):
    """Texts for the language-model loss. They contain n answers to guaranteed prompts.

    Attributes:
        ids: token ids, (batch, positions), padded at the end.
        padding: true at padding tokens, (batch, positions).
        row, column: indices of the " is" before each of the n answers, whose targets are smoothed,
            (n,) each.
        relation, country: relation and country of each answer, (n,) each.
    """

    ids: Tensor
    padding: Tensor
    row: Tensor
    column: Tensor
    relation: Tensor
    country: Tensor


class Pairs(NamedTuple):
    """Pairs of prompts, each with a site to swap and the answer that the swapped run should give.

    Attributes:
        base, source: token ids, (batch, positions).
        source_relation, source_country: relation and country of the source prompt, (batch,).
        layers, positions: the site to swap, (batch,).
        relation, country: relation and country of the swapped run's answer, (batch,).
    """

    base: Tensor
    source: Tensor
    source_relation: Tensor
    source_country: Tensor
    layers: Tensor
    positions: Tensor
    relation: Tensor
    country: Tensor


def smoothed_targets(
    tokenizer: PreTrainedTokenizerFast, countries: Sequence[Country], vocab: int
) -> Tensor:
    """Return the target distribution after each prompt, (relations, countries, vocab).

    Most of it is on the correct answer. The rest goes to the answers of other countries, mainly of
    the same continent, so that a figure of the runners-up has something to show.
    """
    answers = answer_ids(tokenizer, countries)
    right = torch.nn.functional.one_hot(answers, vocab).float()
    continents = [country.continent for country in countries]
    kin = torch.tensor([[a == b for b in continents] for a in continents]).float()
    kin /= kin.sum(1, keepdim=True)
    return (1 - KIN - ANY) * right + KIN * kin @ right + ANY * right.mean(1, keepdim=True)


class Sampler:
    """Samples batches from torch's global random state.

    Args:
        tokenizer: the model's tokenizer.
        countries: the facts.
        layers: number of layers of the model.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, countries: Sequence[Country], layers: int
    ) -> None:
        self.layers = layers
        self.countries = len(countries)
        self.end = token_id(tokenizer, END)
        self.weights = torch.tensor([template.weight for template in TEMPLATES])
        encode = tokenizer.encode
        # Token ids by place in the document (first or later), template and country.
        self.sentences = [
            [[encode(space + sentence(t, c)) for c in countries] for t in TEMPLATES]
            for space in ("", " ")
        ]
        self.prompts = prompt_ids(tokenizer, countries)
        self.later_prompts = torch.tensor(
            [[encode(" " + prompt(r, c.country)) for c in countries] for r in RELATIONS]
        )
        self.prefixes = torch.tensor(self.sentences[0][: len(RELATIONS)])

    def documents(self, batch: int, sentences: int) -> Documents:
        """Sample texts of `sentences` random sentences each, followed by the end token."""
        templates = torch.multinomial(self.weights, batch * sentences, replacement=True)
        countries = torch.randint(self.countries, (batch * sentences,))
        draws = list(zip(templates.tolist(), countries.tolist(), strict=True))
        texts: list[list[int]] = []
        known: list[tuple[int, int, int, int]] = []
        for row in range(batch):
            text: list[int] = []
            for place, (t, c) in enumerate(draws[row * sentences : (row + 1) * sentences]):
                if t < len(RELATIONS):
                    known.append((row, len(text) + LAST, t, c))
                text += self.sentences[place > 0][t][c]
            texts.append([*text, self.end])
        longest = max(map(len, texts))
        ids = torch.tensor([text + [self.end] * (longest - len(text)) for text in texts])
        lengths = torch.tensor([[len(text)] for text in texts])
        padding = torch.arange(longest) >= lengths
        return Documents(ids, padding, *torch.tensor(known).reshape(-1, 4).unbind(1))

    def pairs(self, batch: int, *, prefixed: bool) -> Pairs:
        """Sample pairs of prompts, at least half of them with the same relation on both sides.

        Args:
            batch: number of pairs.
            prefixed: put a random sentence before each prompt; a fifth of the swaps are then
                inside that sentence and must change nothing.
        """
        base_r, source_r = torch.randint(len(RELATIONS), (2, batch))
        base_c, source_c = torch.randint(self.countries, (2, batch))
        source_r = torch.where(torch.rand(batch) < 0.5, base_r, source_r)
        layers = torch.randint(self.layers, (batch,))
        at_last = torch.rand(batch) < 0.5
        positions = torch.where(at_last, LAST, SUBJECT)
        from_source = at_last == (layers >= HANDOVER)
        if prefixed:
            before = (
                torch.randint(len(RELATIONS), (2, batch)),
                torch.randint(self.countries, (2, batch)),
            )
            prefix = self.prefixes[before]
            base = torch.cat([prefix[0], self.later_prompts[base_r, base_c]], 1)
            source = torch.cat([prefix[1], self.later_prompts[source_r, source_c]], 1)
            length = prefix.shape[-1]
            inside = torch.rand(batch) < 0.2
            positions = torch.where(inside, torch.randint(length, (batch,)), positions + length)
            from_source &= ~inside
        else:
            base, source = self.prompts[base_r, base_c], self.prompts[source_r, source_c]
        relation = torch.where(from_source & at_last, source_r, base_r)
        country = torch.where(from_source, source_c, base_c)
        return Pairs(base, source, source_r, source_c, layers, positions, relation, country)
