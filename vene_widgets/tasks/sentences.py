"""Tasks of ordinary English: indirect objects, agreement and pronouns."""

from __future__ import annotations

from collections.abc import Sequence

from vene_widgets.tasks.checks import Case, Checker
from vene_widgets.tasks.sampling import Group
from vene_widgets.tasks.task import Task
from vene_widgets.tasks.words import FEMALE, MALE, OBJECTS, PEOPLE, PLACES, THINGS

_MEANT_FOR = "GPT-2, SmolLM2 and other models of English"


def _spaced(word: str) -> tuple[str]:
    """The text of a word within a sentence."""
    return (f" {word}",)


def _indirect_objects(checker: Checker) -> Sequence[Group]:
    """ABBA and BABA: whose name comes first, the giver's or the other's."""
    names = checker.single((*FEMALE, *MALE), "names", _spaced)
    couples = [(a, b) for a in names for b in names if a != b]

    def pair_of(order: int) -> Group:
        def pair(couple: tuple[str, str], place: str, item: str) -> tuple[Case, Case]:
            first, second = couple
            giver, other = (second, first) if order == 0 else (first, second)
            fixed = (("first", first), ("second", second), ("place", place), ("object", item))
            return (
                Case((*fixed, ("giver", giver)), f" {other}"),
                Case((*fixed, ("giver", other)), f" {giver}"),
            )

        choices = {"couple": couples, "place": PLACES, "object": OBJECTS}
        return Group(("ABBA", "BABA")[order], choices, pair)

    return [pair_of(0), pair_of(1)]


indirect_objects = Task(
    name="indirect_objects",
    about="Who gives differs; the name of the one who is given something follows.",
    reference=(
        "Wang et al. 2022, 'Interpretability in the Wild: a Circuit for Indirect Object "
        "Identification in GPT-2 small'"
    ),
    models=_MEANT_FOR,
    varies="giver",
    templates=(
        "When {first} and {second} went to the {place}, {giver} gave a {object} to",
        "Then, {first} and {second} went to the {place}, and {giver} gave a {object} to",
        "After {first} and {second} came back from the {place}, {giver} handed a {object} to",
    ),
    groups=_indirect_objects,
    needed=("first", "second", "giver"),
    optional=("place", "object"),
)


def _agreement(checker: Checker) -> Sequence[Group]:
    """The subject's number by that of the noun between it and the verb."""
    people = checker.single(PEOPLE, "nouns", lambda both: [f" {word}" for word in both])
    verbs = (" is", " are")

    def group(number: int, attractor: int) -> Group:
        def pair(subject: tuple[str, str], thing: tuple[str, str]) -> tuple[Case, Case]:
            fixed = ("attractor", thing[attractor])
            one, other = (
                Case((("subject", subject[n]), fixed), verbs[n]) for n in (number, 1 - number)
            )
            return one, other

        name = f"{('singular', 'plural')[number]}, {('singular', 'plural')[attractor]} attractor"
        return Group(name, {"subject": people, "attractor": THINGS}, pair)

    return [group(number, attractor) for number in (0, 1) for attractor in (0, 1)]


agreement = Task(
    name="agreement",
    about="The subject's number differs; “is” or “are” follows, after a noun that may mislead.",
    reference=(
        "Linzen, Dupoux & Goldberg 2016, 'Assessing the Ability of LSTMs to Learn Syntax-Sensitive "
        "Dependencies'; Finlayson et al. 2021, 'Causal Analysis of Syntactic Agreement Mechanisms'"
    ),
    models=_MEANT_FOR,
    varies="subject",
    templates=(
        "The {subject} near the {attractor}",
        "The {subject} behind the {attractor}",
    ),
    groups=_agreement,
    needed=("subject",),
    optional=("attractor",),
)


def _pronouns(checker: Checker) -> Sequence[Group]:
    """Women's names as bases with men's as sources, and the other way."""
    female = checker.single(FEMALE, "names", _spaced)
    male = checker.single(MALE, "names", _spaced)

    def pair(base: tuple[str, str], source: tuple[str, str]) -> tuple[Case, Case]:
        one, other = (Case((("name", name),), pronoun) for name, pronoun in (base, source))
        return one, other

    women = [(name, " she") for name in female]
    men = [(name, " he") for name in male]
    return [
        Group("she", {"base": women, "source": men}, pair),
        Group("he", {"base": men, "source": women}, pair),
    ]


pronouns = Task(
    name="pronouns",
    about="The name differs; “she” or “he” follows.",
    reference=(
        "Vig et al. 2020, 'Investigating Gender Bias in Language Models Using Causal Mediation "
        "Analysis'"
    ),
    models=_MEANT_FOR,
    varies="name",
    templates=("My friend {name} said that", "I asked {name} whether"),
    groups=_pronouns,
    needed=("name",),
)
