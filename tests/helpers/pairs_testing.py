"""Data sets of pairs of prompts for the tests."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pandas as pd

import vene_widgets as vw

COUNTRIES = {"Spain": "Madrid", "Italy": "Rome", "France": "Paris"}
WORDS = (" Spain", " Italy", " France", " Rome", " Madrid", " Paris")


def capital_pairs(template: str = "The capital of{} is") -> pd.DataFrame:
    """Every ordered pair of three countries: six rows."""
    return pd.DataFrame(
        [
            {
                "base": template.format(f" {one}"),
                "source": template.format(f" {other}"),
                "targets": (f" {COUNTRIES[other]}", f" {COUNTRIES[one]}"),
                "subject": f" {one}",
                "source_subject": f" {other}",
            }
            for one, other in permutations(COUNTRIES, 2)
        ]
    )


def word_pairs() -> list[dict[str, Any]]:
    """Every ordered pair of six words in the country's place: 30 rows."""
    return [
        {
            "base": f"The capital of{one} is",
            "source": f"The capital of{other} is",
            "targets": (other, one),
        }
        for one, other in permutations(WORDS, 2)
    ]


def unequal_pairs() -> list[dict[str, Any]]:
    """Bases of five and of six tokens, sources of four to six."""
    pairs = [(" Spain", " Italy"), (" Spain Rome", " Italy"), (" Italy", " France Paris")]
    pairs += [(" France Rome", " Spain Paris"), (" Rome", "")]
    return [
        {
            "base": f"The capital of{one} is",
            "source": f"The capital of{other} is",
            "targets": (" Rome", " Madrid"),
            "subject": one,
        }
        for one, other in pairs
    ]


def swap_of(
    model: vw.LanguageModel,
    base: str,
    source: str,
    layer: int,
    position: int,
    source_position: int,
    **more: Any,
) -> Any:
    """Log-probabilities `(vocabulary,)` at the last position of a run of its own."""
    slot = vw.Slot(layer=layer, position=position, source_position=source_position, **more)
    run = vw.run(model, vw.Experiment(base=base, sources=source, slots=[slot]))
    return run.logits[-1].double().cpu().log_softmax(-1)
