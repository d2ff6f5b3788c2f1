"""Pairs of prompts that need no download, written by template and checked with a tokenizer.

    pairs = vw.tasks.capitals(model, 500)
    vw.sweep_pairs(model, pairs)

Each task is called with a model and gives a table for `sweep_pairs` (`Task.__call__`).
`vw.tasks.available()` lists them.
"""

from __future__ import annotations

from vene_widgets.tasks.catalogue import TASKS, available
from vene_widgets.tasks.relations import capitals, continents, languages
from vene_widgets.tasks.sentences import agreement, indirect_objects, pronouns
from vene_widgets.tasks.task import Task
from vene_widgets.tasks.years import greater_than

__all__ = [
    "TASKS",
    "Task",
    "agreement",
    "available",
    "capitals",
    "continents",
    "greater_than",
    "indirect_objects",
    "languages",
    "pronouns",
]
