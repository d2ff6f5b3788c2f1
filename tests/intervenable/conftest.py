"""GPT-2 with and without its head, as pyvene's users hold it, and its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import GPT2Model

from vene_widgets.models import LanguageModel


@pytest.fixture
def lm(tiny_gpt2: LanguageModel) -> Any:
    return tiny_gpt2.model


@pytest.fixture
def bare(lm: Any) -> GPT2Model:
    return lm.transformer


@pytest.fixture
def encode(tiny_tokenizer: Any) -> Callable[..., Any]:
    return lambda text: tiny_tokenizer(text, return_tensors="pt")
