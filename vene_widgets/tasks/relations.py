"""Countries and what belongs to them: the built-in model's three relations.

The built-in model gets the templates that it was trained with. Other models get a clearer one where
one was found: SmolLM2-135M prefers the right continent in both prompts of 56 % of 200 pairs after
"The continent of {country} is", and of 75 % after "The continent where {country} lies is".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from vene_widgets.models.capitals import Country, countries
from vene_widgets.tasks.checks import Case, Checker
from vene_widgets.tasks.sampling import Group
from vene_widgets.tasks.task import Task

if TYPE_CHECKING:
    from vene_widgets.models import LanguageModel


def _relation(name: str, fact: str, templates: tuple[str, ...], for_others: int) -> Task:
    """The task of one fact about countries.

    Args:
        name: of the task.
        fact: the attribute of a `Country`.
        templates: the built-in model's first.
        for_others: the number of the template that other models get if none is chosen.
    """
    return Task(
        name=name,
        about=f"The country differs; its {fact} follows.",
        reference="the built-in model; facts from GeoNames (CC BY 4.0)",
        models="the built-in model 'capitals', SmolLM2 and other models of English",
        varies="country",
        templates=templates,
        groups=_groups_of(fact),
        needed=("country",),
        template_for=lambda model: 0 if _is_built_in(model) else for_others,
    )


def _is_built_in(model: LanguageModel) -> bool:
    """Whether a model was loaded by `load("capitals")`, not from a folder of that name."""
    return model.path is None and (model.recipe or "").startswith('load("capitals"')


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


capitals = _relation(
    "capitals",
    "capital",
    ("The capital of {country} is", "The capital city of {country} is"),
    for_others=0,
)
languages = _relation(
    "languages",
    "language",
    (
        "The language of {country} is",
        "The official language of {country} is",
        "People in {country} speak",
    ),
    for_others=1,
)
continents = _relation(
    "continents",
    "continent",
    ("The continent of {country} is", "The continent where {country} lies is"),
    for_others=1,
)
