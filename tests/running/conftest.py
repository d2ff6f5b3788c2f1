"""The models on which the identities of an intervention must hold."""

from __future__ import annotations

import pytest
from running_testing import MODELS, swap

from vene_widgets.experiments.slot import Slot
from vene_widgets.models import LanguageModel


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=MODELS[:2])
def tiny(request: pytest.FixtureRequest) -> LanguageModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def three(model: LanguageModel) -> tuple[Slot, ...]:
    """Three slots at different places of one network, reading one source."""
    last = model.sites.layers - 1
    return (
        swap(0, 3),
        swap(last, 4, "attention_output"),
        swap(1, 3, "head_value_output", head=0),
    )
