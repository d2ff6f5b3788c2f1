"""Countries and what belongs to them: the built-in model's three relations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from vene_widgets.models.capitals import Country, countries
from vene_widgets.tasks.checks import Case, Checker
from vene_widgets.tasks.sampling import Group
from vene_widgets.tasks.task import Task


def _relation(name: str, fact: str, templates: tuple[str, ...]) -> Task:
    """The task of one fact about countries."""
    return Task(
        name=name,
        about=f"The country differs; its {fact} follows.",
        reference="the built-in model; facts from GeoNames (CC BY 4.0)",
        models="the built-in model 'capitals'",
        varies="country",
        templates=templates,
        groups=_groups_of(fact),
        needed=("country",),
    )


def _groups_of(fact: str) -> Callable[[Checker], Sequence[Group]]:
    def answer(country: Country) -> str:
        return f" {getattr(country, fact)}"

    def pair(both: tuple[Country, Country]) -> tuple[Case, Case]:
        one, other = (Case((("country", c.country),), answer(c)) for c in both)
        return one, other

    def groups(checker: Checker) -> Sequence[Group]:
        known = checker.single(
            _countries(), "countries or answers", lambda c: (f" {c.country}", answer(c))
        )
        pairs = [(a, b) for a in known for b in known if answer(a) != answer(b)]
        return [Group("countries", {"pair": pairs}, pair)]

    return groups


@cache
def _countries() -> tuple[Country, ...]:
    return countries()


capitals = _relation("capitals", "capital", ("The capital of {country} is",))
languages = _relation("languages", "language", ("The language of {country} is",))
continents = _relation("continents", "continent", ("The continent of {country} is",))
