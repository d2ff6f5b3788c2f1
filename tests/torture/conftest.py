"""A real kernel with a model, and a model of a test's own to be changed at will."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from real_kernel import Kernel, open_kernel

import vene_widgets as vw
from vene_widgets.models import wrap

OPEN = """
import vene_widgets as vw
model = vw.load()
def click(explorer, n):
    slot = vw.Slot(layer=n % 5, position=3 + n % 2)
    explorer.experiment = explorer.experiment.replace(slots=[slot])
    explorer.run
"""


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    """A kernel in which ten explorers on `model` have come and gone."""
    with open_kernel() as made:
        made.run(OPEN)
        for n in range(10):  # whatever is loaded or kept once, is
            made.run("explorer = vw.explore(model=model)\nexplorer")
            made.run(f"click(explorer, {n})\nexplorer.close()\ndel explorer")
        yield made


@pytest.fixture
def own(tiny_gpt2: vw.LanguageModel) -> vw.LanguageModel:
    """A copy of the model, to be changed at will."""
    return wrap(copy.deepcopy(tiny_gpt2.model), tiny_gpt2.tokenizer)
