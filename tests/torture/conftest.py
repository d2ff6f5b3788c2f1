"""A real kernel, and explorers on a model that is opened in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_kernel import Kernel, open_kernel

OPEN = """
import vene_widgets as vw
model = vw.load()
def click(explorer, n):
    slot = vw.Slot(layer=n % 5, position=3 + n % 2)
    explorer.experiment = explorer.experiment.replace(slots=[slot])
    explorer.run
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel in which ten explorers on `model` have come and gone."""
    with open_kernel() as made:
        made.run(OPEN)
        for n in range(10):  # whatever is loaded or kept once, is
            made.run("explorer = vw.explore(model=model)\nexplorer")
            made.run(f"click(explorer, {n})\nexplorer.close()\ndel explorer")
        yield made
