"""Tiny models of every family, shared by a file's tests."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families_testing import Models, shared_models


@pytest.fixture(scope="module")
def models(tiny_tokenizer: Any, device: torch.device) -> Models:
    return shared_models(tiny_tokenizer, device)
