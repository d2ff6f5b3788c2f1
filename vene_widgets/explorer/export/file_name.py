"""Names of exported files: what is in them, in letters that every file system takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vene_widgets.engine.planning import Plan

MOST_SLOTS = 3
"""Slots that a name lists; more are counted."""

LONGEST = 36
"""Most characters of the prompt in a name: its end, which the answer follows."""


def file_name(kind: str, plan: Plan | None, revision: int) -> str:
    """The name of a figure's file, without its suffix: `result_L0-Spain_capital-of-Spain-is_7`.

    Args:
        kind: of the figure.
        plan: the experiment; None leaves its slots and its prompt out.
        revision: of the experiment, so that two states have two names.
    """
    parts = [kind.replace("_", "-")]
    if plan is not None:
        live = plan.live if kind != "sweep_map" else ()
        slots = [
            f"L{slot.site.layer}-{slug(plan.base[slot.base_positions[0]].text)}"
            for slot in live[:MOST_SLOTS]
        ]
        more = [f"{len(live) - MOST_SLOTS}-more"] if len(live) > MOST_SLOTS else []
        parts += [part.strip("-") for part in (*slots, *more)]
        parts.append(slug(plan.experiment.base[-LONGEST:]))
    return "_".join([*filter(None, parts), str(revision)])


def slug(text: str) -> str:
    """Letters and digits of a text, `-` for each run of anything else."""
    return re.sub(r"[\W_]+", "-", text).strip("-")
