"""available(): the tasks by name, and what each is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vene_widgets.tasks.relations import capitals, continents, languages
from vene_widgets.tasks.sentences import agreement, indirect_objects, pronouns
from vene_widgets.tasks.task import Task
from vene_widgets.tasks.years import greater_than

if TYPE_CHECKING:
    import pandas as pd

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        capitals,
        languages,
        continents,
        indirect_objects,
        greater_than,
        agreement,
        pronouns,
    )
}
"""Tasks by name."""


def available() -> pd.DataFrame:
    """List the tasks, one row each.

    Returns:
        A frame with the columns name: of the function in `vene_widgets.tasks`; about: what base
        and source differ in, and what follows; models: which it is meant for; templates: its
        prompts, by number; reference: where it comes from.
    """
    import pandas as pd

    fields = ("name", "about", "models", "templates", "reference")
    rows = [[getattr(task, field) for field in fields] for task in TASKS.values()]
    return pd.DataFrame(rows, columns=list(fields))
