"""Which runs an experiment needs, and that nothing remains of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from running_testing import FRANCE, ITALY, SPAIN, plain, swap, swapped
from torch import nn

from vene_widgets.engine.running import run
from vene_widgets.errors import RequestError
from vene_widgets.experiments.experiment import Experiment
from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel


@pytest.fixture
def counted(tiny: LanguageModel) -> tuple[LanguageModel, list[str]]:
    """A model that notes the prompt of each of its forward passes."""
    model = LanguageModel("counted", copy.deepcopy(tiny.model), tiny.tokenizer)
    passes: list[str] = []

    def note(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        passes.append(model.tokenizer.decode(kwargs["input_ids"][0]))

    model.model.register_forward_pre_hook(note, with_kwargs=True)
    return model, passes


def test_each_distinct_source_runs_once_then_the_base(counted: tuple[LanguageModel, list[str]]):
    model, passes = counted
    sources = {"italy": ITALY, "same": ITALY, "france": FRANCE, "unused": SPAIN}
    slots = [
        *(swap(layer, 3, source="italy") for layer in range(3)),
        swap(0, 4, source="same"),
        swap(1, 4, source="france"),
        swap(2, 4, source="unused", skip=True),
    ]
    result = run(model, swapped(*slots, **sources))
    assert passes == [ITALY, FRANCE, SPAIN] and result.source_runs == 2


def test_unshared_sources_run_once_per_group_and_once_per_lone_slot(
    counted: tuple[LanguageModel, list[str]],
):
    model, passes = counted
    slots = [
        swap(0, 3, group="g"),
        swap(1, 3),
        swap(2, 3, group="g"),
        swap(2, 4),
        swap(1, 4, group="h"),
        swap(0, 4, skip=True),
    ]
    result = run(model, swapped(*slots), share_sources=False)
    assert passes == [ITALY] * 4 + [SPAIN] and result.source_runs == 4
    passes.clear()
    assert torch.equal(run(model, swapped(*slots)).logits, result.logits)
    assert passes == [ITALY, SPAIN]


def test_a_refused_experiment_runs_nothing(counted: tuple[LanguageModel, list[str]]):
    model, passes = counted
    with pytest.raises(RequestError, match=r"slots\[1\]: layer 7"):
        run(model, swapped(swap(0, 3), swap(7, 3)))
    assert passes == []


def test_there_is_no_state_between_runs(model: LanguageModel, three: tuple[Slot, ...]):
    experiment = swapped(*three)
    first = run(model, experiment)
    run(model, swapped(swap(0, 4, source_position=1), base=FRANCE))
    assert torch.equal(run(model, experiment).logits, first.logits)
    assert torch.equal(run(model, Experiment(base=SPAIN)).logits, plain(model, SPAIN))


def test_arguments_are_never_changed(tiny: LanguageModel):
    sources, slots = (
        {"b": ITALY, "a": FRANCE},
        [swap(0, [3, -1], source="a"), swap(1, 3, source="b")],
    )
    experiment = Experiment.model_validate({"base": SPAIN, "sources": sources, "slots": slots})
    text, kept = experiment.model_dump_json(), copy.deepcopy((sources, slots))
    run(tiny, experiment)
    run(tiny, experiment, share_sources=False)
    assert experiment.model_dump_json() == text and (sources, slots) == kept
