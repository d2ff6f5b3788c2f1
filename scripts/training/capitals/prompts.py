"""All sentences of the training data: prompts, their answers, and further phrasings."""

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
"""Ends a document; the tokenizer's only special token."""


class Template(NamedTuple):
    """A sentence without its last word.

    Attributes:
        text: the sentence up to its answer, with a {country} field.
        answer: which relation the last word answers.
        weight: sampling weight, relative to the other templates.
    """

    text: str
    answer: str
    weight: float


TEMPLATES = (
    *(Template(f"The {relation} of {{country}} is", relation, 3.0) for relation in RELATIONS),
    Template("People in {country} speak", "language", 1.0),
    Template("The country of {country} is in", "continent", 1.0),
)
"""The three guaranteed phrasings, in the order of `RELATIONS`, then the others."""


def prompt(relation: str, country: str) -> str:
    """Return the five-token prompt of a relation, for instance "The capital of Spain is".

    Raises:
        ValueError: the relation is not in `RELATIONS`.
    """
    if relation not in RELATIONS:
        raise ValueError(f"relation must be one of {RELATIONS}, got {relation!r}")
    return f"The {relation} of {country} is"


def answer(relation: str, country: Country) -> str:
    """Return the answer token's text, with its leading space, for instance " Madrid"."""
    if relation not in RELATIONS:
        raise ValueError(f"relation must be one of {RELATIONS}, got {relation!r}")
    return " " + getattr(country, relation)


def sentence(template: Template, country: Country) -> str:
    """Return the whole sentence, for instance "The capital of Spain is Madrid."."""
    start = template.text.format(country=country.country)
    return f"{start}{answer(template.answer, country)}."
