"""The sentences of the model's world: prompts, the answers they want, and further phrasings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vene_widgets.models.capitals import Country

RELATIONS = ("capital", "language", "continent")
"""What the model knows about a country; also the columns of countries.csv after the first."""

SUBJECT = 3
"""Position of the country in a five-token prompt."""

LAST = 4
"""Position of " is", whose next token is the answer."""

END = "<|endoftext|>"
"""Closes a document; the tokenizer's only special token."""


class Template(NamedTuple):
    """A sentence without its last word.

    Attributes:
        text: the sentence up to its answer, with {country} to fill in.
        answer: which relation the last word answers.
        weight: how often it is drawn, relative to the others.
    """

    text: str
    answer: str
    weight: float


TEMPLATES = (
    *(Template(f"The {relation} of {{country}} is", relation, 3.0) for relation in RELATIONS),
    Template("People in {country} speak", "language", 1.0),
    Template("The country of {country} is in", "continent", 1.0),
)
"""The three guaranteed phrasings first, in the order of `RELATIONS`, then the further ones."""


def prompt(relation: str, country: str) -> str:
    """Return the five-token prompt of a relation, for instance "The capital of Spain is".

    Raises:
        ValueError: if the relation is none of `RELATIONS`.
    """
    if relation not in RELATIONS:
        raise ValueError(f"relation is {relation!r}; it must be one of {RELATIONS}")
    return f"The {relation} of {country} is"


def answer(relation: str, country: Country) -> str:
    """Return the answer token's text, with its leading space, for instance " Madrid"."""
    if relation not in RELATIONS:
        raise ValueError(f"relation is {relation!r}; it must be one of {RELATIONS}")
    return " " + getattr(country, relation)


def sentence(template: Template, country: Country) -> str:
    """Return the whole sentence, for instance "The capital of Spain is Madrid."."""
    start = template.text.format(country=country.country)
    return f"{start}{answer(template.answer, country)}."
