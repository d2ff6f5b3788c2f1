"""`Run`: its table and its repr, and the arguments of `run`."""

from __future__ import annotations

from typing import Any

import pytest
from running_testing import ITALY, SPAIN, swap, swapped

from vene_widgets import interventions
from vene_widgets.engine.fitting import fit_subspace
from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel
from vene_widgets.sweeps.sweep import sweep


def test_top_is_the_softmax_of_the_last_position(model: LanguageModel):
    result = run(model, swapped(swap(0, 3)))
    probabilities = result.logits[-1].double().softmax(-1)
    top: Any = result.top(5)
    assert list(top.columns) == ["rank", "token", "token_id", "probability", "logit"]
    assert top["rank"].tolist() == [1, 2, 3, 4, 5]
    assert top.token_id.tolist() == probabilities.argsort(descending=True)[:5].tolist()
    for row in top.itertuples():
        assert row.token == model.token_text(row.token_id)
        assert row.probability == pytest.approx(probabilities[row.token_id].item(), rel=1e-5)
        assert row.logit == pytest.approx(result.logits[-1, row.token_id].item(), rel=1e-6)
    assert len(result.frame) == model.sites.vocabulary
    assert result.frame.probability.sum() == pytest.approx(1, abs=1e-5)


def test_a_run_describes_itself(tiny: LanguageModel):
    result = run(
        tiny, swapped(swap(0, 3), swap(1, 3, skip=True), base="The capital of Spain is <b>")
    )
    assert "2 slots, 1 live" in repr(result)
    assert "<b>" not in result._repr_html_() and "<table" in result._repr_html_()
    assert result.milliseconds > 0 and result.tokens[3].text == " Spain"


@pytest.mark.usefixtures("restored_registry")
def test_a_run_without_a_distribution_has_a_repr(tiny: LanguageModel):
    interventions.register("broken", lambda base, source: base * float("nan"), needs_source=False)
    slot = Slot(layer=0, position=-1, intervention="broken")
    broken = run(tiny, Experiment(base=SPAIN, slots=[slot]))
    assert "no distribution" in repr(broken)
    assert "no distribution" in broken._repr_html_()


@pytest.mark.parametrize("keep", [-1, 1.5, None, True])
def test_logits_to_keep_is_a_number_of_positions(tiny: LanguageModel, keep: Any):
    with pytest.raises(RequestError, match=f"logits_to_keep must be .* got {keep}"):
        run(tiny, Experiment(base=SPAIN), logits_to_keep=keep)


def test_arguments_of_another_kind_are_named(tiny: LanguageModel):
    experiment: Any = Experiment(base=SPAIN, sources=ITALY, slots=[Slot(layer=0, position=3)])
    model: Any = tiny
    with pytest.raises(
        RequestError, match=r"experiment must be an Experiment, got a dict.*model_validate"
    ):
        run(model, experiment.model_dump())
    with pytest.raises(RequestError, match=r"model must come from vw\.load.*got a str"):
        run("capitals", experiment)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match=r"model must come from vw\.load.*got a str"):
        sweep("capitals", SPAIN, ITALY)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match=r"model must come from vw\.load.*got a str"):
        fit_subspace("capitals", [], 0, 0, 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError, match=r"weights 'slot 0' are a str; .*needs a Vanilla"):
        run(model, experiment, weights={"slot 0": "trained"})  # pyright: ignore[reportArgumentType]
