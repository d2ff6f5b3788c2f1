"""The built-in model `capitals`: a small GPT-2 that knows three facts about each of its countries.

This module does not import torch. The weights, the tokenizer and the model card are beside it in
`FOLDER`, which any `from_pretrained` of transformers can read.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

__all__ = ["FOLDER", "Country", "countries"]

FOLDER = Path(__file__).resolve().parent
"""Folder of config.json, model.safetensors, tokenizer.json, countries.csv and the model card."""


class Country(NamedTuple):
    """One row of countries.csv; every field is one word and, with a leading space, one token."""

    country: str
    capital: str
    language: str
    continent: str


def countries() -> tuple[Country, ...]:
    """Read the facts the model was trained on, in alphabetical order of the country.

    Returns:
        One `Country` per row of countries.csv.

    Raises:
        ValueError: if the file's columns are not those of `Country`.
    """
    path = FOLDER / "countries.csv"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != Country._fields:
        raise ValueError(f"{path.name} has columns {header}; it must have {Country._fields}")
    return tuple(Country(*row) for row in rows)
