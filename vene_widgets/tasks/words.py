"""Word lists of the tasks: common English words, most of them one token to most tokenizers.

They are our own choice. A task keeps those that are one token to the model.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE = _words(
    """
    Mary Anna Emma Sarah Lisa Laura Julia Alice Emily Jessica Rachel Amy Kate Jane Susan
    Karen Linda Helen Maria Lucy Barbara Nancy Diana Rebecca Michelle Victoria Elizabeth
    Jennifer Amanda Rose
    """
)
"""First names of women."""

MALE = _words(
    """
    John David James Michael Robert William Thomas Peter Paul Daniel Mark George Richard
    Andrew Kevin Brian Steven Eric Adam Simon Frank Henry Jack Joseph Matthew Anthony Edward
    Charles Patrick Tom
    """
)
"""First names of men, as many."""

PLACES = _words(
    """
    store garden restaurant school hospital office house station museum library park market
    beach hotel farm
    """
)
"""Places that two people may go to."""

OBJECTS = _words(
    """
    book ticket drink map letter present photo coin key card pen phone hat ball cup
    """
)
"""Things that one person may give another; none takes `an`."""

PEOPLE = (
    ("boy", "boys"),
    ("girl", "girls"),
    ("teacher", "teachers"),
    ("student", "students"),
    ("doctor", "doctors"),
    ("farmer", "farmers"),
    ("artist", "artists"),
    ("driver", "drivers"),
    ("player", "players"),
    ("writer", "writers"),
    ("lawyer", "lawyers"),
    ("nurse", "nurses"),
    ("worker", "workers"),
    ("actor", "actors"),
    ("officer", "officers"),
    ("visitor", "visitors"),
    ("soldier", "soldiers"),
    ("singer", "singers"),
    ("neighbor", "neighbors"),
    ("guest", "guests"),
)
"""Subjects of a sentence, in the singular and the plural."""

THINGS = (
    ("building", "buildings"),
    ("table", "tables"),
    ("window", "windows"),
    ("door", "doors"),
    ("garden", "gardens"),
    ("car", "cars"),
    ("house", "houses"),
    ("bridge", "bridges"),
    ("tower", "towers"),
    ("wall", "walls"),
    ("tree", "trees"),
    ("boat", "boats"),
    ("school", "schools"),
    ("hotel", "hotels"),
    ("gate", "gates"),
    ("machine", "machines"),
)
"""Things that someone may be near, in the singular and the plural."""

EVENTS = _words(
    """
    war siege conflict campaign expedition reign construction project revolution rebellion
    dispute journey voyage struggle alliance debate
    """
)
"""Events that last for years."""
