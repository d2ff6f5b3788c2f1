"""A copy of each tiny model, to be changed at will."""

from __future__ import annotations

import pytest
from by_hand import FAMILIES, own_copy

import vene_widgets as vw


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy(request.param, request)


@pytest.fixture
def llama(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy("tiny_llama", request)


@pytest.fixture
def gpt2(request: pytest.FixtureRequest) -> vw.LanguageModel:
    return own_copy("tiny_gpt2", request)
