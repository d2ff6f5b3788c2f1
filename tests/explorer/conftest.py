"""Explorers on a tiny GPT-2, closed at the end of a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from explorer_testing import BASE, SOURCE, Make, SilentPainter

import vene_widgets as vw


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
