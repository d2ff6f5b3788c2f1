"""Tiny models of every family, shared by a file's tests or built for one."""

from __future__ import annotations

from typing import Any

import families
import pytest
import torch
from families import CONFIGS
from families_testing import PLAIN_VARIANTS, Build, Models, shared_models

import vene_widgets as vw
from vene_widgets.models import wrap


@pytest.fixture(scope="module")
def models(tiny_tokenizer: Any, device: torch.device) -> Models:
    return shared_models(tiny_tokenizer, device)


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest, models: Models) -> vw.LanguageModel:
    return models(request.param)


@pytest.fixture(params=PLAIN_VARIANTS)
def plain_variant(request: pytest.FixtureRequest, models: Models) -> vw.LanguageModel:
    return models(request.param)


@pytest.fixture
def build(tiny_tokenizer: Any, device: torch.device) -> Build:
    """Any of `CONFIGS`, wrapped, with more settings of the config; nothing else has it."""

    def make(name: str, attention: str = "", **options: Any) -> vw.LanguageModel:
        net = families.build(name, len(tiny_tokenizer), attention, **options)
        return wrap(net.to(device), tiny_tokenizer, name)

    return make
