"""script(): the few lines of Python that give an experiment's result again."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal

from vene_widgets.codegen import native as own
from vene_widgets.codegen import representations
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import choose

if TYPE_CHECKING:
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.models import LanguageModel

__all__ = ["FACES", "Face", "script"]

Face = Literal["vene_widgets", "intervenable", "pyvene"]

FACES: tuple[Face, ...] = ("vene_widgets", "intervenable", "pyvene")
"""Whose names a script is written in: this package's, the tutorial's over this package's engine
(`vene_widgets.intervenable`), or the library pyvene's."""

MARK = "  # changed"


def script(
    model: LanguageModel,
    experiment: Experiment | Plan,
    face: Face = "vene_widgets",
    *,
    since: Experiment | None = None,
) -> str:
    """Write a script that runs an experiment.

    Run in a fresh Python on the same machine, it gives the numbers of `run(model, experiment)`: bit
    for bit in this package's own names and in the tutorial's, within 1e-5 of a logit in pyvene's.
    Its last lines hold the result as `logits`, `(positions, vocabulary)`.

    Args:
        model: from `load`, which the script calls again, or from `wrap`: then the script leaves a
            line for the reader's own model.
        experiment: what to run, or the plan of one that was checked already.
        face: whose names to write it in.
        since: an earlier experiment; lines that differ from its script end in `# changed`.

    Raises:
        RequestError: the experiment does not fit the model, or has no counterpart in those names;
            the message says what and where.
    """
    choose(face, FACES, "face")
    checked = experiment if isinstance(experiment, Plan) else plan_experiment(model, experiment)
    lines = _lines(model, checked, face)
    if since is not None and since != checked.experiment:
        lines = _marked(_lines(model, plan_experiment(model, since), face), lines)
    return "\n".join(lines) + "\n"


def _lines(model: LanguageModel, checked: Plan, face: Face) -> list[str]:
    if face == "vene_widgets":
        return own.lines(model, checked)
    return representations.lines(model, checked, face)


def _marked(before: list[str], after: list[str]) -> list[str]:
    """The later lines, those that the earlier script has not got marked at their end."""
    same = {
        block.b + n
        for block in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
        for n in range(block.size)
    }
    return [line if n in same or not line.strip() else line + MARK for n, line in enumerate(after)]
