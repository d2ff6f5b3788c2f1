"""The exact runs of one experiment, and the tables that the figures of it are drawn from."""

from __future__ import annotations

import pytest

from vene_widgets import Experiment, LanguageModel, Slot
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.explorer.exact_runs import ExactRuns, run_exactly
from vene_widgets.figures import result, runs_setup

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"


def runs_of(model: LanguageModel, *slots: Slot) -> ExactRuns:
    experiment = Experiment(base=SPAIN, sources={"italy": ITALY}, slots=slots)
    plan = plan_experiment(model, experiment)
    *_, found = run_exactly(model, plan, ActivationCache())
    assert found is not None and found.plan is plan
    return found


@pytest.mark.parametrize("group", [None, "a"])
def test_a_figure_of_two_panels_has_every_token_of_the_difference(
    tiny_gpt2: LanguageModel, group: str | None
) -> None:
    found = runs_of(tiny_gpt2, Slot(layer=0, position=3, source="italy", group=group))
    frame, difference = found.panels_frame, found.difference_frame
    assert set(difference["token_id"]) <= set(frame["token_id"])
    assert list(frame["run"].cat.categories) == [column.name for column in found.columns]
    # The most likely token of every run is there, too.
    for column in found.columns:
        assert int(column.run.logits[-1].argmax()) in set(frame["token_id"])
    assert result(frame, difference, setup=runs_setup(found.plan, "m"))
