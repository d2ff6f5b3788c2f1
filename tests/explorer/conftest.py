"""Explorers on a tiny GPT-2, closed at the end of a test."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from explorer_testing import BASE, SOURCE, Make, SilentPainter
from model_changes_testing import EXPERIMENT

import vene_widgets as vw
from vene_widgets.explorer import Explorer
from vene_widgets.models import wrap


@pytest.fixture
def make(tiny_gpt2: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Make]:
    made: list[vw.Explorer] = []

    def make(base: str = BASE, source: Any = SOURCE, **options: Any) -> vw.Explorer:
        options.setdefault("model", tiny_gpt2)
        made.append(vw.explore(base, source, **options))
        return made[-1].wait(30)

    yield make
    for explorer in made:
        explorer.close()


@pytest.fixture
def own(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    """A copy of the model, to be changed at will."""
    return wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)


@pytest.fixture
def explorer(own: vw.LanguageModel, silent_painter: SilentPainter) -> Iterator[Explorer]:
    made = Explorer(own, EXPERIMENT).wait(60)
    yield made
    made.close()
