"""Greater-than: a year that may follow, given the year in which something began.

A tokenizer with two digits as one token gets the paper's prompts, after which both digits of a year
follow. One that splits numbers into digits gets the same prompts, after which the tens follow: a
base and a source that begin in other decades, and in the same year of them.

The paper's measure is the probability of every later year less that of every other one, and its
corrupted prompts begin in the year 01. Here two years are followed, one for each run: the answer of
the run that begins earlier is wrong in the other, and the answer of the later one is right in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vene_widgets.tasks.checks import Case, Checker
from vene_widgets.tasks.sampling import Group
from vene_widgets.tasks.task import Task
from vene_widgets.tasks.words import EVENTS

CENTURIES = tuple(range(11, 18))

APART = 10
"""Least years between the two starts."""

DIGITS = tuple(str(digit) for digit in range(10))


def _greater_than(checker: Checker) -> Sequence[Group]:
    """The groups that a tokenizer allows: by two digits, or by single ones."""
    if _splits_digits(checker):
        return _of_digits()
    return _of_two_digits(checker)


def _splits_digits(checker: Checker) -> bool:
    """Whether every digit is a token and no two digits are.

    A vocabulary of single bytes has digits too, and no words: the task is not for it.
    """
    if not all(checker.is_token(text) for text in (" year", *DIGITS)):
        return False
    return not any(checker.is_token(f"{number:02d}") for number in range(100))


def _of_two_digits(checker: Checker) -> Sequence[Group]:
    """Pairs whose base begins earlier, and the other way.

    The answer of the one that begins earlier lies between the two starts, so that it is wrong after
    the later one; the answer of the later one lies behind both. Both are even steps away.
    """
    numbers = checker.single(range(2, 99), "years of a century", lambda n: (f"{n:02d}",))
    known = set(numbers)
    starts: list[tuple[int, int, int, int]] = []
    for early in numbers:
        for late in numbers:
            between, behind = (early + late + 1) // 2, (late + 99) // 2
            if late - early >= APART and late < behind and {between, behind} <= known:
                starts.append((early, late, between, behind))

    def pair(years: tuple[int, int, int, int], event: str, century: int) -> tuple[Case, Case]:
        early, late, between, behind = years
        return (
            _case(event, century, f"{early:02d}", f"{between:02d}"),
            _case(event, century, f"{late:02d}", f"{behind:02d}"),
        )

    return _both_ways(pair, {"years": starts, "event": EVENTS, "century": CENTURIES})


def _of_digits() -> Sequence[Group]:
    """Pairs of decades, the base's earlier and the other way; the tens of a later year follow.

    From 1732, the tens that follow are 4; from 1762 they are 7. As 4 is less than 6, it is wrong
    after 1762 whatever digit comes next.
    """
    decades = [(early, late) for early in range(10) for late in range(early + 2, 9)]

    def pair(tens: tuple[int, int], year: int, event: str, century: int) -> tuple[Case, Case]:
        one, other = (_case(event, century, f"{ten}{year}", str(ten + 1)) for ten in tens)
        return one, other

    choices = {"tens": decades, "year": range(10), "event": EVENTS, "century": CENTURIES}
    return _both_ways(pair, choices)


def _case(event: str, century: int, start: str, answer: str) -> Case:
    """A prompt and the digits that should follow."""
    return Case((("event", event), ("century", str(century)), ("start", start)), answer)


def _both_ways(
    pair: Callable[..., tuple[Case, Case]], choices: Mapping[str, Sequence[Any]]
) -> list[Group]:
    """Two groups: the earlier prompt of each pair as the base, and the later one."""

    def turned(*chosen: Any) -> tuple[Case, Case]:
        earlier, later = pair(*chosen)
        return later, earlier

    return [Group("earlier base", choices, pair), Group("later base", choices, turned)]


greater_than = Task(
    name="greater_than",
    about="The year of the beginning differs; two digits of a later year follow, or its tens.",
    reference=(
        "Hanna, Liu & Variengien 2023, 'How does GPT-2 compute greater-than?: Interpreting "
        "mathematical abilities in a pre-trained language model'"
    ),
    models=(
        "GPT-2, whose tokenizer has two digits of a year as one token, and SmolLM2 and others, "
        "whose tokenizers split numbers into digits"
    ),
    varies="start",
    templates=("The {event} lasted from the year {century}{start} to the year {century}",),
    groups=_greater_than,
    needed=("century", "start"),
    optional=("event",),
)
