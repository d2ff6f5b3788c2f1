"""The runs of one experiment on the screen: names of their columns."""

from __future__ import annotations

import pytest
import torch

from vene_widgets import figures
from vene_widgets.engine.cache import ActivationCache
from vene_widgets.engine.planning import plan_experiment
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.explorer.exact_runs import run_exactly
from vene_widgets.explorer.wire.views import answer
from vene_widgets.models import LanguageModel


@pytest.mark.parametrize("name", ["base", "intervened", "grouped", "ungrouped", "it"])
def test_a_source_with_the_name_of_another_run_keeps_its_own_numbers(
    capitals: LanguageModel, name: str
) -> None:
    spain, italy = "The capital of Spain is", "The capital of Italy is"
    slots = [
        Slot(layer=0, position=4, source=name, group="A"),
        Slot(layer=5, position=3, source=name),
    ]
    experiment = Experiment(base=spain, sources={name: italy, f"source {name}": spain}, slots=slots)
    plan = plan_experiment(capitals, experiment)
    result = [*run_exactly(capitals, plan, ActivationCache())][-1]
    assert result is not None
    assert len(result.titles) == len(set(result.titles)) == len(result.columns)
    for frame in (result.token_frame, result.panels_frame):
        assert [*dict.fromkeys(frame["run"])] == [*result.titles]
    found = answer(capitals, result, plan, 1)
    for n, column in enumerate(result.columns):
        p = column.run.logits[-1].softmax(-1)
        assert found.runs[n].name == column.name
        assert found.runs[n].top[0].token_id == int(p.argmax())
        for row in found.tokens:
            assert row.probabilities[n] == pytest.approx(float(p[row.token_id]), rel=1e-4)
        assert torch.equal(result.runs[result.titles[n]].logits[-1].argmax(), p.argmax())
    assert found.runs[1].top[0].label != found.runs[0].top[0].label


def test_the_difference_panel_names_a_source_that_is_called_base(capitals: LanguageModel) -> None:
    prompts = "The capital of Spain is", "The capital of Italy is"
    experiment = Experiment(base=prompts[0], sources={"base": prompts[1]})
    plan = plan_experiment(capitals, experiment)
    result = [*run_exactly(capitals, plan, ActivationCache())][-1]
    assert result is not None
    assert result.compared_title == "source base"
    figure = figures.result(
        result.panels_frame, result.difference_frame, before="base", after=result.compared_title
    )
    assert figures.png(figure)
