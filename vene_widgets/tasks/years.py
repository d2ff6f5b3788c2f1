"""Greater-than: a year that may follow, given the year in which something began."""

from __future__ import annotations

from collections.abc import Sequence

from vene_widgets.tasks.checks import Case, Checker
from vene_widgets.tasks.sampling import Group
from vene_widgets.tasks.task import Task
from vene_widgets.tasks.words import EVENTS

CENTURIES = tuple(range(11, 18))

APART = 10
"""Least years between the two starts."""


def _greater_than(checker: Checker) -> Sequence[Group]:
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

    def group(is_early: bool) -> Group:
        def pair(years: tuple[int, int, int, int], event: str, century: int) -> tuple[Case, Case]:
            early, late, between, behind = years
            fixed = ("event", event), ("century", str(century))
            one, other = (
                Case((*fixed, ("start", f"{start:02d}")), f"{answer:02d}")
                for start, answer in ((early, between), (late, behind))
            )
            return (one, other) if is_early else (other, one)

        choices = {"years": starts, "event": EVENTS, "century": CENTURIES}
        return Group("earlier base" if is_early else "later base", choices, pair)

    return [group(True), group(False)]


greater_than = Task(
    name="greater_than",
    about="The year of the beginning differs; two digits of a later year follow.",
    reference=(
        "Hanna, Liu & Variengien 2023, 'How does GPT-2 compute greater-than?: Interpreting "
        "mathematical abilities in a pre-trained language model'"
    ),
    models="GPT-2, whose tokenizer has two digits of a year as one token",
    varies="start",
    templates=("The {event} lasted from the year {century}{start} to the year {century}",),
    groups=_greater_than,
    needed=("century", "start"),
    optional=("event",),
)
