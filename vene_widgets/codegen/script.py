"""script(): a short Python script that reproduces an experiment's result."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal

from vene_widgets.codegen import native, representations
from vene_widgets.engine.planning import Plan, plan_experiment
from vene_widgets.errors import RequestError, choose, listed

if TYPE_CHECKING:
    from vene_widgets.experiments.experiment import Experiment
    from vene_widgets.models import LanguageModel

__all__ = ["FACES", "Face", "script"]

Face = Literal["vene_widgets", "intervenable", "pyvene"]

FACES: tuple[Face, ...] = ("vene_widgets", "intervenable", "pyvene")
"""The API that a script uses: this package's, pyvene's names over this package's engine
(`vene_widgets.intervenable`), or pyvene's own."""

MARK = "  # changed"
"""End of every line that differs from the earlier experiment's script."""

PYVENE_FAMILIES = frozenset(
    ("gpt2", "llama", "gpt_neo", "gpt_neox", "mistral", "gemma", "gemma2", "olmo", "qwen2")
)
"""The families that pyvene 0.1.8 has a table of and that work here."""


def script(
    model: LanguageModel,
    experiment: Experiment | Plan,
    face: Face = "vene_widgets",
    *,
    since: Experiment | None = None,
) -> str:
    """Write a script that runs an experiment.

    Run in a fresh Python on the same machine, it reproduces the numbers of
    `run(model, experiment)`: bit for bit with the faces `vene_widgets` and `intervenable`, within
    1e-5 of a logit with `pyvene`, for the models and components that pyvene knows. Its last lines
    hold the result as `logits`, `(positions, vocabulary)`.

    Args:
        model: from `load`, which the script calls again; or from `wrap`, for which the script
            leaves a line to fill in.
        experiment: what to run, or its plan.
        face: the API that the script uses, one of `FACES`.
        since: an earlier experiment; lines that differ from its script end in `# changed`.

    Returns:
        The script, with a newline at its end.

    Raises:
        RequestError: the experiment is invalid for the model, or has no counterpart in that API;
            the message names the slot and the reason.
    """
    choose(face, FACES, "face")
    family = model.sites.architecture.name
    if face == "pyvene" and family not in PYVENE_FAMILIES:
        raise RequestError(
            f"pyvene has no table of {family} models, so no script of its own can run one: choose "
            f"face 'vene_widgets' or 'intervenable'. It knows {listed(sorted(PYVENE_FAMILIES))}."
        )
    plan = experiment if isinstance(experiment, Plan) else plan_experiment(model, experiment)
    lines = _write_lines(model, plan, face)
    if since is not None and since != plan.experiment:
        earlier = _write_lines(model, plan_experiment(model, since), face)
        lines = _mark_changed(earlier, lines)
    return "\n".join(lines) + "\n"


def _write_lines(model: LanguageModel, plan: Plan, face: Face) -> list[str]:
    if face == "vene_widgets":
        return native.write_lines(model, plan)
    return representations.write_lines(model, plan, face)


def _mark_changed(before: list[str], after: list[str]) -> list[str]:
    """The later lines, with a mark at the end of those that the earlier script lacks."""
    # autojunk would ignore frequent lines in scripts of 200 lines and more.
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    same = {block.b + n for block in matcher.get_matching_blocks() for n in range(block.size)}
    return [line if n in same or not line.strip() else line + MARK for n, line in enumerate(after)]
