"""Each tiny model on the device under test, and the same model on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from by_hand import FAMILIES, own_copy

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


@pytest.fixture
def twin(model: vw.LanguageModel) -> vw.LanguageModel:
    """The same model on the CPU."""
    return wrap(copy.deepcopy(model.model).to("cpu"), model.tokenizer, model.name)


@pytest.fixture
def elsewhere(device: torch.device) -> torch.device:
    """The device, if it is not the CPU."""
    if device.type == "cpu":
        pytest.skip("needs a second device: tests/devices runs again on each")
    return device
